"""A relay in the middle of two nodes passes their bytes on: slowly, changed, twice, to others, or not at all.

It runs on the `FakeNetwork`, and plays an attacker who reads and changes bytes. The relay of the demo and the proxy of
chaos stand between processes, and never change a byte.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import trio
from network_helpers import FakeNetwork, place

from trio_mp import Node
from trio_mp._transport.addresses import parse_address
from trio_mp._transport.pipe import Listener, Pipe
from trio_mp._transport.throwaway import throwaway_contexts
from trio_mp._transport.tls import MemoryTLS

RELAY = "relay"
"""Where the relay listens: `place(RELAY)`. A node whose seed that is believes to have dialled the other node."""


class Side:
    """One of the two connections of a relay, read in lines or in whatever pieces come."""

    def __init__(self, pipe: Pipe) -> None:
        self.pipe = pipe
        self._buffer = b""

    async def some(self) -> bytes:
        """The next bytes; empty at the end of the connection, or after a reset."""
        data, self._buffer = self._buffer, b""
        try:
            while not data:
                await self.pipe.wait_readable()
                received = self.pipe.receive_nowait(65536)
                if received == b"":
                    break
                data = received or b""
        except (OSError, trio.ClosedResourceError):
            return b""
        return data

    async def exactly(self, count: int) -> bytes:
        """Exactly so many bytes; fewer only if the connection ends before."""
        data = b""
        while len(data) < count and (more := await self.some()):
            data += more
        data, self._buffer = data[:count], data[count:]
        return data

    async def line(self) -> bytes:
        """The next line with its line end; without one if the connection ends before."""
        data = b""
        while b"\n" not in data and (more := await self.some()):
            data += more
        line, end, self._buffer = data.partition(b"\n")
        return line + end

    async def lines(self, count: int) -> list[bytes]:
        return [await self.line() for _ in range(count)]

    async def send(self, data: bytes) -> None:
        """Send bytes, and ignore that the other side may be gone."""
        try:
            while data:
                sent = self.pipe.send_nowait(data)
                data = data[sent:]
                if not sent:
                    await self.pipe.wait_writable()
        except (OSError, trio.ClosedResourceError):
            pass

    def close(self) -> None:
        """Read what has come and close, since closing with input unread would reset the connection."""
        try:
            while self.pipe.receive_nowait(65536):
                pass
        except OSError:
            pass
        self.pipe.close()


class Middle:
    """A relay's two connections: with the node that has dialled it, and with the one that was meant.

    Attributes:
      dialler, listener: those two.
      number: how many connections the relay had before.
    """

    def __init__(self, dialler: Side, listener: Side, number: int) -> None:
        self.dialler = dialler
        self.listener = listener
        self.number = number

    def close(self) -> None:
        self.dialler.close()
        self.listener.close()

    async def pass_on(self, *, pause: float = 0, piece: int = 65536) -> None:
        """Pass on what comes on either side, until one of them ends; each piece after a pause, in seconds."""

        async def one_way(source: Side, target: Side) -> None:
            while data := await source.some():
                for start in range(0, len(data), piece):
                    if pause:
                        await trio.sleep(pause)
                    await target.send(data[start : start + piece])
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one_way, self.dialler, self.listener)
            nursery.start_soon(one_way, self.listener, self.dialler)

    async def pass_lines_on(self, change: Callable[[str, int, bytes], bytes], count: int) -> None:
        """Pass on the first lines of either side, changed; then all that comes, as it is.

        Args:
          change: called with who has said it ("dialler" or "listener"), the number of the line, and the line.
          count: how many lines.
        """

        async def one_way(name: str, source: Side, target: Side) -> None:
            for number in range(count):
                line = await source.line()
                if not line:
                    break
                await target.send(change(name, number, line))
            while data := await source.some():
                await target.send(data)
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one_way, "dialler", self.dialler, self.listener)
            nursery.start_soon(one_way, "listener", self.listener, self.dialler)


Work = Callable[[Middle], Awaitable[object]]


class Relay:
    """Listens at `place(RELAY)` and dials a node for everyone who connects.

    Attributes:
      served: how many connections the relay has finished with.
      limit: after so many connections, it accepts further ones and says nothing.
    """

    def __init__(self, network: FakeNetwork, node_id: str, work: Work, limit: int) -> None:
        self._network = network
        self._node_id = node_id
        self._work = work
        self.limit = limit
        self.started = 0
        self.served = 0
        self._changed = trio.lowlevel.ParkingLot()

    async def run(self, listener: Listener) -> None:
        async with trio.open_nursery() as nursery:
            while self.started < self.limit:
                pipe = await listener.accept()
                nursery.start_soon(self._serve, pipe, self.started)
                self.started += 1
            await trio.sleep_forever()

    async def _serve(self, pipe: Pipe, number: int) -> None:
        middle = Middle(Side(pipe), Side(self._network.connect(place(self._node_id)).dialler), number)
        try:
            await self._work(middle)
        finally:
            middle.close()
            self.served += 1
            self._changed.unpark_all()

    async def wait(self, count: int) -> None:
        """Wait until the relay has finished with so many connections."""
        while self.served < count:
            await self._changed.park()


@asynccontextmanager
async def relaying(network: FakeNetwork, node_id: str, work: Work, limit: int = 1 << 30) -> AsyncGenerator[Relay, None]:
    """Run a relay to a node, for the length of the block."""
    (listener,) = await network.listen(parse_address(place(RELAY), setting="test"))
    relay = Relay(network, node_id, work, limit)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(relay.run, listener)
        try:
            yield relay
        finally:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await listener.aclose()


# What a relay may do to what passes ----------------------------------------------------------------------------------


def changing(who: str, number: int, pattern: bytes, new: bytes) -> Work:
    """Replace something in one line of one side. The other lines, and what follows them, go on as they are."""

    def change(side: str, at: int, line: bytes) -> bytes:
        if (side, at) != (who, number):
            return line
        changed = re.sub(pattern, new, line, count=1)
        assert changed != line, "the attack is none"
        return changed

    return lambda middle: middle.pass_lines_on(change, number + 1)


async def strip_tls(middle: Middle) -> None:
    await middle.pass_lines_on(lambda _, __, line: line.replace(b";tls=1.0", b""), 1)


async def add_tls(middle: Middle) -> None:
    await middle.pass_lines_on(lambda _, __, line: line.replace(b";incarnation", b";tls=1.0;incarnation"), 1)


async def swap_lines(middle: Middle) -> None:
    first, second = await middle.dialler.lines(2)
    await middle.listener.send(second + first)
    await middle.pass_on()


async def proof_before_greeting(middle: Middle) -> None:
    greeting = await middle.dialler.lines(2)
    await middle.dialler.send(b"".join(await middle.listener.lines(2)))
    await middle.listener.send(await middle.dialler.line() + b"".join(greeting))
    await middle.pass_on()


async def own_proof_back(middle: Middle) -> None:
    """Send each side its own proof back, as if both had proven themselves with the same line."""
    await middle.listener.send(b"".join(await middle.dialler.lines(2)))
    await middle.dialler.send(b"".join(await middle.listener.lines(2)))
    await middle.dialler.send(await middle.dialler.line())
    await middle.dialler.some()


async def own_lines_back(middle: Middle) -> None:
    while line := await middle.dialler.line():
        await middle.dialler.send(line)


async def own_bytes_back(middle: Middle) -> None:
    while data := await middle.dialler.some():
        await middle.dialler.send(data)


async def hold_back_the_proof(middle: Middle) -> None:
    await middle.listener.send(b"".join(await middle.dialler.lines(2)))
    await middle.dialler.send(b"".join(await middle.listener.lines(2)))
    assert (await middle.dialler.line()).startswith(b"hmac_sha256;")
    await middle.dialler.some()


async def delay_too_long(middle: Middle) -> None:
    await middle.pass_on(pause=11)


class Terminator:
    """Speaks TLS with both sides, or with one, on a certificate of its own, and passes on what it has decrypted."""

    def __init__(self, *, change: Callable[[str, bytes], bytes] = lambda _, line: line, plain: str = "") -> None:
        self.change = change
        self.plain = plain
        self.heard = b""

    async def __call__(self, middle: Middle) -> None:
        ours = throwaway_contexts.__wrapped__()
        sides = {"dialler": middle.dialler, "listener": middle.listener}
        said = {name: await side.lines(2) for name, side in sides.items()}
        others = {"dialler": "listener", "listener": "dialler"}
        channels: dict[str, MemoryTLS | None] = {}
        for name, other in others.items():
            shown = [self.change(other, line) for line in said[other]]
            await sides[name].send(b"".join(shown))
            # The greater nonce line is the server's: as this side sees it, its own or the one shown to it.
            is_client = said[name][1] > shown[1]
            tls = MemoryTLS(ours[1], b"") if is_client else MemoryTLS(ours[0], ours[2])
            channels[name] = None if name == self.plain else tls
            if name != self.plain:
                await sides[name].send(tls.start())
        waiting = dict.fromkeys(sides, b"")

        async def pump(name: str, other: str) -> None:
            while data := await sides[name].some():
                mine = channels[name]
                heard, reply = mine.receive(data) if mine is not None else (data, b"")
                self.heard += heard
                waiting[other] += heard
                await sides[name].send(reply)
                for target in others:
                    tls = channels[target]
                    if waiting[target] and (tls is None or tls.fingerprint):
                        plain, waiting[target] = waiting[target], b""
                        await sides[target].send(tls.send(plain) if tls is not None else plain)
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            for name, other in others.items():
                nursery.start_soon(pump, name, other)


def greatest_nonce(_: str, line: bytes) -> bytes:
    return b"z" * 44 + b"\n" if b";" not in line else line


def smallest_nonce(_: str, line: bytes) -> bytes:
    return b"+" * 44 + b"\n" if b";" not in line else line


# The oracle -----------------------------------------------------------------------------------------------------------


class Ledger:
    """What one node sends to a port of another, which is monitored without a pause: the oracle of the promise.

    Attributes:
      sent: how many messages, numbered from 0.
      delivered: which arrived, in their order.
      told: how many had been sent, each time that the monitor fired.
    """

    def __init__(self, sender: Node, receiver: Node) -> None:
        self.sent = 0
        self.delivered: list[int] = []
        self.told: list[int] = []
        self.reasons: list[tuple[object, ...]] = []
        self._sender = sender
        self._changed = trio.lowlevel.ParkingLot()
        self.port = receiver.port(self._deliver)
        self._watch()

    def _deliver(self, number: int, *_: object) -> None:
        self.delivered.append(number)
        self._changed.unpark_all()

    async def wait(self, count: int) -> None:
        """Wait until so many have arrived."""
        while len(self.delivered) < count:
            await self._changed.park()

    def _watch(self, *reason: object) -> None:
        if "this node is clos" in str(reason):
            return
        if reason:
            self.told.append(self.sent)
            self.reasons.append(reason)
        self._sender.monitor(self.port, self._watch)

    def send(self, *rest: object) -> None:
        self._sender.send(self.port, self.sent, *rest)
        self.sent += 1

    def check(self) -> None:
        check_promise(self.sent, self.delivered, self.told)


def check_promise(sent: int, delivered: Sequence[int], told: Sequence[int]) -> None:
    """No silent hole in messages 0, 1, 2 … to one monitored port, sent without a pause in monitoring.

    Args:
      sent: how many.
      delivered: which arrived, in their order.
      told: how many had been sent, each time that the monitor fired.
    """
    assert list(delivered) == sorted(set(delivered)), "in order, and each at most once"
    arrived = set(delivered)
    for number in range(sent):
        if number not in arrived:
            heard = min((at for at in told if at > number), default=None)
            assert heard is not None, f"{number} was lost, and nobody was told"
            overtakers = [other for other in delivered if number < other < heard]
            assert not overtakers, f"{overtakers} arrived behind {number}, which was lost, before anybody was told"
