"""Supervisors in supervisors, in ports, and in nodes that close: who ends first, and what is started then."""

# ruff: noqa: PT012 - what leaves a whole block is what some of these tests are about

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
from network_helpers import warnings_in
from supervised import Story
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_mp import ChildRef, Node, Port, PortDied, Supervisor, SupervisorFailed, open_node


def team_of(story: Story, *names: str, **settings: Any) -> Any:
    """A supervisor function."""

    async def team(port: Port, task_status: Any) -> None:
        async with port.node.open_supervisor(**settings) as crew:
            for name in names:
                await crew.start(story.serve, name)
            task_status.started(crew)
            await trio.sleep_forever()

    return team


async def test_a_block_in_a_block_ends_first(autojump_clock: MockClock) -> None:
    story = Story()
    async with open_node() as node, node.open_supervisor() as outer:
        await outer.start(story.serve, "a")
        async with node.open_supervisor() as inner:
            await inner.start(story.serve, "b")
            await outer.start(story.serve, "c")
    assert story.take() == "+a +b +c -b -c -a"


async def test_what_an_inner_block_raises_stops_the_outer_ones_children(autojump_clock: MockClock) -> None:
    story = Story()
    async with open_node() as node:
        with pytest.raises(SupervisorFailed) as caught:
            async with node.open_supervisor(name="outer") as outer:
                await outer.start(story.serve, "a")
                async with node.open_supervisor(name="inner", limit=0) as inner:
                    child = await inner.start(story.serve, "b")
                    node.send(child, "crash")
                    await trio.sleep_forever()
        assert str(caught.value).startswith("supervisor inner has given up")
    assert story.take() == "+a +b -b -a"


async def test_a_supervisor_function_that_gives_up_is_started_again_whole(autojump_clock: MockClock) -> None:
    story = Story()
    async with open_node() as node, node.open_supervisor() as crew:
        child = await crew.start(team_of(story, "a", "b", limit=0))
        node.send(child.value.children[0], "crash")
        await wait_all_tasks_blocked()
        assert story.take() == "+a +b -a -b +a +b"
        assert child.restarts == 1
        assert str(child.reason[1]).startswith("SupervisorFailed: supervisor of anon/")
        node.send(child.value.children[1], "crash")
        await trio.sleep(1)
        assert story.take() == "-b -a +a +b"


async def test_a_tree_that_gives_up_says_of_what(autojump_clock: MockClock) -> None:
    story = Story()
    async with open_node() as node:
        with pytest.raises(SupervisorFailed) as caught:
            async with node.open_supervisor(name="outer", limit=0) as crew:
                child = await crew.start(team_of(story, "a", limit=0, name="inner"))
                node.send(child.value.children[0], "crash", "deep down")
                await trio.sleep_forever()
    (inner,) = caught.value.exceptions
    assert isinstance(inner, SupervisorFailed)
    assert [repr(error) for error in inner.exceptions] == ["Crash('deep down')"]


async def test_a_port_with_a_supervisor_in_it_unwinds_when_that_one_has_ended(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    story = Story()
    story.unwinding = {"a": 8, "b": 9}
    async with open_node(shutdown_timeout=10) as node:

        async def team(port: Port) -> None:
            async with node.open_supervisor() as crew:
                await crew.start(story.serve, "a")
                await crew.start(story.serve, "b")
                await trio.sleep_forever()

        port = node.start_port(team)
        await wait_all_tasks_blocked()
        node.kill(port, "enough")
        before = trio.current_time()
        assert await node.wait_death(port) == ("enough",)
        assert trio.current_time() - before == 17
        assert story.take() == "+a +b -b -a"
    assert not warnings_in(caplog)


async def test_its_supervisors_are_stopped_when_a_port_dies_that_shields_its_block(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    story = Story()
    async with open_node(shutdown_timeout=5) as node:

        async def stubborn(port: Port) -> None:
            with trio.CancelScope(shield=True):
                async with node.open_supervisor() as crew:
                    await crew.start(story.serve, "a")
                    with trio.CancelScope(shield=True):
                        await trio.sleep(100)

        port = node.start_port(stubborn)
        await wait_all_tasks_blocked()
        node.kill(port, "enough")
        before = trio.current_time()
        assert await node.wait_death(port) == ("enough",)
        assert trio.current_time() - before == 5
        assert story.take() == "+a -a"
    (line,) = warnings_in(caplog)
    assert "its tasks have not ended" in line
    assert "await trio.sleep(100)" in line


async def test_of_two_supervisors_in_one_port_the_inner_one_ends_first(autojump_clock: MockClock) -> None:
    story = Story()
    story.unwinding = {"a": 4, "b": 4}
    async with open_node(shutdown_timeout=5) as node:

        async def two(port: Port) -> None:
            with trio.CancelScope(shield=True):
                async with node.open_supervisor() as one, node.open_supervisor() as other:
                    await one.start(story.serve, "a")
                    await other.start(story.serve, "b")
                    with trio.CancelScope(shield=True):
                        await trio.sleep(7)

        port = node.start_port(two)
        await wait_all_tasks_blocked()
        node.kill(port)
        before = trio.current_time()
        await node.wait_death(port)
        assert story.take() == "+a +b -b -a"
        assert trio.current_time() - before == 8, "its own time is counted from there on"


async def test_a_node_that_closes_stops_the_outermost_supervisors_in_reverse(autojump_clock: MockClock) -> None:
    story = Story()
    reasons: list[Any] = []
    children: list[ChildRef] = []
    async with open_node("here") as node:
        for names in ("ab", "cd"):

            async def team(port: Port, names: str = names) -> None:
                async with node.open_supervisor() as crew:
                    children.extend([await crew.start(story.serve, name) for name in names])
                    async with node.open_supervisor() as inner:
                        await inner.start(team_of(story, f"{names[0]}1", f"{names[0]}2"))
                        await trio.sleep_forever()

            node.start_port(team)
            await wait_all_tasks_blocked()
        assert story.take() == "+a +b +a1 +a2 +c +d +c1 +c2"
        for child in children:
            node.monitor(child, lambda *reason: reasons.append(reason))
    assert story.take() == "-c2 -c1 -d -c -a2 -a1 -b -a"
    assert reasons == [("node_closed", "here")] * 4


async def test_a_node_that_closes_restarts_nothing(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    story = Story()
    story.unwinding["late"] = 3
    async with open_node(shutdown_timeout=4) as node:

        async def early(port: Port) -> None:
            async with node.open_supervisor(backoff=None) as crew:
                await crew.start(story.serve, "early")
                await trio.sleep_forever()

        async def late(port: Port) -> None:
            async with node.open_supervisor(backoff=None) as crew:
                await crew.start(story.serve, "late")
                await trio.sleep_forever()

        node.start_port(early)
        await wait_all_tasks_blocked()
        (crew,) = node._runtime.supervisors
        child = crew.references[0]  # type: ignore[attr-defined]
        node.start_port(late)
        await wait_all_tasks_blocked()
        # It dies while the later supervisor takes its time.
        node.send_after(1, child, "crash")
    assert story.take() == "+early +late -early -late"
    assert "is started again" not in caplog.text
    assert child.reason[0] == "die"


async def test_a_supervisor_of_a_task_outside_ends_with_the_node_and_says_so(autojump_clock: MockClock) -> None:
    story = Story()

    async def supervise(node: Node, task_status: Any) -> None:
        with pytest.raises(trio.ClosedResourceError, match="node here has closed, and with it supervisor team"):
            async with node.open_supervisor(name="team") as crew:
                await crew.start(story.serve, "a")
                task_status.started()
                await trio.sleep_forever()

    async with trio.open_nursery() as nursery, open_node("here") as node:
        await nursery.start(supervise, node)
    assert story.take() == "+a -a"


async def test_no_supervisor_is_opened_by_a_node_that_closes_or_a_port_that_has_died(
    autojump_clock: MockClock,
) -> None:
    told: list[BaseException] = []

    async def reopen(port: Port) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                for _ in range(2):
                    try:
                        async with port.node.open_supervisor():
                            raise AssertionError
                    except (PortDied, trio.ClosedResourceError) as error:
                        told.append(error)

    async with open_node() as node:
        port = node.start_port(reopen)
        await wait_all_tasks_blocked()
        port.kill("enough")
        await node.wait_death(port)
        assert [type(error) for error in told] == [PortDied] * 2
    with pytest.raises(trio.ClosedResourceError, match="is closed"):
        async with node.open_supervisor():
            raise AssertionError


async def test_a_supervisor_is_opened_once() -> None:
    async with open_node() as node:
        block = node.open_supervisor()
        async with block:
            pass
        with pytest.raises(RuntimeError, match="a supervisor is opened once: call open_supervisor"):
            async with block:
                raise AssertionError


# Those that do not unwind --------------------------------------------------------------------------------------------


async def test_a_child_that_shields_is_told_loudly_with_its_stack(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    story = Story()
    released = trio.Event()

    async def stubborn_helper() -> None:
        with trio.CancelScope(shield=True):
            await released.wait()

    async def stubborn(port: Port, task_status: Any) -> None:
        task_status.started()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stubborn_helper)

    async with open_node() as node:
        before = trio.current_time()
        async with node.open_supervisor() as crew:
            await crew.start(story.serve, "a", shutdown=1)
            child = await crew.start(stubborn, shutdown=20)
            await crew.start(story.serve, "b", shutdown=1)
        assert trio.current_time() - before == 20
        assert story.take() == "+a +b -b -a"
        (line,) = warnings_in(caplog, logging.WARNING)
        assert line.startswith(f"{child.port} died 20 s ago and 1 of its tasks have not ended")
        assert "in stubborn\n" in line
        assert "in stubborn_helper\n    await released.wait()" in line
        released.set()


async def test_a_life_that_shields_overlaps_with_the_next_one_after_its_time(autojump_clock: MockClock) -> None:
    story = Story()
    story.unwinding["a"] = 30
    async with open_node() as node, node.open_supervisor(backoff=None) as crew:
        child = await crew.start(story.serve, "a", shutdown=7)
        node.send(child, "crash")
        before = trio.current_time()
        await wait_all_tasks_blocked()
        assert child.running, "it dies when its task does"
        node.kill(child, "enough")
        await node.wait_death(child)
        await wait_all_tasks_blocked()
        assert trio.current_time() - before == 7
        assert story.running() == ["a", "a"]
        story.unwinding.clear()
        await trio.sleep(30)
        assert story.running() == ["a"]


async def test_the_shutdown_of_a_child_replaces_the_nodes(autojump_clock: MockClock) -> None:
    story = Story()
    story.unwinding = {"long": 30, "endless": 300, "short": 30}
    async with open_node(shutdown_timeout=5) as node, node.open_supervisor() as crew:
        for name, shutdown, taken in (("long", 100, 30), ("endless", float("inf"), 300), ("short", 0.5, 0.5)):
            child = await crew.start(story.serve, name, shutdown=shutdown)
            before = trio.current_time()
            await crew.stop(child)
            assert trio.current_time() - before == taken
        child = await crew.start(story.serve, "short")
        before = trio.current_time()
        await crew.stop(child)
        assert trio.current_time() - before == 5


async def test_stop_goes_on_when_it_is_cancelled(autojump_clock: MockClock) -> None:
    story = Story()
    story.unwinding["a"] = 3
    async with open_node() as node, node.open_supervisor() as crew:
        child = await crew.start(story.serve, "a")
        with trio.move_on_after(1):
            await crew.stop(child)
        assert list(crew.children) == [child]
        await trio.sleep(3)
        assert list(crew.children) == []
        assert story.take() == "+a -a"


def test_a_supervisor_says_what_it_is() -> None:
    async def main() -> None:
        async with open_node("here") as node:
            async with node.open_supervisor(name="team") as crew:
                assert repr(crew) == "<Supervisor: supervisor team, 0 children>"
                assert crew.name == "team"
            async with node.open_supervisor() as crew:
                assert isinstance(crew, Supervisor)
                assert repr(crew) == "<Supervisor: supervisor of here, 0 children>"
            async with node.open_port() as port:
                port.start_soon(look, port)
                await wait_all_tasks_blocked()

    async def look(port: Port) -> None:
        async with port.node.open_supervisor() as crew:
            assert repr(crew) == f"<Supervisor: supervisor of {port}, 0 children>"

    trio.run(main)
