"""References to supervised children: what they mean in a life, and between two lives."""

# ruff: noqa: PT012 - what leaves a whole block is what some of these tests are about

from __future__ import annotations

from typing import Any

import pytest
import trio
from network_helpers import FakeNetwork, open_pair, warnings_in
from supervised import Story
from trio.testing import MockClock, assert_checkpoints, wait_all_tasks_blocked

from trio_mp import Backoff, ChildRef, Node, Port, PortDied, node_of, open_node

WAIT = Backoff(10, 10)
"""Time enough to look at a child between two lives."""


async def wait_for_back_off(node: Node, child: ChildRef) -> None:
    """Let a child die until its restart waits."""
    for _ in range(2):
        node.send(child, "crash")
        await wait_all_tasks_blocked()
    assert not child.running


async def test_a_reference_is_no_port_id_and_says_what_it_is(autojump_clock: MockClock) -> None:
    story = Story()
    async with open_node("here") as node, node.open_supervisor(name="team", backoff=WAIT) as crew:
        child = await crew.start(story.serve, "a")
        assert not isinstance(child, str)
        assert str(child) == child.port == str(crew.children[0].port)
        assert node_of(child.port) == "here"
        assert repr(child) == f"<ChildRef serve: {child.port}>"
        await wait_for_back_off(node, child)
        assert repr(child) == "<ChildRef serve: not running>"
        await crew.stop(child)
        assert repr(child) == "<ChildRef serve: ended>"


async def test_everything_that_takes_a_port_takes_a_reference(autojump_clock: MockClock) -> None:
    story = Story()
    async with open_node() as node, node.open_supervisor(limit=9, backoff=None) as crew:
        child = await crew.start(story.serve, "a")
        inbox: list[Any] = []
        assert await node.call(child, "ask", 1) == (1, "a")
        node.send_after(1, child, "ask", 2, node.port(lambda *reply: inbox.append(reply)))
        await trio.sleep(2)
        assert inbox == [(2, "a")]
        await node.flush(child)
        notices: list[Any] = []
        node.monitor(child, lambda *reason: notices.append(reason))
        linked = node.port()
        node.link(child, linked)
        with node.move_on_death(child) as scope:
            node.kill(child, "enough")
            await trio.sleep_forever()
        assert scope.reason == ("enough",)
        assert notices == [("enough",)]
        await wait_all_tasks_blocked()
        assert not linked.alive
        await child.up()
        with pytest.raises(PortDied, match="enough again"), node.fail_on_death(child):
            node.kill(child, "enough again")
            await trio.sleep_forever()
        await child.up()
        node.kill(child, "a third time")
        assert await node.wait_death(child) == ("a third time",)
        await child.up()
        other = node.port()
        node.link(other, child)
        node.kill(other, "no good")
        assert await node.wait_death(child) == ("no good",)
        await child.up()
        node.monitor(node.port(), child, "crash")
        assert str(child) in repr(child)


async def test_a_link_to_a_child_kills_the_life_that_there_was(autojump_clock: MockClock) -> None:
    story = Story()
    async with open_pair(FakeNetwork(), spawn_modules=["network_helpers"]) as (a, b), a.open_supervisor() as crew:
        children = [
            await crew.start(story.serve, "a"),
            await crew.spawn(b.id, "network_helpers:installs_a_handler"),
        ]
        other = a.port()
        for child in children:
            a.link(other, child)
            a.kill(child, "enough")
            await a.wait_death(child)
            await child.up()
        a.kill(other, "no good")
        await trio.sleep(1)
        assert [child.restarts for child in children] == [1, 1]
        assert all(child.running for child in children)


async def test_a_message_as_the_action_of_a_monitor_goes_to_the_life_there_is(autojump_clock: MockClock) -> None:
    story, inbox = Story(), []
    async with open_node() as node, node.open_supervisor(backoff=None) as crew:
        child = await crew.start(story.serve, "a")
        other = node.port()
        sink = node.port(lambda *reply: inbox.append(reply))
        node.monitor(other, child, "ask", sink)
        node.send(child, "crash")
        await wait_all_tasks_blocked()
        # Its reason is appended, so the child answers to the last element.
        node.monitor(other, child, "ask")
        node.kill(other, sink)
        await wait_all_tasks_blocked()
        assert story.running() == ["a"]
        assert len(inbox) == 2


async def test_between_two_lives(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    story = Story()
    async with open_node() as node, node.open_supervisor(name="team", backoff=WAIT) as crew:
        child = await crew.start(story.serve, "a")
        await wait_for_back_off(node, child)
        last = child.port
        caplog.clear()
        for _ in range(3):
            node.send(child, "ask")
        assert warnings_in(caplog) == [
            "supervisor team: serve is not running: what is sent to it is lost until it is up again"
        ]
        notices: list[Any] = []
        monitor = node.monitor(child, lambda *reason: notices.append(reason))
        assert notices == []
        assert monitor.port == last
        await wait_all_tasks_blocked()
        assert notices == [("not_running", f"no life of the child runs; {last} was the last one")]
        cancelled = node.monitor(child, lambda *reason: notices.append(reason))
        cancelled.cancel()
        await wait_all_tasks_blocked()
        assert len(notices) == 1
        with assert_checkpoints(), pytest.raises(PortDied, match="not_running") as caught:
            await node.call(child, "ask")
        assert caught.value.port == last
        assert (await node.wait_death(child))[0] == "not_running"
        node.kill(child, "enough")
        linked = node.port()
        node.link(child, linked)
        await wait_all_tasks_blocked()
        assert not linked.alive
        # Its node is known all the same.
        assert node_of(node.spawn(child, "::nothing")) == node.id
        with trio.fail_after(20):
            assert await child.up() == child.port != last
        assert "supervisor team: 4 messages to serve were lost" in warnings_in(caplog)
        assert story.running() == ["a"]


async def test_a_monitor_of_a_dead_port_set_between_two_lives_ends_with_it(autojump_clock: MockClock) -> None:
    story, notices = Story(), []
    async with open_node() as node, node.open_supervisor(backoff=WAIT) as crew:
        child = await crew.start(story.serve, "a")
        await wait_for_back_off(node, child)
        owner = node.port()
        owner.kill()
        owner.run(node.monitor, child, lambda *reason: notices.append(reason))
        await wait_all_tasks_blocked()
        assert notices == []


async def test_a_callback_that_sets_its_monitor_again_ends_with_the_node(autojump_clock: MockClock) -> None:
    story = Story()
    calls: list[None] = []

    def again(*_: object) -> None:
        calls.append(None)
        node.monitor(child, again)

    async with open_node() as node:
        async with node.open_supervisor() as crew:
            child = await crew.start(story.serve, "a")
        node.monitor(child, again)
        # It is called again and again, and others have their turn all the same.
        for _ in range(10):
            await trio.lowlevel.checkpoint()
    assert calls


async def test_all_monitors_have_fired_when_the_next_life_is_seen(autojump_clock: MockClock) -> None:
    story = Story()
    seen: list[tuple[str, str]] = []
    async with open_node() as node, node.open_supervisor(backoff=None, limit=99) as crew:
        child = await crew.start(story.serve, "a")
        for _ in range(20):
            port = child.port
            monitors = [node.monitor(child, lambda *_, port=port: seen.append((port, child.port))) for _ in range(50)]
            node.send(child, "crash")
            while child.port == port:
                await trio.lowlevel.checkpoint()
            assert all(monitor.reason is not None for monitor in monitors)
        assert len(seen) == 1000
        assert all(port == then for port, then in seen)


async def test_up_waits_and_says_when_it_is_in_vain(autojump_clock: MockClock) -> None:
    story = Story()
    story.starting["a"] = 5
    async with open_node() as node, node.open_supervisor(backoff=None, limit=9) as crew:
        child = await crew.start(story.serve, "a", restart="transient")
        with assert_checkpoints():
            assert await child.up() == child.port
        node.send(child, "crash")
        await wait_all_tasks_blocked()
        assert not child.running
        with trio.move_on_after(1):
            await child.up()
        before = trio.current_time()
        await child.up()
        assert trio.current_time() - before == 4
        async with trio.open_nursery() as nursery:

            async def wait_in_vain() -> None:
                with pytest.raises(PortDied) as caught:
                    await child.up()
                assert caught.value.reason == child.reason
                assert str(child.reason[1]).startswith("Crash")

            node.send(child, "crash")
            await wait_all_tasks_blocked()
            nursery.start_soon(wait_in_vain)
            await wait_all_tasks_blocked()
            # While it is being started: its last life had died of something else.
            await crew.stop(child)


async def test_references_among_arguments_are_resolved_at_each_start(autojump_clock: MockClock) -> None:
    story, given = Story(), []

    async def indexer(port: Port, cache: str, nested: tuple[ChildRef], task_status: Any) -> None:
        given.append((cache, nested))
        task_status.started()
        await port.receive()

    async with open_node() as node, node.open_supervisor("rest_for_one", backoff=None) as crew:
        cache = await crew.start(story.serve, "cache")
        await crew.start(indexer, cache, (cache,))
        first = cache.port
        node.send(cache, "crash")
        await wait_all_tasks_blocked()
        assert [port for port, _ in given] == [first, cache.port]
        assert first != cache.port
        assert given[1][1] == (cache,)


async def test_a_reference_cannot_travel(autojump_clock: MockClock) -> None:
    story = Story()
    async with open_pair(FakeNetwork()) as (a, b), a.open_supervisor() as crew:
        child = await crew.start(story.serve, "a")
        with pytest.raises(TypeError, match=r"message\[1\]\[0\] is <ChildRef serve: .*send ref\.port"):
            a.send(b.id, "info", [child])
        with pytest.raises(TypeError, match=r"message\[0\] is <ChildRef .*ref\.port"):
            a.send(b.port(), child)
        with pytest.raises(TypeError, match=r"ref\.port"):
            a.database.set("family", "key", child)


async def test_monitors_that_were_cancelled_are_not_kept(autojump_clock: MockClock) -> None:
    story = Story()
    async with open_node() as node, node.open_supervisor() as crew:
        child = await crew.start(story.serve, "a")
        for _ in range(1000):
            node.monitor(child, print).cancel()
        assert len(child._monitors) < 40


async def test_a_child_of_another_supervisor_is_refused() -> None:
    story = Story()
    async with open_node() as node, node.open_supervisor() as crew, node.open_supervisor(name="other") as other:
        child = await crew.start(story.serve, "a")
        with pytest.raises(ValueError, match=r"stop\(\): expected a child of supervisor other, got <ChildRef serve"):
            await other.stop(child)
        with pytest.raises(TypeError, match=r"stop\(\): expected a ChildRef, as start\(\) returns it, got 'serve'"):
            await crew.stop("serve")  # type: ignore[arg-type]
