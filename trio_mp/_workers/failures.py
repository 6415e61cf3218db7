"""Exceptions on their way from a worker to the caller: the worker describes them, and the caller's side makes them.

Nothing is unpickled. An exception travels as the name of its type, its text, and the arguments of its constructor, if
these are values that travel. Only types that both sides have are made: those of Python and Trio, and those of the
modules whose functions the workers run. Any other exception arrives as a `WorkerError`.
"""

from __future__ import annotations

import builtins
import sys
import traceback
from collections.abc import Collection
from typing import cast

import trio

from .._errors import WorkerError
from .._protocol.wire.amount import holds_at_most
from .._protocol.wire.values import plain_message
from .main_module import IMPORTED, MAIN

_LONGEST_TEXT = 4000
_LONGEST_TRACEBACK = 20_000
_MOST_VALUES = 1000
_LONGEST_ARGUMENTS = 64 * 1024
_DEEPEST = 8
_WIDEST = 64
"""How many exceptions of a group are described, and how deep groups nest."""

_MEAN_SOMETHING = (StopIteration, StopAsyncIteration, GeneratorExit)
"""The types that would end a loop, or become a RuntimeError, if the caller's side raised them again."""


def describe(error: BaseException) -> list[object]:
    """Describe an exception by values that travel: module, name, args or None, text, notes, group parts or None."""
    return _describe(error, 0)


def _describe(error: BaseException, depth: int) -> list[object]:
    kind = type(error)
    parts: list[object] | None = None
    arguments: object = None
    if isinstance(error, BaseExceptionGroup):
        if depth < _DEEPEST:
            parts = [_describe(part, depth + 1) for part in error.exceptions[:_WIDEST]]
    else:
        try:
            # Not `args`, because some types need more: OSError also has a file.
            maker, made_of, *_ = cast("tuple[object, ...]", error.__reduce__())
            if maker is kind and isinstance(made_of, tuple):
                plain = plain_message(made_of, thorough=True)
                arguments = plain if holds_at_most(plain, _MOST_VALUES, _LONGEST_ARGUMENTS) else None
        except Exception:  # noqa: BLE001 - the program's own __reduce__ may do anything
            arguments = None
    notes = getattr(error, "__notes__", ())
    notes = [_printable(note) for note in notes] if isinstance(notes, list | tuple) else []
    text = error.message if isinstance(error, BaseExceptionGroup) else _text_of(error)
    module = MAIN if kind.__module__ == IMPORTED else kind.__module__
    return [module, kind.__qualname__, arguments, _printable(text), notes, parts]


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - the program's own __str__ may do anything
        return "(its text cannot be had)"


def _printable(text: object, longest: int = _LONGEST_TEXT) -> str:
    """Make a text that can be encoded: an exception may hold a lone surrogate, or a value that is no text."""
    whole = text if isinstance(text, str) else repr(text)
    cut = whole if len(whole) <= longest else whole[: longest // 2] + "\n…\n" + whole[-longest // 2 :]
    return cut.encode("utf-8", "backslashreplace").decode("utf-8")


def traceback_of(error: BaseException) -> str:
    """Format the traceback of an exception that a worker has caught, without the worker's own frame."""
    trace = error.__traceback__.tb_next if error.__traceback__ is not None else None
    try:
        lines = traceback.format_exception(type(error), error, trace)
    except Exception:  # noqa: BLE001 - it formats the program's objects, which may raise
        lines = [type(error).__name__]
    return _printable("".join(lines).rstrip(), _LONGEST_TRACEBACK)


def rebuild(description: object, modules: Collection[str]) -> Exception:
    """Make the exception of a description: of its own type if possible, else a `WorkerError`.

    Args:
      description: the value that `describe` has made.
      modules: the modules whose exceptions may be made, beside those of Python and Trio.
    """
    module, name, arguments, text, notes, parts = cast(
        "tuple[str, str, list[object] | None, str, list[str], list[object] | None]", description
    )
    error: Exception | None = None
    if parts is not None and module == "builtins":
        error = ExceptionGroup(text, [rebuild(part, modules) for part in parts])
    else:
        kind = _find(module, name, modules)
        if kind is not None and arguments is not None:
            try:
                error = kind(*arguments)
            except Exception:  # noqa: BLE001 - a constructor that takes something else than `args`
                error = None
    # Checked on the object, because some types make another type for some arguments, as OSError does.
    if error is None or isinstance(error, _MEAN_SOMETHING):
        error = WorkerError(name if module == "builtins" else f"{module}.{name}", text)
    for note in notes:
        error.add_note(note)
    return error


def _find(module: str, name: str, modules: Collection[str]) -> type[Exception] | None:
    """Return the type of this name, if exceptions of that type may be made here."""
    if module in ("builtins", "trio"):
        found: object = getattr(builtins if module == "builtins" else trio, name, None)
    elif module in modules and module in sys.modules:
        # By `vars`, so that a `__getattr__` of the module is not called.
        found = vars(sys.modules[module]).get(name)
    else:
        return None
    return found if isinstance(found, type) and issubclass(found, Exception) else None
