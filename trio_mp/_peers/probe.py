"""A probe of one connection: it is asked for a sign of life, because another run of its node wants its place."""

from __future__ import annotations

from typing import Protocol

import trio

from .._ports.boundary import LocalPorts
from .peer import Peer


class ProbedConnection(Protocol):
    """A connection that may be probed; see `Connection`."""

    peer: Peer | None
    closed: list[str]


class ProbeTimer:
    """Whether a connection has been probed, and has not answered yet.

    Args:
      connection: which.
      dispatcher: where tasks are started.
    """

    def __init__(self, connection: ProbedConnection, dispatcher: LocalPorts) -> None:
        self._connection = connection
        self._dispatcher = dispatcher
        self._scope: trio.CancelScope | None = None

    def begin(self, seconds: float) -> None:
        """Tell the association, by `probe_failed`, if it has not been `answered` in this time."""
        if self._scope is None:
            self._scope = trio.CancelScope()
            self._dispatcher.lifecycle.start_system_task(self._judge, self._scope, seconds)

    def answered(self) -> None:
        """The other side has answered."""
        if self._scope is not None and self._connection.peer is not None:
            self.cancel()
            self._connection.peer.act(self._connection.peer.association.probe_answered)

    def cancel(self) -> None:
        """Judge nothing any more."""
        if self._scope is not None:
            self._scope.cancel()
            self._scope = None

    async def _judge(self, scope: trio.CancelScope, seconds: float) -> None:
        with scope:
            await trio.sleep(seconds)
            self._scope = None
            if self._connection.peer is not None and not self._connection.closed:
                self._connection.peer.act(self._connection.peer.association.probe_failed)
