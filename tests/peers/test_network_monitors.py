"""Monitors, links, kills and calls across nodes: who is told what, and when."""

from __future__ import annotations

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
from reason_helpers import Died

from trio_mp import Monitor, Port, PortDied, current_port
from trio_mp._ports.port import state_of


def monitor_traffic(sent: bytes | bytearray) -> list[tuple[Any, ...]]:
    return [message[1:] for message in requests_in(sent) if message[:1] == ("",) and message[1] in {"mon1", "mon0"}]


# Kill ----------------------------------------------------------------------------------------------------------------


async def test_kill_keeps_its_place_among_messages(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork()) as (a, b):
        inbox, told = Inbox(a), Notices()
        b.monitor(inbox.port, told)
        b.send(inbox.port, 1)
        b.send(inbox.port, 2)
        b.kill(inbox.port, "enough", "it was time")
        b.send(inbox.port, 3)
        assert await told.wait() == ("enough", "it was time")
        assert inbox.messages == [(1,), (2,)]
        assert not inbox.port.alive


async def test_a_reason_that_cannot_travel_raises_at_the_call(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork()) as (a, b):
        port = a.port()
        with pytest.raises(TypeError):
            b.kill(port, "reason", object())
        with pytest.raises(ValueError, match="node port"):
            b.kill("a", "reason")
        with pytest.raises(ValueError, match="node port"):
            b.kill("a#")
        assert port.alive


async def test_a_reason_of_port_kill_is_checked_too(autojump_clock: trio.testing.MockClock) -> None:
    """`Port.kill` is `Node.kill`: what cannot travel must not be found out when a remote monitor is told."""
    async with open_pair(FakeNetwork()) as (a, b):
        port, told = a.port(), Notices()
        b.monitor(port, told)
        await until(lambda: peer_of(a, "b").watchers)
        with pytest.raises(TypeError):
            port.kill("reason", object())
        port.kill("a good one")
        assert await told.wait() == ("a good one",)


async def test_a_reason_too_large_for_the_peer_is_replaced(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") as a, open_test_node(network, "b", seeds=["a"], message_limit=65536) as b:
        port, told = a.port(), Notices()
        b.monitor(port, told)
        await until(lambda: a.peers and peer_of(a, "b").watchers)
        a.kill(port, "x" * 70_000)
        assert (await told.wait())[0] == "reason_lost"


# Monitor -------------------------------------------------------------------------------------------------------------


async def test_a_monitor_fires_with_the_reason_of_the_death(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork()) as (a, b):
        for reason in [(), ("die", "text"), ("numbers", 1, 2.5, None, [1, {"key": "value"}])]:
            port, told = a.port(), Notices()
            monitor = b.monitor(port, told)
            b.kill(port, *reason)
            assert await told.wait() == reason
            assert monitor.reason == reason
            assert not monitor.active
            await trio.sleep(1)
            assert told.reasons == [reason]


async def test_a_monitor_fires_when_a_handler_raises(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork()) as (a, b):
        port, told = a.port(), Notices()

        @port.on("divide")
        def divide(by: int) -> None:
            1 / by

        b.monitor(port, told)
        b.send(port, "divide", 0)
        assert await told.wait() == Died("ZeroDivisionError: division by zero")


async def test_everything_sent_before_a_death_arrives_before_its_notice(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork()) as (a, b):
        order: list[object] = []
        receiver = b.port(lambda *message: order.append(message))
        port = a.port()

        @port.on("work")
        def work() -> None:
            for number in range(100):
                a.send(receiver, number)
            port.kill("done")

        b.monitor(port, lambda *reason: order.append(reason))
        b.send(port, "work")
        await until(lambda: ("done",) in order)
        assert order == [(number,) for number in range(100)] + [("done",)]


async def test_the_notice_of_a_death_comes_before_what_callbacks_send(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork()) as (a, b):
        events: list[Any] = []
        port, other = a.port(), b.port(events.append)
        b.monitor(port, lambda *reason: events.append(reason))
        a.monitor(port, lambda *_: a.send(other, "it is dead"))
        await b.flush("a")
        await trio.sleep(1)
        port.kill("why")
        await until(lambda: len(events) == 2)
        assert events == [("why",), "it is dead"]


async def test_a_port_that_never_was_or_is_gone(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork()) as (a, b):
        told = Notices()
        b.monitor("a#" + "x" * 16 + ".7", told)
        assert (await told.wait())[0] == "no_such_port"
        port, told = a.port(), Notices()
        port.kill("early")
        await until(lambda: not port.alive)
        b.monitor(port, told)
        reason = await told.wait()
        assert reason[0] == "no_such_port"
        assert str(port) in str(reason[1])


async def test_a_death_is_believed_only_of_the_node_that_owns_the_port(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = FakeNetwork()
    async with open_pair(network, "a", "m") as (a, m):
        inbox, told = Inbox(a), Notices()
        m.monitor(inbox.port, told)
        liar = await connect_raw(network, "b")
        await liar.send(("", "kil0", inbox.port.name, "a lie"))
        m.send(inbox.port, "alive")
        await inbox.wait(1)
        await trio.sleep(1)
        assert not told.reasons
        inbox.port.kill("the truth")
        assert await told.wait() == ("the truth",)


async def test_messages_of_a_monitor_go_to_a_port(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork()) as (a, b):
        port, here, there = a.port(), Inbox(b), Inbox(a)
        b.monitor(port, here.port, "died", 1)
        b.monitor(port, there.port, "died", 2)
        b.kill(port, "why", "text")
        assert await here.wait(1) == [("died", 1, "why", "text")]
        assert await there.wait(1) == [("died", 2, "why", "text")]


async def test_only_the_first_and_the_last_monitor_of_a_port_travel(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_pair(network) as (a, b):
        port = a.port()
        first, second = b.monitor(port, lambda *_: None), b.monitor(port, lambda *_: None)
        await b.flush("a")
        name = port.name
        sent = network.wire.there.sent
        assert monitor_traffic(sent) == [("mon1", name)]
        first.cancel()
        await b.flush("a")
        assert monitor_traffic(sent) == [("mon1", name)]
        second.cancel()
        second.cancel()
        await b.flush("a")
        assert monitor_traffic(sent) == [("mon1", name), ("mon0", name)]
        await until(lambda: not peer_of(a, "b").watchers)
        told = Notices()
        b.monitor(port, told)
        await b.flush("a")
        assert monitor_traffic(sent) == [("mon1", name), ("mon0", name), ("mon1", name)]
        b.kill(port, "x")
        assert await told.wait() == ("x",)


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


async def test_a_cancelled_monitor_does_not_fire(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork()) as (a, b):
        port, told, not_told = a.port(), Notices(), Notices()
        with b.monitor(port, not_told):
            await b.flush("a")
        cancelled = b.monitor(port, not_told)
        b.monitor(port, told)
        cancelled.cancel()
        b.kill(port)
        await told.wait()
        assert not not_told.reasons


async def test_a_monitor_that_is_cancelled_by_another_callback(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork()) as (a, b):
        port, not_told = a.port(), Notices()
        b.monitor(port, lambda *_: second.cancel())
        second: Monitor = b.monitor(port, not_told)
        b.kill(port, "x")
        await until(lambda: second.reason is not None or not second.active)
        await trio.sleep(1)
        assert len(not_told.reasons) <= 1


async def test_a_monitor_ends_with_the_port_that_set_it(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_pair(network) as (a, b):
        port, owner, not_told = a.port(), b.port(), Notices()
        owner.run(lambda: b.monitor(port, not_told))
        await until(lambda: peer_of(a, "b").watchers)
        owner.kill()
        await until(lambda: not peer_of(a, "b").watchers)
        assert monitor_traffic(network.wire.there.sent) == [("mon1", port.name), ("mon0", port.name)]
        b.kill(port)
        await trio.sleep(1)
        assert not not_told.reasons


async def test_a_callback_runs_in_the_context_of_its_port(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork()) as (a, b):
        port, owner = a.port(), b.port()
        seen: list[Port] = []
        owner.run(lambda: b.monitor(port, lambda *_: seen.append(current_port())))
        b.kill(port)
        await until(lambda: seen)
        assert seen == [owner]


async def test_a_callback_that_raises_kills_its_port(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork()) as (a, b):
        port, owner, told, also = a.port(), b.port(), Notices(), Notices()

        def fail(*_: object) -> None:
            raise ValueError("from a callback")

        a.monitor(owner, told)
        owner.run(lambda: b.monitor(port, fail))
        b.monitor(port, also)
        b.kill(port)
        assert await told.wait() == Died("ValueError: from a callback")
        assert also.reasons == [()]


async def test_a_callback_outside_a_port_that_raises_crashes_the_node(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()

    def fail(*_: object) -> None:
        raise ValueError("from a callback")

    async with open_test_node(network, "a") as a:
        port = a.port()
        with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="from a callback"), flatten_subgroups=True):
            async with open_test_node(network, "b", seeds=["a"]) as b:
                b.monitor(port, fail)
                await until(lambda: b.peers)
                b.kill(port)
                await trio.sleep_forever()
        await until(lambda: not a.peers)


async def test_an_os_error_of_a_callback_is_not_taken_for_one_of_the_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
        async with open_pair(FakeNetwork()) as (a, b):
            port = b.port(lambda *_: None)

            def callback(*_reason: object) -> None:
                raise OSError("a callback failed")

            a.monitor(port, callback)
            b.kill(port)
            await trio.sleep(60)
    assert caught.group_contains(OSError, match="a callback failed")


async def test_an_unmonitored_os_error_of_a_remote_message_crashes_where_it_should(
    autojump_clock: trio.testing.MockClock,
) -> None:
    def handler(*_message: object) -> None:
        raise FileNotFoundError("a file of the program")

    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
        async with open_pair(FakeNetwork(), unmonitored_death="raise") as (a, b):
            b.send(a.port(handler), "x")
            await trio.sleep(60)
    assert caught.group_contains(FileNotFoundError, match="a file of the program")


async def test_a_monitor_of_the_node_itself(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_pair(network) as (_, b):
        told, not_told = Notices(), Notices()
        b.monitor("a", told)
        with b.monitor("a#", not_told):
            pass
        assert not monitor_traffic(network.wire.there.sent)
        network.wire.reset()
        assert (await told.wait())[:2] == ("transport_error", "a")
        assert not not_told.reasons


async def test_monitors_fire_when_the_connection_is_lost(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    network = FakeNetwork()
    async with open_pair(network) as (a, b):
        port_of_a, port_of_b, at_a, at_b = a.port(), b.port(), Notices(), Notices()
        b.monitor(port_of_a, at_b)
        a.monitor(port_of_b, at_a)
        await b.flush("a")
        await a.flush("b")
        start = trio.current_time()
        network.wire.reset()
        assert (await at_b.wait())[:2] == ("transport_error", "a")
        assert (await at_a.wait())[:2] == ("transport_error", "b")
        assert trio.current_time() == start, "at once"
        assert not warnings_in(caplog), "nothing was dropped that nobody was told of"
        # The table died with the connection: no notice comes of it on the next one.
        await until(lambda: a.peers and b.peers)
        port_of_a.kill("later")
        await trio.sleep(1)
        assert len(at_b.reasons) == 1
        assert not peer_of(a, "b").watchers


async def test_all_reasons_are_set_before_the_first_callback(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_pair(network) as (a, b):
        ports = [a.port() for _ in range(3)]
        seen: list[list[bool]] = []
        monitors: list[Monitor] = [
            b.monitor(port, lambda *_: seen.append([monitor.reason is not None for monitor in monitors]))
            for port in ports
        ]
        await b.flush("a")
        network.wire.reset()
        await until(lambda: len(seen) == 3)
        assert seen == [[True] * 3] * 3


async def test_nothing_is_written_before_all_monitors_have_fired(autojump_clock: trio.testing.MockClock) -> None:
    """A callback sends so much that `send` would write it itself; the other monitors come first."""
    network = FakeNetwork()
    async with (
        open_test_node(network, "a", queue_limit=800_000, message_limit=100_000) as a,
        open_test_node(network, "b", seeds=["a"], queue_limit=800_000, message_limit=100_000) as b,
        open_test_node(network, "c", seeds=["b"], queue_limit=800_000, message_limit=100_000) as c,
    ):
        await until(lambda: len(b.peers) == 2)
        inbox = Inbox(c)
        (to_c,) = [wire for wire in network.live if "/b" in wire.address]
        (to_a,) = [wire for wire in network.live if "/a" in wire.address]
        await trio.sleep(0.1)
        before = len(to_c.back.sent)
        seen: list[int] = []

        def flood(*_reason: object) -> None:
            for _ in range(3):
                b.send(inbox.port, b"x" * 90_000)
            seen.append(len(to_c.back.sent))

        port = a.port()
        b.monitor(port, flood)
        b.monitor(a.port(), flood)
        await b.flush("a")
        to_a.reset()
        await until(lambda: len(seen) == 2)
        assert seen == [before, before]
        await inbox.wait(6)
        assert c.peers


async def test_callbacks_of_a_loss_may_send_to_the_same_peer(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_pair(network) as (a, b):
        inbox, events = Inbox(a), Notices()

        def again(*_: object) -> None:
            b.monitor(inbox.port, events)
            b.send(inbox.port, "from the callback")

        for _ in range(3):
            b.monitor(inbox.port, again)
        await b.flush("a")
        network.wire.reset()
        assert await inbox.wait(3) == [("from the callback",)] * 3
        assert not events.reasons
        inbox.port.kill("end")
        await events.wait()
        assert events.reasons == [("end",)] * 3


async def test_observers_hear_of_a_loss_between_its_last_monitor_and_the_next_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The peer, which decides, chooses another connection: that is taken up as soon as the monitors have fired."""
    network = FakeNetwork()
    async with open_test_node(network, "m") as m:
        first = await connect_raw(network, "z")
        await until(lambda: m.peers)
        told: list[str] = []
        for number in range(2):
            m.monitor("z", lambda *_, number=number: told.append(f"monitor {number}, {len(m.peers)} peers"))
        observers = network_of(m).observers
        observers.down.append(lambda node_id: told.append(f"{node_id} is down"))
        observers.up.append(lambda node_id: told.append(f"{node_id} is up"))
        second = RawPeer(network.connect(place("m")).dialler, "z", incarnation=first.incarnation)
        await second.choose()
        await until(lambda: len(told) >= 4)
        assert told == ["monitor 0, 0 peers", "monitor 1, 0 peers", "z is down", "z is up"]


async def test_what_a_callback_of_a_loss_sets_in_the_database(autojump_clock: trio.testing.MockClock) -> None:
    """The database hears of the loss later, but nothing that it says to the peer waits for another connection."""
    network = FakeNetwork()
    async with open_pair(network) as (a, b):
        # Both are told all that the other one holds.
        assert await b.database.family("f") == await a.database.family("f") == {}
        waiting: list[int] = []

        def note(*_: object) -> None:
            b.database.set("f", "from the callback", 1)
            waiting.append(peer_of(b, "a").queue.size)

        b.monitor(a.port(), note)
        await b.flush("a")
        network.wire.reset()
        await until(lambda: waiting == [0])
        await until(lambda: a.peers and b.peers)
        await trio.sleep(1)
        assert await a.database.family("f") == {"from the callback": 1}


async def test_a_callback_of_a_loss_that_overflows_the_queue(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_pair(network, queue_limit=400_000, message_limit=100_000) as (a, b):
        inbox, second_round = Inbox(a), Notices()

        def flood(*_reason: object) -> None:
            b.monitor(inbox.port, second_round)
            for _ in range(6):
                b.send(inbox.port, b"x" * 90_000)
            assert not second_round.reasons

        b.monitor(inbox.port, flood)
        await b.flush("a")
        network.wire.reset()
        assert "400000" in str((await second_round.wait())[2])
        b.send(inbox.port, "afterwards")
        await until(lambda: inbox.messages)
        assert inbox.messages == [("afterwards",)]


async def test_a_monitor_set_between_a_loss_and_its_report(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_pair(network, queue_limit=400_000, message_limit=100_000) as (a, b):
        inbox, told = Inbox(a), Notices()
        network.wire.there.stalled = True
        while b.peers:
            b.send(inbox.port, b"x" * 90_000)
        b.monitor(inbox.port, told)
        b.send(inbox.port, "dropped")
        await told.wait()
        b.send(inbox.port, "arrives")
        await until(lambda: inbox.messages)
        assert inbox.messages == [("arrives",)]


async def test_a_loss_is_reported_before_what_waits_is_handled(autojump_clock: trio.testing.MockClock) -> None:
    """What waited is handled when the reasons are set, and what it sends is not dropped with what was lost."""
    async with open_pair(FakeNetwork(), queue_limit=400_000, message_limit=100_000) as (a, b):
        inbox = Inbox(a)
        seen: list[tuple[Any, ...] | None] = []
        monitors: list[Monitor] = []

        def overflow() -> None:
            b.send(waiting, "go on")
            while b.peers:
                b.send(inbox.port, b"x" * 90_000)

        def go_on(_tag: str) -> None:
            seen.append(monitors[0].reason)
            b.send(inbox.port, "behind the report")

        waiting = b.port(go_on)
        monitors.append(b.monitor(inbox.port, lambda *_: None))
        await b.flush("a")
        b.send(b.port(overflow))
        await until(lambda: ("behind the report",) in inbox.messages)
        (reason,) = seen
        assert reason is not None
        assert reason[0] == "transport_error"


async def test_no_connection_in_time_fires_monitors(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_test_node(FakeNetwork(), "b", seeds=["a"], connect_timeout=20) as b:
        port = "a#" + "x" * 16 + ".1"
        told, also = Notices(), Notices()
        b.monitor(port, told)
        b.monitor("a", also)
        b.send(port, "lost")
        reason = await told.wait()
        assert trio.current_time() == pytest.approx(20, abs=0.1)
        assert reason[:2] == ("transport_error", "a")
        assert str(reason[2]).startswith("no connection within 20 s (the seed ")
        assert also.reasons == [reason]
        assert sum("2 messages" in line for line in warnings_in(caplog)) == 1
        # And once more, from the beginning.
        told = Notices()
        b.monitor(port, told)
        await told.wait()
        assert trio.current_time() == pytest.approx(40, abs=0.2)


async def test_the_connect_timeout_begins_anew_after_a_loss(autojump_clock: trio.testing.MockClock) -> None:
    settings: dict[str, Any] = {"connect_timeout": 20, "queue_limit": 400_000, "message_limit": 100_000}
    async with open_test_node(FakeNetwork(), "b", seeds=["a"], **settings) as b:
        port = "a#" + "x" * 16 + ".1"
        told = Notices()
        b.monitor(port, told)
        await trio.sleep(19)
        for _ in range(10):
            b.send(port, b"x" * 90_000)
        assert "400000" in str((await told.wait())[2])
        start, told = trio.current_time(), Notices()
        b.monitor(port, told)
        await told.wait()
        assert trio.current_time() - start == pytest.approx(20, abs=0.1)


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


# Links, scopes, waiting ----------------------------------------------------------------------------------------------


async def test_a_link_kills_with_the_same_reason(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork()) as (a, b):
        far, near, normal, told = a.port(), b.port(), a.port(), Notices()
        b.monitor(near, told)
        b.link(normal, near)
        b.link(far, near)
        b.kill(normal)
        b.kill(far, "bad", "news")
        assert await told.wait() == ("bad", "news")


async def test_a_link_to_a_port_on_the_other_node(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork()) as (a, b):
        far, near, told = a.port(), b.port(), Notices()
        b.monitor(far, told)
        b.link(near, far)
        b.kill(near, "bad", "news")
        assert await told.wait() == ("bad", "news")
        with pytest.raises(ValueError, match="node port"):
            b.link(near, "a")


async def test_a_link_and_the_loss_of_the_connection(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_pair(network) as (a, b):
        far, near, told = a.port(), b.port(), Notices()
        b.monitor(near, told)
        b.link(far, near)
        await b.flush("a")
        network.wire.reset()
        assert (await told.wait())[:2] == ("transport_error", "a")


async def test_scopes_tied_to_a_remote_port(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_pair(network) as (a, b):
        port = a.port()
        with b.move_on_death(port) as scope:
            await b.flush("a")
            b.kill(port, "x", "y")
            await trio.sleep_forever()
        assert scope.reason == ("x", "y")
        port = a.port()

        async def lose() -> None:
            with b.fail_on_death(port):
                await b.flush("a")
                network.wire.reset()
                await trio.sleep_forever()

        with pytest.raises(PortDied) as caught:
            await lose()
        assert caught.value.port == str(port)
        assert caught.value.reason[:2] == ("transport_error", "a")
        with b.move_on_death(port) as scope:
            pass
        assert scope.reason is None


async def test_wait_death(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_pair(network) as (a, b):
        port = a.port()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def wait() -> None:
                assert await b.wait_death(port) == ("x",)

            await trio.sleep(1)
            b.kill(port, "x")
        assert (await b.wait_death(port))[0] == "no_such_port"
        with trio.move_on_after(1) as scope:
            await b.wait_death(a.port())
        assert scope.cancelled_caught
        await until(lambda: not peer_of(a, "b").watchers)


# Calls ---------------------------------------------------------------------------------------------------------------


async def test_a_call_is_answered(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork(), encryption=True) as (a, b):
        port = a.port()

        @port.on("add")
        async def add(one: int, other: int, reply_to: str) -> None:
            await trio.sleep(one)
            a.send(reply_to, "sum", one + other)

        assert await b.call(port, "add", 1, 2) == ("sum", 3)
        assert await a.call(port, "add", 1, 2) == ("sum", 3)
        await until(lambda: not peer_of(a, "b").watchers)


async def test_a_call_to_a_port_that_dies(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_pair(network) as (a, b):
        port = a.port()
        port.on("die")(lambda _reply: port.kill("as asked"))
        with pytest.raises(PortDied) as caught:
            await b.call(port, "die")
        assert caught.value.reason == ("as asked",)
        silent = a.port(lambda *_: None)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def lose() -> None:
                await trio.sleep(1)
                network.wire.reset()

            with pytest.raises(PortDied) as caught:
                await b.call(silent, "anybody there?")
        assert caught.value.reason[:2] == ("transport_error", "a")


async def test_a_cancelled_call_leaves_nothing_behind(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork()) as (a, b):
        replies: list[str] = []
        port = a.port()
        port.on("later")(replies.append)
        with trio.move_on_after(1):
            await b.call(port, "later")
        ports = len(b._lifecycle.ports)
        a.send(replies[0], "too late")
        await until(lambda: not peer_of(a, "b").watchers)
        assert ports == len(b._lifecycle.ports) == 0


# Owners, batches, and deaths in between ------------------------------------------------------------------------------


async def test_a_request_behind_a_message_that_killed_its_port(autojump_clock: trio.testing.MockClock) -> None:
    """The port is dead and unwinding when the node port's turn comes, in the same batch: it is not its request."""
    async with open_pair(FakeNetwork()) as (a, b):
        port, inbox = a.port(), Inbox(b)

        async def unwind_slowly() -> None:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(1)

        @port.on("die")
        def die() -> None:
            raise ValueError("as asked")

        port.start_soon(unwind_slowly)
        await trio.sleep(0.1)
        b.send(port, "die")
        b.send("a", "info", inbox.port, "answer")
        assert await inbox.wait(1) == [("answer", "a")]
        assert a.peers == ("b",)


def _note(told: list[object], *answer: object) -> None:
    told.append(answer)


def _are_two(told: list[object]) -> bool:
    return len(told) == 2


async def test_an_answer_comes_behind_the_report_that_a_port_is_missing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """So who is answered behind a monitor knows that the port was there."""
    async with open_pair(FakeNetwork()) as (a, b):
        port = a.port()
        a.kill(port)
        await until(lambda: not a._lifecycle.ports)
        for node in (a, b):
            told: list[object] = []
            node.monitor(str(port), lambda what, _text, told=told: told.append(what))
            node.send("a", "info", node.port(partial(_note, told)), "answer")
            await until(partial(_are_two, told))
            assert told == ["no_such_port", ("answer", "a")]
