"""Every log record of the package says by a word what has happened, and the table of words is true."""

from __future__ import annotations

import ast
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

import trio_mp
from trio_mp._events import EVENTS, fields
from trio_mp._peers.traffic import CAUSES

SOURCE = Path(trio_mp.__file__).parent
LOGGING = {"debug", "info", "warning", "error", "exception", "log", "critical"}
APART = {"cli", "testing"}
"""Rooms whose records are about the program that runs there."""


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE)
        if name.parts[0] not in APART:
            yield str(name), ast.parse(path.read_text(encoding="utf-8"))


def log_calls(tree: ast.Module) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LOGGING:
            logger = ast.unparse(node.func.value)
            if logger.endswith(("log", "logger")):
                yield node


def events_of(call: ast.Call, tree: ast.Module) -> list[str]:
    """The words that a call of `fields` may give, which is what the argument `extra` of a log call has to be."""
    extra: ast.AST | None = {keyword.arg: keyword.value for keyword in call.keywords}.get("extra")
    if isinstance(extra, ast.Name):
        above = [node for node in ast.walk(tree) if isinstance(node, ast.Assign) and node.lineno < call.lineno]
        extra = max(above, key=lambda node: node.lineno).value
    if not (isinstance(extra, ast.Call) and ast.unparse(extra.func) == "fields"):
        return []
    texts = [node.value for node in ast.walk(extra.args[0]) if isinstance(node, ast.Constant)]
    return [text for text in texts if isinstance(text, str) and text in EVENTS]


CALLS = [(f"{name}:{call.lineno}", events_of(call, tree)) for name, tree in modules() for call in log_calls(tree)]


def test_there_are_log_calls() -> None:
    assert len(CALLS) > 60


@pytest.mark.parametrize("place, events", CALLS, ids=[place for place, _ in CALLS])
def test_each_record_names_its_event(place: str, events: list[str]) -> None:
    assert events, f"{place}: expected extra=fields(…) with a word of _events.EVENTS"


def test_each_event_is_used() -> None:
    assert {event for _, events in CALLS for event in events} == set(EVENTS)


def test_events_are_words_in_order_that_say_what_has_happened() -> None:
    assert list(EVENTS) == sorted(EVENTS)
    assert all(word.isidentifier() and word.islower() and text[0].islower() for word, text in EVENTS.items())


def test_fields_are_texts_and_hide_nothing_of_a_record() -> None:
    found = fields("seed", "a", peer="b", reason="c")
    assert found == {"node": "a", "peer": "b", "event": "seed", "reason": "c"}
    record = logging.LogRecord("trio_mp", logging.INFO, "path", 1, "text", (), None)
    assert not set(found) & set(vars(record))


@pytest.mark.parametrize("name, table", [("loggers", EVENTS), ("observing", CAUSES)], ids=["events", "causes"])
def test_the_page_has_each_row(name: str, table: dict[str, str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / f"{name}.md").read_text(encoding="utf-8")
    rows = "".join(f"| `{word}` | {text} |\n" for word, text in table.items())
    assert f"| --- | --- |\n{rows}" in page, f"docs/{name}.md: expected this table:\n{rows}"
