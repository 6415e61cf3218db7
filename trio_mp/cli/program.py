"""The program of `trio-mp run`: the function that its words name."""

from __future__ import annotations

import difflib
import importlib
import inspect
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from .._errors import ConfigurationError
from .._node.node import Node
from .._settings.checks import ServiceReference, services


@dataclass(frozen=True, slots=True)
class Program:
    """An async function of a program, and the words for it.

    Attributes:
      name: `module:function`.
      function: called as `await function(node, *arguments)`.
      arguments: the words behind the name on the command line.
    """

    name: str
    function: Callable[..., Awaitable[object]]
    arguments: tuple[str, ...]

    async def run(self, node: Node) -> None:
        """Run the program. It raises whatever the program raises."""
        await self.function(node, *self.arguments)


def find_modules_here() -> None:
    """Let imports find the modules of the current folder first, as `python -m` does it."""
    here = str(Path.cwd())
    if not sys.flags.safe_path and sys.path[:1] not in ([""], [here]):
        sys.path.insert(0, here)


def find_program(words: Sequence[str]) -> Program:
    """Import the module of a program, and find the function.

    Args:
      words: `MODULE` or `MODULE:FUNCTION`, and the arguments of the function.

    Raises:
      ConfigurationError: there is no such module or function, it is not async, or does not take the arguments.
      whatever the module raises when it is imported.
    """
    text, *arguments = words
    if text == "profile" and not (Path("profile.py").exists() or Path("profile").is_dir()):
        # So the tool of AnyEvent::MP has it. Python has a module of this name, whose error would lead astray.
        got, name = " ".join(words[:2]), (arguments or ["NAME"])[0]
        raise ConfigurationError(f"run: expected MODULE, got {got!r}; write --profile {name}")
    reference = _reference(text)
    module = _import(reference.module)
    name = f"{reference.module}:{reference.function}"
    function = getattr(module, reference.function, None)
    if function is None:
        raise ConfigurationError(_no_function(module, reference.function))
    if not _is_async(function):
        got = "a sync one" if callable(function) else repr(function)
        raise ConfigurationError(
            f"run: {name}: expected an async function, `async def {reference.function}(node)`, got {got}"
        )
    signature = inspect.signature(function)
    try:
        signature.bind(None, *arguments)
    except TypeError as error:
        raise ConfigurationError(
            f"run: {name}{signature}: the arguments {arguments!r} behind the node do not fit: {error}"
        ) from None
    return Program(name, function, tuple(arguments))


def _reference(text: str) -> ServiceReference:
    path = text.partition(":")[0].removeprefix("./")
    if path.endswith(".py"):
        module = path.removesuffix(".py").replace("/", ".")
        raise ConfigurationError(f"run: expected the name of a module, got the file {path}; write {module}")
    try:
        (reference,) = services("run", [text])
    except ConfigurationError:
        raise ConfigurationError(f"run: expected MODULE or MODULE:FUNCTION, got {text!r}") from None
    return reference


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Only of this name: a module that imports another one, which is not there, has a traceback worth seeing.
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise ConfigurationError(
            f"run: expected the name of a module that Python finds in {Path.cwd()} or where packages are installed,"
            f" got {name!r}: {error}"
        ) from None


def _no_function(module: ModuleType, function: str) -> str:
    there = [name for name, value in vars(module).items() if _is_async(value) and not name.startswith("_")]
    near = difflib.get_close_matches(function, there, n=1)
    if near:
        hint = f"did you mean {module.__name__}:{near[0]}?"
    elif there:
        hint = f"it has {', '.join(there)}"
    else:
        hint = f"write `async def {function}(node)`"
    return f"run: there is no function {function} in the module {module.__name__}; {hint}"


def _is_async(function: Any) -> bool:
    # An object that is callable says in its type how it is called.
    called = type(function).__call__ if callable(function) else None
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)
