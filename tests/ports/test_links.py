"""Links: one port dies with another."""

from __future__ import annotations

import pytest
from reason_helpers import Died
from trio.testing import wait_all_tasks_blocked

from trio_mp import open_node
from trio_mp._ports.port import state_of


async def test_a_linked_port_dies_of_the_same_reason() -> None:
    async with open_node() as node:
        one, other = node.port(), node.port()
        node.link(one, other)
        node.kill(one, "why", "because")
        assert await node.wait_death(other) == ("why", "because")


async def test_a_normal_death_leaves_linked_ports_alone() -> None:
    async with open_node() as node:
        one, other = node.port(), node.port()
        node.link(one, other)
        node.kill(one)
        await wait_all_tasks_blocked()
        assert other.alive


async def test_a_link_goes_one_way() -> None:
    async with open_node() as node:
        one, other = node.port(), node.port()
        node.link(one, other)
        node.kill(other, "why")
        await wait_all_tasks_blocked()
        assert one.alive


async def test_two_links_go_both_ways() -> None:
    async with open_node() as node:
        for first, second in ((0, 1), (1, 0)):
            ports = [node.port(), node.port()]
            node.link(ports[0], ports[1])
            node.link(ports[1], ports[0])
            node.kill(ports[first], "why")
            assert await node.wait_death(ports[second]) == ("why",)


async def test_the_current_port_is_the_default() -> None:
    async with open_node() as node:
        one, other = node.port(), node.port()
        other.on("link")(node.link)
        node.send(other, "link", one)
        await wait_all_tasks_blocked()
        node.kill(one, "why")
        assert await node.wait_death(other) == ("why",)


async def test_outside_a_port_link_needs_to_be_told_whom() -> None:
    async with open_node() as node:
        with pytest.raises(RuntimeError, match="expected a running port"):
            node.link(node.port())


async def test_a_port_of_another_node_is_no_default() -> None:
    async with open_node() as node, open_node() as elsewhere:
        port = elsewhere.port()
        monitor = elsewhere.monitor(port, lambda *_: None)
        port.run(node.link, node.port())
        await wait_all_tasks_blocked()
        assert monitor.reason is not None
        assert "expected a running port" in str(monitor.reason[1])


async def test_a_link_to_a_dead_port_kills() -> None:
    async with open_node() as node:
        one, other = node.port(), node.port()
        node.kill(one)
        await wait_all_tasks_blocked()
        node.link(one, other)
        assert (await node.wait_death(other))[0] == "no_such_port"


async def test_a_link_can_be_cancelled() -> None:
    async with open_node() as node:
        one, other = node.port(), node.port()
        with node.link(one, other) as link:
            assert link.active
        node.kill(one, "why")
        await wait_all_tasks_blocked()
        assert other.alive


async def test_a_link_ends_with_the_port_that_it_would_kill() -> None:
    async with open_node() as node:
        one, other = node.port(), node.port()
        link = node.link(one, other)
        node.kill(other)
        await wait_all_tasks_blocked()
        assert not link.active
        assert not state_of(one).monitors


async def test_a_link_set_in_a_port_does_not_end_with_it() -> None:
    """It belongs to the port that it kills."""
    async with open_node() as node:
        one, other, setter = node.port(), node.port(), node.port()
        setter.run(node.link, one, other)
        node.kill(setter)
        await wait_all_tasks_blocked()
        node.kill(one, "why")
        assert await node.wait_death(other) == ("why",)


async def test_a_port_linked_to_itself_just_dies() -> None:
    async with open_node() as node:
        port = node.port()
        node.link(port, port)
        node.kill(port, "why")
        assert await node.wait_death(port) == ("why",)


async def test_a_node_port_cannot_be_the_one_that_is_killed() -> None:
    async with open_node("here") as node:
        with pytest.raises(ValueError, match="here"):
            node.link(node.port(), "here")


async def test_links_make_no_noise_and_count_as_monitors(caplog: pytest.LogCaptureFixture) -> None:
    async with open_node() as node:

        def fail(*_: object) -> None:
            raise ValueError("no good")

        one, other = node.port(fail), node.port()
        node.link(one, other)
        node.send(one)
        assert (await node.wait_death(other))[0] == "die"
        assert not caplog.records


async def test_an_exception_travels_along_links() -> None:
    async with open_node() as node:

        def fail(*_: object) -> None:
            raise ValueError("no good")

        ports = [node.port(fail), node.port(), node.port()]
        node.link(ports[0], ports[1])
        node.link(ports[1], ports[2])
        node.send(ports[0])
        assert await node.wait_death(ports[2]) == Died("ValueError: no good")


async def test_messages_sent_before_are_handled_before_a_link_kills() -> None:
    async with open_node() as node:
        seen: list[object] = []
        one, other = node.port(), node.port(seen.append)
        node.link(one, other)
        node.kill(one, "why")
        node.send(other, 1)
        assert await node.wait_death(other) == ("why",)
        assert seen == [1]
