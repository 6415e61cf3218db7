"""What the tests of the network share: a network in memory that can be cut, stalled and slowed down, and raw peers."""

from __future__ import annotations

import dataclasses
import errno
import logging
import os
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import trio
from network_watch import watched

from trio_mp import Node, Port, current_node, spawnable
from trio_mp._errors import RemoteProtocolError
from trio_mp._ids import random_token, spawned_prefix, spawner_mark
from trio_mp._peers.network import Network
from trio_mp._peers.peer import Peer
from trio_mp._protocol.handshake.auth import stretch_secret
from trio_mp._protocol.handshake.events import (
    Authenticated,
    Event,
    LinkReceived,
    Messages,
    OkReceived,
    ProofWanted,
    RefusedByPeer,
)
from trio_mp._protocol.handshake.handshake import NONCE_SIZE, LocalInfo
from trio_mp._protocol.handshake.session import Session
from trio_mp._protocol.wire import codec
from trio_mp._settings.environment import Environment
from trio_mp._transport.addresses import Address
from trio_mp._transport.pipe import Listener, Pipe, Transport
from trio_mp._transport.throwaway import throwaway_tls
from trio_mp.lowlevel import open_node_in

SECRET = "a secret for the tests"
CAPACITY = 256 * 1024


# A network in memory -------------------------------------------------------------------------------------------------


class Direction:
    """Bytes on their way from one end of a wire to the other.

    Attributes:
      sent: everything that was ever accepted, for looking at.
      delay: how long bytes take, in seconds.
      stalled: nothing arrives until `resume`.
      black_hole: what is sent is accepted and vanishes.
      largest_read: at most so many bytes are read at once.
      largest_write: at most so many bytes are taken at once.
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
        # The other side hears of it when it writes, unless what it writes gets lost.
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
        """Both ends find a reset, and what is on its way is gone."""
        for direction in self.directions:
            direction.reset = True
            direction.drop_all()
            direction.wake()

    def hang_up(self) -> None:
        """Both ends find an end of file, behind what is on its way."""
        for direction in self.directions:
            direction.ended = True
            direction.wake()

    def cut(self) -> None:
        """From now on nothing arrives at either end, and neither is told."""
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


# Nodes ---------------------------------------------------------------------------------------------------------------


def place(node_id: str) -> str:
    """Where a node of that ID listens in a `FakeNetwork`."""
    return f"unix:/fake/{node_id}"


def open_test_node(
    network: Transport,
    node_id: str,
    *,
    seeds: Iterable[str] = (),
    listen: bool = True,
    fairness_clock: Callable[[], float] | None = None,
    **settings: Any,
) -> AbstractAsyncContextManager[Node]:
    """A node that listens at `place(node_id)`, has the nodes of those IDs as seeds, and no encryption by default.

    All nodes of one network are watched by one oracle; see `network_watch`.
    """
    settings.setdefault("secret", SECRET)
    settings.setdefault("encryption", False)
    settings.setdefault("binds", (place(node_id),) if listen else ())
    settings["seeds"] = tuple(seed if ":" in seed else place(seed) for seed in seeds)
    environment = Environment(transport=network, jitter=lambda: 0.5)
    if fairness_clock is not None:
        environment = dataclasses.replace(environment, fairness_clock=fairness_clock)
    return watched(network, open_node_in(environment, node_id, **settings))


@asynccontextmanager
async def open_pair(
    network: Transport, first: str = "a", second: str = "b", **settings: Any
) -> AsyncGenerator[tuple[Node, Node], None]:
    """Two nodes with a connection; the second has the first as its seed. The greater ID decides."""
    async with (
        open_test_node(network, first, **settings) as one,
        open_test_node(network, second, seeds=[first], **settings) as two,
    ):
        await until(lambda: one.peers == (second,) and two.peers == (first,))
        yield one, two


async def until(condition: Callable[[], object], seconds: float = 1000.0) -> None:
    """Wait, by Trio's clock, until something is true. For tests with a clock that jumps."""
    end = trio.current_time() + seconds
    while not condition():
        assert trio.current_time() < end, "it never came true"
        await trio.sleep(0.005)


def network_of(node: Node) -> Network:
    network = node._runtime.network
    assert network is not None
    return network


def peer_of(node: Node, node_id: str) -> Peer:
    """What a node keeps about another."""
    return network_of(node).peers[node_id]


class Inbox:
    """A port that keeps what it gets.

    Attributes:
      messages: in the order of their arrival.
    """

    def __init__(self, node: Node) -> None:
        self.messages: list[tuple[Any, ...]] = []
        self.port = node.port(self._take)
        self._changed = trio.lowlevel.ParkingLot()

    def _take(self, *message: Any) -> None:
        self.messages.append(message)
        self._changed.unpark_all()

    async def wait(self, count: int) -> list[tuple[Any, ...]]:
        """Wait until so many have come."""
        while len(self.messages) < count:
            await self._changed.park()
        return self.messages


class Notices:
    """A monitor's callback that keeps the reasons it is called with."""

    def __init__(self) -> None:
        self.reasons: list[tuple[Any, ...]] = []
        self._changed = trio.lowlevel.ParkingLot()

    def __call__(self, *reason: Any) -> None:
        self.reasons.append(reason)
        self._changed.unpark_all()

    async def wait(self) -> tuple[Any, ...]:
        while not self.reasons:
            await self._changed.park()
        return self.reasons[0]


def warnings_in(caplog: pytest.LogCaptureFixture, minimum: int = logging.WARNING) -> list[str]:
    """What this package logged at this level or above."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.split(".")[0] == "trio_mp" and record.levelno >= minimum
    ]


def requests_in(sent: bytes | bytearray) -> list[tuple[Any, ...]]:
    """The messages in what an unencrypted side has sent, behind its handshake."""
    # Either side's last line of a handshake is `link` or `ok`.
    for mark in (b"\nlink\n", b"\nok\n"):
        _, found, frames = bytes(sent).partition(mark)
        if found:
            break
    messages: list[tuple[Any, ...]] = []
    while len(frames) >= 4:
        size = int.from_bytes(frames[:4], "big")
        if len(frames) < 4 + size:
            break
        messages += codec.decode_frame(frames[4 : 4 + size])
        frames = frames[4 + size :]
    return messages


# Raw peers -----------------------------------------------------------------------------------------------------------


class RawPeer:
    """A peer made of nothing but a session, so that a test can do what a node never would.

    Attributes:
      session, pipe: what it is made of.
      messages: what arrived.
      refused: why it was refused.
    """

    def __init__(
        self,
        pipe: Pipe,
        node_id: str,
        *,
        incarnation: str | None = None,
        secret: str = SECRET,
        dialler: bool = True,
        limit: int = 2**20,
        heartbeat: float = 5,
        encryption: bool = False,
        framings: tuple[str, ...] = ("msgpack",),
    ) -> None:
        self.pipe = pipe
        self.node_id = node_id
        self.incarnation = incarnation or random_token(os.urandom)
        local = LocalInfo(
            node_id,
            self.incarnation,
            (stretch_secret(secret.encode()),),
            encryption=encryption,
            heartbeat=heartbeat,
            limit=limit,
            provider="raw",
            framings=framings,
        )
        self.session = Session(
            local, os.urandom(NONCE_SIZE), dialler=dialler, peer_address="raw", make_tls=throwaway_tls
        )
        self.messages: list[tuple[Any, ...]] = []
        self.events: list[Event] = []
        self.refused: str | None = None
        self.ended = False

    def name_to_spawn(self, counter: int, random_part: str = "r" * 16) -> str:
        """A name that this run of this node may give to a port that it spawns."""
        return spawned_prefix(spawner_mark(self.node_id, self.incarnation), counter) + random_part

    async def flush(self) -> None:
        while self.session.outgoing:
            count = self.pipe.send_nowait(self.session.outgoing)
            del self.session.outgoing[:count]
            if not count:
                await self.pipe.wait_writable()

    async def step(self) -> list[Event]:
        """Write what there is, read once, and answer with a proof where one is wanted."""
        await self.flush()
        await self.pipe.wait_readable()
        data = self.pipe.receive_nowait(65536)
        if data is None:
            return []
        if not data:
            self.ended = True
            return []
        events = self.session.receive(data)
        for event in events:
            match event:
                case ProofWanted() | Authenticated(owes_proof=True):
                    self.session.prove("")
                case Messages(batch):
                    self.messages += batch
                case RefusedByPeer(why):
                    self.refused = why
                case _:
                    pass
        self.events += events
        await self.flush()
        return events

    async def reach(self, kind: type[Event]) -> None:
        """Go on until this kind of event has come."""
        while not any(isinstance(event, kind) for event in self.events):
            assert not self.ended, "the connection ended before"
            await self.step()

    async def adopt(self) -> None:
        """Go through the whole handshake; this side must not be the one that decides."""
        await self.reach(LinkReceived)
        self.session.accept()
        await self.flush()

    async def choose(self) -> None:
        """Go through the whole handshake; this side must be the one that decides."""
        await self.reach(Authenticated)
        self.session.link()
        await self.reach(OkReceived)

    async def send(self, *messages: Sequence[Any]) -> None:
        """Send a batch; each message begins with the name of a port."""
        frame = codec.open_frame()
        for message in messages:
            codec.append_message(frame, message[0], tuple(message[1:]))
        codec.close_frame(frame, len(messages))
        self.session.send(frame)
        await self.flush()

    async def send_raw(self, data: bytes) -> None:
        self.session.send(data)
        await self.flush()

    async def receive(self, count: int) -> list[tuple[Any, ...]]:
        """Go on until so many messages have come, keep-alives aside."""
        while len(self.received) < count:
            assert not self.ended, f"the connection ended after {self.received}"
            await self.step()
        return self.received

    @property
    def received(self) -> list[tuple[Any, ...]]:
        return [message for message in self.messages if tuple(message) != ("", "")]

    async def read_to_end(self) -> None:
        """Go on until the other side closes, or resets, the connection."""
        while not self.ended:
            try:
                await self.step()
            except (OSError, RemoteProtocolError):
                self.ended = True


async def connect_raw(network: FakeNetwork, raw_id: str, to: str = "m", **arguments: Any) -> RawPeer:
    """A raw peer whose connection with the node `to` is in use; the greater ID decides."""
    peer = RawPeer(network.connect(place(to)).dialler, raw_id, **arguments)
    await (peer.choose() if raw_id > to else peer.adopt())
    return peer


NO_PORT = "AAAAAAAAAAAAAAAA.1"
"""The name of a port that is nowhere."""


@asynccontextmanager
async def a_member(network: FakeNetwork, node: Node, node_id: str = "0") -> AsyncGenerator[RawPeer, None]:
    """A peer of a node, `a`, that does what no node would."""
    raw = RawPeer(network.connect(place("a")).dialler, node_id)
    await raw.adopt()
    await until(lambda: node_id in node.peers)

    async def give_signs_of_life() -> None:
        while True:
            await raw.send(("", ""))
            await trio.sleep(3)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(give_signs_of_life)
        yield raw
        nursery.cancel_scope.cancel()
    raw.pipe.close()


# What may be spawned -------------------------------------------------------------------------------------------------

NOT_A_FUNCTION = 5


@spawnable
def installs_a_handler(port: Port, *arguments: Any) -> None:
    @port.on("arguments")
    def answer(reply_to: str) -> None:
        current_node().send(reply_to, *arguments)

    @port.on("die")
    def die(*reason: Any) -> None:
        port.kill(*reason)


@spawnable
async def is_a_process(port: Port, reply_to: str) -> None:
    async for message in port:
        current_node().send(reply_to, *message)
        if message == ("stop",):
            return


@spawnable
async def is_a_process_that_raises(port: Port) -> None:
    await trio.sleep(1)
    raise ValueError("after a second")


@spawnable
def fails_at_once(port: Port, *arguments: Any) -> None:
    raise ValueError(f"cannot be made with {arguments}")


@spawnable
def ends_at_once(port: Port) -> None:
    port.kill()


def is_not_spawnable(port: Port) -> None:
    raise AssertionError("it was called all the same")
