"""Where the file with the profiles is, and who may have written it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from trio_mp import ConfigurationError
from trio_mp._profiles.finding import configuration_file, read_configuration
from trio_mp._profiles.first import FirstNode

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "platform, environ, place",
    [
        ("linux", {}, ".config/trio_mp/profiles.toml"),
        ("linux", {"XDG_CONFIG_HOME": "/etc/of me"}, "/etc/of me/trio_mp/profiles.toml"),
        ("linux", {"XDG_CONFIG_HOME": "relative"}, ".config/trio_mp/profiles.toml"),
        ("linux", {"TRIO_MP_CONFIG": "/x/y.toml", "XDG_CONFIG_HOME": "/z"}, "/x/y.toml"),
        ("linux", {"TRIO_MP_CONFIG": ""}, ".config/trio_mp/profiles.toml"),
        ("freebsd14", {}, ".config/trio_mp/profiles.toml"),
        ("darwin", {"XDG_CONFIG_HOME": "/z"}, "Library/Application Support/trio_mp/profiles.toml"),
        ("win32", {}, "AppData/Roaming/trio_mp/profiles.toml"),
        ("win32", {"APPDATA": "/roaming"}, "/roaming/trio_mp/profiles.toml"),
    ],
)
def test_the_folder_of_the_platform(home: Path, platform: str, environ: dict[str, str], place: str) -> None:
    assert configuration_file(environ, platform) == home / place


def write(path: Path, text: str = "[profile.a]\n", mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def test_the_file_of_the_folder_is_read(home: Path) -> None:
    path = write(home / "c" / "trio_mp" / "profiles.toml")
    environ = {"XDG_CONFIG_HOME": str(home / "c"), "APPDATA": str(home / "c")}
    if sys.platform == "darwin":
        environ = {"TRIO_MP_CONFIG": str(path)}
    document = read_configuration(environ)
    assert (document.path, list(document.profiles)) == (str(path), ["a"])


def test_without_the_file_there_are_no_profiles(home: Path) -> None:
    document = read_configuration({})
    assert document.layers(None) == [{}]
    with pytest.raises(ConfigurationError, match=r"profiles\.toml \(which does not exist\): expected a profile 'a'"):
        document.layers("a")


def test_without_a_home_there_are_no_profiles(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert read_configuration({}).layers(None) == [{}]


def test_a_file_that_was_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^TRIO_MP_CONFIG: expected the path of a file, got .*nowhere"):
        read_configuration({"TRIO_MP_CONFIG": str(tmp_path / "nowhere")})


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: ") as caught:
        read_configuration({"TRIO_MP_CONFIG": str(tmp_path)})
    assert str(caught.value).startswith(f"{tmp_path}: ")
    path = tmp_path / "latin"
    path.write_bytes(b"# \xe4")
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match="expected UTF-8"):
        read_configuration({"TRIO_MP_CONFIG": str(path)})


def test_the_null_device_stands_for_no_profiles() -> None:
    assert read_configuration({"TRIO_MP_CONFIG": os.devnull}).profiles == {}


@posix_only
@pytest.mark.parametrize("mode", [0o602, 0o666, 0o646])
def test_a_file_that_everybody_can_change_is_refused(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path / "it's.toml", mode=mode)
    with pytest.raises(ConfigurationError) as caught:
        read_configuration({"TRIO_MP_CONFIG": str(path)})
    assert f"{mode:03o}; run `chmod o-w " in str(caught.value)
    assert "it'\"'\"'s.toml" in str(caught.value)


@posix_only
@pytest.mark.parametrize("mode, exposed", [(0o600, False), (0o400, False), (0o640, True), (0o604, True), (0o644, True)])
def test_a_secret_must_not_be_read_by_others(tmp_path: Path, mode: int, exposed: bool) -> None:
    path = write(tmp_path / "f", "[default]\nsecret = '0123456789abcdef'\n", mode)
    document = read_configuration({"TRIO_MP_CONFIG": str(path)})
    if not exposed:
        assert document.layers(None)
        return
    with pytest.raises(ConfigurationError, match=f"chmod 600 {path}"):
        document.layers(None)


def test_only_one_is_the_first_until_it_has_ended() -> None:
    first = FirstNode()
    with first.claim() as one:
        with first.claim() as other:
            assert (one, other) == (True, False)
        with first.claim() as other:
            assert not other
    with first.claim() as again:
        assert again
