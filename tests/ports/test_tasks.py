"""The tasks of a node: what cancels its block reaches them when the block has been left, and each of them then."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from trio_mp import Node, Port, open_node


async def test_a_task_that_unwinds_is_served_to_the_end(autojump_clock: MockClock) -> None:
    """The block of the node is cancelled; a task of a port still talks with other ports before it ends."""
    heard: list[str] = []

    async def talk(port: Port, node: Node, other: Port) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                for word in ("one", "two"):
                    heard.extend(await node.call(other, word))

    with trio.move_on_after(1):
        async with open_node() as node:
            echo = node.port(lambda word, reply: node.send(reply, word))
            node.start_port(talk, node, echo)
            await trio.sleep_forever()
    assert heard == ["one", "two"]
    assert trio.current_time() < 3


@pytest.mark.parametrize("of_a_port", [True, False])
async def test_a_task_that_starts_while_the_node_is_stopped_is_cancelled(
    autojump_clock: MockClock, of_a_port: bool
) -> None:
    ended: list[str] = []

    async def wait(*_: object) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append("late")

    async def start_another(port: Port, node: Node, other: Port) -> None:
        try:
            await trio.sleep_forever()
        finally:
            if of_a_port:
                node._lifecycle.start_task(other, wait, ())
            else:
                node._lifecycle.start_system_task(wait)
            ended.append("early")

    with trio.move_on_after(1):
        async with open_node() as node:
            node.start_port(start_another, node, node.port())
            await trio.sleep_forever()
    assert ended == ["early", "late"]
    assert trio.current_time() < 3


async def test_what_a_system_task_was_given_cancels_it_alone(autojump_clock: MockClock) -> None:
    ended: list[str] = []

    async def wait(name: str) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(name)

    async with open_node() as node:
        first = node._lifecycle.start_system_task(wait, "first")
        node._lifecycle.start_system_task(wait, "second")
        await trio.sleep(1)
        first.cancel()
        await trio.sleep(1)
        assert ended == ["first"]
    assert ended == ["first", "second"]
    assert not node._lifecycle.start_system_task(wait, "third").cancel_called
    await trio.sleep(1)
    assert ended == ["first", "second"]


async def test_many_nodes_of_one_block_end_with_it(autojump_clock: MockClock) -> None:
    """Nothing of a node is left in the nursery of the block, whatever the block was left by."""
    before = trio.lowlevel.current_statistics().tasks_living
    for number in range(20):
        with trio.move_on_after(number % 3):
            async with open_node() as node:
                for _ in range(3):
                    node.start_port(lambda port: port.receive())
                if number % 2:
                    await trio.sleep(1)
    assert trio.lowlevel.current_statistics().tasks_living == before
