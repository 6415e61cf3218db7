"""What docs/promise.md says of the reach of the promise, and of what lies outside it."""

from __future__ import annotations

import re

import pytest
import trio
import trio.testing
from network_helpers import FakeNetwork, Inbox, Notices, open_test_node, until, warnings_in

HANDLER = "network_helpers:installs_a_handler"


async def test_each_node_monitors_for_itself(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A node that monitors a port is not told of what another node loses on its way to it; that node's log is."""
    network = FakeNetwork()
    async with (
        open_test_node(network, "c") as c,
        open_test_node(network, "a", seeds=["c"]) as a,
    ):
        await until(lambda: c.peers == ("a",))
        async with open_test_node(network, "b", seeds=["c"]) as b:
            await until(lambda: len(c.peers) == 2)
            wire_of_b = network.wires[-1]
            inbox, told = Inbox(c), Notices()
            a.monitor(inbox.port, told)
            b.send(inbox.port, "arrives")
            await inbox.wait(1)
            # The kernel takes nothing more, so both stay in the queue of b.
            wire_of_b.there.capacity = 0
            b.send(inbox.port, "lost" + "!" * 1000)
            b.send(inbox.port, "lost as well")
            await trio.testing.wait_all_tasks_blocked()
            wire_of_b.reset()
            await until(lambda: any("message" in line and "dropped" in line for line in warnings_in(caplog)))
            a.send(inbox.port, "from the other")
            await inbox.wait(2)
            assert inbox.messages == [("arrives",), ("from the other",)]
            assert not told.reasons
    (line,) = [line for line in warnings_in(caplog) if "dropped" in line]
    assert re.match(r"c: 2 messages \(10\d\d bytes\) were dropped", line), "the peer, how many messages and bytes"


async def test_messages_without_a_monitor_may_be_missing_but_keep_their_order(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") as a, open_test_node(network, "b", seeds=["a"]) as b:
        await until(lambda: a.peers and b.peers)
        inbox = Inbox(a)
        for number in range(30):
            b.send(inbox.port, number)
            if number % 10 == 5:
                network.wire.reset()
            await trio.sleep(0.01)
        await until(lambda: inbox.messages[-1:] == [(29,)])
        numbers = [number for (number,) in inbox.messages]
        assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("how", ["send_after", "monitor"])
async def test_what_was_taken_for_later_and_cannot_travel_any_more_is_a_loss(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    """It was checked when there was no connection; the node that has come since takes only small messages."""
    network = FakeNetwork()
    async with open_test_node(network, "a") as a:
        port, dying, told, others, inbox = a.spawn("b", HANDLER, "made"), a.port(), Notices(), Notices(), Inbox(a)
        if how == "send_after":
            a.send_after(20, port, "x" * 70_000)
        else:
            a.monitor(dying, port, "x" * 70_000)
        modules = ["network_helpers"]
        async with open_test_node(network, "b", seeds=["a"], message_limit=65536, spawn_modules=modules):
            with trio.fail_after(60):
                await until(lambda: a.peers == ("b",))
                a.monitor(port, told)
                a.monitor(a.spawn("b", HANDLER), others)
                if how == "monitor":
                    dying.kill("of this")
                assert (await told.wait())[:2] == ("transport_error", "b")
                # Nothing else is lost, and the port can be monitored and sent to again.
                again = Notices()
                a.monitor(port, again)
                a.send(port, "arguments", inbox.port)
                assert await inbox.wait(1) == [("made",)]
                a.send(port, "die", "for that")
                assert await again.wait() == ("for that",)
        assert told.reasons[1:] == []
        assert others.reasons[0][0] != "transport_error" or "lost" not in others.reasons[0][2]
    caplog.clear()


async def test_a_spawned_port_whose_id_is_passed_on_too_early(autojump_clock: trio.testing.MockClock) -> None:
    """A third node that is told the ID before the port has answered may be told that there is no such port."""
    network = FakeNetwork()
    async with (
        open_test_node(network, "a", spawn_modules=["network_helpers"]) as a,
        open_test_node(network, "b", seeds=["a"]) as b,
        open_test_node(network, "c", seeds=["a"]) as c,
    ):
        await until(lambda: len(a.peers) == 2)
        wire_of_b = next(wire for wire in network.live if wire is not network.wires[-1])
        wire_of_b.there.stalled = True
        port = b.spawn("a", "network_helpers:installs_a_handler", "made")
        told, inbox = Notices(), Inbox(c)
        c.monitor(port, told)
        c.send(port, "arguments", inbox.port)
        assert (await told.wait())[0] == "no_such_port"
        assert not inbox.messages
        # For the node that has spawned it nothing is missing.
        of_b = Inbox(b)
        b.send(port, "arguments", of_b.port)
        wire_of_b.resume()
        assert await of_b.wait(1) == [("made",)]


async def test_what_is_sent_to_a_node_port_may_reach_the_node_that_has_restarted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") as a:
        async with open_test_node(network, "b", seeds=["a"]):
            await until(lambda: a.peers)
        await until(lambda: not a.peers)
        inbox = Inbox(a)
        a.send("b", "info", inbox.port)
        async with open_test_node(network, "b", seeds=["a"]):
            assert await inbox.wait(1) == [("b",)]
