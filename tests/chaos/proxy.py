"""The proxy listens on one address, forwards to another, and makes the faults of connections.

The relay of the demo, `trio_mp.cli.demo.relay`, only cuts, and counts the bytes that a cut has cost.
"""

from __future__ import annotations

import random
import socket as plain_socket
import struct
from dataclasses import dataclass, field
from pathlib import Path

import trio
from trio import socket
from trio.socket import SocketType

_CHUNK = 64 * 1024
_AT_ONCE = struct.pack("ii", 1, 0)


@dataclass(eq=False)
class Way:
    """One direction of a connection.

    Attributes:
      source, target: the sockets from which the bytes come, and to which they go.
      gate: while it is an event that is not set, nothing is read or forwarded.
      swallows: whether bytes are read and thrown away.
      pieces, until: until this time of Trio's clock, bytes go on in pieces of at most this size.
    """

    source: SocketType
    target: SocketType
    gate: trio.Event | None = None
    swallows: bool = False
    pieces: int = 0
    until: float = 0.0

    async def forward(self, random: random.Random) -> None:
        """Forward all bytes, and the end of file. Raises `OSError` if the connection ends in another way."""
        while True:
            await self._pass_gate()
            data = await self.source.recv(_CHUNK)
            await self._pass_gate()
            if not data:
                break
            try:
                await self._send(data, random)
            except OSError:
                # The target is gone, and its kernel has told the other side.
                self.swallows = True
        self.end_early()

    def end_early(self) -> None:
        """Tell the target that the stream ends here, and throw later bytes away."""
        self.swallows = True
        try:
            self.target.shutdown(plain_socket.SHUT_WR)
        except OSError:
            pass

    async def _pass_gate(self) -> None:
        while self.gate is not None and not self.gate.is_set():
            await self.gate.wait()

    async def _send(self, data: bytes, random: random.Random) -> None:
        view = memoryview(data)
        while view and not self.swallows:
            await self._pass_gate()
            size = len(view)
            if self.pieces and trio.current_time() < self.until:
                size = random.randint(1, self.pieces)
                await trio.sleep(random.uniform(0, 0.003))
            view = view[await self.target.send(view[:size]) :]


class Channel:
    """A connection that was accepted, and the connection that was made for it."""

    def __init__(self, dialled: SocketType, answering: SocketType) -> None:
        self.sockets = (dialled, answering)
        self.ways = (Way(dialled, answering), Way(answering, dialled))

    async def forward(self, random: random.Random) -> None:
        """Forward in both directions until both have ended, or the channel was reset."""
        try:
            async with trio.open_nursery() as nursery:
                for way in self.ways:
                    nursery.start_soon(way.forward, random)
        except* (OSError, trio.ClosedResourceError):
            self.reset()
        finally:
            for one in self.sockets:
                one.close()

    def reset(self) -> None:
        """End the channel at once. Both sides see a reset, if their kind of socket knows one."""
        for one in self.sockets:
            _reset(one)


@dataclass(eq=False)
class Proxy:
    """Forwards every connection to an address, which may change.

    Args:
      name: names the connection, for the log.
      random: draws the sizes of pieces.

    Attributes:
      address: the address on which it listens, as a seed.
      target: the address to which it forwards, as a bind; empty while no node listens there.
      channels: the present connections.
      refuses: whether new connections are reset.
      mute: while it is an event that is not set, new connections are accepted and get no answer.
    """

    name: str
    random: random.Random
    address: str = ""
    target: str = ""
    channels: list[Channel] = field(default_factory=list)
    refuses: bool = False
    mute: trio.Event | None = None

    async def serve(self, path: Path | None, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen, at a path or at a free port of 127.0.0.1, and forward until cancelled."""
        with socket.socket(plain_socket.AF_INET if path is None else plain_socket.AF_UNIX) as listening:
            await listening.bind(("127.0.0.1", 0) if path is None else str(path))
            listening.listen(100)
            self.address = f"127.0.0.1:{listening.getsockname()[1]}" if path is None else f"unix:{path}"
            task_status.started()
            async with trio.open_nursery() as nursery:
                while True:
                    accepted, _ = await listening.accept()
                    nursery.start_soon(self._handle, accepted)

    async def _handle(self, accepted: SocketType) -> None:
        with accepted:
            if self.mute is not None:
                await self.mute.wait()
            answering = None if self.refuses else await _dial(self.target)
            if answering is None:
                _reset(accepted)
                return
            with answering:
                channel = Channel(accepted, answering)
                self.channels.append(channel)
                try:
                    await channel.forward(self.random)
                finally:
                    self.channels.remove(channel)


def _reset(one: SocketType) -> None:
    try:
        one.setsockopt(plain_socket.SOL_SOCKET, plain_socket.SO_LINGER, _AT_ONCE)
    except OSError:
        pass
    one.close()


async def _dial(target: str) -> SocketType | None:
    """Connect to an address; return None if no node listens there."""
    if not target:
        return None
    is_unix = target.startswith("unix:")
    host, _, port = target.rpartition(":")
    one = socket.socket(plain_socket.AF_UNIX if is_unix else plain_socket.AF_INET)
    try:
        await one.connect(target.removeprefix("unix:") if is_unix else (host, int(port or 0)))
    except OSError:
        one.close()
        return None
    except BaseException:
        one.close()
        raise
    return one
