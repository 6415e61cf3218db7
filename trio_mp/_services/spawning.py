"""Spawning: making ports for others, and initialising them with functions that the program has released for it."""

from __future__ import annotations

import importlib
import inspect
import logging
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from .._errors import ConfigurationError, PortDied
from .._ports.lifecycle import call_async
from .._ports.port import Port, attach_mailbox, lifecycle_of, new_port, state_of
from .._protocol.requests import Spawn
from .._reason import NORMAL, Reason, exception_reason, is_normal, spawn_failed
from .._runtime import Runtime

F = TypeVar("F", bound=Callable[..., Any])

log = logging.getLogger("trio_mp.spawn")

_MARK = "__trio_mp_spawnable__"
_REFERENCE = re.compile(r"(?:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*|:):[A-Za-z_]\w*", re.ASCII)
_LONGEST_REFERENCE = 1000
_REMEMBERED_FAILURES = 1024


def spawnable(function: F) -> F:
    """Release a function for `Node.spawn`: whoever may connect may have it called, with whatever arguments.

    It is called as `function(port, *arguments)` in the context of a new port. A sync function installs handlers;
    messages wait until it has returned. An async function is the port's task, and has a mailbox to receive from; when
    it returns the port dies normally, when it raises with `("die", …)`.

    Raises:
      TypeError: it is not a function at the top level of a module: no other can be found by its name.
    """
    if not _at_top_level(function):
        raise TypeError(f"only functions at the top level of a module can be spawnable, not {function!r}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"a function with a `yield` in it cannot be spawnable: {function!r} would never run")
    setattr(function, _MARK, True)
    return function


def _at_top_level(function: object) -> bool:
    return inspect.isfunction(function) and function.__qualname__ == function.__name__


def import_spawn_modules(names: Iterable[str]) -> None:
    """Import the modules whose functions may be spawned. Raises `ConfigurationError`, naming the module."""
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:
            # Whatever the module raises; and importlib has its own errors for what cannot be a name.
            why = f"{type(error).__name__}: {error}"
            raise ConfigurationError(f"spawn_modules: cannot import {name!r}: {why}") from error


def check_reference(function: object) -> str:
    """A reference to a function, `package.module:function` or `::function`. Raises `TypeError` or `ValueError`."""
    if not isinstance(function, str):
        raise TypeError(f"a function to spawn is named by a str, 'package.module:function', not {function!r}")
    if not _REFERENCE.fullmatch(function):
        raise ValueError(
            f"not the name of a function to spawn: {function!r} ('package.module:function', or '::function' in the"
            " receiver's main program)"
        )
    return function


class Spawner:
    """Makes ports and initialises them.

    Args:
      runtime: the node.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        # Why the latest spawns failed, by port name, so that a monitor that comes after the request is told.
        self._failures: dict[str, Reason] = {}

    def failure_of(self, name: str) -> Reason | None:
        """See `SpawnService.failure_of`."""
        return self._failures.get(name)

    def spawn(self, request: Spawn, *, asker: str) -> Port | None:
        """See `SpawnService.spawn`. A failure is logged, and kept for those who monitor the port."""
        if self._runtime.closing:
            # Who asked for it hears of the node's end when the connection closes.
            return None
        port = new_port(self._runtime.dispatcher, request.name)
        self.initialise(port, request, asker=asker)
        return port

    def refuse(self, name: str, why: str) -> None:
        """See `SpawnService.refuse`."""
        self._remember(name, spawn_failed(why))

    def _remember(self, name: str, reason: Reason) -> None:
        if len(self._failures) >= _REMEMBERED_FAILURES:
            del self._failures[next(iter(self._failures))]
        self._failures[name] = reason

    def initialise(self, port: Port, request: Spawn, *, asker: str) -> None:
        """Initialise a new port as a request of another node says, or of this one (an empty text), in its context."""
        host = self._runtime.dispatcher
        try:
            function = self.find(request.function, remote=bool(asker))
        except LookupError as error:
            reason = spawn_failed(str(error.args[0]))
            self.log_failure(asker, "%s: %s", port, reason[1])
            host.die(port, reason)
        else:
            if request.linked_to:
                self._runtime.link(request.linked_to, port)
            if inspect.iscoroutinefunction(function):
                attach_mailbox(port)
                host.start_task(port, run_process, (port, function, request.arguments))
            else:
                result = port.run(function, port, *request.arguments)
                if inspect.iscoroutine(result):
                    result.close()
                    host.die(port, spawn_failed(f"{request.function} is async behind a sync front; decorate it async"))
        if not port.alive and not is_normal(state_of(port).reason):
            self._remember(request.name, state_of(port).reason)

    def log_failure(self, asker: str, text: str, *arguments: object) -> None:
        """Log that something is not spawned: each time if this node has asked for it, else as `Errands.complain`."""
        if asker:
            self._runtime.node_port.errands.complain(asker, "function", log, text, *arguments)
        else:
            log.warning(text, *arguments)

    def find(self, reference: str, *, remote: bool) -> Callable[..., Any]:
        """The function of this reference, if it may be spawned. Raises `LookupError`, with a text that says why not."""
        if len(reference) > _LONGEST_REFERENCE or not _REFERENCE.fullmatch(reference):
            raise LookupError(f"not the name of a function: {reference!r:.200}")
        module_name, _, name = reference.rpartition(":")
        module_name = "__main__" if module_name == ":" else module_name
        if remote and module_name != "__main__" and module_name not in self._runtime.settings.spawn_modules:
            raise LookupError(
                f"{reference}: {module_name} is not one of the spawn_modules of {self._runtime.id};"
                f" give its open_node() spawn_modules=[{module_name!r}]"
            )
        module = sys.modules.get(module_name)
        if module is None:
            raise LookupError(
                f"{reference}: the module {module_name} has not been imported on {self._runtime.id};"
                f" give its open_node() spawn_modules=[{module_name!r}]"
            )
        # By name in the module itself; no attributes of attributes, and nothing that a module makes up when asked.
        function: Any = vars(module).get(name)
        if function is None:
            raise LookupError(f"{reference}: {module_name} has no {name} on {self._runtime.id}")
        if not inspect.isfunction(function) or getattr(function, _MARK, False) is not True:
            here = self._runtime.id
            raise LookupError(f"{reference} is not @spawnable on {here}; write that above the function there")
        return function


async def run_process(port: Port, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """The task of a process-style port: returning kills the port normally."""
    try:
        await call_async(function, (port, *arguments))
    except PortDied as died:
        if died.port != port:
            raise
        # It tried to receive from, or send through, the port that is already dead: that is how it was told.
        return
    except Exception as error:  # noqa: BLE001 - it is the port that dies, and now: its monitors wait for this task
        lifecycle_of(port).die(port, exception_reason(error), error)
        return
    lifecycle_of(port).die(port, NORMAL)
