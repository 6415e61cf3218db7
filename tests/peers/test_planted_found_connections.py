"""What planted faults have shown that no test looked at: one connection, its writes, its reads and its end."""

from __future__ import annotations

import itertools

import pytest
import trio
import trio.testing
from network_helpers import (
    CAPACITY,
    FakeNetwork,
    Inbox,
    Notices,
    RawPeer,
    open_pair,
    open_test_node,
    place,
    requests_in,
    until,
    warnings_in,
)

from trio_mp._ports.port import state_of

BROKEN = BrokenPipeError(32, "Broken pipe")


@pytest.mark.parametrize("encryption", [False, True], ids=["plain", "encrypted"])
async def test_flush_waits_for_the_last_byte(autojump_clock: trio.testing.MockClock, encryption: bool) -> None:
    """What is encrypted has left the queue, and is still not handed over as long as nobody takes it."""
    network = FakeNetwork()
    async with open_pair(network, encryption=encryption) as (a, b):
        inbox = Inbox(a)
        await b.flush("a")
        network.wire.there.capacity = 0
        b.send(inbox.port, "the only one")
        with trio.move_on_after(1) as scope:
            await b.flush("a")
        assert scope.cancelled_caught
        network.wire.there.capacity = CAPACITY
        network.wire.there.wake()
        with trio.fail_after(1):
            await b.flush("a")
            await inbox.wait(1)


async def test_what_is_on_its_way_arrives_though_a_write_has_failed(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_pair(network) as (a, b):
        inbox = Inbox(b)
        network.wire.back.stalled = True
        a.send(inbox.port, "on its way")
        await a.flush("b")
        network.wire.there.send_error = BROKEN
        b.send("a", "devnull")
        await trio.sleep(0.1)
        assert not inbox.messages
        network.wire.back.resume()
        await until(lambda: inbox.messages, 1)


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


async def test_who_monitored_over_a_lost_connection_does_not_count(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It was told of the loss, and did not monitor again: nobody hears of the death, so it is in the log."""
    network = FakeNetwork()

    def fail() -> None:
        raise ValueError("nobody monitors me")

    async with open_pair(network) as (a, b):
        port = a.port(fail)
        for _ in range(3):
            told = Notices()
            b.monitor(port, told)
            await b.flush("a")
            await trio.sleep(0.1)
            network.wire.reset()
            await told.wait()
            await until(lambda: a.peers and b.peers)
        assert not state_of(port).monitors
        b.send(port)
        await until(lambda: not port.alive)
        await trio.sleep(0.1)
        assert [line for line in warnings_in(caplog) if "nobody monitors it" in line]


async def test_a_monitor_is_asked_for_before_what_it_covers(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_pair(network) as (a, b):
        inbox = Inbox(a)
        b.send(inbox.port, "not covered")
        b.monitor(inbox.port, Notices())
        b.send(inbox.port, "covered")
        await inbox.wait(2)
        name = inbox.port.name
        sent = [message for message in requests_in(network.wire.there.sent) if name in message]
        assert sent == [(name, "not covered"), ("", "mon1", name), (name, "covered")]


async def test_what_is_said_last_arrives_though_the_other_side_was_speaking(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A connection that is closed with something unread is reset, and what is still on its way is lost with it."""
    network = FakeNetwork()
    async with open_test_node(network, "a") as a:
        inbox = Inbox(a)
        async with open_test_node(network, "b", seeds=["a"]) as b:
            await until(lambda: a.peers and b.peers)
            network.wire.there.delay, network.wire.back.delay = 0.5, 1
            a.send("b", "devnull", "on its way")
            await a.flush("b")
            b.send(inbox.port, "the last word")
        await until(lambda: not a.peers)
        assert inbox.messages == [("the last word",)]


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
