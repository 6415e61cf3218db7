"""A peer that is slower than who sends to it: `flush` is the place to wait, and without it the queue has a bound."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
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
    open_pair,
    open_test_node,
    peer_of,
    until,
    warnings_in,
)
from relay_helpers import RELAY, Ledger, Middle, relaying

from trio_mp import open_node
from trio_mp._transport.addresses import parse_address
from trio_mp._transport.sockets import SocketTransport

encrypted_or_not = pytest.mark.parametrize("encryption", [False, True], ids=["plain", "encrypted"])

SMALL: dict[str, Any] = {"queue_limit": 1_000_000, "message_limit": 100_000}
CAPACITY = 64 * 1024


def tight(wire: Any) -> None:
    for direction in wire.directions:
        direction.capacity = CAPACITY


# At the receiver's pace ----------------------------------------------------------------------------------------------


@encrypted_or_not
async def test_flush_goes_at_the_pace_of_a_node_that_computes(
    autojump_clock: trio.testing.MockClock, encryption: bool
) -> None:
    """A millisecond for a message, in a sync handler: that node reads no faster than it handles."""
    network = FakeNetwork()
    network.prepare = tight
    handled: list[int] = []
    async with open_pair(network, encryption=encryption, **SMALL) as (a, b):

        def compute(number: int, _: bytes) -> None:
            autojump_clock.jump(0.001)
            handled.append(number)

        port, told = a.port(compute), Notices()
        b.monitor(port, told)
        queue = peer_of(b, "a").association.outbox.queue
        start = trio.current_time()
        for number in range(3000):
            b.send(port, number, b"x" * 2000)
            assert queue.size < 20_000
            await b.flush(port)
            # What the wire holds, what is in one read, and one frame.
            assert number - len(handled) < (CAPACITY + 65536 + 65536) / 2000 + 2
        await until(lambda: len(handled) == 3000)
        assert trio.current_time() - start == pytest.approx(3, abs=0.1)
        assert handled == list(range(3000))
        assert not told.reasons


@encrypted_or_not
async def test_flush_goes_at_the_pace_of_a_slow_line(autojump_clock: trio.testing.MockClock, encryption: bool) -> None:
    async def work(middle: Middle) -> None:
        await middle.pass_on(pause=0.01, piece=2000)

    network = FakeNetwork()
    network.prepare = tight
    async with (
        open_test_node(network, "m", encryption=encryption, **SMALL) as m,
        relaying(network, "m", work),
        open_test_node(network, "v", seeds=[RELAY], listen=False, encryption=encryption, **SMALL) as v,
    ):
        await until(lambda: m.peers and v.peers)
        ledger, other = Ledger(v, m), Ledger(m, v)
        queue = peer_of(v, "m").association.outbox.queue
        largest = 0
        for number in range(500):
            ledger.send(b"x" * 2000)
            other.send("in between")
            largest = max(largest, queue.size)
            await v.flush(ledger.port)
            # Two wires, the relay's hands, and what is not decrypted or not a whole frame yet.
            assert number - len(ledger.delivered) < (4 * CAPACITY + 65536) / 2000
        await ledger.wait(500)
        assert largest < 10_000
        for one in (ledger, other):
            assert one.delivered == list(range(500))
            assert not one.told


async def test_flush_does_not_wait_for_a_mailbox_but_the_mailbox_has_a_bound(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A task that takes its messages slowly does not slow its node down: they wait there; too many kill the port."""
    network = FakeNetwork()
    async with open_pair(network, mailbox_limit=1000) as (a, b), a.open_port() as port:
        told = Notices()
        b.monitor(port, told)
        sent = 0
        while not told.reasons:
            b.send(port, sent)
            sent += 1
            await b.flush(port)
            await trio.lowlevel.checkpoint()
            assert sent < 5000
        assert told.reasons[0][0] == "mailbox_full"
        assert not port.alive


# Without flush -------------------------------------------------------------------------------------------------------


@encrypted_or_not
async def test_a_producer_that_does_not_wait_is_told_and_goes_on(
    autojump_clock: trio.testing.MockClock, encryption: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The receiver's reading is stalled, again and again; the queue has its bound, and no hole is silent."""
    network = FakeNetwork()
    async with open_pair(network, encryption=encryption, **SMALL) as (a, b):
        ledger = Ledger(b, a)
        queue = peer_of(b, "a").association.outbox.queue
        for round_ in range(3):
            await until(lambda: a.peers and b.peers)
            network.wire.there.stalled = True
            while len(ledger.told) <= round_:
                for _ in range(100):
                    ledger.send(b"x" * 9000)
                    assert queue.size <= 1_000_000 + 9100
                await trio.lowlevel.checkpoint()
                assert ledger.sent < 5000
            assert ledger.reasons[round_][:2] == ("transport_error", "a")
            assert "more than 1000000 bytes were queued" in str(ledger.reasons[round_][2])
            ledger.check()
        sent = ledger.sent
        for _ in range(100):
            ledger.send(b"x" * 9000)
            await b.flush(ledger.port)
        await until(lambda: ledger.delivered[-1:] == [sent + 99])
        assert ledger.delivered[-100:] == list(range(sent, sent + 100))
        assert len(ledger.told) == 3
        ledger.check()
        assert any("messages" in line and "bytes) were dropped" in line for line in warnings_in(caplog))


# Those who wait in flush ---------------------------------------------------------------------------------------------


@encrypted_or_not
async def test_many_that_flush_at_once_all_finish(autojump_clock: trio.testing.MockClock, encryption: bool) -> None:
    network = FakeNetwork()
    network.prepare = tight
    async with open_pair(network, encryption=encryption, **SMALL) as (a, b):
        network.wire.there.delay = 0.01
        ledgers = [Ledger(b, a) for _ in range(50)]
        done: list[int] = []

        async def produce(index: int) -> None:
            for _ in range(20):
                ledgers[index].send(b"x" * 5000)
                await b.flush(ledgers[index].port)
            done.append(index)

        with trio.fail_after(100):
            async with trio.open_nursery() as nursery:
                for index in range(50):
                    nursery.start_soon(produce, index)
        assert len(done) == 50
        assert not peer_of(b, "a").association.outbox.queue.size
        await until(lambda: all(ledger.delivered == list(range(20)) for ledger in ledgers))
        assert not any(ledger.told for ledger in ledgers)


async def test_a_flush_that_is_cancelled_leaves_nothing_behind(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_pair(network) as (a, b):
        ledger = Ledger(b, a)
        peer = peer_of(b, "a")
        network.wire.there.stalled = True
        ledger.send(b"x" * 1_000_000)
        tasks = trio.lowlevel.current_statistics().tasks_living
        for _ in range(20):
            with trio.move_on_after(0.1) as scope:
                await b.flush(ledger.port)
            assert scope.cancelled_caught
        with trio.CancelScope() as scope:
            scope.cancel()
            await b.flush(ledger.port)
        assert scope.cancelled_caught
        assert not len(peer._flushed), "nobody is parked there any more"
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        network.wire.there.resume()
        await b.flush(ledger.port)
        await ledger.wait(1)
        assert not ledger.told


@encrypted_or_not
@pytest.mark.parametrize("how", ["reset", "hang_up", "silence", "overflow"])
async def test_all_that_wait_in_flush_hear_that_the_connection_broke(
    autojump_clock: trio.testing.MockClock, encryption: bool, how: str
) -> None:
    network = FakeNetwork()
    async with open_pair(network, encryption=encryption, **SMALL) as (a, b):
        ledger = Ledger(b, a)
        await b.flush(ledger.port)
        network.wire.there.stalled = True
        broken: list[int] = []
        for _ in range(8):
            ledger.send(b"x" * 90_000)

        async def wait(index: int) -> None:
            with pytest.raises(trio.BrokenResourceError, match="dropped"):
                await b.flush(ledger.port)
            broken.append(index)

        async with trio.open_nursery() as nursery:
            for index in range(5):
                nursery.start_soon(wait, index)
            await trio.testing.wait_all_tasks_blocked()
            match how:
                case "silence":
                    network.wire.back.black_hole = True
                case "overflow":
                    while not ledger.told and b.peers:
                        ledger.send(b"x" * 90_000)
                case _:
                    getattr(network.wire, how)()
            await until(lambda: ledger.told, 30)
            await trio.testing.wait_all_tasks_blocked()
            assert sorted(broken) == list(range(5)), "all at once, and not when there is a connection again"
        await until(lambda: a.peers and b.peers)
        ledger.send()
        await b.flush(ledger.port)
        await until(lambda: ledger.delivered[-1:] == [ledger.sent - 1])
        ledger.check()
        assert ledger.told


# Between two processes -----------------------------------------------------------------------------------------------

# Computes for a millisecond a message, and tells how far it has come.
SLOW = """
import sys
import time
import trio
from trio_mp import open_node

async def main(secret, seed, reports):
    got = []
    async with open_node("slow", secret=secret, seeds=[seed]) as node:
        port = node.port()

        @port.on("work")
        def work(number, data):
            time.sleep(0.001)
            got.append(number)

        @port.on("report")
        def report(reply):
            node.send(reply, got == list(range(len(got))), len(got))

        node.send(reports, port)
        await trio.sleep_forever()

trio.run(main, *sys.argv[1:])
"""

# Sends without waiting until it is told of a loss, then says by how many bytes it has grown at the most, and why.
HASTY = """
import sys
import trio
from trio_mp import open_node

def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))

async def main(secret, seed, encryption, limit):
    limit = int(limit)
    settings = {"queue_limit": limit, "message_limit": limit // 4, "encryption": encryption == "True"}
    async with open_node("hasty", secret=secret, seeds=[seed], shutdown_timeout=0.1, **settings) as node:
        while not node.peers:
            await trio.sleep(0.01)
        reasons = []
        before = resident()
        largest = sent = 0
        node.monitor("z#" + "x" * 16 + ".1", lambda *reason: reasons.append(reason))
        while not reasons and sent < 10 * limit:
            for _ in range(100):
                node.send("z", "devnull", b"x" * 10_000)
                sent += 10_000
            largest = max(largest, resident() - before)
            await trio.lowlevel.checkpoint()
        print(largest, sent, *(reasons[0] if reasons else ("none",)), flush=True)

trio.run(main, *sys.argv[1:])
"""


@pytest.fixture(params=["unix", "tcp"])
def bind(request: pytest.FixtureRequest, short_directory: Path) -> str:
    if request.param == "tcp":
        request.getfixturevalue("require_tcp")
        return "127.0.0.1:0"
    if sys.platform == "win32":
        pytest.skip("Unix sockets")
    return f"unix:{short_directory}/s"


def command(source: str, *arguments: object) -> list[str]:
    return [sys.executable, "-W", "error", "-c", source, *map(str, arguments)]


async def test_flush_goes_at_the_pace_of_another_process(bind: str) -> None:
    settings: dict[str, Any] = {"queue_limit": 4_000_000, "message_limit": 1_000_000, "shutdown_timeout": 0.1}
    with trio.fail_after(60):
        async with open_node("here", binds=[bind], secret=SECRET, **settings) as node, trio.open_nursery() as nursery:
            reports, told = Inbox(node), Notices()
            nursery.start_soon(trio.run_process, command(SLOW, SECRET, node.binds[0], reports.port))
            ((port,),) = await reports.wait(1)
            node.monitor(port, told)
            queue = peer_of(node, "slow").association.outbox.queue
            start = trio.current_time()
            for number in range(1500):
                node.send(port, "work", number, b"x" * 20_000)
                assert queue.size < 200_000
                await node.flush(port)
            assert await node.call(port, "report") == (True, 1500)
            assert trio.current_time() - start >= 1.5, "a millisecond each"
            assert not told.reasons
            nursery.cancel_scope.cancel()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
@pytest.mark.parametrize("encryption", [False, True], ids=["plain", "encrypted"])
async def test_a_process_that_does_not_wait_grows_by_no_more_than_its_queue(bind: str, encryption: bool) -> None:
    """The receiver reads nothing at all once it is connected."""
    limit, margin = 64 * 1024 * 1024, 32 * 1024 * 1024
    (listener,) = await SocketTransport().listen(parse_address(bind, setting="test"))
    try:
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                outputs: list[subprocess.CompletedProcess[bytes]] = []

                async def run() -> None:
                    arguments = command(HASTY, SECRET, listener.address, encryption, limit)
                    outputs.append(await trio.run_process(arguments, capture_stdout=True))

                nursery.start_soon(run)
                peer = RawPeer(await listener.accept(), "z", dialler=False, encryption=encryption)
                await peer.choose()
            largest, sent, *reason = outputs[0].stdout.decode().split(maxsplit=4)
            peer.pipe.close()
    finally:
        await listener.aclose()
    assert reason[:2] == ["transport_error", "z"], reason
    assert f"more than {limit} bytes were queued" in reason[2]
    assert limit < int(sent) < limit + 16 * 1024 * 1024
    assert limit // 2 < int(largest) < limit + margin


def test_what_these_tests_measure_with() -> None:
    """One process's memory is that of what it holds; else the bound above says nothing."""
    if not Path("/proc/self/status").exists():
        pytest.skip("/proc")
    gc.collect()
    source = HASTY.partition("async def")[0] + "a = resident(); b = b'x' * 50_000_000; print(resident() - a)"
    output = subprocess.run(command(source), check=True, capture_output=True, env=os.environ).stdout
    assert 45_000_000 < int(output) < 60_000_000
