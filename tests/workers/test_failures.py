"""Exceptions, described in a worker and made again here. What it says is not trusted to be well-behaved."""

from __future__ import annotations

import json
from typing import Any

import pytest
import worker_functions as functions
from hypothesis import given, strategies as st

from trio_mp import WorkerError
from trio_mp._protocol.wire import codec
from trio_mp._workers.failures import describe, rebuild, traceback_of

MODULES = ["worker_functions"]


def travel(error: BaseException) -> Exception:
    """As it arrives."""
    ((description,),) = [codec.snapshot((describe(error),))]
    return rebuild(description, MODULES)


class Bad(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")

    def __reduce__(self) -> Any:
        raise ValueError("no reduction")


class Unreduced(Exception):
    def __reduce__(self) -> str:
        return "a name"


@pytest.mark.parametrize(
    "error, type_name, text",
    [
        (Bad(), f"{__name__}.Bad", "(its text cannot be had)"),
        (Unreduced("x"), f"{__name__}.Unreduced", "x"),
        (ValueError(b"x" * 70_000), "ValueError", None),
        (ValueError([0] * 1001), "ValueError", None),
        (ValueError("\udc80"), "ValueError", "\\udc80"),
        (json.JSONDecodeError("m", "doc", 1), "json.decoder.JSONDecodeError", "m: line 1 column 2 (char 1)"),
    ],
)
def test_what_cannot_be_made_again_is_told(error: Exception, type_name: str, text: str | None) -> None:
    made = travel(error)
    assert isinstance(made, WorkerError)
    assert made.type_name == type_name
    assert text is None or made.text == text
    assert type(made).__name__ in repr(made)


def test_notes_travel() -> None:
    error = ValueError("x")
    error.add_note("one")
    error.add_note("two\udc80")
    assert travel(error).__notes__ == ["one", "two\\udc80"]


def test_groups_are_cut() -> None:
    wide = ExceptionGroup("wide", [ValueError(number) for number in range(1000)])
    made = travel(wide)
    assert isinstance(made, ExceptionGroup)
    assert len(made.exceptions) == 64
    deep: Exception = ValueError("x")
    for _ in range(50):
        deep = ExceptionGroup("deep", [deep])
    depth, made = 0, travel(deep)
    while isinstance(made, ExceptionGroup):
        depth, made = depth + 1, made.exceptions[0]
    assert depth == 8
    assert isinstance(made, WorkerError)


def test_a_group_with_what_is_no_error_becomes_one_of_errors() -> None:
    made = travel(BaseExceptionGroup("both", [ValueError(1), SystemExit(2)]))
    assert isinstance(made, ExceptionGroup)
    assert repr(made.exceptions) == "(ValueError(1), WorkerError('SystemExit', '2'))"


@pytest.mark.parametrize(
    "module, name",
    [
        ("os", "system"),
        ("builtins", "eval"),
        ("builtins", "SystemExit"),
        ("builtins", "print"),
        ("builtins", "no_such_name"),
        ("trio", "run"),
        ("worker_functions", "is_not_spawnable"),
        ("worker_functions", "Path"),
        ("worker_helpers", "Rig"),
    ],
)
def test_nothing_but_exceptions_is_called(module: str, name: str) -> None:
    made = rebuild([module, name, ["x"], "text", [], None], MODULES)
    assert type(made) is WorkerError
    assert made.text == "text"


def test_exceptions_of_other_modules_are_not_made() -> None:
    description = ["worker_functions", "OwnError", ["x"], "x", [], None]
    assert type(rebuild(description, MODULES)) is functions.OwnError
    assert type(rebuild(description, [])) is WorkerError


@given(st.lists(st.one_of(st.integers(-9, 9), st.text(max_size=5), st.none(), st.binary(max_size=5)), max_size=5))
def test_builtin_exceptions_survive_any_arguments(arguments: list[Any]) -> None:
    for kind in (ValueError, OSError, UnicodeDecodeError, KeyError, StopIteration, ImportError, ExceptionGroup):
        made = rebuild(["builtins", kind.__name__, arguments, "text", [], None], MODULES)
        assert type(made) is WorkerError or isinstance(made, kind)
        assert isinstance(str(made), str)


def test_the_traceback_begins_with_the_function() -> None:
    def fail() -> None:
        raise ValueError("x")

    try:
        fail()
    except ValueError as error:
        text = traceback_of(error)
    assert text.startswith("Traceback (most recent call last):\n")
    assert "in fail" in text
    assert "in test_the_traceback" not in text
    assert text.endswith("ValueError: x")
    assert traceback_of(ValueError("never raised")) == "ValueError: never raised"
