"""What the repository runs itself takes no setting from whoever runs it: demo, benchmarks, harnesses and tests.

These tests read the source of the checkout and import nothing of it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PROGRAMS = [*(ROOT / "trio_mp" / "cli").rglob("*.py"), *(ROOT / "tests" / "chaos").rglob("*.py")]
"""Programs that are also started outside of pytest. All others are tests, or run by them."""

CALL = re.compile(r"(?<![\w.])(?:trio_mp\.)?open_node\(")


def exposed(text: str) -> list[str]:
    """The calls of `open_node`, those in texts too, that may take settings from outside."""
    calls = [text[found.end() :].lstrip() for found in CALL.finditer(text)]
    return [call[:40] for call in calls if "profile=False" not in call[:100]]


def test_no_program_of_the_repository_takes_settings_from_outside() -> None:
    found = {str(path.relative_to(ROOT)): exposed(path.read_text(encoding="utf-8")) for path in PROGRAMS}
    assert sum(len(CALL.findall(path.read_text(encoding="utf-8"))) for path in PROGRAMS) > 5
    assert not {path: calls for path, calls in found.items() if calls}


def test_tests_have_no_settings_in_their_environment() -> None:
    assert os.environ["TRIO_MP_CONFIG"] == os.devnull
    others = {"TRIO_MP_CONFIG", "TRIO_MP_REQUIRE_TCP", "TRIO_MP_TEST_INSTALLED", "TRIO_MP_PLANTED_COPY"}
    assert not {name for name in os.environ if name.startswith("TRIO_MP_")} - others


def test_neither_have_benchmarks() -> None:
    text = (ROOT / "benchmarks" / "__init__.py").read_text(encoding="utf-8")
    assert 'os.environ["TRIO_MP_CONFIG"] = os.devnull' in text


@pytest.mark.parametrize(
    "text, count",
    [
        ("async with open_node() as node:", 1),
        ('trio_mp.open_node("a", binds=[x])', 1),
        ('PROGRAM = "async with trio_mp.open_node():"', 1),
        ("open_node(\n    node_id,\n    profile=False,\n)", 0),
        ("network.open_node('a')", 0),
        ("reopen_node()", 0),
    ],
)
def test_a_call_that_takes_settings_from_outside_is_found(text: str, count: int) -> None:
    assert len(exposed(text)) == count
