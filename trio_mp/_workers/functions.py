"""Functions that workers run: the names by which they travel, and the check of what a worker may call."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Collection
from typing import Any

from .._services.spawning import is_spawnable


class Callables:
    """The functions that the program gives to workers, and their names. Each function is checked once.

    Args:
      modules: the modules that workers import.
    """

    def __init__(self, modules: Collection[str]) -> None:
        self._modules = modules
        self._known: dict[Callable[..., Any], tuple[str, bool]] = {}

    def name_of(self, function: Callable[..., Any]) -> tuple[str, bool]:
        """Return the name of a function, `module:function`, and whether it is async.

        Raises:
          TypeError: a worker cannot find the function by a name, or it is not `@spawnable`.
          ValueError: the workers do not import the function's module.
        """
        try:
            return self._known[function]
        except (KeyError, TypeError):
            named = self._known[function] = self._check(function)
            return named

    def _check(self, function: Callable[..., Any]) -> tuple[str, bool]:
        if not inspect.isfunction(function):
            raise TypeError(
                f"workers: expected a function at the top level of a module, got {function!r}:"
                " a worker finds it by its name; write a function of your own that calls it"
            )
        module, name = function.__module__, function.__qualname__
        if getattr(sys.modules.get(module), name, None) is not function:
            raise TypeError(
                f"workers: expected a function at the top level of a module, got {function!r},"
                f" which is not what {module}.{name} is: a worker finds it by that name"
            )
        if not is_spawnable(function):
            raise TypeError(f"workers: expected a @spawnable function, got {module}.{name}; write that above it")
        if inspect.isasyncgenfunction(function):
            raise TypeError(f"workers: expected a function without a `yield` in it, got {module}.{name}")
        if module not in self._modules:
            raise ValueError(
                f"workers: expected a function of {', '.join(self._modules)}, got {module}.{name};"
                f" give open_workers() modules=[{module!r}]"
            )
        return f"{module}:{name}", inspect.iscoroutinefunction(function)


class Released:
    """The functions that a worker may call, by their names.

    Args:
      modules: the modules whose functions may be called; they have been imported.
    """

    def __init__(self, modules: Collection[str]) -> None:
        self._modules = modules
        self._found: dict[str, Callable[..., Any]] = {}

    def find(self, reference: str) -> Callable[..., Any]:
        """Return the function of this name. Raises `LookupError`, with a text that says what is wrong."""
        found = self._found.get(reference)
        if found is not None:
            return found
        module, _, name = reference.partition(":")
        # By `vars`, so that a `__getattr__` of the module is not called.
        function = vars(sys.modules[module]).get(name) if module in self._modules else None
        if not is_spawnable(function):
            raise LookupError(f"the worker has no @spawnable function {reference}; its source may have changed since")
        self._found[reference] = function
        return function
