"""The relay forwards one Unix socket to another, and can cut the connection in between.

The relay counts the bytes that a cut has cost, which the demo shows. The proxy of the chaos harness counts nothing, but
does everything else to a connection, over TCP too: it holds bytes back, swallows them, splits them, and resets.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import trio
from trio import socket

_CHUNK = 64 * 1024

HOLD_AT_LEAST = 0.1
HOLD_AT_MOST = 1.0
"""For how long a cut waits for bytes in both directions, in seconds."""


@dataclass(slots=True, eq=False)
class _Flow:
    """One direction of a connection; `held` are the bytes that were read for a cut, and are not forwarded."""

    source: trio.SocketStream
    target: trio.SocketStream
    held: int = 0


@dataclass(frozen=True, slots=True)
class Cut:
    """What a cut has done.

    Attributes:
      at: the time of the cut, by `time.monotonic()`.
      dropped: how many bytes were on their way, in each direction, and went no further.
    """

    at: float
    dropped: tuple[int, int]


@dataclass(eq=False)
class Relay:
    """Listens at one path, and forwards each connection to another, byte by byte, until it is cut.

    Args:
      path: where it listens.
      target: where the other end listens.
    """

    path: str
    target: str
    _flows: list[_Flow] = field(default_factory=list)
    _holding: bool = False
    _moved: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Forward connections, old and new, until cancelled."""
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        await listening.bind(self.path)
        listening.listen()
        task_status.started()
        await trio.serve_listeners(self._forward, [trio.SocketListener(listening)])

    async def _forward(self, dialled: trio.SocketStream) -> None:
        try:
            answering = await trio.open_unix_socket(self.target)
        except OSError:
            # Nobody listens at the target. The dialler sees a connection that ends at once.
            await dialled.aclose()
            return
        flows = [_Flow(dialled, answering), _Flow(answering, dialled)]
        self._flows += flows
        async with dialled, answering, trio.open_nursery() as nursery:
            for flow in flows:
                nursery.start_soon(self._pump, flow, nursery.cancel_scope)
        for flow in flows:
            self._flows.remove(flow)

    async def _pump(self, flow: _Flow, scope: trio.CancelScope) -> None:
        try:
            while data := await flow.source.receive_some(_CHUNK):
                if self._holding:
                    flow.held += len(data)
                    self._moved.unpark_all()
                else:
                    await flow.target.send_all(data)
            await flow.target.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            scope.cancel()

    async def cut(self) -> Cut:
        """Cut the connection in the middle of messages: stop forwarding, wait for bytes both ways, close both ends.

        The processes at the two ends live on, and so does the relay: it forwards the next connection as before.
        """
        self._holding = True
        with trio.move_on_after(HOLD_AT_MOST):
            await trio.sleep(HOLD_AT_LEAST)
            while not (self._flows and all(flow.held for flow in self._flows)):
                await self._moved.park()
        self._holding = False
        at = time.monotonic()
        one_way = sum(flow.held for flow in self._flows[::2])
        other_way = sum(flow.held for flow in self._flows[1::2])
        for flow in self._flows:
            flow.source.socket.close()
        return Cut(at, (one_way, other_way))
