"""The table of planted faults follows the code. Whether they are caught is for `nox -s faults` to say."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest
from planted.fault import Change, Fault, Stale, changed
from planted.faults import FAULTS
from planted.trial import ROOT, SOURCE, try_fault

QUEUE = "_protocol/association/queue.py"
_LARGE = "if end - start > limit:"
LIMIT = "tests/protocol/association/test_queue.py::test_a_message_over_the_limit_is_refused_and_leaves_no_trace"


@functools.cache
def names_in(path: Path) -> frozenset[str]:
    """The node IDs of all tests and classes in a file, without parameters."""
    found = {path.name}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(f"{path.name}::{node.name}")
        if isinstance(node, ast.ClassDef):
            parts = [part for part in node.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)]
            found |= {f"{path.name}::{node.name}::{part.name}" for part in parts}
    return frozenset(found)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_can_be_planted_and_names_tests_that_exist(fault: Fault) -> None:
    texts: dict[str, str] = {}
    for change in fault.changes:
        text = texts.get(change.file) or (SOURCE / change.file).read_text(encoding="utf-8")
        texts[change.file] = changed(change, text)
    for file, text in texts.items():
        compile(text, file, "exec")
    assert fault.tests
    for test in fault.tests:
        path, separator, rest = test.partition("[")[0].partition("::")
        assert f"{Path(path).name}{separator}{rest}" in names_in(ROOT / path), test


def test_no_two_faults_have_the_same_name() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 24


@pytest.mark.parametrize("old", ["a text that is not there", "self"])
def test_a_fault_that_does_not_follow_the_code_is_an_error(old: str) -> None:
    with pytest.raises(Stale, match=QUEUE):
        changed(Change(QUEUE, old, ""), (SOURCE / QUEUE).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "old, new, test, verdict",
    [
        (_LARGE, "if False:", LIMIT, "caught"),
        (_LARGE, "if limit < end - start:", LIMIT, "survived"),
        (_LARGE, _LARGE, "tests/protocol/association/test_queue.py::test_that_does_not_exist", "no trial"),
        ("from __future__ import annotations", "from __future__ import nothing", LIMIT, "no trial"),
    ],
)
def test_a_trial_says_what_came_of_it(old: str, new: str, test: str, verdict: str) -> None:
    outcome = try_fault(Fault("one", "", (Change(QUEUE, old, new),), (test,)))
    assert outcome.verdict == verdict, outcome
    assert outcome.test == (test if verdict == "caught" else "")
