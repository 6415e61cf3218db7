"""The check of async functions finds what it is for, exempts what it is told to, and nothing else.

flake8-async itself is in the environment of `nox -s lint` alone, which runs this, too.
"""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import pytest
from async_rules import EXEMPTIONS, PACKAGE, Finding, function_at, judge, look, public_names, read_exemptions, reduce

SOURCE = '''\
"""A module."""
import trio
from contextlib import (
    asynccontextmanager,
)

LONG = [
    1,
]

class Port:
    """A port."""

    size = 1

    def get(self):
        return 1

    @property
    async def receive(self, early):
        if early:
            return None
        await trio.sleep(1)

def plain():
    return 1

def maker():
    async def made():
        while True:
            pass
    return made
'''


def test_a_copy_has_the_imports_and_async_functions_on_their_lines() -> None:
    copy = reduce(SOURCE).splitlines()
    before = SOURCE.splitlines()
    assert len(copy) == len(before)
    assert all(line in {"", other} for line, other in zip(copy, before, strict=True))
    assert {"class Port:", "    @property", "    async def receive(self, early):", "def maker():"} <= set(copy)
    assert not {"def plain():", "    size = 1", "    def get(self):", "LONG = [", '    """A port."""'} & set(copy)
    ast.parse("\n".join(copy))
    assert reduce("def plain():\n    return 1\n") == ""


@pytest.mark.parametrize("line, name", [(1, "(module)"), (14, "Port"), (21, "Port.receive"), (30, "maker.made")])
def test_a_line_belongs_to_a_function(line: int, name: str) -> None:
    assert function_at(ast.parse(SOURCE), line) == name


def test_users_call_what_the_doors_name() -> None:
    assert {"Node", "Port", "open_node", "SimulatedNetwork", "Transport"} <= public_names(PACKAGE)


@pytest.mark.parametrize(
    "function, rule, wrong",
    [
        ("Port.receive", "ASYNC910", True),
        ("Port._receive", "ASYNC910", False),
        ("Port.__aenter__", "ASYNC911", True),
        ("Other.receive", "ASYNC910", False),
        ("Other.receive", "ASYNC912", True),
        ("Port._receive", "ASYNC102", True),
    ],
)
def test_which_findings_count(function: str, rule: str, wrong: bool) -> None:
    found = [Finding("a.py", 3, function, rule, "text")]
    said = [f"trio_mp/a.py:3: {rule} in {function}: text"]
    assert judge(found, frozenset({"Port"}), []) == (said if wrong else [])
    if wrong:
        assert judge(found, frozenset({"Port"}), [("a.py", function, rule)]) == []


def test_an_exemption_that_nothing_needs_is_found() -> None:
    assert judge([], frozenset(), [("a.py", "f", "ASYNC102")]) == [
        "trio_mp/a.py: expected ASYNC102 in f, got none: take the exemption out"
    ]


@pytest.mark.parametrize("line", ["a.py f ASYNC102", "a.py f ASYNC102:", "a.py f: it is shielded", "", "f ASYNC1: so"])
def test_an_exemption_without_a_reason_is_an_error(line: str) -> None:
    with pytest.raises(ValueError, match="expected FILE FUNCTION RULE: WHY"):
        read_exemptions(f"a.py f ASYNC102: it is shielded\n{line}\n")


def test_exemptions_are_sorted_by_file_and_name_functions() -> None:
    exempt = read_exemptions(EXEMPTIONS.read_text(encoding="utf-8"))
    for file, function, _ in exempt:
        names = function.split(".")
        text = (PACKAGE / file).read_text(encoding="utf-8")
        assert function == "(module)" or all(f"def {name}(" in text or f"class {name}" in text for name in names)


@pytest.mark.skipif(importlib.util.find_spec("flake8_async") is None, reason="flake8-async: run by nox -s lint")
def test_flake8_async_finds_what_is_planted(tmp_path: Path) -> None:
    (tmp_path / "sync.py").write_text("def plain():\n    return 1\n", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    planted = """\
import trio

async def forgets(early):
    if early:
        return
    await trio.sleep(1)

async def hangs(stop):
    while True:
        stop()

async def limits(wait):
    with trio.move_on_after(1):
        if wait:
            await trio.sleep(1)
    await trio.sleep(1)

async def generates():
    yield 1
    await trio.sleep(1)

async def unshielded():
    try:
        await trio.sleep(1)
    finally:
        await trio.sleep(1)
"""
    (tmp_path / "folder" / "planted.py").write_text(planted, encoding="utf-8")
    found = {(each.file, each.function, each.rule) for each in look(tmp_path)}
    assert {
        ("folder/planted.py", "forgets", "ASYNC910"),
        ("folder/planted.py", "hangs", "ASYNC913"),
        ("folder/planted.py", "limits", "ASYNC912"),
        ("folder/planted.py", "generates", "ASYNC900"),
        ("folder/planted.py", "unshielded", "ASYNC102"),
    } <= found
    assert not {function for _, function, rule in found if rule == "ASYNC912"} - {"limits"}
