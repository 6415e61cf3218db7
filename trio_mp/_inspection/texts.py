"""Texts that an inspection shows: the names of functions, and other texts without the IDs of ports.

Whoever knows the ID of a port can kill it. So where `inspect` is `"read"`, no text may hold one. Names of functions are
taken from code, never from what a program's object prints as: a `functools.partial` prints its arguments.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import trio

LONGEST = 200
"""How many characters a text has, at most."""

_HIDDEN = "…"
# The names that a node gives to its ports, in both forms: see `_ids.py`. What else stands behind a node ID and a `#` is
# hidden as well, since another program may name its ports differently.
_BEHIND_NODE = r"(?<=#)[A-Za-z0-9_.\-]{4,64}"
_NAMES = re.compile(
    rf"{_BEHIND_NODE}"
    r"|(?<![A-Za-z0-9_\-])[A-Za-z0-9_\-]{8}\.[A-Za-z0-9_\-]{16}(?![A-Za-z0-9_\-])"
    r"|(?<![A-Za-z0-9_\-])[A-Za-z0-9_\-]{16}\.[0-9]{1,19}\.[A-Za-z0-9_\-]{16}(?![A-Za-z0-9_\-])"
)
# In the name of a function only this: `package.a_function_of_16` looks like the name of a port.
_IN_CODE = re.compile(_BEHIND_NODE)
# With the separator behind them: both folders stand in one, and the name of one begins with that of the other.
_PACKAGE = str(Path(__file__).resolve().parents[1]) + os.sep
_TRIO = str(Path(trio.__file__).resolve().parent) + os.sep


def without_ids(text: str) -> str:
    """A text without the names of ports, of which an ellipsis takes the place."""
    return _NAMES.sub(_HIDDEN, text)


def shortened(text: str) -> str:
    """A text of at most `LONGEST` characters, which can be encoded."""
    if len(text) > LONGEST:
        text = text[: LONGEST - 1] + _HIDDEN
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def name_of(function: Callable[..., Any]) -> str:
    """The name of a function of a program, as `package.module:name`. It runs none of the program's code."""
    for _ in range(10):
        # The wrappers of this package, and those of `functools`.
        if isinstance(function, functools.partial):
            function = function.func
        elif inspect.ismethod(function):
            function = function.__func__
        else:
            wrapped = inspect.getattr_static(function, "__wrapped__", None)
            if isinstance(wrapped, property):
                wrapped = getattr(function, "_function", None)
            if not callable(wrapped):
                break
            function = wrapped
    if inspect.isfunction(function) or inspect.isbuiltin(function) or inspect.isclass(function):
        return _code_name(function.__module__ or "builtins", function.__qualname__)
    return _code_name(type(function).__module__, type(function).__qualname__)


def _code_name(module: object, name: str) -> str:
    return shortened(_IN_CODE.sub(_HIDDEN, f"{module}:{name}"))


def is_ours(code: CodeType) -> bool:
    """Whether this is code of the package itself."""
    return code.co_filename.startswith(_PACKAGE)


def is_trios(code: CodeType) -> bool:
    """Whether this is code of Trio."""
    return code.co_filename.startswith(_TRIO)


def name_of_code(frame: FrameType) -> str:
    """The name of the function that a frame runs, as `package.module:name`; one of Trio as `trio:name`."""
    # Programs do not know the modules of Trio.
    module = "trio" if is_trios(frame.f_code) else frame.f_globals.get("__name__")
    return _code_name(module if isinstance(module, str) else "?", frame.f_code.co_qualname)


def program_function(task: trio.lowlevel.Task) -> str:
    """The name of the outermost function that a task runs and that is none of this package; empty without one."""
    for frame, _ in task.iter_await_frames():
        if not is_ours(frame.f_code):
            return name_of_code(frame)
    return ""
