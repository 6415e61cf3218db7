"""Connections that nothing depends on are closed, by agreement, and come back when they are needed."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from network_helpers import (
    FakeNetwork,
    Inbox,
    Notices,
    RawPeer,
    connect_raw,
    network_of,
    open_pair,
    open_test_node,
    peer_of,
    place,
    requests_in,
    until,
    warnings_in,
)

from trio_mp import Node
from trio_mp._peers.idleness import Idleness
from trio_mp._transport.addresses import parse_address
from trio_mp.testing._parting import _Disregarded

IDLE = 20.0
"""The timeout in these tests, in seconds."""

LATEST = IDLE + 3 * 2.5
"""It is noticed in the beats of 2.5 s; one of them is when the connection was new, and may have seen something."""


async def dial_when_wanted(node: Node, other_id: str) -> None:
    """What dials when something is sent: no node does it by itself yet."""
    while True:
        peer = network_of(node).peers.get(other_id)
        if peer is not None and peer.association.wants_connection:
            await network_of(node).dial(parse_address(place(other_id), setting="seeds"))
        await trio.sleep(0.05)


@asynccontextmanager
async def open_acquainted(
    network: FakeNetwork, first: str = "a", second: str = "b", *, other: dict[str, Any] | None = None, **settings: Any
) -> AsyncGenerator[tuple[Node, Node], None]:
    """Two nodes with a connection that neither keeps; the first has dialled. Both dial when they have something."""
    settings.setdefault("idle_timeout", IDLE)
    async with (
        open_test_node(network, first, **settings) as one,
        open_test_node(network, second, **(settings | (other or {}))) as two,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(dial_when_wanted, one, second)
        nursery.start_soon(dial_when_wanted, two, first)
        one.send(second, "devnull")
        await until(lambda: one.peers == (second,) and two.peers == (first,))
        yield one, two
        nursery.cancel_scope.cancel()


def says(network: FakeNetwork, *words: str) -> list[list[str]]:
    """Which of these words each direction of the last wire has carried, in order."""
    wire = network.wires[-1]
    return [
        [str(message[1]) for message in requests_in(direction.sent) if message[0] == "" and message[1] in words]
        for direction in wire.directions
    ]


NAME = "abcdefghABCDEFGH"

# When it is closed ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first, second", [("a", "b"), ("b", "a")])
@pytest.mark.parametrize("encryption", [False, True])
@pytest.mark.parametrize("longer", ["", "first", "second"])
async def test_it_is_closed_when_it_has_been_idle(
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
    first: str,
    second: str,
    encryption: bool,
    longer: str,
) -> None:
    network = FakeNetwork()
    long = {"idle_timeout": 1e6}
    settings: dict[str, Any] = {"encryption": encryption, **(long if longer == "first" else {})}
    other = {"idle_timeout": IDLE, **(long if longer == "second" else {})}
    async with open_acquainted(network, first, second, other=other, **settings) as (one, two):
        start = trio.current_time()
        await until(lambda: not one.peers and not two.peers)
        assert IDLE - 2.5 <= trio.current_time() - start <= LATEST
        await trio.sleep(60)
        assert len(network.wires) == 1
    assert not warnings_in(caplog)


async def test_each_message_begins_the_time_anew(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_acquainted(network) as (a, b):
        inboxes = Inbox(a), Inbox(b)
        for number in range(20):
            (b, a)[number % 2].send(inboxes[number % 2].port, number)
            await trio.sleep(IDLE - 5)
        assert a.peers == ("b",)
        assert len(network.wires) == 1
        await trio.sleep(IDLE)
        assert not a.peers


@pytest.mark.parametrize("what", ["port", "node"])
async def test_not_while_something_is_monitored(autojump_clock: trio.testing.MockClock, what: str) -> None:
    network = FakeNetwork()
    async with open_acquainted(network) as (a, b):
        told = Notices()
        for watcher, owner in ((a, b), (b, a)):
            monitor = watcher.monitor(Inbox(owner).port if what == "port" else owner.id, told)
            await trio.sleep(100)
            assert a.peers == ("b",)
            monitor.cancel()
        await until(lambda: not a.peers and not b.peers, LATEST)
        assert not told.reasons


@pytest.mark.parametrize("keeper", ["a", "b"])
async def test_not_while_it_is_kept(autojump_clock: trio.testing.MockClock, keeper: str) -> None:
    network = FakeNetwork()
    async with open_acquainted(network) as (a, b):
        peer = peer_of(a, "b") if keeper == "a" else peer_of(b, "a")
        peer.keep("one reason")
        peer.keep("another")
        peer.keep("another")
        for reason in ("another", "one reason", "another"):
            await trio.sleep(100)
            assert a.peers == ("b",)
            peer.release(reason)
        # Each time the side that does not keep it has asked, and was told.
        assert sum(map(len, says(network, "busy"))) >= 5
        await until(lambda: not a.peers and not b.peers, 2 * LATEST)


async def test_a_seed_is_kept(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    # Both dial: one of the two dials is refused, and keeps the connection that was chosen all the same.
    for seeds in ([], ["b"]):
        async with (
            open_test_node(network, "a", idle_timeout=IDLE, seeds=seeds) as a,
            open_test_node(network, "b", idle_timeout=IDLE, seeds=["a"]) as b,
        ):
            await until(lambda a=a, b=b: a.peers and b.peers)  # type: ignore[misc]
            wire = network.wire
            await trio.sleep(10 * IDLE)
            assert network.wire is wire


async def test_a_seed_is_dialled_anew_when_it_has_been_let_go(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_pair(network, idle_timeout=IDLE) as (a, b):
        idleness = peer_of(b, "a")._idleness
        idleness._kept = _Disregarded(idleness._kept)
        await until(lambda: len(network.live) == 1 and len(network.wires) == 2, LATEST)
        await until(lambda: a.peers and b.peers)
        idleness._kept = Counter(idleness._kept)
        await trio.sleep(10 * IDLE)
        assert len(network.wires) == 2


async def test_it_can_be_given_back_at_once(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_acquainted(network) as (a, b):
        peer = peer_of(a, "b")
        monitor = a.monitor("b", Notices())
        assert not peer.ask_to_part()
        monitor.cancel()
        a.send("b", "devnull")
        assert not peer.ask_to_part()
        await trio.testing.wait_all_tasks_blocked()
        peer.keep("for a moment")
        assert not peer.ask_to_part()
        peer.release("for a moment")
        assert peer.ask_to_part()
        assert not peer.ask_to_part()
        await until(lambda: not a.peers and not b.peers, 1)
        assert not peer.ask_to_part()


# What comes of it ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encryption", [False, True])
async def test_it_comes_back_when_something_is_sent(autojump_clock: trio.testing.MockClock, encryption: bool) -> None:
    network = FakeNetwork()
    async with open_acquainted(network, encryption=encryption) as (a, b):
        inboxes = Inbox(b), Inbox(a)
        for round_ in range(1, 4):
            await until(lambda: not a.peers and not b.peers)
            for node, inbox in zip((a, b), inboxes, strict=True):
                node.send(inbox.port, round_)
                await node.flush(inbox.port)
                await inbox.wait(round_)
        assert [inbox.messages for inbox in inboxes] == [[(1,), (2,), (3,)]] * 2


DELAY = 0.3


@pytest.mark.parametrize("encryption", [False, True])
@pytest.mark.parametrize("asks", ["a", "b", "both"])
@pytest.mark.parametrize("when", [0.0, 0.1, 0.29, 0.31, 0.5, 0.59, 0.61, 0.8, 0.91, 1.2, 1.6])
async def test_what_crosses_it_arrives_in_order_and_nothing_fires(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, asks: str, when: float, encryption: bool
) -> None:
    network = FakeNetwork()

    def slow(wire: Any) -> None:
        for direction in wire.directions:
            direction.delay = DELAY

    network.prepare = slow
    async with open_acquainted(network, encryption=encryption) as (a, b):
        inboxes = Inbox(a), Inbox(b)
        told = Notices()
        await trio.sleep(2)
        # Not monitored, and on its way when the other side is asked.
        for node, inbox in zip((b, a), inboxes, strict=True):
            node.send(inbox.port, "before")
        await trio.testing.wait_all_tasks_blocked()
        if asks != "b":
            assert peer_of(a, "b").ask_to_part()
        if asks != "a":
            assert peer_of(b, "a").ask_to_part()
        await trio.sleep(when)
        for node, inbox in zip((b, a), inboxes, strict=True):
            node.monitor(inbox.port, told)
            for number in range(5):
                node.send(inbox.port, number)
                await trio.sleep(DELAY / 7)
        for inbox in inboxes:
            await inbox.wait(6)
        await trio.sleep(100)
        assert [inbox.messages for inbox in inboxes] == [[("before",), *((number,) for number in range(5))]] * 2
        assert not told.reasons
        assert a.peers == ("b",)
    assert not warnings_in(caplog)


async def test_all_of_it_is_read_before_another_one_takes_its_place(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    # The side that asks decides, and would take another connection at once if the other side had lost this one.
    async with open_acquainted(network) as (a, b):
        inbox = Inbox(b)
        for direction in network.wire.directions:
            direction.delay = 2.0
        await trio.sleep(2.5)
        assert peer_of(b, "a").ask_to_part()
        await trio.sleep(1.9)
        a.send(inbox.port, "under way")
        await trio.sleep(0.2)
        a.send(inbox.port, "by another one, which is faster")
        await trio.sleep(10)
        assert inbox.messages == [("under way",), ("by another one, which is faster",)]
        assert len(network.wires) == 2


@pytest.mark.parametrize("breaks", ["reset", "hang_up", "cut"])
async def test_a_connection_that_breaks_when_it_was_asked_loses_nothing(
    autojump_clock: trio.testing.MockClock, breaks: str
) -> None:
    network = FakeNetwork()
    async with open_acquainted(network, handshake_timeout=100) as (a, b):
        inbox, told = Inbox(b), Notices()
        wire = network.wire
        wire.stall()
        assert peer_of(a, "b").ask_to_part()
        a.monitor(inbox.port, told)
        a.send(inbox.port, 1)
        await trio.testing.wait_all_tasks_blocked()
        wire.resume()
        getattr(wire, breaks)()
        await inbox.wait(1)
        assert len(network.wires) == 2
        assert not told.reasons


async def test_who_closes_while_it_waits_for_the_answer_says_what_it_has_to_say(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "b") as b:
        inbox = Inbox(b)
        async with open_test_node(network, "c") as c:
            network_of(c).dispatcher.lifecycle.start_system_task(
                network_of(c).dial, parse_address(place("b"), setting="seeds")
            )
            await until(lambda: c.peers)
            for direction in network.wires[-1].directions:
                direction.delay = DELAY
            assert peer_of(c, "b").ask_to_part()
            peer_of(b, "c").keep("so that it is busy")
            c.send(inbox.port, "the last word")
        assert inbox.messages == [("the last word",)]


async def test_whoever_asks_to_part_hears_the_answer(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_acquainted(network) as (a, b), trio.open_nursery() as nursery:
        peer, heard = peer_of(a, "b"), list[str]()
        network_of(a).observers.down.append(heard.append)

        async def note_answer() -> None:
            await peer.up.park()
            heard.append("busy")

        nursery.start_soon(note_answer)
        await trio.testing.wait_all_tasks_blocked()
        peer_of(b, "a").keep("a while")
        assert peer.ask_to_part()
        await until(lambda: heard == ["busy"])
        peer_of(b, "a").release("a while")
        assert peer.ask_to_part()
        await until(lambda: heard == ["busy", "b"])


# Other kinds of peers ------------------------------------------------------------------------------------------------

connect_quiet = partial(connect_raw, raw_id="0", to="a", heartbeat=60)
"""A raw peer that has a connection in use with `a`, which decides, and that need not say anything."""


async def test_who_does_not_answer_is_not_asked_again(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a", idle_timeout=IDLE, heartbeat=1) as a:
        raw = await connect_quiet(network)
        assert await raw.receive(1) == [("", "idle")]
        told = Notices()
        a.monitor(f"0#{NAME}.1", told)
        a.send(f"0#{NAME}.1", "waits")
        with trio.move_on_after(4):
            await raw.receive(2)
        assert raw.received == [("", "idle")]
        assert await raw.receive(3) == [("", "idle"), ("", "mon1", f"{NAME}.1"), (f"{NAME}.1", "waits")]
        # A sign of life goes out all the time.
        assert raw.messages.index(("", "idle")) < len(raw.messages) - 6
        assert raw.messages.count(("", "")) >= IDLE
        a.monitor(f"0#{NAME}.1", told).cancel()
        await raw.send(["", "kil0", f"{NAME}.1"])
        await told.wait()
        with trio.move_on_after(50):
            await raw.receive(4)
        assert not raw.ended
        # An answer that comes now comes too late: what was written since may be lost.
        again = Notices()
        a.monitor(f"0#{NAME}.2", again)
        await raw.send(["", "bye"])
        assert (await again.wait())[0] == "transport_error"
    assert not warnings_in(caplog)


@pytest.mark.parametrize("framing", ["msgpack", "json"])
@pytest.mark.parametrize("encryption", [False, True])
async def test_a_peer_that_agrees(autojump_clock: trio.testing.MockClock, framing: str, encryption: bool) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a", idle_timeout=IDLE, encryption=encryption) as a:
        raw = await connect_quiet(network, encryption=encryption, framings=(framing,))
        assert [tuple(message) for message in await raw.receive(1)] == [("", "idle")]
        a.send(f"0#{NAME}.1", "waits")
        if framing == "msgpack":
            await raw.send(["", "bye"])
        else:
            await raw.send_raw(b'["", "bye"]')
        await raw.read_to_end()
        assert len(raw.received) == 1
        raw.pipe.close()
        await until(lambda: not a.peers)
        raw = await connect_quiet(network, encryption=encryption, framings=(framing,))
        assert [tuple(message) for message in await raw.receive(1)] == [(f"{NAME}.1", "waits")]


async def test_a_peer_that_asks(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") as a:
        raw = await connect_quiet(network)
        monitor = a.monitor("0", Notices())
        await raw.send(["", "idle"])
        assert await raw.receive(1) == [("", "busy")]
        monitor.cancel()
        await raw.send(["", "idle"])
        assert await raw.receive(2) == [("", "busy"), ("", "bye")]
        await raw.read_to_end()
        # It keeps its end open, and says something more.
        start = trio.current_time()
        with contextlib.suppress(BrokenPipeError):
            while trio.current_time() - start < 20:
                await raw.send(["", "idle"], ["", "bye"], ["", "busy"], ["", ""])
                await trio.sleep(1)
        assert 4 <= trio.current_time() - start <= 6
        assert not a.peers
        assert raw.received[2:] == []


@pytest.mark.parametrize("kind", ["", "devnull"])
async def test_signs_of_life_are_no_reason_to_stay(autojump_clock: trio.testing.MockClock, kind: str) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a", idle_timeout=IDLE):
        raw = await connect_quiet(network)
        start = trio.current_time()
        async with trio.open_nursery() as nursery:

            async def live() -> None:
                while True:
                    await raw.send(["", kind])
                    await trio.sleep(1)

            nursery.start_soon(live)
            with trio.fail_after(2 * LATEST):
                assert await raw.receive(1) == [("", "idle")]
            nursery.cancel_scope.cancel()
        assert trio.current_time() - start <= LATEST


async def test_another_process_with_the_same_id_is_judged_by_the_answer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a", idle_timeout=IDLE) as a:
        old = await connect_quiet(network)
        assert await old.receive(1) == [("", "idle")]
        new = RawPeer(network.connect(place("a")).dialler, "0", heartbeat=60)
        with trio.move_on_after(1):
            await new.read_to_end()
        assert not new.ended
        await old.send(["", "busy"])
        await new.read_to_end()
        assert new.refused == "node ID in use"
        # No ping was queued for it: there is nothing to be written now.
        assert old.received == [("", "idle")]
        assert a.peers == ("0",)


# The parts -----------------------------------------------------------------------------------------------------------


def test_what_is_not_kept_cannot_be_released() -> None:
    idleness = Idleness(10, 1)
    idleness.keep("x")
    idleness.release("x")
    for reason in "xy":
        with pytest.raises(ValueError, match=f"for which the connection is kept, got '{reason}'"):
            idleness.release(reason)
    assert not idleness.kept


def test_the_log_says_why(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def main() -> None:
        network = FakeNetwork()
        async with open_acquainted(network) as (a, b):
            peer_of(a, "b").ask_to_part()
            await until(lambda: not a.peers and not b.peers)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    down = [line for line in warnings_in(caplog, logging.INFO) if "is down" in line]
    assert down == [f"{node} is down: nothing depended on the connection" for node in "ba"] or down == [
        f"{node} is down: nothing depended on the connection" for node in "ab"
    ]
