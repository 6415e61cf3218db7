"""What an authenticated node may cost: ports, monitors, what waits in a port; each at its limit and one past it."""

from __future__ import annotations

import tracemalloc

import pytest
import trio
import trio.testing
from hypothesis import given, strategies as st
from network_helpers import (
    FakeNetwork,
    Inbox,
    Notices,
    RawPeer,
    open_pair,
    open_test_node,
    peer_of,
    place,
    until,
    warnings_in,
)

from trio_mp import Port, spawnable
from trio_mp._peers.limited_log import BURST
from trio_mp._ports.backlog import Backlog, memory_of
from trio_mp._protocol.wire import codec

MODULE = "network_helpers"


async def test_a_node_may_spawn_so_many_ports_and_no_more(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_pair(FakeNetwork(), spawn_modules=[MODULE], port_limit=3) as (a, b):
        ports = [b.spawn("a", f"{MODULE}:installs_a_handler", number) for number in range(3)]
        inbox = Inbox(b)
        for port in ports:
            b.send(port, "arguments", inbox.port)
        assert await inbox.wait(3) == [(0,), (1,), (2,)]
        told = Notices()
        b.monitor(b.spawn("a", f"{MODULE}:installs_a_handler", "one too many"), told)
        reason = await told.wait()
        assert reason[0] == "spawn_failed"
        assert "3" in str(reason[1])
        assert sum("a spawn is refused" in line for line in warnings_in(caplog)) == 1
        # The place of one that has died is free again; so are those that end at once.
        b.send(ports[0], "die")
        await b.wait_death(ports[0])
        for _ in range(10):
            ended = b.spawn("a", f"{MODULE}:ends_at_once")
            assert await b.wait_death(ended) == ()
        again = b.spawn("a", f"{MODULE}:installs_a_handler", "again")
        assert await b.call(again, "arguments") == ("again",)
        # This node's own are not counted.
        own = [a.spawn("a", f"{MODULE}:installs_a_handler", number) for number in range(5)]
        assert await a.call(own[-1], "arguments") == (4,)


async def test_a_linked_spawn_one_past_the_limit_kills_who_asked_for_it(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork(), spawn_modules=[MODULE], port_limit=1) as (_, b):
        first = b.spawn("a", f"{MODULE}:installs_a_handler", 1)
        assert await b.call(first, "arguments") == (1,)

        async def spawn_one_too_many(port: Port) -> None:
            b.spawn("a", f"{MODULE}:installs_a_handler", 2, linked=True)
            await trio.sleep_forever()

        reason = await b.wait_death(b.start_port(spawn_one_too_many))
        assert reason[0] == "spawn_failed"


async def test_the_count_of_a_nodes_ports_outlives_its_connection(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_pair(network, spawn_modules=[MODULE], port_limit=2) as (a, b):
        ports = [b.spawn("a", f"{MODULE}:installs_a_handler", number) for number in range(2)]
        assert await b.call(ports[1], "arguments") == (1,)
        for wire in network.live:
            wire.reset()
        await until(lambda: not b.peers)
        await until(lambda: b.peers)
        assert peer_of(a, "b").spawned == 2
        assert (await b.wait_death(b.spawn("a", f"{MODULE}:installs_a_handler", 3)))[0] == "spawn_failed"


async def test_a_node_may_monitor_so_many_ports_and_no_more(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_pair(FakeNetwork(), monitor_limit=3) as (a, b):
        inbox = Inbox(a)
        ports = [a.port() for _ in range(4)]
        told = [Notices() for _ in ports]
        monitors = [b.monitor(port, notices) for port, notices in zip(ports, told, strict=True)]
        reason = await told[3].wait()
        assert reason[0] == "too_many_monitors"
        assert len(peer_of(a, "b").watchers) == 3
        # A refused monitor is a report; the port itself is none the worse for it.
        assert ports[3].alive
        b.monitor(ports[3], told[3])
        await until(lambda: len(told[3].reasons) == 2)
        assert sum("monitors 3 ports" in line for line in warnings_in(caplog)) == 1
        # Where one is given back there is room for another.
        monitors[0].cancel()
        b.monitor(ports[3], told[3])
        b.send(inbox.port, "behind it")
        await inbox.wait(1)
        assert len(told[3].reasons) == 2
        a.kill(ports[3], "done")
        await until(lambda: told[3].reasons[2:] == [("done",)])
        assert not told[1].reasons


async def test_nodes_at_the_limit_of_monitors_cannot_fill_the_log(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Who holds the secret may call itself anything, and come to the limit under each name."""
    network = FakeNetwork()
    async with open_test_node(network, "a", monitor_limit=1) as a:
        ports = [a.port() for _ in range(3)]
        for number in range(2 * BURST):
            raw = RawPeer(network.connect(place("a")).dialler, f"0{number}")
            await raw.adopt()
            await raw.send(*(("", "mon1", port.name) for port in ports))
            for message in await raw.receive(2):
                assert message[3] == "too_many_monitors"
            raw.pipe.close()
        lines = [line for line in warnings_in(caplog) if "monitors 1 ports here, the limit" in line]
        assert BURST <= len(lines) <= BURST + 1


@spawnable
async def never_receives(port: Port) -> None:
    await trio.sleep_forever()


LARGE = b"x" * 10_000


@pytest.mark.parametrize("kind", ["mailbox", "busy handler"])
async def test_received_messages_wait_up_to_a_size(autojump_clock: trio.testing.MockClock, kind: str) -> None:
    size = memory_of((LARGE,))
    async with open_pair(FakeNetwork(), mailbox_size_limit=3 * size) as (a, b):

        async def block(_: object) -> None:
            await trio.sleep_forever()

        port = a.start_port(never_receives) if kind == "mailbox" else a.port(block)
        inbox, told = Inbox(a), Notices()
        b.monitor(port, told)
        if kind != "mailbox":
            b.send(port, b"this one is being handled")
        for _ in range(3):
            b.send(port, LARGE)
        b.send(inbox.port, "behind them")
        await inbox.wait(1)
        assert port.alive
        assert not told.reasons
        # What comes from this node is not measured: the objects are the sender's.
        a.send(port, LARGE * 100)
        await trio.testing.wait_all_tasks_blocked()
        assert port.alive
        b.send(port, LARGE)
        reason = await told.wait()
        assert reason[0] == "mailbox_full"
        assert str(3 * size) in str(reason[1])


async def test_what_was_taken_away_makes_room(autojump_clock: trio.testing.MockClock) -> None:
    limit = 3 * memory_of(("t", LARGE))
    async with open_pair(FakeNetwork(), mailbox_size_limit=limit) as (a, b), a.open_port() as port:
        for number in range(50):
            b.send(port, "t", LARGE)
            b.send(port, "u", LARGE)
            # Out of order, so that sizes are taken away with the right message.
            assert (await port.receive("u"))[0] == "u"
            assert (await port.receive())[0] == "t", number
        assert port.alive


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=20,
)


@given(st.lists(values, max_size=5).map(tuple))
def test_the_measure_covers_every_object_of_a_message(message: tuple[object, ...]) -> None:
    frame = codec.open_frame()
    codec.append_message(frame, "", message)
    assert memory_of(message) >= len(frame) - codec.FRAME_HEADER - 2


def test_the_measure_is_close_to_what_python_takes() -> None:
    frame = codec.open_frame()
    codec.append_message(frame, "", ([[]] * 20_000, {str(number): number * 1000 for number in range(10_000)}))
    codec.close_frame(frame, 1)
    tracemalloc.start()
    (message,) = codec.messages_in(frame)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(frame) < 0.1 * taken
    assert 0.8 < memory_of(message) / taken < 1.5


def test_a_backlog_gives_back_what_it_was_given() -> None:
    backlog = Backlog(3, 10_000)
    assert backlog.append((1,), True) == ""
    assert backlog.append((2,), False) == ""
    assert backlog.append((3,), True) == ""
    assert "3 messages" in backlog.append((4,), False)
    assert list(backlog) == [(1,), (2,), (3,)]
    assert backlog.pop(1) == ((2,), False)
    assert [backlog.pop(), backlog.pop()] == [((1,), True), ((3,), True)]
    assert "bytes were waiting" in backlog.append((b"x" * 10_000,), True)
    assert len(backlog) == 0
    assert backlog.append((b"x" * 9_000,), True) == ""
    with pytest.raises(IndexError):
        Backlog(1, 1).pop()
