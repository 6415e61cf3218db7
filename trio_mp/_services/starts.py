"""Starts between nodes: those that this node waits for, and those of other nodes that it may still call off.

    the asker                                     the node of the port
    ────────────────────────────────────────────  ─────────────────────────────────────────────────────────
    `start`: a port name, a function, arguments   makes the port, and monitors the asker's node
    monitors the port                         ->
                                              <-  `started`: what the function said; or that the port has died
    returns, and says `keep`                  ->  monitors the asker's node for this no longer

The port dies if the connection is lost before `keep` has come, because the asker may not know that the port has
started. So a start that has failed at the asker leaves no port behind, whichever of the messages was lost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from .._peers.peer import Peer
from .._ports.port import Port, lifecycle_of, state_of
from .._protocol import requests
from .._protocol.wire.values import plain_value
from .._reason import Reason
from .._runtime import Runtime
from .processes import PortStatus


class Outcome:
    """The result of a start, for the task that waits for it.

    Attributes:
      known: set when the port has started, or has died before and unwound.
      gone: set when the port has died and unwound, whether it has started or not.
      started: whether the port has started.
      value: the value that its function has given to `task_status.started`.
      shutdown_timeout: the setting of the port's node, in seconds, if the port has started on another node.
      reason: why the port has died before it had started.
      error: the exception that has killed the port before, if this node has it.
    """

    __slots__ = ("error", "gone", "known", "reason", "shutdown_timeout", "started", "value")

    def __init__(self) -> None:
        self.known = trio.Event()
        self.gone = trio.Event()
        self.started = False
        self.value: Any = None
        self.shutdown_timeout = 0.0
        self.reason: Reason = ()
        self.error: Exception | None = None

    def has_started(self, value: Any) -> None:
        """Note that the port has started, with this value."""
        self.started, self.value = True, value
        self.known.set()

    def has_died(self, reason: Reason, error: Exception | None = None) -> None:
        """Note that the port has died and unwound."""
        if not self.started:
            self.reason, self.error = reason, error
        self.gone.set()
        self.known.set()

    def take_error(self) -> Exception | None:
        """Return the exception and forget it, because its traceback refers to the frame that refers to this."""
        error, self.error = self.error, None
        return error


class Starts:
    """The starts of a node that are under way with others. See `StartService` for what the node port uses.

    Args:
      runtime: the node.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        # The starts that this node waits for, by the name of the port.
        self._awaited: dict[str, tuple[Peer, Outcome]] = {}
        # The functions that end the guard of other nodes' starts, by asker and name of the port.
        self._guards: dict[tuple[str, str], Callable[[], None]] = {}

    # The side that asks --------------------------------------------------------------------------------------------

    def expect(self, name: str, peer: Peer, outcome: Outcome) -> None:
        """Note that this node has asked that peer to start a port of this name."""
        self._awaited[name] = (peer, outcome)

    def forget(self, name: str) -> None:
        """Wait for that start no more. A later answer is ignored; the caller has had the port killed."""
        self._awaited.pop(name, None)

    def answered(self, peer: Peer, name: str, value: object, shutdown_timeout: float) -> None:
        """See `StartService.answered`."""
        awaited = self._awaited.get(name)
        if awaited is not None and awaited[0] is peer:
            self.forget(name)
            awaited[1].shutdown_timeout = shutdown_timeout
            awaited[1].has_started(value)
            peer.send("", requests.keep(name))

    # The side that is asked ----------------------------------------------------------------------------------------

    def serve(self, port: Port, asker: str) -> PortStatus:
        """Answer that node when this port has started; and kill the port if the node is lost before it says `keep`."""
        peer, _ = self._runtime.route(asker)
        assert peer is not None, "a node does not ask itself by message"
        name, key = port.name, (asker, port.name)

        def answer(value: Any) -> None:
            try:
                peer.send("", requests.started(name, value, self._runtime.settings.shutdown_timeout))
            except (TypeError, ValueError):
                # Raises with the value's place as the caller counts.
                plain_value(value, "value", room=2)
                raise

        def lost(*reason: object) -> None:
            lifecycle_of(port).die(port, reason)

        # Owned by the port, so that this monitor ends with it.
        monitor = self._runtime.monitor(asker, lost, port)
        self._guards[key] = monitor.cancel
        state_of(port).unwound.append(lambda: self._guards.pop(key, None) and None)
        return PortStatus(port, answer)

    def keep(self, peer: Peer, name: str) -> None:
        """See `StartService.keep`."""
        guard = self._guards.pop((peer.id, name), None)
        if guard is not None:
            guard()
