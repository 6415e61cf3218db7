"""What a node tells its program of messages that are lost with a connection, or on the way into its ports."""

from __future__ import annotations

import pytest
import trio
from network_helpers import (
    FakeNetwork,
    Inbox,
    a_member,
    open_pair,
    open_test_node,
    until,
)

from trio_mp import Lost, Monitor
from trio_mp._ids import join_port
from trio_mp._reason import no_such_port

ONE, OTHER = join_port("far", "A" * 16), join_port("far", "B" * 16)


async def test_what_was_queued_for_a_node_that_never_came_is_told_by_its_ports(autojump_clock: object) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") as node:
        told: list[Lost] = []
        with node.on_lost(told.append):
            for number in range(3):
                node.send(ONE, number)
            node.send(OTHER, b"x" * 1000)
            node.kill(OTHER)
            node.send("far", "devnull")
            # The requests of the node itself are no messages of a program.
            monitor: Monitor = node.monitor(ONE, lambda *_: None)
            await trio.sleep(31)
        assert [(lost.port, lost.count) for lost in told] == [(ONE, 3), (OTHER, 2), ("far", 1)]
        assert told[1].size > 1000 > told[0].size > 3
        for lost in told:
            assert lost.reason == monitor.reason
            assert lost.certain


async def test_the_program_is_told_behind_the_monitors_and_may_send_then(autojump_clock: object) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") as node:
        order: list[str] = []

        def tell(lost: Lost) -> None:
            order.append("told")
            if order.count("told") == 1:
                node.send(ONE, "again")

        with node.on_lost(tell):
            node.send(ONE, "x")
            node.monitor(ONE, lambda *_: order.append("fired"))
            node.monitor(OTHER, lambda *_: order.append("fired"))
            await trio.sleep(31)
            assert order == ["fired", "fired", "told"]
            # What is sent then waits for another connection, and is lost by itself.
            await trio.sleep(31)
            assert order[3:] == ["told"]


async def test_what_is_sent_before_the_report_is_part_of_the_loss(autojump_clock: object) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a", queue_limit=2**20, message_limit=2**18) as node:
        told: list[Lost] = []
        with node.on_lost(told.append):
            for _ in range(5):
                node.send(ONE, b"x" * 250_000)
            node.send(ONE, "behind the one too many")
            await until(lambda: bool(told))
        assert [(lost.port, lost.count, lost.certain) for lost in told] == [(ONE, 6, True)]


@pytest.mark.parametrize("encryption", [False, True])
async def test_what_was_being_written_is_not_certainly_lost(autojump_clock: object, encryption: bool) -> None:
    network = FakeNetwork()
    async with open_pair(network, encryption=encryption) as (one, other):
        told: list[Lost] = []
        inbox = Inbox(other)
        port = str(inbox.port)
        network.wire.stall()
        with one.on_lost(told.append):
            for _ in range(40):
                one.send(port, b"x" * 60_000)
            await trio.sleep(31)
        by_certainty = {lost.certain: lost.count for lost in told}
        assert by_certainty[True] > by_certainty[False] > 0
        assert {lost.port for lost in told} == {port}
        # Those that the operating system had taken are on their way, and not counted.
        assert 30 < sum(by_certainty.values()) < 40


async def test_so_much_that_it_is_not_looked_through_is_told_of_the_node(autojump_clock: object) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") as node:
        told: list[Lost] = []
        with node.on_lost(told.append):
            for _ in range(10):
                node.send(ONE, b"x" * 1_000_000)
            await trio.sleep(31)
        (lost,) = told
        assert (lost.port, lost.count, lost.certain) == ("far", 10, True)
        assert lost.size > 10_000_000


async def test_what_the_other_node_does_not_take_is_told(autojump_clock: object) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") as node:
        told: list[Lost] = []
        small, large = join_port("0", "A" * 16), join_port("0", "B" * 16)
        with node.on_lost(told.append):
            node.send(small, "x")
            node.send(large, b"x" * 100_000)
            node.send(large, "behind it")
            await trio.sleep(1)
            async with a_member(network, node, limit=64 * 1024) as raw:
                while (small.partition("#")[2], "x") not in raw.messages:
                    await raw.step()
                await until(lambda: bool(told))
        (lost,) = told
        assert (lost.port, lost.count, lost.certain) == (large, 2, True)
        assert lost.reason[0] == "transport_error"
        assert lost.size > 100_000


@pytest.mark.parametrize("name", ["C" * 16, "no name", "x" * 1000])
async def test_what_comes_for_a_port_that_is_not_there_is_told_here(autojump_clock: object, name: str) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") as node, a_member(network, node) as raw:
        told: list[Lost] = []
        port = join_port("a", name) if len(name) == 16 else "a"
        with node.on_lost(told.append):
            await raw.send((name, "x"), (name, "y"), (name,))
            await until(lambda: bool(told))
        assert told == [Lost(port, 3, 0, no_such_port(port), True)]


async def test_a_message_that_was_taken_for_later_and_does_not_travel_is_told(autojump_clock: object) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") as node:
        told: list[Lost] = []
        port = join_port("0", "A" * 16)
        with node.on_lost(told.append):
            node.send_every(3, port, b"x" * 100_000)
            async with a_member(network, node, limit=64 * 1024):
                await trio.sleep(7)
        (lost,) = told
        assert (lost.port, lost.count, lost.certain) == (port, 1, True)
