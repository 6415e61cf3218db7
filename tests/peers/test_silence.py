"""A peer that says nothing: when that is noticed, when not, and processes that are stopped and go on."""

from __future__ import annotations

import itertools
import math
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from network_helpers import (
    SECRET,
    FakeNetwork,
    Inbox,
    Notices,
    RawPeer,
    network_of,
    open_pair,
    open_test_node,
    place,
    requests_in,
    until,
    warnings_in,
)
from relay_helpers import RELAY, Ledger, Middle, check_promise, relaying

from trio_mp import Node, open_node

encrypted_or_not = pytest.mark.parametrize("encryption", [False, True], ids=["plain", "encrypted"])


# In memory, to the moment --------------------------------------------------------------------------------------------


@asynccontextmanager
async def open_raw(
    own: float, theirs: float, *, node_id: str = "a", encryption: bool = False
) -> AsyncGenerator[tuple[Node, RawPeer, Notices, float], None]:
    """A node and a raw peer of those heartbeats, a monitor, and when the node started: its checks count from then."""
    network = FakeNetwork()
    async with open_test_node(network, "m", heartbeat=own, encryption=encryption, connect_timeout=300) as node:
        start = trio.current_time()
        peer = RawPeer(network.connect(place("m")).dialler, node_id, heartbeat=theirs, encryption=encryption)
        await (peer.adopt() if node_id < "m" else peer.choose())
        told = Notices()
        node.monitor(node_id, told)
        yield node, peer, told, start


@pytest.mark.parametrize("own", [0.5, 5.0, 16.0])
@pytest.mark.parametrize("theirs", [0.25, 5.0, 60.0])
@pytest.mark.parametrize("said_at", [2.5, 3.0, 7.125])
async def test_silence_is_noticed_at_the_first_check_after_three_heartbeats(
    autojump_clock: trio.testing.MockClock, own: float, theirs: float, said_at: float
) -> None:
    """The peer's heartbeats; the checks come every half of our own. Not at the check before, and not one later."""
    async with open_raw(own, theirs) as (node, peer, told, start):
        # A connection's first check does not judge it.
        said_at += own / 2
        while trio.current_time() < start + said_at:
            await peer.send(("", "devnull"))
            await trio.sleep_until(min(start + said_at, trio.current_time() + theirs))
        await peer.send(("", "devnull"))
        with trio.fail_after(1000):
            reason = await told.wait()
        checks = math.ceil((said_at + 3 * theirs) / (own / 2))
        assert trio.current_time() - start == pytest.approx(checks * own / 2, abs=1e-6)
        assert reason[:2] == ("transport_error", "a")
        assert "nothing was heard" in str(reason[2])
        assert not node.peers


@encrypted_or_not
@pytest.mark.parametrize("node_id", ["a", "z"])
async def test_just_under_three_heartbeats_is_no_silence(
    autojump_clock: trio.testing.MockClock, node_id: str, encryption: bool
) -> None:
    """And a single byte, of a frame that is not nearly complete, is a sign of life."""
    async with open_raw(0.5, 4, node_id=node_id, encryption=encryption) as (node, peer, told, _):
        for _ in range(20):
            await peer.send(("", "devnull"))
            await trio.sleep(11.99)
        peer.session.send(b"\x00\x00\xff\xff" + b"x" * 100)
        data, peer.session.outgoing = bytes(peer.session.outgoing), bytearray()
        for byte in data[:60]:
            peer.pipe.send_nowait(bytes([byte]))
            await trio.sleep(11.99)
        assert not told.reasons
        assert node.peers == (node_id,)
        await trio.sleep(0.51)
        assert told.reasons


async def slow_line(middle: Middle) -> None:
    await middle.pass_on(pause=5, piece=6000)


@encrypted_or_not
@pytest.mark.parametrize("both_ways", [False, True], ids=["one-way", "both-ways"])
async def test_a_large_message_on_a_slow_line_is_no_silence(
    autojump_clock: trio.testing.MockClock, encryption: bool, both_ways: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Six thousand bytes a heartbeat: it takes five hours."""
    network = FakeNetwork()
    async with (
        open_test_node(network, "m", encryption=encryption, handshake_timeout=100) as m,
        relaying(network, "m", slow_line),
        open_test_node(network, "v", seeds=[RELAY], listen=False, encryption=encryption, handshake_timeout=100) as v,
    ):
        await until(lambda: m.peers and v.peers)
        there, back = Ledger(v, m), Ledger(m, v)
        start = trio.current_time()
        there.send(bytes(20_000_000))
        there.send("behind it")
        if both_ways:
            back.send(bytes(5_000_000))
        back.send("the other way")
        with trio.fail_after(40_000):
            await there.wait(2)
            await back.wait(1 + both_ways)
        assert trio.current_time() - start > 15_000
        assert not there.told
        assert not back.told
        assert not warnings_in(caplog)
        assert len(network.wires) == 2, "the same connection throughout, and the relay's"


@pytest.mark.parametrize("deaf", ["a", "b"])
async def test_a_one_way_black_hole_is_noticed_by_who_hears_nothing_and_both_know(
    autojump_clock: trio.testing.MockClock, deaf: str
) -> None:
    network = FakeNetwork()
    async with open_pair(network, heartbeat=4) as (a, b):
        told: dict[str, Notices] = {"a": Notices(), "b": Notices()}
        a.monitor("b", told["a"])
        b.monitor("a", told["b"])
        await trio.sleep(21)
        node = a if deaf == "a" else b
        (connection,) = network_of(node)._connections
        (network.wire.there if deaf == "a" else network.wire.back).black_hole = True
        heard = connection.reader.received_at
        await told[deaf].wait()
        assert 12 <= trio.current_time() - heard <= 14
        assert "nothing was heard" in connection.why
        noticed = trio.current_time()
        await told["b" if deaf == "a" else "a"].wait()
        assert trio.current_time() == noticed, "who was deaf has closed, and the other reads that"


@encrypted_or_not
async def test_heartbeats_flow_where_only_one_side_sends(
    autojump_clock: trio.testing.MockClock, encryption: bool
) -> None:
    network = FakeNetwork()
    async with open_pair(network, heartbeat=2, encryption=encryption) as (a, b):
        ledger, told = Ledger(b, a), Notices()
        a.monitor("b", told)
        wire = network.wire
        before = len(wire.back.sent)
        for _ in range(400):
            ledger.send()
            await trio.sleep(0.5)
        assert ledger.delivered == list(range(400))
        assert not ledger.told
        assert not told.reasons
        beats = len(wire.back.sent) - before
        assert beats > 100 * 7, "one in two seconds at least, of seven bytes or more"
        if not encryption:
            assert 100 <= requests_in(wire.back.sent).count(("", "")) <= 201
            assert requests_in(wire.there.sent).count(("", "")) <= 1, "who sends need not beat"


@pytest.mark.parametrize("own, theirs, stall", [(8.0, 0.5, 2.0), (8.0, 0.5, 5.0), (60.0, 5.0, 40.0), (5.0, 5.0, 16.0)])
async def test_a_stall_of_our_own_is_not_the_peers_silence(
    autojump_clock: trio.testing.MockClock, own: float, theirs: float, stall: float
) -> None:
    """A check falls due while this process stands still, and may run before what has come meanwhile was read.

    The scheduler orders its tasks at random, so more than once.
    """
    for _ in range(20):
        async with open_raw(own, theirs) as (node, peer, told, start):
            # A connection's first check does not judge it.
            check = start + own
            while trio.current_time() < check - stall / 2 - theirs:
                await peer.send(("", "devnull"))
                await trio.sleep(theirs)
            await trio.sleep_until(check - min(stall / 2, theirs / 2))
            await peer.send(("", "devnull"))
            await trio.testing.wait_all_tasks_blocked()
            await peer.send(("", "devnull"))
            autojump_clock.jump(stall)
            await trio.testing.wait_all_tasks_blocked()
            assert not told.reasons, "it had been heard of, if only somebody had looked"
            assert node.peers == ("a",)


async def test_a_peer_that_had_nothing_to_say_while_this_process_stood_still_gets_its_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Nothing at all has come meanwhile: it may have stood still, too. Silence begins anew."""
    async with open_raw(1.0, 5.0) as (node, peer, told, _):
        await peer.send(("", "devnull"))
        await trio.sleep(1.2)
        autojump_clock.jump(100)
        # Several checks.
        await trio.sleep(4)
        assert not told.reasons
        assert node.peers == ("a",)
        await trio.sleep(20)
        assert told.reasons, "now it has been silent for long"


async def test_a_batch_may_take_long_in_turns_that_are_short(autojump_clock: trio.testing.MockClock) -> None:
    """No turn is long enough to be taken for a stall of this process. What came meanwhile has not been read yet."""
    network = FakeNetwork()
    ticks = itertools.count()
    async with open_test_node(network, "m", fairness_clock=lambda: float(next(ticks))) as m:
        peer = RawPeer(network.connect(place("m")).dialler, "a")
        await peer.adopt()
        await until(lambda: m.peers)
        told = Notices()
        m.monitor("a", told)
        done: list[int] = []

        def compute(number: int) -> None:
            autojump_clock.jump(0.05)
            done.append(number)

        port = m.port(compute)
        await peer.send(*[(port.name, number) for number in range(1000)])
        await until(lambda: len(done) == 1000 or told.reasons)
        assert not told.reasons
        assert done == list(range(1000))


async def test_silence_is_judged_when_the_reader_has_had_its_time(autojump_clock: trio.testing.MockClock) -> None:
    """A stall too short to be noticed as one, at the end of a long silence: what came meanwhile is read first."""
    network = FakeNetwork()
    async with open_test_node(network, "m") as m:
        start = trio.current_time()
        # It looks every 2.5 s. At 12.5 s the silence is not long enough to suspect anything yet.
        await trio.sleep(0.1)
        peer = RawPeer(network.connect(place("m")).dialler, "a")
        await peer.adopt()
        await until(lambda: m.peers)
        await trio.sleep_until(start + 14.9)
        assert m.peers
        autojump_clock.jump(2.45)
        await trio.sleep(0.1)
        assert m.peers == ("a",)
        await peer.send(("", ""))
        await trio.sleep(10)
        assert m.peers == ("a",)


# Processes that are stopped ------------------------------------------------------------------------------------------

# Sends numbers to a port over there, which it monitors without a pause, and keeps those that it gets.
TALKER = """
import json
import sys
import trio
from trio_mp import open_node

async def main(secret, seed, heartbeat, reports, numbers):
    delivered, told, sent = [], [], 0
    settings = {"secret": secret, "seeds": [seed], "heartbeat": float(heartbeat), "connect_timeout": 300}
    async with open_node("talker", **settings) as node:
        port = node.port()

        @port.on("number")
        def number(value):
            delivered.append(value)

        @port.on("report")
        def report(reply):
            node.send(reply, sent, told, delivered)

        def watch(*reason):
            if reason:
                told.append(sent)
                node.send(reports, "told", *reason)
            node.monitor(numbers, watch)

        watch()
        node.send(reports, "port", port)
        while True:
            node.send(numbers, sent)
            sent += 1
            try:
                await node.flush(numbers)
            except trio.BrokenResourceError:
                pass
            await trio.sleep(0.002)

trio.run(main, *sys.argv[1:])
"""


class Talker:
    """The program above in a process of its own, and this side's end of the talk.

    Attributes:
      numbers: what it has sent and arrived.
      told: the reasons that its monitor gave it.
      heard: the reasons that ours gave us; `sent` numbers before, for the promise.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self.numbers = Inbox(node)
        self.reports = Inbox(node)
        self.heard: list[tuple[Any, ...]] = []
        self.heard_at: list[int] = []
        self.sent = 0
        self.port = ""
        self._changed = trio.lowlevel.ParkingLot()
        self.process: trio.Process | None = None

    @property
    def told(self) -> list[tuple[Any, ...]]:
        return [message[1:] for message in self.reports.messages if message[0] == "told"]

    def watch(self, *reason: Any) -> None:
        if "this node is clos" in str(reason):
            return
        if reason:
            self.heard.append(reason)
            self.heard_at.append(self.sent)
            self._changed.unpark_all()
        self.node.monitor(self.port, self.watch)

    def send(self, count: int) -> None:
        for _ in range(count):
            self.node.send(self.port, "number", self.sent)
            self.sent += 1

    async def more(self, count: int) -> None:
        """Wait for so many more of its numbers."""
        await self.numbers.wait(len(self.numbers.messages) + count)

    async def wait_heard(self) -> tuple[Any, ...]:
        while not self.heard:
            await self._changed.park()
        return self.heard[0]

    async def wait_told(self) -> tuple[Any, ...]:
        while not self.told:
            await self.reports.wait(len(self.reports.messages) + 1)
        return self.told[0]

    def signal(self, number: int) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    async def check(self) -> None:
        """No hole in either direction that the sender was not told about."""
        sent, told, delivered = await self.node.call(self.port, "report")
        arrived = [number for (number,) in self.numbers.messages]
        check_promise(sent, arrived, told)
        check_promise(self.sent, delivered, self.heard_at)


@asynccontextmanager
async def open_talker(bind: str, ours: float, theirs: float) -> AsyncGenerator[Talker, None]:
    """A node with that heartbeat, and a process with a node that is connected with it, and talks."""
    with trio.fail_after(60):
        settings: dict[str, Any] = {"heartbeat": ours, "connect_timeout": 300, "shutdown_timeout": 0.1}
        async with open_node("here", binds=[bind], secret=SECRET, **settings) as node:
            talker = Talker(node)
            arguments = (SECRET, node.binds[0], theirs, talker.reports.port, talker.numbers.port)
            talker.process = await trio.lowlevel.open_process(
                [sys.executable, "-W", "error", "-c", TALKER, *map(str, arguments)], stdin=subprocess.DEVNULL
            )
            try:
                ((_, talker.port),) = await talker.reports.wait(1)
                talker.watch()
                talker.send(10)
                await talker.more(10)
                yield talker
            finally:
                talker.process.kill()
                with trio.CancelScope(shield=True):
                    await talker.process.wait()


@pytest.fixture(params=["unix", "tcp"])
def bind(request: pytest.FixtureRequest, short_directory: Path) -> str:
    if sys.platform == "win32":
        pytest.skip("SIGSTOP")
    if request.param == "tcp":
        request.getfixturevalue("require_tcp")
        return "127.0.0.1:0"
    return f"unix:{short_directory}/s"


async def test_a_stopped_process_is_lost_and_comes_back(bind: str) -> None:
    async with open_talker(bind, 0.2, 0.2) as talker:
        talker.signal(signal.SIGSTOP)
        start = trio.current_time()
        talker.send(1000)
        reason = await talker.wait_heard()
        assert trio.current_time() - start < 10, "three heartbeats and a check are 0.7 s"
        assert reason[:2] == ("transport_error", "talker")
        assert "nothing was heard" in reason[2]
        assert not talker.told, "it stands still"
        # Nothing was lost of these: they were sent when it was known to be away.
        talker.send(10)
        talker.signal(signal.SIGCONT)
        assert (await talker.wait_told())[:2] == ("transport_error", "here")
        talker.send(10)
        await talker.more(50)
        await talker.check()
        assert talker.node.peers == ("talker",)


async def test_a_stop_shorter_than_three_heartbeats_loses_nothing(bind: str) -> None:
    async with open_talker(bind, 20, 20) as talker:
        for _ in range(3):
            talker.signal(signal.SIGSTOP)
            # Mostly more than the operating system holds for it, so that some of it waits here.
            talker.send(50_000)
            with trio.move_on_after(0.3):
                await talker.node.flush(talker.port)
            talker.signal(signal.SIGCONT)
            await talker.node.flush(talker.port)
            await talker.more(20)
        await talker.check()
        assert not talker.told
        assert not talker.heard
        _, _, delivered = await talker.node.call(talker.port, "report")
        assert delivered == list(range(talker.sent))


async def test_a_process_that_was_stopped_does_not_mistake_its_peer_for_dead(bind: str) -> None:
    """It has missed many of our heartbeats, which were sent all the same; we allow it much longer."""
    async with open_talker(bind, 0.1, 30) as talker:
        for _ in range(2):
            talker.signal(signal.SIGSTOP)
            # As long as ten of our heartbeats take: what it slept through is what is tested.
            await trio.sleep(1)
            talker.signal(signal.SIGCONT)
            await talker.more(50)
        await talker.check()
        assert not talker.told
        assert not talker.heard


def test_the_numbers_above(autojump_clock: trio.testing.MockClock) -> None:
    """The oracle sees what it is to see."""
    check: Callable[..., None] = check_promise
    check(5, [0, 1, 4], [4])
    for delivered, told in ([0, 2, 1], []), ([0, 2], []), ([0, 1, 3], [4]), ([0, 0], []):
        with pytest.raises(AssertionError):
            check(4, delivered, told)
