"""Children that are ports of the supervisor's own node."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any

from .._ids import PortReference
from .._ports.port import Port, state_of
from .._reason import Reason, shutdown
from .._runtime import Runtime
from .._services.starting import start
from .child import EndOfLife


class LocalLife:
    """A port of this node; see `Life`."""

    def __init__(self, runtime: Runtime, port: Port, value: Any) -> None:
        self.port: str = port
        self.value = value
        self.shutdown_timeout = runtime.settings.shutdown_timeout
        self._runtime = runtime
        self._local = port

    def stop(self, limit: float | None) -> None:
        """See `Life.stop`. The port dies behind the messages that were sent to it before."""
        state_of(self._local).unwind_limit = math.inf if limit is None else limit
        self._runtime.lifecycle.kill(self._local.name, stop_reason(self._runtime))


class LocalKind:
    """A child whose lives are ports of this node; see `Kind`.

    Args:
      runtime: the node.
      function, arguments: what each life runs, as `Node.start` does. References are replaced by their ports.
      limit: how long a life may take to unwind, in seconds, if the program has said that.
    """

    def __init__(
        self,
        runtime: Runtime,
        function: Callable[..., Awaitable[object]],
        arguments: tuple[Any, ...],
        limit: float | None,
    ) -> None:
        self._runtime = runtime
        self._function = function
        self._arguments = arguments
        self._limit = limit

    async def begin(self, epoch: int, ended: EndOfLife) -> LocalLife:
        """See `Kind.begin`."""
        runtime = self._runtime

        def died(*reason: object) -> None:
            ended(reason, runtime.lifecycle.cause)

        started = await start(
            runtime,
            self._function,
            resolve(self._arguments),
            epoch=epoch,
            died=died,
            unwind_limit=self._limit,
        )
        return LocalLife(runtime, started.port, started.value)


def resolve(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the arguments of a child, with each reference replaced by its port."""
    return tuple([each.port if isinstance(each, PortReference) else each for each in arguments])


def stop_reason(runtime: Runtime) -> Reason:
    """Return the reason for stopping a child now: its supervisor stops it, or the node ends."""
    return runtime.ending if runtime.ending is not None else shutdown()
