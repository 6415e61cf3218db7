"""One simulated connection: two pipes, and the bytes on their way between them.

To programs it behaves as TCP does. Bytes arrive in order and late. A broken link holds bytes back, and delivers them
when it is mended. The end of the stream travels behind the data. A closed end answers bytes with a reset. A host that
has vanished answers nothing; when it is back it knows nothing of the connection, and answers with a reset.
"""

from __future__ import annotations

import errno
import random
from collections import deque
from dataclasses import dataclass

import trio

from .._transport.pipe import Pipe
from ._postman import Postman
from ._trace import Trace

CAPACITY = 64 * 1024
"""How many bytes a direction of a connection holds, on their way and unread, unless a link says otherwise."""

_END = b""
_RESET = None


@dataclass(slots=True)
class Link:
    """How bytes travel from one node to another, on all connections of the two.

    Attributes:
      delay: how long bytes take, in seconds.
      jitter: how much longer they may take, at random, in seconds. Bytes stay in order.
      split: the probability that a write or a read is cut short anywhere.
      capacity: how many bytes a connection holds in this direction.
      rate: how many bytes a second the far end reads from one connection; None means all that there are.
      broken: whether nothing arrives.
    """

    delay: float = 0.001
    jitter: float = 0.0
    split: float = 0.0
    capacity: int = CAPACITY
    rate: float | None = None
    broken: bool = False

    def be_like(self, other: Link) -> None:
        """Copy all attributes of another link."""
        self.delay, self.jitter, self.split = other.delay, other.jitter, other.split
        self.capacity, self.rate, self.broken = other.capacity, other.rate, other.broken


@dataclass(slots=True)
class Host:
    """The machine of one node, as its connections know it.

    Attributes:
      node_id: the node.
      run: the number of the node's latest run, from 1.
      up: whether the node runs.
      paused: whether the node neither reads nor writes.
      encrypted: whether the node encrypts its connections.
    """

    node_id: str
    run: int = 0
    up: bool = False
    paused: bool = False
    encrypted: bool = False


@dataclass(slots=True)
class World:
    """What all wires of a network share."""

    random: random.Random
    postman: Postman
    trace: Trace


class Direction:
    """Bytes on their way from one end of a wire to the other."""

    __slots__ = (
        *("arrived", "changed", "flip_next", "link", "name", "size", "source", "target", "truncate_next", "vanished"),
        *("_ended", "_last", "_read_at", "_travelling", "_world"),
    )

    def __init__(self, world: World, name: str, link: Link) -> None:
        self.name = name
        self.link = link
        self.source: SimulatedPipe
        self.target: SimulatedPipe
        # How many bytes were accepted from the one end, and not read at the other.
        self.size: int = 0
        self.arrived: bytearray = bytearray()
        self.vanished: bool = False
        self.truncate_next: bool = False
        self.flip_next: bool = False
        self.changed: trio.lowlevel.ParkingLot = trio.lowlevel.ParkingLot()
        self._world = world
        self._travelling: deque[tuple[float, bytes | None]] = deque()
        self._last = 0.0
        self._ended = False
        self._read_at = 0.0

    # The sending end -----------------------------------------------------------------------------------------------

    @property
    def room(self) -> int:
        """How many bytes this direction takes now."""
        return max(0, self.link.capacity - self.size)

    def put(self, data: bytes | bytearray | memoryview) -> int:
        """Take as many of these bytes as fit; returns how many."""
        count = min(len(data), self.room)
        if self.source.host.paused or not count:
            return 0
        if self.link.split and self._world.random.random() < self.link.split:
            count = self._world.random.randint(1, count)
        taken = bytes(data[:count])
        self._world.trace.record_bytes("writes", self.name, taken)
        self.size += count
        if self.flip_next:
            taken = self._flip(taken)
        if self.truncate_next and count > 1:
            self._truncate(taken)
        else:
            self._post(taken)
        return count

    def _flip(self, data: bytes) -> bytes:
        self.flip_next = False
        position, bit = self._world.random.randrange(len(data)), self._world.random.randrange(8)
        self._world.trace.record("flipped", self.name, position, bit)
        changed = bytearray(data)
        changed[position] ^= 1 << bit
        return bytes(changed)

    def _truncate(self, data: bytes) -> None:
        self.truncate_next = False
        kept = self._world.random.randrange(1, len(data))
        self._world.trace.record("truncated", self.name, kept, len(data))
        self._post(data[:kept])
        self.end()
        self.vanished = True
        self.source.incoming.reset()

    def _post(self, data: bytes | None) -> None:
        if self.vanished or self._ended:
            return
        link, world = self.link, self._world
        arrival = trio.current_time() + link.delay
        if link.jitter:
            arrival += link.jitter * world.random.random()
        self._last = max(self._last, arrival)
        self._travelling.append((self._last, data))
        self._ended = not data
        world.postman.at(self._last, self.arrive)

    def end(self) -> None:
        """End the stream, behind the bytes that are on their way."""
        self._post(_END)

    def reset(self) -> None:
        """Reset: the receiving end hears that the sending one is gone, and loses what it has not read."""
        self._ended = False
        self._post(_RESET)

    # The receiving end ---------------------------------------------------------------------------------------------

    def arrive(self) -> None:
        """Let all bytes arrive that are due."""
        if self.link.broken:
            return
        now = trio.current_time()
        while self._travelling and self._travelling[0][0] <= now:
            _, data = self._travelling.popleft()
            target = self.target
            if data is None:
                target.break_off()
            elif target.gone:
                if target.host.up:
                    # The host is back, and knows nothing of this connection: it answers with a reset.
                    target.outgoing.vanished = False
                    target.outgoing.reset()
            elif target.closed:
                if data:
                    target.outgoing.reset()
            else:
                self._world.trace.record("arrives", self.name, len(data))
                self.arrived += data
                target.at_end = not data
        self.changed.unpark_all()

    def release(self) -> None:
        """Send the bytes on their way again that a broken link has held back."""
        if self._travelling:
            self._last = max(self._last, trio.current_time() + self.link.delay)
            self._world.postman.at(self._last, self.arrive)

    def take(self, maximum: int) -> bytes | None:
        """Take bytes that have arrived; see `Pipe.receive_nowait`."""
        if not self.readable:
            return None
        if not self.arrived:
            return b""
        maximum = min(maximum, len(self.arrived))
        if self.link.split and self._world.random.random() < self.link.split:
            maximum = self._world.random.randint(1, maximum)
        if self.link.rate is not None:
            maximum = min(maximum, max(1, int(self.link.rate / 10)))
            self._read_at = trio.current_time() + maximum / self.link.rate
            self._world.postman.at(self._read_at, self.changed.unpark_all)
        data = bytes(self.arrived[:maximum])
        del self.arrived[:maximum]
        self.size -= maximum
        self.changed.unpark_all()
        return data

    @property
    def readable(self) -> bool:
        """Whether the receiving end may read now."""
        if self.target.host.paused or (self.link.rate is not None and trio.current_time() < self._read_at):
            return False
        return bool(self.arrived) or self.target.at_end

    def clear(self) -> None:
        """Drop all bytes that are on their way or unread."""
        self._travelling.clear()
        self.arrived.clear()
        self.size = 0


class SimulatedPipe(Pipe):
    """One end of a wire.

    Attributes:
      host, run: the machine that the end is on, and the run of its node.
      closed: whether the node has closed this end.
      gone: whether the node has crashed.
      at_end: whether the end of the stream has arrived.
      outgoing, incoming: the two directions.
    """

    __slots__ = ("at_end", "closed", "gone", "host", "incoming", "outgoing", "peer_address", "reset", "run")

    def __init__(self, host: Host, outgoing: Direction, incoming: Direction, peer_address: str) -> None:
        self.host: Host = host
        self.run: int = host.run
        self.outgoing: Direction = outgoing
        self.incoming: Direction = incoming
        self.peer_address: str = peer_address
        self.closed: bool = False
        self.gone: bool = False
        self.at_end: bool = False
        self.reset: bool = False
        outgoing.source = self
        incoming.target = self

    def send_nowait(self, data: bytes | bytearray | memoryview) -> int:
        """See `Pipe.send_nowait`."""
        self._check()
        if self.reset:
            raise BrokenPipeError(errno.EPIPE, "the connection was reset")
        return self.outgoing.put(data)

    def receive_nowait(self, maximum: int) -> bytes | None:
        """See `Pipe.receive_nowait`."""
        self._check()
        if self.host.paused:
            return None
        if self.reset:
            raise ConnectionResetError(errno.ECONNRESET, "the connection was reset")
        return self.incoming.take(maximum)

    async def wait_writable(self) -> None:
        """See `Pipe.wait_writable`."""
        while not self.closed and (self.host.paused or not (self.reset or self.outgoing.room)):
            await self.outgoing.changed.park()
        await trio.lowlevel.checkpoint()
        if self.closed:
            raise trio.ClosedResourceError

    async def wait_readable(self) -> None:
        """See `Pipe.wait_readable`."""
        while not self.closed and (self.host.paused or not (self.reset or self.incoming.readable)):
            await self.incoming.changed.park()
        await trio.lowlevel.checkpoint()
        if self.closed:
            raise trio.ClosedResourceError

    def send_eof(self) -> None:
        """See `Pipe.send_eof`."""
        self._check()
        if self.reset:
            raise BrokenPipeError(errno.EPIPE, "the connection was reset")
        self.outgoing.end()

    def close(self) -> None:
        """See `Pipe.close`. As with sockets, closing with input unread resets the other side."""
        if self.closed:
            return
        self.closed = True
        if not self.gone and not self.reset:
            if self.incoming.arrived:
                self.outgoing.reset()
            else:
                self.outgoing.end()
        self.incoming.arrived.clear()
        self.wake()

    def break_off(self) -> None:
        """Take a reset that has arrived."""
        if not self.closed and not self.reset:
            self.reset = True
            self.incoming.clear()
            self.wake()

    def vanish(self, *, silently: bool) -> None:
        """Let this end vanish, because its node has crashed.

        Args:
          silently: whether the machine has crashed too, and tells nobody. Otherwise its kernel closes this end.
        """
        if not silently and not self.closed and not self.reset:
            if self.incoming.arrived:
                self.outgoing.reset()
            else:
                self.outgoing.end()
        self.gone = True
        self.outgoing.vanished = True
        self.incoming.arrived.clear()
        # The crashed node, whose tasks still have to end, finds the pipe broken.
        self.reset = True
        self.wake()

    def wake(self) -> None:
        """Wake all tasks that wait for this pipe, so that they look again."""
        self.outgoing.changed.unpark_all()
        self.incoming.changed.unpark_all()

    def _check(self) -> None:
        if self.closed:
            raise OSError(errno.EBADF, "the pipe is closed at this end")


class Wire:
    """A connection with both of its ends.

    Attributes:
      name: the node that has dialled, the one that has accepted, and a number.
      dialler, listener: the two ends.
    """

    def __init__(self, world: World, number: int, hosts: tuple[Host, Host], links: tuple[Link, Link]) -> None:
        dialler, listener = hosts
        self.name: str = f"{dialler.node_id}>{listener.node_id}/{number}"
        there = Direction(world, f"{self.name}→", links[0])
        back = Direction(world, f"{self.name}←", links[1])
        self.dialler: SimulatedPipe = SimulatedPipe(dialler, there, back, listener.node_id)
        self.listener: SimulatedPipe = SimulatedPipe(listener, back, there, f"a connection of {dialler.node_id}")

    @property
    def ends(self) -> tuple[SimulatedPipe, SimulatedPipe]:
        """Both ends."""
        return self.dialler, self.listener

    @property
    def open(self) -> bool:
        """Whether both ends may still use it."""
        return not any(end.closed or end.gone or end.reset for end in self.ends)

    @property
    def over(self) -> bool:
        """Whether both ends are closed or gone, so that nobody can notice this connection any more."""
        return all(end.closed or end.gone for end in self.ends)

    def nodes(self) -> tuple[str, str]:
        """The IDs of both nodes; the dialler comes first."""
        return self.dialler.host.node_id, self.listener.host.node_id

    def direction(self, source: str) -> Direction:
        """The direction in which this node sends."""
        return self.dialler.outgoing if self.dialler.host.node_id == source else self.listener.outgoing
