"""Pipes inside one process: the classes of `pipe.py` without an operating system, for streams, tests, simulations."""

from __future__ import annotations

import errno

import trio

from .addresses import Address
from .pipe import Listener, Pipe, Transport

_CAPACITY = 256 * 1024


class _Direction:
    """Bytes on their way from one end to the other."""

    __slots__ = ("capacity", "changed", "data", "ended", "reset")

    def __init__(self, capacity: int) -> None:
        self.data = bytearray()
        self.capacity = capacity
        self.ended = False
        self.reset = False
        self.changed = trio.lowlevel.ParkingLot()


class MemoryPipe(Pipe):
    """One end of a pair of pipes that `memory_pipe_pair` has made."""

    __slots__ = ("_closed", "_incoming", "_outgoing", "peer_address")

    def __init__(self, outgoing: _Direction, incoming: _Direction, peer_address: str) -> None:
        self._outgoing = outgoing
        self._incoming = incoming
        self._closed = False
        self.peer_address = peer_address

    def send_nowait(self, data: bytes | bytearray | memoryview) -> int:
        """See `Pipe.send_nowait`."""
        self._check()
        if self._outgoing.ended or self._outgoing.reset:
            raise BrokenPipeError(errno.EPIPE, "the other side is closed")
        count = min(len(data), self._outgoing.capacity - len(self._outgoing.data))
        if count > 0:
            self._outgoing.data += data[:count]
            self._outgoing.changed.unpark_all()
        return max(count, 0)

    def receive_nowait(self, maximum: int) -> bytes | None:
        """See `Pipe.receive_nowait`."""
        self._check()
        incoming = self._incoming
        if incoming.reset:
            raise ConnectionResetError(errno.ECONNRESET, "the other side reset the connection")
        if incoming.data:
            data = bytes(incoming.data[:maximum])
            del incoming.data[:maximum]
            incoming.changed.unpark_all()
            return data
        return b"" if incoming.ended else None

    async def wait_writable(self) -> None:
        """See `Pipe.wait_writable`."""
        outgoing = self._outgoing
        while not (self._closed or outgoing.ended or outgoing.reset) and len(outgoing.data) >= outgoing.capacity:
            await outgoing.changed.park()
        await trio.lowlevel.checkpoint()
        if self._closed:
            raise trio.ClosedResourceError

    async def wait_readable(self) -> None:
        """See `Pipe.wait_readable`."""
        incoming = self._incoming
        while not (self._closed or incoming.data or incoming.ended or incoming.reset):
            await incoming.changed.park()
        await trio.lowlevel.checkpoint()
        if self._closed:
            raise trio.ClosedResourceError

    def send_eof(self) -> None:
        """See `Pipe.send_eof`."""
        self._check()
        self._outgoing.ended = True
        self._outgoing.changed.unpark_all()

    def close(self) -> None:
        """See `Pipe.close`. As with sockets, closing with input unread resets the other side."""
        if self._closed:
            return
        self._closed = True
        self._outgoing.reset = bool(self._incoming.data)
        self._outgoing.ended = True
        self._incoming.ended = True
        self._incoming.data.clear()
        self._outgoing.changed.unpark_all()
        self._incoming.changed.unpark_all()

    def _check(self) -> None:
        if self._closed:
            raise OSError(errno.EBADF, "this side is closed")


def memory_pipe_pair(one: str = "one", other: str = "other", capacity: int = _CAPACITY) -> tuple[Pipe, Pipe]:
    """Make two connected pipes. Each knows the address of the other; a direction holds at most `capacity` bytes."""
    there, back = _Direction(capacity), _Direction(capacity)
    return MemoryPipe(there, back, other), MemoryPipe(back, there, one)


class MemoryListener(Listener):
    """A place in a `MemoryTransport` where a node listens."""

    def __init__(self, places: dict[str, MemoryListener], address: str) -> None:
        self._places = places
        self._send, self._receive = trio.open_memory_channel[Pipe](64)
        self.address = address

    def connect(self) -> Pipe:
        """Connect to this place; returns the pipe of the side that dials."""
        ours, theirs = memory_pipe_pair("dialler", self.address)
        try:
            self._send.send_nowait(theirs)
        except trio.WouldBlock:
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"{self.address} does not accept") from None
        return ours

    async def accept(self) -> Pipe:
        """See `Listener.accept`."""
        return await self._receive.receive()

    async def aclose(self) -> None:
        """See `Listener.aclose`."""
        if self._places.get(self.address) is self:
            del self._places[self.address]
        self._send.close()
        while True:
            try:
                self._receive.receive_nowait().close()
            except (trio.WouldBlock, trio.EndOfChannel, trio.ClosedResourceError):
                break
        self._receive.close()
        await trio.lowlevel.checkpoint()


class MemoryTransport(Transport):
    """A network in memory: every address is a name in one table."""

    def __init__(self) -> None:
        self._places: dict[str, MemoryListener] = {}

    async def dial(self, address: Address) -> Pipe:
        """See `Transport.dial`."""
        await trio.lowlevel.checkpoint()
        place = self._places.get(str(address))
        if place is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"nobody listens on {address}")
        return place.connect()

    async def listen(self, address: Address) -> list[Listener]:
        """See `Transport.listen`."""
        await trio.lowlevel.checkpoint()
        if str(address) in self._places:
            raise OSError(errno.EADDRINUSE, f"cannot listen on {address}: another node listens there")
        listener = MemoryListener(self._places, str(address))
        self._places[str(address)] = listener
        return [listener]
