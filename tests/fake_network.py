"""A network in memory that a test controls: the test can cut, stall, slow down and refuse each connection.

Two other networks are in memory. `trio_mp._transport.memory`, which is public, joins nodes of one process and never
fails; a byte stream to the own node runs over its pipes. `trio_mp.testing` simulates machines and links: a seed chooses
the faults, and a trace records them. Here nothing is left to chance: a test holds both ends of each `Wire`, sees each
byte that was sent, and decides what becomes of it.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable

import trio

from trio_mp._transport.addresses import Address
from trio_mp._transport.pipe import Listener, Pipe, Transport

CAPACITY = 256 * 1024


class Direction:
    """Bytes on their way from one end of a wire to the other.

    Attributes:
      sent: all bytes that this direction ever accepted.
      delay: how long bytes take, in seconds.
      stalled: whether nothing arrives until `resume`.
      black_hole: whether bytes are accepted and vanish.
      largest_read: how many bytes are read at once at most.
      largest_write: how many bytes are taken at once at most.
      send_error, receive_error: what sending and receiving raise, if not None.
      on_sent: called with the number of bytes ever sent, after each send.
    """

    def __init__(self) -> None:
        self.sent = bytearray()
        self.capacity = CAPACITY
        self.delay = 0.0
        self.stalled = False
        self.black_hole = False
        self.largest_read = 1 << 30
        self.largest_write = 1 << 30
        self.on_sent: Callable[[int], None] | None = None
        self.send_error: OSError | None = None
        self.receive_error: OSError | None = None
        self.ended = False
        self.reset = False
        self.changed = trio.lowlevel.ParkingLot()
        self._travelling: deque[tuple[float, bytes]] = deque()
        self._arrived = bytearray()

    @property
    def unread(self) -> int:
        return len(self._arrived) + sum(len(data) for _, data in self._travelling)

    @property
    def readable(self) -> bool:
        self._arrive()
        if self.reset or self._arrived or self.receive_error is not None:
            return True
        return self.ended and not self._travelling and not self.stalled

    @property
    def next_arrival(self) -> float:
        return self._travelling[0][0] if self._travelling and not self.stalled else float("inf")

    def _arrive(self) -> None:
        if not self.stalled:
            now = trio.current_time()
            while self._travelling and self._travelling[0][0] <= now:
                self._arrived += self._travelling.popleft()[1]

    def put(self, data: bytes) -> int:
        if self.send_error is not None:
            raise self.send_error
        if self.ended or self.reset:
            raise BrokenPipeError(errno.EPIPE, "the other side is closed")
        room = len(data) if self.black_hole else self.capacity - self.unread
        count = max(0, min(len(data), room, self.largest_write))
        if not count:
            return 0
        data = bytes(data[:count])
        self.sent += data
        if not self.black_hole:
            self._travelling.append((trio.current_time() + self.delay, data))
        self.wake()
        if self.on_sent is not None:
            self.on_sent(len(self.sent))
        return count

    def take(self, maximum: int) -> bytes | None:
        if self.receive_error is not None:
            raise self.receive_error
        if self.reset:
            raise ConnectionResetError(errno.ECONNRESET, "the other side reset the connection")
        self._arrive()
        if self._arrived:
            data = bytes(self._arrived[: min(maximum, self.largest_read)])
            del self._arrived[: len(data)]
            self.wake()
            return data
        return b"" if self.ended and not self._travelling and not self.stalled else None

    def resume(self) -> None:
        self.stalled = False
        self.wake()

    def wake(self) -> None:
        self.changed.unpark_all()

    def drop_all(self) -> None:
        self._travelling.clear()
        self._arrived.clear()


class WireEnd(Pipe):
    """One end of a wire."""

    def __init__(self, outgoing: Direction, incoming: Direction, peer_address: str) -> None:
        self.outgoing = outgoing
        self.incoming = incoming
        self.peer_address = peer_address
        self.closed = False

    def send_nowait(self, data: bytes | bytearray | memoryview) -> int:
        self._check()
        return self.outgoing.put(bytes(data))

    def receive_nowait(self, maximum: int) -> bytes | None:
        self._check()
        return self.incoming.take(maximum)

    async def wait_writable(self) -> None:
        outgoing = self.outgoing
        while not (self.closed or outgoing.ended or outgoing.reset or outgoing.black_hole or outgoing.send_error):
            if outgoing.unread < outgoing.capacity:
                break
            await outgoing.changed.park()
        await trio.lowlevel.checkpoint()
        if self.closed:
            raise trio.ClosedResourceError

    async def wait_readable(self) -> None:
        incoming = self.incoming
        while not self.closed and not incoming.readable:
            with trio.move_on_at(incoming.next_arrival):
                await incoming.changed.park()
        await trio.lowlevel.checkpoint()
        if self.closed:
            raise trio.ClosedResourceError

    def send_eof(self) -> None:
        self._check()
        if self.outgoing.send_error is not None:
            raise self.outgoing.send_error
        self.outgoing.ended = not self.outgoing.black_hole
        self.outgoing.wake()

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        if not self.outgoing.black_hole:
            # As with sockets: closing with unread input resets.
            if self.incoming.unread:
                self.outgoing.reset = True
            self.outgoing.ended = True
        # The other side notices when it writes, unless its bytes get lost.
        self.incoming.ended = not self.incoming.black_hole
        self.incoming.drop_all()
        self.outgoing.wake()
        self.incoming.wake()

    def _check(self) -> None:
        if self.closed:
            raise OSError(errno.EBADF, "this side is closed")


class Wire:
    """One connection of a `FakeNetwork`: both ends, and what can happen in between.

    Attributes:
      address: the listener's.
      there, back: the directions from the dialler, and to it.
      dialler, listener: the two ends.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.there = Direction()
        self.back = Direction()
        self.dialler = WireEnd(self.there, self.back, address)
        self.listener = WireEnd(self.back, self.there, "dialler")

    @property
    def directions(self) -> tuple[Direction, Direction]:
        return self.there, self.back

    @property
    def open(self) -> bool:
        return not self.dialler.closed and not self.listener.closed and not self.there.reset

    def reset(self) -> None:
        """Reset both ends, and drop the bytes on their way."""
        for direction in self.directions:
            direction.reset = True
            direction.drop_all()
            direction.wake()

    def hang_up(self) -> None:
        """End both directions, behind the bytes on their way."""
        for direction in self.directions:
            direction.ended = True
            direction.wake()

    def cut(self) -> None:
        """Let nothing arrive at either end from now on, and tell neither."""
        for direction in self.directions:
            direction.black_hole = True
            direction.wake()

    def stall(self) -> None:
        for direction in self.directions:
            direction.stalled = True

    def resume(self) -> None:
        for direction in self.directions:
            direction.resume()


class FakeListener(Listener):
    def __init__(self, network: FakeNetwork, address: str) -> None:
        self._network = network
        self._send, self._receive = trio.open_memory_channel[Pipe](10_000)
        self.address = address
        self.closed = False

    def connect(self, wire: Wire) -> None:
        self._send.send_nowait(wire.listener)

    async def accept(self) -> Pipe:
        return await self._receive.receive()

    async def aclose(self) -> None:
        if not self.closed:
            self.closed = True
            self._network.listeners.pop(self.address, None)
            self._send.close()
            self._receive.close()
        await trio.lowlevel.checkpoint()


class FakeNetwork(Transport):
    """A network in memory that its test controls. One object serves all nodes.

    Attributes:
      wires: every connection ever made, the oldest first.
      listeners: who listens, by address.
      prepare: called with every new wire before either end can use it.
      dialling: how long connecting takes, in seconds.
      dialled: how often each address was dialled, successfully or not.
    """

    def __init__(self) -> None:
        self.wires: list[Wire] = []
        self.listeners: dict[str, FakeListener] = {}
        self.prepare: Callable[[Wire], None] | None = None
        self.dialling = 0.0
        self.dialled: dict[str, int] = {}
        self.refusing: set[str] = set()

    async def dial(self, address: Address) -> Pipe:
        name = str(address)
        self.dialled[name] = self.dialled.get(name, 0) + 1
        if self.dialling:
            await trio.sleep(self.dialling)
        else:
            await trio.lowlevel.checkpoint()
        return self.connect(name).dialler

    def connect(self, name: str) -> Wire:
        listener = self.listeners.get(name)
        if listener is None or name in self.refusing:
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"nobody listens on {name}")
        wire = Wire(name)
        if self.prepare is not None:
            self.prepare(wire)
        self.wires.append(wire)
        listener.connect(wire)
        return wire

    async def listen(self, address: Address) -> list[Listener]:
        await trio.lowlevel.checkpoint()
        name = str(address)
        if name in self.listeners:
            raise OSError(errno.EADDRINUSE, f"cannot listen on {name}: another node listens there")
        listener = self.listeners[name] = FakeListener(self, name)
        return [listener]

    @property
    def live(self) -> list[Wire]:
        """The wires that are open at both ends."""
        return [wire for wire in self.wires if wire.open]

    @property
    def wire(self) -> Wire:
        """The one wire that is open."""
        (wire,) = self.live
        return wire


def place(node_id: str) -> str:
    """The address where a node of this ID listens in a `FakeNetwork`."""
    return f"unix:/fake/{node_id}"
