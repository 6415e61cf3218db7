"""Spawning: making ports for others, and initialising them with functions that the program has released for it."""

from __future__ import annotations

import importlib
import inspect
import logging
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias, TypeGuard, TypeVar, overload

from .._errors import ConfigurationError
from .._events import fields
from .._ids import PortReference, node_of
from .._ports.port import OnBad, Port, check_on_bad, new_port, refuse_bad, state_of
from .._ports.run_queue import Job
from .._protocol import requests
from .._protocol.requests import Spawn, StartPort
from .._protocol.wire.values import plain_message
from .._reason import Reason, is_normal, spawn_failed
from .._runtime import Runtime
from .processes import PortStatus, start_process
from .starts import Starts

F = TypeVar("F", bound=Callable[..., Any])

Provided: TypeAlias = Callable[[str, tuple[Any, ...]], Callable[..., Any]]
"""What the package itself spawns for other nodes: it is called with the asker's node ID, empty for this node, and the
arguments of the request, and returns what initialises the port. It raises `LookupError`, with a text, to refuse."""

log = logging.getLogger("trio_mp.spawn")

_MARK = "__trio_mp_spawnable__"
_REFUSES = "__trio_mp_refuses__"
_REFERENCE = re.compile(r"(?:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*|:):[A-Za-z_]\w*", re.ASCII)
_LONGEST_REFERENCE = 1000
_REMEMBERED_FAILURES = 1024


@overload
def spawnable(function: F, /) -> F: ...
@overload
def spawnable(*, on_bad: OnBad = "die") -> Callable[[F], F]: ...
def spawnable(function: F | None = None, /, *, on_bad: OnBad = "die") -> F | Callable[[F], F]:
    """Release a function for `Node.spawn`: whoever may connect may have it called, with whatever arguments.

    It is called as `function(port, *arguments)` in the context of a new port. A sync function installs handlers;
    messages wait until it has returned. An async function is the port's task, and has a mailbox to receive from; when
    it returns the port dies normally, when it raises with `("die", …)`.

    It also releases a function for `Workers.run`, which calls it with the arguments alone; an async function for
    `Node.open_channel`; and an async generator function for `Node.open_source`, which is of use for nothing else.

    `@spawnable(on_bad="refuse")` has its ports refuse bad messages, as `Node.port` does with that argument.

    Raises:
      TypeError: it is not a function at the top level of a module: no other can be found by its name.
      ValueError: `on_bad` is neither `"die"` nor `"refuse"`.
    """
    refuses = check_on_bad("spawnable", on_bad)
    if function is None:
        return lambda later: _release(later, refuses)
    return _release(function, refuses)


def _release(function: F, refuses: bool) -> F:
    if not _at_top_level(function):
        raise TypeError(f"@spawnable: expected a function at the top level of a module, got {function!r}")
    if inspect.isgeneratorfunction(function):
        raise TypeError(
            f"@spawnable: expected a function without a `yield` in it, got {function!r}, which never runs;"
            " only an async one may have it, for open_source()"
        )
    setattr(function, _MARK, True)
    setattr(function, _REFUSES, refuses)
    return function


def is_spawnable(function: object) -> TypeGuard[Callable[..., Any]]:
    """Whether this is a function that its module has released with `@spawnable`."""
    return inspect.isfunction(function) and getattr(function, _MARK, False) is True


def _at_top_level(function: object) -> bool:
    return inspect.isfunction(function) and function.__qualname__ == function.__name__


def import_modules(names: Iterable[str], setting: str) -> None:
    """Import modules that the program names in a setting or argument. Raises `ConfigurationError`, naming both."""
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:
            # Whatever the module raises; and importlib has its own errors for what cannot be a name.
            why = f"{type(error).__name__}: {error}"
            raise ConfigurationError(f"{setting}: cannot import {name!r}: {why}") from error


def check_reference(function: object) -> str:
    """A reference to a function, `package.module:function` or `::function`. Raises `TypeError` or `ValueError`."""
    if not isinstance(function, str):
        raise TypeError(f"expected the name of a function to spawn, 'package.module:function', got {function!r}")
    if not _REFERENCE.fullmatch(function):
        raise ValueError(
            f"expected the name of a function to spawn, got {function!r}: write 'package.module:function',"
            " or '::function' for one of the receiver's main program"
        )
    return function


class Spawner:
    """Makes ports and initialises them.

    Args:
      runtime: the node.
      starts: the node's, for ports that say when they have started.

    Attributes:
      starts: the same.
    """

    def __init__(self, runtime: Runtime, starts: Starts) -> None:
        self._runtime = runtime
        self.starts = starts
        self._provided: dict[str, Provided] = {}
        # Why the latest spawns failed, by port name, so that a monitor that comes after the request is told.
        self._failures: dict[str, Reason] = {}

    def provide(self, name: str, provided: Provided) -> None:
        """Spawn this under that name, which no program can give a function of its own: one of this package's."""
        self._provided[name] = provided

    def ask(self, node_or_port: str | PortReference, function: str, arguments: tuple[Any, ...], *, linked: bool) -> str:
        """See `Node.spawn`, whose arguments these are."""
        runtime = self._runtime
        check_reference(function)
        if isinstance(node_or_port, PortReference):
            # Its node, whether it runs there now or not.
            node_or_port = node_or_port.port
        peer, _ = runtime.route(node_or_port)
        running = self.port_to_tie("spawn") if linked else None
        name = runtime.next_name() if peer is None else runtime.next_spawned_name()
        linked_to = str.__str__(running) if running is not None else ""
        if peer is None:
            port = new_port(runtime.lifecycle, name)
            self.begin_own(port, requests.Spawn(name, function, arguments, linked_to), None)
            port_id = str.__str__(port)
        else:
            if linked:
                message = requests.spawn_linked(name, function, linked_to, arguments)
            else:
                message = requests.spawn(name, function, arguments)
            try:
                peer.send("", message)
            except (TypeError, ValueError):
                # The place as the caller counts.
                plain_message(arguments, thorough=True, what="arguments")
                raise
            port_id = f"{node_of(node_or_port)}#{name}"
        if running is not None:
            runtime.link(port_id, running)
        return port_id

    def port_to_tie(self, method: str) -> Port:
        """The running port, which a linked one is tied to. Raises `RuntimeError`, naming the method, without one."""
        running = self._runtime.owner()
        if running is None:
            raise RuntimeError(
                f"{method}(linked=True): expected a running port to tie the new one to, got none;"
                " call it from a handler or a task of a port"
            )
        return running

    def begin_own(self, port: Port, request: Spawn | StartPort, status: PortStatus | None) -> None:
        """Have a new port initialised behind the messages that are on their way, as this node has asked itself to.

        Args:
          port: which.
          request: how.
          status: told when it has started, if somebody waits for that.
        """
        dispatcher = self._runtime.dispatcher
        # Other nodes may hear of it, and send, before it is initialised.
        dispatcher.hold(port)
        dispatcher.queue.enqueue(Job(self._initialise_own), (port, request, status))

    def _initialise_own(self, port: Port, request: Spawn | StartPort, status: PortStatus | None) -> None:
        # Dead already if the node was cancelled before this was reached, or who waits for it.
        if port.alive:
            self._initialise(port, request, status, asker="")
            self._runtime.dispatcher.release(port)

    def failure_of(self, name: str) -> Reason | None:
        """See `SpawnService.failure_of`."""
        return self._failures.get(name)

    def spawn(self, request: Spawn | StartPort, *, asker: str) -> Port | None:
        """See `SpawnService.spawn`. A failure is logged, and kept for those who monitor the port."""
        if self._runtime.closing:
            self.refuse(request.name, f"{self._runtime.id} is closing")
            return None
        port = new_port(self._runtime.lifecycle, request.name)
        status = self.starts.serve(port, asker) if isinstance(request, StartPort) else None
        self._initialise(port, request, status, asker=asker)
        return port

    def refuse(self, name: str, why: str) -> None:
        """See `SpawnService.refuse`."""
        self._remember(name, spawn_failed(why))

    def _remember(self, name: str, reason: Reason) -> None:
        if len(self._failures) >= _REMEMBERED_FAILURES:
            del self._failures[next(iter(self._failures))]
        self._failures[name] = reason

    def _initialise(self, port: Port, request: Spawn | StartPort, status: PortStatus | None, *, asker: str) -> None:
        """Initialise a new port as a request of another node says, or of this one (an empty text), in its context."""
        lifecycle = self._runtime.lifecycle
        if isinstance(request, StartPort):
            state_of(port).epoch = request.epoch
        arguments = request.arguments
        try:
            provided = self._provided.get(request.function)
            if provided is not None:
                function, arguments = provided(asker, arguments), ()
            else:
                function = self.find(request.function, remote=bool(asker))
        except LookupError as error:
            reason = spawn_failed(str(error.args[0]))
            self.log_failure(asker, "%s: %s", port, reason[1])
            lifecycle.die(port, reason)
        else:
            if request.linked_to:
                self._runtime.link(request.linked_to, port)
            if getattr(function, _REFUSES, False):
                refuse_bad(port)
            if inspect.iscoroutinefunction(function):
                start_process(port, function, arguments, status)
            else:
                result = port.run(function, port, *arguments)
                if inspect.iscoroutine(result):
                    result.close()
                    lifecycle.die(
                        port, spawn_failed(f"{request.function} is async behind a sync front; decorate it async")
                    )
                elif status is not None:
                    status.started()
        if not port.alive and not is_normal(state_of(port).reason):
            self._remember(request.name, state_of(port).reason)

    def log_failure(self, asker: str, text: str, *arguments: object) -> None:
        """Log that something is not spawned: each time if this node has asked for it, else as `Errands.complain`."""
        if asker:
            self._runtime.errands.complain(asker, "function", log, text, *arguments)
        else:
            log.warning(text, *arguments, extra=fields("spawn", self._runtime.id))

    def find(self, reference: str, *, remote: bool, source: bool = False) -> Callable[..., Any]:
        """The function of this reference, if it may be spawned. Raises `LookupError`, with a text that says why not.

        Args:
          reference: which.
          remote: whether another node asks for it.
          source: whether it is to be an async generator function, and not any other.
        """
        if len(reference) > _LONGEST_REFERENCE or not _REFERENCE.fullmatch(reference):
            raise LookupError(f"expected the name of a function, got {reference!r:.200}")
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
        if not is_spawnable(function):
            here = self._runtime.id
            raise LookupError(f"{reference} is not @spawnable on {here}; write that above the function there")
        if inspect.isasyncgenfunction(function) is not source:
            expected = "an async function with `yield`, for open_source()" if source else "a function without `yield`"
            raise LookupError(f"{reference} on {self._runtime.id}: expected {expected}, got {name}()")
        return function
