"""The sessions of nox and `.ci/run`: CI runs each default session once, in one of two halves, and `fresh` beside one.

These tests read the source of the checkout and import nothing of it: nox is not in the environment of the tests.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOXFILE = (ROOT / "noxfile.py").read_text(encoding="utf-8")
HALVES = {"TESTS": "tests", "CHECKS": "checks"}


def sessions_of(source: str) -> dict[str, dict[str, str]]:
    """The arguments of the decorator of each session, as text."""
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(source).body:
        if not isinstance(node, ast.FunctionDef):
            continue
        for decorator in node.decorator_list:
            if ast.unparse(decorator).startswith("nox.session"):
                keywords = decorator.keywords if isinstance(decorator, ast.Call) else []
                found[node.name] = {each.arg or "": ast.unparse(each.value) for each in keywords}
    return found


def wrong_halves(source: str) -> list[str]:
    """The sessions that CI would leave out, or run in both halves, or run though they are no default ones."""
    wrong = []
    for name, arguments in sessions_of(source).items():
        halves = [half for half in HALVES if half in arguments.get("tags", "")]
        expected = 0 if arguments.get("default") == "False" or name == "fresh" else 1
        if len(halves) != expected:
            wrong.append(f"{name}: expected {expected} of the tags {', '.join(HALVES)}, got {len(halves)}")
    return wrong


def test_each_default_session_is_in_one_half() -> None:
    sessions = sessions_of(NOXFILE)
    assert {"tests", "tests_debian", "typing", "lint", "docs", "hammer", "fresh", "tally", "lowest"} <= set(sessions)
    assert wrong_halves(NOXFILE) == []
    assert sessions["fresh"]["default"] == "'CI' in os.environ"


@pytest.mark.parametrize(
    "decorator, count",
    [
        ("@nox.session", 1),
        ("@nox.session(python=PYTHONS)", 1),
        ("@nox.session(tags=[*TESTS, *CHECKS])", 1),
        ("@nox.session(default=False, tags=TESTS)", 1),
        ("@nox.session(tags=TESTS)", 0),
        ("@nox.session(default=False)", 0),
        ("@decorator", 0),
    ],
)
def test_a_session_in_no_half_or_in_both_is_found(decorator: str, count: int) -> None:
    assert len(wrong_halves(f"{decorator}\ndef name(session):\n    pass\n")) == count


def test_ci_runs_both_halves_and_fresh_seeds() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    ran = re.findall(r'^(?:nice -n 10 )?"\$\{nox\[@\]\}" (-[ts] \w+)', script, re.MULTILINE)
    assert ran == ["-t tests", "-s fresh", "-t checks"]
