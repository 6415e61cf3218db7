"""The check of sdists and wheels finds what is not the same, what is missing and what is too much.

Building takes long, so only `nox -s build` does it; here the check meets small files that are broken on purpose.
"""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from distributions import IN_SDIST, IN_WHEEL, differences, main, wrong_contents, wrong_release

NAME = "trio_mp-1.0"


def make_wheel(folder: Path, *more: str, without: str = "", text: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{NAME}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name in [*IN_WHEEL, f"{NAME}.dist-info/METADATA", *more]:
            if name != without:
                wheel.writestr(zipfile.ZipInfo(name), text)
    return path


def make_sdist(folder: Path, *more: str, without: str = "", changes: bytes = b"") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{NAME}.tar.gz"
    with tarfile.open(path, "w") as sdist:
        for name in [*IN_SDIST, *more]:
            if name != without:
                data = changes if name == "CHANGELOG.md" else b""
                member = tarfile.TarInfo(f"{NAME}/{name}")
                member.size = len(data)
                sdist.addfile(member, io.BytesIO(data))
    return path


def test_two_builds_that_are_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("first", "second"):
        make_wheel(tmp_path / name)
        make_sdist(tmp_path / name)
    assert main([str(tmp_path / "first"), str(tmp_path / "second")]) == 0
    assert capsys.readouterr().out == f"the same, and complete: {NAME}-py3-none-any.whl, {NAME}.tar.gz\n"


def test_a_difference_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    make_wheel(first)
    path = make_wheel(second, text="# other")
    assert main([str(first), str(second)]) == 1
    assert capsys.readouterr().out == f"expected the bytes of {first / path.name}, got others in {path}\n"
    path.rename(second / "trio_mp-2.0-py3-none-any.whl")
    assert "expected the name of" in differences([first, second])[0]


def test_one_build_is_nothing_to_compare(tmp_path: Path) -> None:
    make_wheel(tmp_path / "first")
    assert differences([tmp_path / "first"]) == ["expected two builds to compare, got one"]
    assert differences([tmp_path / "first", tmp_path / "none"]) == [
        f"{tmp_path / 'none'}: expected an sdist or a wheel, got neither"
    ]


@pytest.mark.parametrize("name", ["tests/test_a.py", "trio_mp/__pycache__/a.pyc", "trio_mp/data.bin", "LICENSE-MIT"])
def test_what_does_not_belong_into_a_wheel_is_found(tmp_path: Path, name: str) -> None:
    assert wrong_contents(make_wheel(tmp_path, name)) != []
    assert wrong_contents(make_wheel(tmp_path)) == []


@pytest.mark.parametrize("name", [".hypothesis/examples/1", "trio_mp/__pycache__/a.pyc", "dist/x.whl", ".mypy_cache/x"])
def test_what_does_not_belong_into_an_sdist_is_found(tmp_path: Path, name: str) -> None:
    assert wrong_contents(make_sdist(tmp_path, name)) != []
    assert wrong_contents(make_sdist(tmp_path)) == []


@pytest.mark.parametrize("name", ["trio_mp/py.typed", "trio_mp/_version.py"])
def test_what_is_missing_in_a_wheel_is_found(tmp_path: Path, name: str) -> None:
    path = make_wheel(tmp_path, without=name)
    assert wrong_contents(path) == [f"{path}: expected {name}, got no such file"]


@pytest.mark.parametrize("name", ["SECURITY.md", "tests/conftest.py"])
def test_what_is_missing_in_an_sdist_is_found(tmp_path: Path, name: str) -> None:
    path = make_sdist(tmp_path, without=name)
    assert wrong_contents(path) == [f"{path}: expected {name}, got no such file"]


RELEASED = b"# Changes\n\n## 1.0 (2026-01-01)\n"


def test_a_tag_and_its_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_wheel(tmp_path)
    make_sdist(tmp_path, changes=RELEASED)
    assert main(["--tag", "v1.0", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "v1.0: the files, the version and the changelog agree\n"
    assert main(["--tag", "v1.0.1", str(tmp_path)]) == 1
    assert wrong_release("1.0", tmp_path) == ["expected a tag such as v1.2.3, got 1.0"]


@pytest.mark.parametrize("changes, more", [(b"## 0.9 (2025-01-01)\n", ""), (RELEASED, "changes/+more.added.md")])
def test_a_changelog_without_the_release_is_found(tmp_path: Path, changes: bytes, more: str) -> None:
    make_wheel(tmp_path)
    path = make_sdist(tmp_path, *filter(None, [more]), changes=changes)
    (said,) = wrong_release("v1.0", tmp_path)
    assert said.startswith(f"{path}: expected {'no fragment' if more else 'the changes of 1.0'}")
