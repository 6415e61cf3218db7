"""Tests mirror the package: each room has its folder of tests, and test modules share nothing but helper modules.

These tests read the source of the checkout and import nothing of it, so they run where the package is not installed.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
PACKAGE = TESTS.parent / "trio_mp"

PROGRAMS = {"cli": "programs"}
"""Rooms whose tests, and those of the folders in them, stand in one folder: they run whole programs."""

APART = frozenset({"house", "vocabulary"})
"""Folders of tests that belong to no room: of the repository itself, and of `_errors`, `_ids` and `_reason`."""

HARNESSES = frozenset({"chaos", "corpus", "explorer", "fuzzing", "otp", "planted", "typing_compat"})
"""Folders beside the tests that hold programs and their data. The tests of these programs stand in rooms."""


def rooms(package: Path) -> set[str]:
    """The folder of tests that each folder of the package ought to have."""
    folders = {path.parent.relative_to(package).parts for path in package.rglob("*.py")} - {()}
    return {PROGRAMS.get(parts[0]) or "/".join(part.removeprefix("_") for part in parts) for parts in folders}


def modules(package: Path) -> set[str]:
    """Where the tests of each module would stand if they needed a folder of their own."""
    parts = {path.relative_to(package).with_suffix("").parts for path in package.rglob("*.py")}
    return {"/".join(part.removeprefix("_") for part in each) for each in parts}


def misplaced(tests: Path, package: Path) -> list[str]:
    """What stands where nobody would look for it, and the rooms without tests."""
    used = {path.parent.relative_to(tests).as_posix() for path in tests.rglob("test_*.py")}
    # The tests of a room that has rooms of its own may all be in those.
    missing = {room for room in rooms(package) if not any(f"{each}/".startswith(f"{room}/") for each in used)}
    unknown = used - rooms(package) - modules(package) - APART
    beside = {path.name for path in tests.iterdir() if path.is_dir() and not path.name.startswith((".", "__"))}
    empty = beside - HARNESSES - {each.partition("/")[0] for each in used}
    return [
        *(f"expected tests of the room {room} in tests/{room}, got none" for room in sorted(missing)),
        *(f"expected a room of the package, got the folder of tests tests/{each}" for each in sorted(unknown)),
        *(f"expected tests or a harness that HARNESSES names, got tests/{each}" for each in sorted(empty)),
    ]


def imports_of_tests(tests: Path) -> list[str]:
    """The imports that take something out of a test module."""
    found: list[str] = []
    for path in sorted(tests.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or "", *(alias.name for alias in node.names if node.level or not node.module)]
            else:
                continue
            found += [
                f"{path.relative_to(tests)}:{node.lineno} imports {name}: move what both use into a helper in tests/"
                for name in names
                if name.rpartition(".")[2].startswith("test_")
            ]
    return found


def test_each_room_has_its_tests_and_each_test_its_room() -> None:
    assert misplaced(TESTS, PACKAGE) == []


def test_no_test_module_is_imported() -> None:
    assert imports_of_tests(TESTS) == []


# That these checks can fail ------------------------------------------------------------------------------------------


def make_tree(root: Path, *files: str, text: str = "") -> Path:
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


RIGHT = frozenset({"wire/test_wire.py", "pure/deep/test_deep.py", "programs/test_cli.py"})


def misplaced_of(root: Path, tests: frozenset[str]) -> str:
    package = make_tree(root / "package", "top.py", "_wire/frames.py", "_pure/deep/core.py", "cli/bench/main.py")
    return "\n".join(misplaced(make_tree(root / "tests", *tests), package))


@pytest.mark.parametrize("more", ["house/test_house.py", "wire/frames/test_frames.py", "chaos/process.py", "helper.py"])
def test_what_stands_in_its_place_is_not_reported(tmp_path: Path, more: str) -> None:
    assert misplaced_of(tmp_path, RIGHT | {more}) == ""


@pytest.mark.parametrize("without", sorted(RIGHT))
def test_a_room_without_tests_is_found(tmp_path: Path, without: str) -> None:
    room = without.rpartition("/")[0]
    assert misplaced_of(tmp_path, RIGHT - {without}) == f"expected tests of the room {room} in tests/{room}, got none"


@pytest.mark.parametrize(
    "more, place",
    [("test_more.py", "tests/."), ("found/test_x.py", "tests/found"), ("world/program.py", "tests/world")],
)
def test_what_is_misplaced_is_found(tmp_path: Path, more: str, place: str) -> None:
    assert misplaced_of(tmp_path, RIGHT | {more}).endswith(f" {place}")


@pytest.mark.parametrize(
    "text, count",
    [
        ("import test_wire", 1),
        ("from test_wire import NAME", 1),
        ("def f():\n    from tests.wire.test_wire import NAME", 1),
        ("from . import test_wire, helpers", 1),
        ("from helpers import test_data\nimport contest", 0),
    ],
)
def test_an_import_of_a_test_module_is_found(tmp_path: Path, text: str, count: int) -> None:
    assert len(imports_of_tests(make_tree(tmp_path, "wire/test_frames.py", text=text))) == count
