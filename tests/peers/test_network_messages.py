"""Messages between two nodes: order, what travels, and waiting for a slow peer."""

from __future__ import annotations

import datetime
import math
import re
from typing import Any

import pytest
import trio
import trio.testing
from network_helpers import (
    CAPACITY,
    FakeNetwork,
    Inbox,
    Notices,
    open_pair,
    open_test_node,
    peer_of,
    until,
    warnings_in,
)
from reason_helpers import Died

from trio_mp import Node, Port

encrypted_or_not = pytest.mark.parametrize("encryption", [False, True], ids=["plain", "encrypted"])


@encrypted_or_not
async def test_messages_arrive_in_order(autojump_clock: trio.testing.MockClock, encryption: bool) -> None:
    network = FakeNetwork()
    async with open_pair(network, encryption=encryption) as (a, b):
        inbox = Inbox(a)
        for number in range(5000):
            b.send(inbox.port, "number", number)
        assert await inbox.wait(5000) == [("number", number) for number in range(5000)]


@encrypted_or_not
async def test_messages_arrive_whole_however_they_are_cut(
    autojump_clock: trio.testing.MockClock, encryption: bool
) -> None:
    network = FakeNetwork()

    def byte_by_byte(wire: Any) -> None:
        for direction in wire.directions:
            direction.largest_read = 1
            direction.largest_write = 7

    network.prepare = byte_by_byte
    async with open_pair(network, encryption=encryption) as (a, b):
        inbox = Inbox(a)
        for number in range(50):
            b.send(inbox.port, number, "x" * number)
        assert await inbox.wait(50) == [(number, "x" * number) for number in range(50)]


async def test_sends_before_the_connection_wait_for_it(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") as a:
        inbox = Inbox(a)
        async with open_test_node(network, "b", seeds=["a"]) as b:
            b.send(inbox.port, 1)
            b.send(inbox.port, 2)
            assert await inbox.wait(2) == [(1,), (2,)]


async def test_all_values_that_may_travel(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork()) as (a, b):
        inbox = Inbox(a)
        values: tuple[Any, ...] = (
            *("text", "", "ünï ☃ \U0001f600", b"bytes", b"", True, False, None, 0, -1, 2**63 - 1, -(2**63), 2**64 - 1),
            *(1.5, math.inf, [1, [2, []]], {"key": {"inner": [1]}}, {}),
        )
        b.send(inbox.port, *values)
        b.send(inbox.port)
        assert await inbox.wait(2) == [values, ()]


async def test_tuples_arrive_as_lists_and_ports_as_their_ids(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork()) as (a, b):
        inbox = Inbox(a)
        port = b.port()
        b.send(inbox.port, port, (port, 1), {"port": port, port: 1})
        ((first, second, third),) = await inbox.wait(1)
        assert first == str(port)
        assert type(first) is str
        assert second == [str(port), 1]
        assert type(second) is list
        assert third == {"port": str(port), str(port): 1}
        assert type(second[0]) is type(third["port"]) is str


async def test_who_receives_a_port_can_answer(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork()) as (a, b):
        echo = a.port()
        inbox = Inbox(b)

        @echo.on("echo")
        def answer(reply_to: str, *rest: object) -> None:
            a.send(reply_to, "answer", *rest)

        b.send(echo, "echo", inbox.port, 1, 2)
        assert await inbox.wait(1) == [("answer", 1, 2)]


async def test_what_is_sent_is_a_snapshot(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork()) as (a, b):
        inbox = Inbox(a)
        value: dict[str, list[int]] = {"list": [1]}
        b.send(inbox.port, value)
        value["list"].append(2)
        b.send(inbox.port, value)
        value.clear()
        assert await inbox.wait(2) == [({"list": [1]},), ({"list": [1, 2]},)]


@pytest.mark.parametrize(
    "message, error, place",
    [
        (("a", datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)), TypeError, "message[1]"),
        (({"when": {1, 2}},), TypeError, 'message[0]["when"]'),
        (([1, object()],), TypeError, "message[0][1]"),
        (({1: 2},), TypeError, "message[0]"),
        ((2**64,), ValueError, "message[0]"),
        (([-(2**63) - 1],), ValueError, "message[0][0]"),
        (("\ud800",), ValueError, "message[0]"),
        ((bytearray(b"x"),), TypeError, "message[0]"),
    ],
    ids=lambda value: "",
)
async def test_what_cannot_travel_raises_at_the_call_and_harms_nothing(
    autojump_clock: trio.testing.MockClock, message: tuple[Any, ...], error: type[Exception], place: str
) -> None:
    async with open_pair(FakeNetwork()) as (a, b):
        inbox = Inbox(a)
        b.send(inbox.port, "before")
        with pytest.raises(error) as caught:
            b.send(inbox.port, *message)
        assert place in str(caught.value)
        with pytest.raises(error):
            b.send_after(1, inbox.port, *message)
        b.send(inbox.port, "after")
        assert await inbox.wait(2) == [("before",), ("after",)]


async def test_a_message_over_the_limit_raises_at_the_call(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork(), message_limit=65536) as (a, b):
        inbox = Inbox(a)
        with pytest.raises(ValueError, match="65536"):
            b.send(inbox.port, b"x" * 65536)
        b.send(inbox.port, b"x" * 65000)
        assert len((await inbox.wait(1))[0][0]) == 65000


@encrypted_or_not
async def test_a_message_larger_than_all_buffers(autojump_clock: trio.testing.MockClock, encryption: bool) -> None:
    async with open_pair(FakeNetwork(), encryption=encryption) as (a, b):
        inbox = Inbox(a)
        large = bytes(range(256)) * 40_000
        b.send(inbox.port, "before")
        b.send(inbox.port, large)
        b.send(inbox.port, "after")
        assert await inbox.wait(3) == [("before",), (large,), ("after",)]


async def test_a_message_to_a_dead_port_is_dropped(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork()) as (a, b):
        dead, inbox = a.port(), Inbox(a)
        dead.kill()
        await until(lambda: not dead.alive)
        b.send(dead, "nobody is there")
        b.send(inbox.port, "somebody is")
        assert await inbox.wait(1) == [("somebody is",)]


async def test_a_third_node_without_network_cannot_be_reached(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork()) as (a, b):
        with pytest.raises(ValueError, match="expected a port ID"):
            b.send("no port ID", 1)
        with pytest.raises(TypeError):
            b.send(5, 1)  # type: ignore[arg-type]
        assert isinstance(a, Node)
        port = Port(f"{a.id}#" + "x" * 16 + ".1")
        b.send(port, "no such port")


async def test_mailbox_of_a_remote_port(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork()) as (a, b), a.open_port() as port:
        for number in range(10):
            b.send(port, "number", number)
        assert await port.receive("number", 3) == ("number", 3)
        assert await port.receive() == ("number", 0)


async def test_messages_in_both_directions_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork(), encryption=True) as (a, b):
        at_a, at_b = Inbox(a), Inbox(b)
        for number in range(3000):
            a.send(at_b.port, number, b"x" * 300)
            b.send(at_a.port, number, b"y" * 300)
        assert [number for number, _ in await at_a.wait(3000)] == list(range(3000))
        assert [number for number, _ in await at_b.wait(3000)] == list(range(3000))


# Flush ---------------------------------------------------------------------------------------------------------------


@encrypted_or_not
async def test_flush_waits_until_all_is_handed_over(autojump_clock: trio.testing.MockClock, encryption: bool) -> None:
    network = FakeNetwork()
    async with open_pair(network, encryption=encryption) as (a, b):
        inbox = Inbox(a)
        network.wire.there.stalled = True
        for _ in range(20):
            b.send(inbox.port, b"x" * 100_000)
        flushed = trio.Event()

        async def flush() -> None:
            await b.flush(inbox.port)
            flushed.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flush)
            await trio.sleep(1)
            assert not flushed.is_set()
            network.wire.there.resume()
            await flushed.wait()
        assert not peer_of(b, "a").association.outbox.queue.size
        await inbox.wait(20)


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


async def test_flush_of_nothing_and_of_ones_own_node(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork()) as (_, b):
        with trio.testing.assert_checkpoints():
            await b.flush("a")
        with trio.testing.assert_checkpoints():
            await b.flush("b")
        with pytest.raises(ValueError, match="expected a port ID"):
            await b.flush("no node")


async def test_flush_waits_for_a_connection(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "b", seeds=["a"]) as b:
        b.send("a", "devnull")
        with trio.move_on_after(3) as scope:
            await b.flush("a")
        assert scope.cancelled_caught
        async with open_test_node(network, "a"):
            await b.flush("a")


async def test_flush_raises_when_the_connection_is_lost(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_pair(network) as (a, b):
        inbox = Inbox(a)
        network.wire.there.stalled = True
        b.send(inbox.port, b"x" * 1_000_000)

        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def lose() -> None:
                await trio.sleep(1)
                network.wire.reset()

            with pytest.raises(trio.BrokenResourceError, match="a"):
                await b.flush("a")


async def test_flush_raises_when_no_connection_comes(autojump_clock: trio.testing.MockClock) -> None:
    async with open_test_node(FakeNetwork(), "b", seeds=["a"]) as b:
        b.send("a", "devnull")
        start = trio.current_time()
        with pytest.raises(trio.BrokenResourceError):
            await b.flush("a")
        assert trio.current_time() - start == pytest.approx(30, abs=1)


async def test_flush_raises_when_the_node_closes(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()

    async def flush(node: Node, started: trio.Event) -> None:
        node.send("a", b"x" * 1_000_000)
        started.set()
        with pytest.raises(trio.BrokenResourceError):
            await node.flush("a")

    async with (
        open_test_node(network, "a") as a,
        trio.open_nursery() as nursery,
        open_test_node(network, "b", seeds=["a"]) as b,
    ):
        await until(lambda: a.peers and b.peers)
        network.wire.stall()
        started = trio.Event()
        nursery.start_soon(flush, b, started)
        await started.wait()


async def test_flush_raises_when_send_has_overflown_the_queue(autojump_clock: trio.testing.MockClock) -> None:
    # However the scheduler orders its tasks, so more than once.
    for _ in range(10):
        network = FakeNetwork()
        async with open_pair(network, queue_limit=400_000, message_limit=100_000) as (a, b):
            inbox = Inbox(a)
            network.wire.there.stalled = True
            for _ in range(8):
                b.send(inbox.port, b"x" * 90_000)
            assert not b.peers
            with pytest.raises(trio.BrokenResourceError):
                await b.flush(inbox.port)


async def test_flush_can_be_cancelled(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_pair(network) as (a, b):
        inbox = Inbox(a)
        network.wire.there.stalled = True
        b.send(inbox.port, b"x" * 1_000_000)
        with trio.move_on_after(1) as scope:
            await b.flush("a")
        assert scope.cancelled_caught
        network.wire.there.resume()
        await inbox.wait(1)
        await b.flush("a")


@encrypted_or_not
async def test_flush_bounds_what_waits_for_a_slow_receiver(
    autojump_clock: trio.testing.MockClock, encryption: bool
) -> None:
    network = FakeNetwork()
    async with (
        open_pair(network, encryption=encryption, queue_limit=1_000_000, message_limit=100_000) as (a, b),
        a.open_port() as port,
    ):
        largest = 0

        async def produce() -> None:
            nonlocal largest
            for number in range(500):
                b.send(port, number, b"x" * 50_000)
                largest = max(largest, peer_of(b, "a").association.outbox.queue.size)
                await b.flush(port)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(produce)
            for number in range(500):
                await trio.sleep(0.01)
                assert (await port.receive())[0] == number
        assert largest < 200_000


async def test_a_large_queue_is_written_by_send_itself(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_pair(network, queue_limit=800_000, message_limit=100_000) as (a, b):
        inbox = Inbox(a)
        network.wire.there.capacity = 10_000_000
        sent = len(network.wire.there.sent)
        for _ in range(50):
            b.send(inbox.port, b"x" * 50_000)
        # All in one scheduler pass, and more than the queue may hold.
        assert len(network.wire.there.sent) - sent > 2_000_000
        await inbox.wait(50)
        assert b.peers == ("a",)


# The bound -----------------------------------------------------------------------------------------------------------


async def test_an_overflow_drops_the_connection_and_fires_monitors_later(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    network = FakeNetwork()
    async with open_pair(network, queue_limit=400_000, message_limit=100_000) as (a, b):
        inbox, other = Inbox(a), Inbox(a)
        told, also_told = Notices(), Notices()
        b.monitor(inbox.port, told)
        b.monitor(other.port, also_told)
        b.send(other.port, "before")
        await other.wait(1)
        network.wire.there.stalled = True
        wire = network.wire
        while b.peers:
            b.send(inbox.port, b"x" * 90_000)
            assert not told.reasons, "send() fires nothing itself"
        b.send(inbox.port, "lost too")
        reason = await told.wait()
        assert reason[:2] == ("transport_error", "a")
        assert "400000 bytes" in str(reason[2])
        assert also_told.reasons == [reason]
        assert not wire.open
        line, *more = warnings_in(caplog)
        assert line.startswith("a: ")
        assert "messages" in line
        assert "bytes" in line
        assert ["1 more messages" in other for other in more] == [True]
        # And everything goes on.
        b.send(inbox.port, "afterwards")
        await until(lambda: ("afterwards",) in inbox.messages)
        assert inbox.messages == [("afterwards",)]


async def test_what_is_sent_between_a_loss_and_its_report_is_counted_with_it(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    network = FakeNetwork()
    async with open_pair(network, queue_limit=400_000, message_limit=100_000) as (a, b):
        inbox = Inbox(a)
        network.wire.there.stalled = True
        while b.peers:
            b.send(inbox.port, b"x" * 90_000)
        # Four of 90,000 bytes fit the queue and the next is too much; how much of them was written is not counted.
        for _ in range(500):
            b.send(inbox.port, "dropped in silence?")
        await until(lambda: b.peers)
        counts = re.findall(r"\b(\d+) (?:more )?messages", " ".join(warnings_in(caplog)))
        assert 504 <= sum(map(int, counts)) < 510


async def test_an_unreachable_peer_costs_no_more_than_the_limit(autojump_clock: trio.testing.MockClock) -> None:
    async with open_test_node(FakeNetwork(), "b", seeds=["a"], queue_limit=400_000, message_limit=100_000) as b:
        told = Notices()
        b.monitor("a#" + "x" * 16 + ".1", told)
        queue = peer_of(b, "a").association.outbox.queue
        for _ in range(100):
            b.send("a", "devnull", b"x" * 50_000)
            assert queue.size <= 400_000
        assert "400000 bytes" in str((await told.wait())[2])


async def test_an_echo_that_overflows_while_a_batch_is_dispatched(autojump_clock: trio.testing.MockClock) -> None:
    """The reader's own connection is dropped below it."""
    network = FakeNetwork()
    async with open_pair(network, queue_limit=400_000, message_limit=100_000) as (a, b):
        inbox = Inbox(b)
        echo = a.port()

        @echo.on("echo")
        def answer(reply_to: str, data: bytes) -> None:
            for _ in range(10):
                a.send(reply_to, data)

        told = Notices()
        a.monitor(inbox.port, told)
        b_told = Notices()
        b.monitor(echo, b_told)
        await until(lambda: peer_of(a, "b").watchers)
        network.wire.back.stalled = True
        for _ in range(30):
            b.send(echo, "echo", inbox.port, b"x" * 40_000)
            await b.flush("a")
            await trio.lowlevel.checkpoint()
            if not a.peers:
                break
        await told.wait()
        await b_told.wait()
        await until(lambda: a.peers and b.peers)
        b.send(echo, "echo", inbox.port, b"done")
        await until(lambda: (b"done",) in inbox.messages)


async def test_limits_differ_known(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with (
        open_test_node(network, "a", message_limit=70_000) as a,
        open_test_node(network, "b", seeds=["a"]) as b,
    ):
        await until(lambda: b.peers)
        inbox = Inbox(a)
        with pytest.raises(ValueError, match="70000"):
            b.send(inbox.port, b"x" * 80_000)
        b.send(inbox.port, b"x" * 60_000)
        await inbox.wait(1)


async def test_a_message_queued_before_the_limit_was_known_is_lost_and_reported(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a", message_limit=70_000) as a:
        large, small = Inbox(a), Inbox(a)
        async with open_test_node(network, "b", seeds=["a"]) as b:
            assert not b.peers
            told, not_told = Notices(), Notices()
            b.monitor(large.port, told)
            b.monitor(small.port, not_told)
            b.send(large.port, "before")
            b.send(small.port, "before")
            b.send(large.port, b"x" * 80_000)
            b.send(large.port, "behind it")
            b.send(small.port, "after")
            reason = await told.wait()
            assert reason[:2] == ("transport_error", "a")
            assert "at most 70000 bytes" in str(reason[2])
            await small.wait(2)
            b.send(large.port, "later")
            await until(lambda: ("later",) in large.messages)
            assert small.messages == [("before",), ("after",)]
            assert large.messages == [("before",), ("later",)]
            assert not not_told.reasons
            assert len(warnings_in(caplog)) == 1
            assert b.peers == ("a",)


async def test_a_flush_across_the_discovery_of_the_limit(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "b", seeds=["a"]) as b:
        b.send("a", "devnull", b"x" * 80_000)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def flush() -> None:
                with pytest.raises(trio.BrokenResourceError):
                    await b.flush("a")

            await trio.testing.wait_all_tasks_blocked()
            async with open_test_node(network, "a", message_limit=70_000):
                await until(lambda: b.peers)


async def test_a_request_to_monitor_may_be_what_overflows(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_pair(network, queue_limit=400_000, message_limit=100_000) as (a, b):
        inbox, told, demonitored = Inbox(a), Notices(), Notices()
        network.wire.there.stalled = True
        network.wire.there.capacity = 0
        first = b.monitor(inbox.port, demonitored)
        queue = peer_of(b, "a").association.outbox.queue
        while (room := 400_000 - queue.size) > 20:
            b.send("a", "devnull", b"x" * max(min(90_000, room - 40), 0))
        assert b.peers
        first.cancel()
        assert not b.peers, "the request not to monitor any more was one too many"
        await until(lambda: b.peers)
        network.live[0].there.capacity = 0
        while (room := 400_000 - queue.size) > 20:
            b.send("a", "devnull", b"x" * max(min(90_000, room - 40), 0))
        b.monitor(inbox.port, told)
        assert "400000" in str((await told.wait())[2])
        assert not demonitored.reasons


@encrypted_or_not
async def test_flush_while_others_go_on_sending(autojump_clock: trio.testing.MockClock, encryption: bool) -> None:
    """It waits for what was sent before it, not for all that is sent behind."""
    network = FakeNetwork()
    async with open_pair(network, encryption=encryption) as (a, b):
        inbox = Inbox(a)
        network.wire.there.delay = 1
        for _ in range(10):
            b.send(inbox.port, b"x" * 60_000)
        flushed_at: list[float] = []

        async def flush() -> None:
            await b.flush("a")
            flushed_at.append(trio.current_time())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flush)
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(200):
                b.send(inbox.port, b"x" * 60_000)
            start = trio.current_time()
            await until(lambda: flushed_at)
        assert flushed_at[0] - start < 10
        assert len(inbox.messages) < 50
        await inbox.wait(210)


async def test_a_tag_that_cannot_be_compared_kills_its_port_and_not_the_node(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Odd(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            raise ValueError("as it was told")

    async with open_pair(FakeNetwork()) as (one, two):
        port = two.port()
        port.on(Odd("odd"))(lambda: None)
        with trio.fail_after(100):
            one.send(str(port), "odd")
            assert await two.wait_death(port) == Died("ValueError: as it was told")
        assert one.peers == ("b",)
