"""One word, one meaning: the name of a class occurs once in the package.

These tests read the source of the checkout and import nothing of it, so they run where the package is not installed.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "trio_mp"

ALLOWED: dict[str, str] = {
    "Child": "one child of a supervisor: what the rules keep of it, and what its supervisor runs of it",
}
"""Class names that several modules may define, each with the reason why all of them mean the same."""


def classes(package: Path) -> dict[str, list[str]]:
    """The places where each class name is defined, classes inside functions and classes included."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(f"{path.relative_to(package).as_posix()}:{node.lineno}")
    return found


def doubles(package: Path, allowed: dict[str, str]) -> list[str]:
    """The class names that are defined more than once without a reason, and the reasons that nothing needs."""
    several = {name: places for name, places in classes(package).items() if len(places) > 1}
    return [
        *(
            f"expected one class {name}, got {' and '.join(places)}: rename all but one, each to what it is"
            for name, places in sorted(several.items())
            if name not in allowed
        ),
        *(
            f"expected several classes {name}, got at most one: take it out of ALLOWED"
            for name in sorted(allowed.keys() - several.keys())
        ),
    ]


def test_a_class_name_occurs_once() -> None:
    assert doubles(PACKAGE, ALLOWED) == []


def test_there_are_classes_to_compare() -> None:
    assert {"Node", "Association", "SimulatedNetwork"} <= classes(PACKAGE).keys()


# That the check can fail ---------------------------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package of two modules, which both define `Probe`."""
    (tmp_path / "inner").mkdir()
    (tmp_path / "one.py").write_text("class Probe:\n    class Timer: ...\n", encoding="utf-8")
    two = "def make():\n    class Probe: ...\nclass Other: ...\n"
    (tmp_path / "inner" / "two.py").write_text(two, encoding="utf-8")
    return tmp_path


def test_a_name_with_two_meanings_is_found(package: Path) -> None:
    (problem,) = doubles(package, {})
    assert problem.startswith("expected one class Probe, got inner/two.py:2 and one.py:1")


def test_a_reason_that_nothing_needs_is_found(package: Path) -> None:
    assert doubles(package, {"Probe": "both ask for a sign of life"}) == []
    (problem,) = doubles(package, {"Probe": "both ask for a sign of life", "Other": "as well"})
    assert problem.startswith("expected several classes Other")
