"""`Port.statistics`: what a node counts of one of its ports, and what that costs each of them."""

from __future__ import annotations

import sys

import pytest
import trio
import trio.testing
from manual_clock import ManualClock
from network_helpers import FakeNetwork, Inbox, open_pair
from trio.testing import wait_all_tasks_blocked

import trio_mp
from trio_mp import Port
from trio_mp._ports.port import SAME_MOMENT
from trio_mp.lowlevel import Environment, open_node_in


async def test_counts_messages_from_this_node_exactly_however_they_are_mixed() -> None:
    async with trio_mp.open_node("n") as node:
        inboxes = [Inbox(node) for _ in range(3)]
        for number in range(1000):
            for inbox in inboxes[: 1 + number % 3]:
                node.send(inbox.port, number)
        assert [inbox.port.statistics().received for inbox in inboxes] == [0, 0, 0]
        await wait_all_tasks_blocked()
        assert [inbox.port.statistics().received for inbox in inboxes] == [1000, 666, 333]
        assert inboxes[0].port.statistics().waiting == 0


async def test_counts_messages_and_calls_from_other_nodes(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork()) as (one, two):
        inbox, port = Inbox(two), two.port()
        port.on("ask", reply=True)(lambda: 5)
        for number in range(100):
            one.send(inbox.port, number)
        await inbox.wait(100)
        assert await one.call(port, "ask") == (5,)
        assert await two.call(port, "ask") == (5,)
        assert inbox.port.statistics().received == 100
        assert port.statistics().received == 2


async def test_says_how_old_a_port_is() -> None:
    clock = ManualClock()
    async with open_node_in(Environment(fairness_clock=clock), "n") as node:
        clock.now += 100
        port = node.port(lambda *_: None)
        assert port.statistics().age == 0
        clock.now += 5
        later = node.port()
        assert later.statistics().age == 0
        node.send(port)
        await wait_all_tasks_blocked()
        assert port.statistics().age == 5
        clock.now += 2
        assert later.statistics().age == 2
        node.kill(port)
        await wait_all_tasks_blocked()
        assert port.statistics().age == 7


async def test_ports_that_are_made_together_share_the_time() -> None:
    clock = ManualClock()
    async with open_node_in(Environment(fairness_clock=clock), "n") as node:
        clock.now += 100
        first = node.port()
        clock.now += SAME_MOMENT / 2
        second = node.port()
        assert second._born is first._born
        clock.now += SAME_MOMENT
        assert node.port().statistics().age == 0


async def test_says_what_waits() -> None:
    async with trio_mp.open_node("n") as node, node.open_port() as mailbox:
        busy, released = node.port(), trio.Event()

        @busy.on("wait")
        async def wait() -> None:
            await released.wait()

        for _ in range(4):
            node.send(busy, "wait")
            node.send(mailbox, "x")
        with node.monitor(busy, lambda *_: None), node.monitor(busy, lambda *_: None):
            await wait_all_tasks_blocked()
            found = busy.statistics()
            assert (found.waiting, found.received, found.tasks, found.monitors, found.mailbox) == (3, 4, 1, 2, False)
        found = mailbox.statistics()
        assert (found.waiting, found.received, found.tasks, found.monitors, found.mailbox) == (4, 4, 0, 0, True)
        await mailbox.receive()
        assert mailbox.statistics().waiting == 3
        released.set()
        await wait_all_tasks_blocked()
        assert busy.statistics().waiting == 0


async def test_works_on_a_dead_port() -> None:
    async with trio_mp.open_node("n") as node:
        for port in (node.port(lambda *_: None), Inbox(node).port):
            node.send(port, "x")
            node.kill(port)
            await wait_all_tasks_blocked()
            found = port.statistics()
            assert (found.alive, found.received, found.waiting) == (False, 1, 0)


async def test_a_mere_port_id_has_none() -> None:
    with pytest.raises(RuntimeError, match="expected a Port that a node made"):
        Port("a#some-port-of-a-node").statistics()


async def test_an_idle_port_costs_two_words_for_it() -> None:
    async with trio_mp.open_node("n") as node:
        port = node.port(lambda *_: None)
        others = {"_default", "_lifecycle", "_state", "_tags"}
        assert set(Port.__slots__) - others == {"_born", "_received"}
        bare = type("Bare", (str,), {"__slots__": tuple(others)})
        assert sys.getsizeof(port) <= sys.getsizeof(bare(str.__str__(port))) + 16
        # What they refer to is shared: a small number, and the time of all ports that are made together.
        assert port._received == 0
        assert port._born is node.port()._born
