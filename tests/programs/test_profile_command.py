"""`trio-mp profile`, `trio-mp init` and `trio-mp secret`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from trio_mp import open_node
from trio_mp.cli import main

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "configuration" / "profiles.toml"
    monkeypatch.setenv("TRIO_MP_CONFIG", str(path))
    return path


def write(file: Path, text: str, mode: int = 0o600) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8")
    file.chmod(mode)


def run(*words: str) -> int:
    return main(["profile", *words])


def test_a_profile_from_nothing_to_a_node(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("set", "ruth", "node_id", "ruth") == 0
    assert run("set", "ruth", "binds", "unix:a", "unix:b,unix:c") == 0
    assert run("add", "ruth", "services", "service_functions", '["service_functions:sync", "x", 3]') == 0
    assert run("set", "ruth", "encryption", "false") == 0
    assert run("set", "ruth", "heartbeat", "0.5") == 0
    assert run("set", "anna", "parent", "ruth") == 0
    assert run("set", "default", "call_limit", "5") == 0
    assert run("remove", "ruth", "binds", "unix:b") == 0
    assert run("unset", "ruth", "heartbeat") == 0
    assert run("use", "anna") == 0
    assert (
        file.read_text(encoding="utf-8")
        == """\
use = "anna"

[profile.ruth]
node_id = "ruth"
binds = ["unix:a", "unix:c"]
services = ["service_functions", ["service_functions:sync", "x", 3]]
encryption = false

[profile.anna]
parent = "ruth"

[default]
call_limit = 5
"""
    )
    assert capsys.readouterr().out == ""
    assert run("list") == 0
    assert capsys.readouterr().out == "  ruth\n* anna  (parent: ruth)\n"
    assert run("show", "default") == 0
    assert capsys.readouterr().out == "call_limit = 5\n"
    assert run("show") == 0
    assert capsys.readouterr().out == file.read_text(encoding="utf-8")


def test_effective_settings_and_where_they_are_from(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "0123456789abcdef"
    write(file, f"use = 'b'\n[default]\nheartbeat = 2\nsecret = '{secret}'\n[profile.a]\nheartbeat = 1\n[profile.b]\n")
    monkeypatch.setenv("TRIO_MP_CALL_LIMIT", "5")

    def effective(*words: str) -> list[list[str]]:
        assert run("show", *words, "--effective") == 0
        told = capsys.readouterr().out
        assert secret not in told
        return [re.split(r"\s{2,}", line) for line in told.splitlines()[2:]]

    first, limit = ["secret", "(hidden)", f"{file}: default.secret"], ["call_limit", "5", "TRIO_MP_CALL_LIMIT"]
    assert sorted(effective("a")) == sorted([limit, first, ["heartbeat", "1", f"{file}: profile.a.heartbeat"]])
    assert sorted(effective()) == sorted([limit, first, ["heartbeat", "2", f"{file}: default.heartbeat"]])
    assert effective() == effective("b") == effective("default")


WRONG = [
    (["set", "ruth", "heartbeat", "100"], "profile.ruth.heartbeat: expected 0.1 to 60 seconds, got 100.0"),
    (["set", "ruth", "heartbeat", "soon"], "heartbeat: expected a number, got 'soon'"),
    (["set", "ruth", "heartbeat", "1", "2"], "heartbeat: expected one value, got 2"),
    (["set", "ruth", "parent", "nobody"], "profile.ruth.parent: expected the name of a profile of this file"),
    (["set", "ruth", "secret", "0123456789abcdef"], "use `trio-mp secret new --file PATH`, and set secret_file"),
    (["add", "ruth", "services", "[5"], "services: expected a list of JSON, got '[5'"),
    (["add", "ruth", "services", "a b"], "profile.ruth.services[1]: expected the name of a module"),
    (["set", "ruth", "seed", "x"], "expected a setting, one of parent, node_id, binds, advertise, seeds"),
    (["add", "ruth", "secret", "x"], "expected a setting that is a list, one of binds"),
    (["use", "nobody"], "expected a profile 'nobody'"),
    (["delete", "base"], "base is the parent of ruth"),
    (["show", "rut"], "expected a profile 'rut' (did you mean ruth?)"),
    (["show", "nobody", "--effective"], "expected a profile 'nobody'; it has ruth, base"),
]


@pytest.mark.parametrize("words, text", WRONG, ids=[" ".join(words) for words, _ in WRONG])
def test_what_cannot_work_is_one_line_and_changes_nothing(
    file: Path, words: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = "[profile.ruth]\nparent = 'base'\nservices = ['json']\n[profile.base]\n"
    write(file, before)
    assert run(*words) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert text in told.err
    assert told.err.startswith("trio-mp: ")
    assert told.err.count("\n") == 1
    assert file.read_text(encoding="utf-8") == before
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("words", [["unset", "ruth", "binds"], ["remove", "ruth", "seeds", "x"]])
def test_what_is_not_there_is_a_no(file: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    write(file, "[profile.ruth]\n")
    assert run(*words) == 1
    assert "nothing was changed" in capsys.readouterr().err


def test_without_profiles_the_list_is_a_no(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(file, "")
    assert run("list") == 1
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("words", [[], ["dance"], ["set", "ruth"]])
def test_a_wrong_command_line(file: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(*words)
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("trio-mp profile")
    assert told.count("\n") == 1


@posix_only
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_permissions_and_links_stay(file: Path, tmp_path: Path, mode: int) -> None:
    write(file, "[profile.a]\n", mode)
    real = file.rename(tmp_path / "elsewhere.toml")
    file.symlink_to(real)
    assert run("set", "a", "heartbeat", "1") == 0
    assert file.is_symlink()
    assert real.stat().st_mode & 0o777 == mode
    assert "heartbeat = 1.0" in real.read_text(encoding="utf-8")


# The files of a new user ----------------------------------------------------------------------------------------------


async def test_init_makes_what_a_seed_needs(file: Path, capsys: pytest.CaptureFixture[str], require_tcp: None) -> None:
    assert main(["init"]) == 0
    secret = file.parent / "secret"
    assert capsys.readouterr().out.startswith(f"made {file}\nmade {secret}\n")
    if sys.platform != "win32":
        assert [path.stat().st_mode & 0o777 for path in (file, secret, file.parent)] == [0o600, 0o600, 0o700]
    assert run("set", "seed", "binds", "127.0.0.1:0") == 0
    async with open_node(profile="seed") as seed:
        assert len(seed.binds) == 1
        async with open_node(profile=True, fixed=["node_id"]) as member:
            assert member._runtime.settings.secret == (secret.read_bytes().strip(),)
    # Once more: nothing is made anew, least of all the secret.
    before = secret.read_bytes()
    assert main(["init"]) == 1
    assert "nothing was changed" in capsys.readouterr().err
    file.unlink()
    assert main(["init"]) == 0
    assert secret.read_bytes() == before


def test_a_new_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["secret", "new"]) == 0
    one = capsys.readouterr().out
    assert re.fullmatch(r"[0-9a-f]{32}\n", one)
    path = tmp_path / "secret"
    assert main(["secret", "new", "--file", str(path)]) == 0
    assert capsys.readouterr().out == ""
    text = path.read_text()
    assert re.fullmatch(r"[0-9a-f]{32}\n", text)
    assert text != one
    if sys.platform != "win32":
        assert path.stat().st_mode & 0o777 == 0o600
    assert main(["secret", "new", "--file", str(path)]) == 2
    assert f"{path} is there already and was not changed; go on with it" in capsys.readouterr().err
    assert path.read_text() == text


def test_as_a_process(file: Path) -> None:
    command = [sys.executable, "-P", "-m", "trio_mp.cli"]
    for words in (["init"], ["profile", "set", "ruth", "node_id", "ruth"], ["profile", "list"]):
        said = subprocess.run(
            [*command, *words], capture_output=True, text=True, timeout=60, check=True, env=os.environ
        )
    assert said.stdout == "  seed\n  ruth\n"
