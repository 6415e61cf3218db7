"""Children of a supervisor on this node: started, started again, and stopped."""

# ruff: noqa: PT012 - what leaves a whole block is what these tests are about

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_mp import Port, PortDied, SupervisorFailed, open_node


class Crash(Exception):
    """What children of these tests die of."""


async def serve(port: Port, story: list[str] | None = None, name: str = "", task_status: Any = None) -> None:
    """A child that does as it is told."""
    story = [] if story is None else story
    story.append(f"+{name}")
    task_status.started(name)
    try:
        async for tag, *rest in port:
            if tag == "crash":
                raise Crash(*rest)
            if tag == "end":
                return
            if tag == "ask":
                port.node.send(rest[0], "answer", name)
    finally:
        story.append(f"-{name}")


async def test_a_child_is_started_again_and_the_reference_follows_it(autojump_clock: object) -> None:
    async with open_node() as node, node.open_supervisor() as crew:
        child = await crew.start(serve, [], "a")
        first = child.port
        assert child.running
        assert child.value == "a"
        node.send(child, "crash")
        await wait_all_tasks_blocked()
        assert child.running
        assert child.port != first
        assert (child.restarts, crew.restarts) == (1, 1)
        assert await node.call(child, "ask") == ("answer", "a")


async def test_the_first_starts_exception_is_raised_at_the_await(autojump_clock: object) -> None:
    async def fail(port: Port, task_status: Any) -> None:
        raise Crash("at once")

    async with open_node() as node, node.open_supervisor() as crew:
        with pytest.raises(Crash, match="at once"):
            await crew.start(fail)
        assert crew.children == ()
        assert crew.restarts == 0


async def test_too_many_restarts_leave_the_block_as_a_group(autojump_clock: object) -> None:
    story: list[str] = []
    async with open_node() as node:
        with pytest.raises(SupervisorFailed) as caught:
            async with node.open_supervisor(limit=2) as crew:
                await crew.start(serve, story, "other")
                child = await crew.start(serve, story, "bad")
                for number in range(3):
                    node.send(await child.up(), "crash", number)
                    await trio.sleep(1)
                await trio.sleep_forever()
        assert [repr(error) for error in caught.value.exceptions] == ["Crash(2)"]
        assert caught.value.children == ("serve-2",)
        assert story[-1] == "-other"
        assert not node._runtime.supervisors


async def test_an_outer_cancellation_stops_the_children_the_last_first(autojump_clock: object) -> None:
    story: list[str] = []
    async with open_node() as node:
        with trio.move_on_after(1) as scope:
            async with node.open_supervisor() as crew:
                for name in "abc":
                    await crew.start(serve, story, name)
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert story == ["+a", "+b", "+c", "-c", "-b", "-a"]


async def test_an_outer_cancellation_of_the_node_too(autojump_clock: object) -> None:
    # More than once: without the shield around tasks they end in the order in which Trio happens to run them, which is
    # the right one every second time.
    for _ in range(12):
        story: list[str] = []
        with trio.move_on_after(1) as scope:
            async with open_node() as node, node.open_supervisor() as crew:
                for name in "abc":
                    await crew.start(serve, story, name)
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert story == ["+a", "+b", "+c", "-c", "-b", "-a"]


async def test_a_supervisor_function_is_a_child(autojump_clock: object) -> None:
    story: list[str] = []

    async def team(port: Port, task_status: Any) -> None:
        async with port.node.open_supervisor() as crew:
            for name in "ab":
                await crew.start(serve, story, name)
            task_status.started(crew)
            await trio.sleep_forever()

    async with open_node() as node, node.open_supervisor() as crew:
        await crew.start(serve, story, "first")
        child = await crew.start(team)
        inner = child.value.children
        node.send(inner[0], "crash")
        await wait_all_tasks_blocked()
        assert story == ["+first", "+a", "+b", "-a", "+a"]
        node.kill(child, "enough")
        await wait_all_tasks_blocked()
        assert story[5:] == ["-b", "-a", "+a", "+b"]
        story.clear()
    assert story == ["-b", "-a", "-first"]


async def test_a_child_that_is_taken_out_is_not_started_again(autojump_clock: object) -> None:
    story: list[str] = []
    async with open_node() as node, node.open_supervisor() as crew:
        child = await crew.start(serve, story, "a")
        await crew.stop(child)
        assert story == ["+a", "-a"]
        assert not child.running
        with pytest.raises(PortDied, match="its supervisor has stopped it"):
            await child.up()
        await crew.stop(child)
        await crew.wait()
