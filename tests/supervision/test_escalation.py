"""Too many restarts: what leaves the block, and what was stopped before. And what else ends a supervisor."""

# ruff: noqa: PT012 - what leaves a whole block is what these tests are about

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import trio
from supervised import Crash, Story
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_mp import Backoff, Node, Port, PortDied, Supervisor, SupervisorFailed, open_node


class BodyError(Exception):
    """What the bodies of supervisors' blocks raise here."""


async def fail_at_once(_: Port, task_status: Any) -> None:
    task_status.started()
    raise Crash("at once")


async def test_a_child_that_raises_at_once_uses_the_limit_up(autojump_clock: MockClock) -> None:
    story = Story()
    async with open_node() as node:
        with pytest.raises(SupervisorFailed) as caught:
            async with node.open_supervisor(name="team", limit=3, within=5) as crew:
                await crew.start(story.serve, "a")
                child = await crew.start(fail_at_once)
                await crew.wait()
        assert trio.current_time() < 1
    assert caught.value.message == ("supervisor team has given up: more than 3 restarts within 5 s, of fail_at_once")
    (error,) = caught.value.exceptions
    assert isinstance(error, Crash)
    assert error.__traceback__ is not None
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert (child.restarts, crew.restarts) == (3, 3)
    assert story.take() == "+a -a"


async def test_the_children_that_used_it_up_are_named_the_latest_last(autojump_clock: MockClock) -> None:
    story = Story()
    async with open_node() as node:
        with pytest.raises(SupervisorFailed) as caught:
            async with node.open_supervisor(limit=2, within=50, backoff=None) as crew:
                a, b, c = [await crew.start(story.serve, name) for name in "abc"]
                node.send(c, "crash", "c, long ago")
                await trio.sleep(60)
                node.kill(b, "enough")
                await trio.sleep(1)
                node.send(a, "crash", "a")
                await trio.sleep(1)
                node.kill(b)
                await trio.sleep_forever()
    assert caught.value.children == ("serve", "serve-2")
    crash, died = caught.value.exceptions
    assert repr(crash) == "Crash('a')"
    assert isinstance(died, PortDied)
    assert (died.port, died.reason) == (b.port, ())


async def test_a_part_of_the_group_is_one_too(autojump_clock: MockClock) -> None:
    async with open_node() as node:
        with pytest.raises(SupervisorFailed) as caught:
            async with node.open_supervisor(limit=0) as crew:
                await crew.start(fail_at_once)
                await trio.sleep_forever()
    part = caught.value.subgroup(Crash)
    assert isinstance(part, SupervisorFailed)
    assert part.children == ()
    assert caught.value.split(Crash)[1] is None


async def test_the_bodys_own_exception_leaves_alone_and_unwrapped(autojump_clock: MockClock) -> None:
    story, error = Story(), BodyError("no good")
    async with open_node() as node:
        with pytest.raises(BodyError) as caught:
            async with node.open_supervisor() as crew:
                await crew.start(story.serve, "a")
                raise error
        assert caught.value is error
        assert story.take() == "+a -a"


async def test_a_group_of_the_body_leaves_as_it_is(autojump_clock: MockClock) -> None:
    error = ExceptionGroup("mine", [BodyError()])
    async with open_node() as node:
        with pytest.raises(ExceptionGroup) as caught:
            async with node.open_supervisor():
                raise error
        assert caught.value is error


async def test_both_leave_as_one_group(autojump_clock: MockClock) -> None:
    async with open_node() as node:
        with pytest.raises(ExceptionGroup, match="has ended, and not only its block has failed") as caught:
            async with node.open_supervisor(limit=0) as crew:
                await crew.start(fail_at_once)
                try:
                    await trio.sleep_forever()
                finally:
                    raise BodyError("while it was cancelled")
        body, failure = caught.value.exceptions
        assert isinstance(body, BodyError)
        assert isinstance(failure, SupervisorFailed)


async def test_what_is_left_of_a_group_of_the_body_is_kept(autojump_clock: MockClock) -> None:
    async with open_node() as node:
        with pytest.raises(ExceptionGroup) as caught:
            async with node.open_supervisor(limit=0) as crew:
                await crew.start(fail_at_once)
                async with trio.open_nursery() as nursery:

                    async def fail_while_cancelled() -> None:
                        try:
                            await trio.sleep_forever()
                        finally:
                            raise BodyError

                    nursery.start_soon(fail_while_cancelled)
                    nursery.start_soon(trio.sleep_forever)
        group, failure = caught.value.exceptions
        assert isinstance(group, ExceptionGroup)
        assert [type(each) for each in group.exceptions] == [BodyError]
        assert isinstance(failure, SupervisorFailed)


async def test_a_start_in_the_block_is_cancelled_when_the_supervisor_gives_up(autojump_clock: MockClock) -> None:
    story = Story()
    story.starting["slow"] = 10
    async with open_node() as node:
        with pytest.raises(SupervisorFailed):
            async with node.open_supervisor("one_for_all", limit=0) as crew:
                child = await crew.start(story.serve, "a")
                node.send_after(1, child, "crash")
                await crew.start(story.serve, "slow")
    assert trio.current_time() == 1


async def test_a_start_of_another_task_fails_when_the_supervisor_has_given_up(autojump_clock: MockClock) -> None:
    story = Story()
    story.starting["slow"] = 10
    story.unwinding["a"] = 3
    raised: list[BaseException] = []

    async def start_later(crew: Supervisor) -> None:
        try:
            await crew.start(story.serve, "slow")
        except trio.ClosedResourceError as error:
            raised.append(error)

    async with open_node() as node, trio.open_nursery() as outside:
        with pytest.raises(SupervisorFailed):
            async with node.open_supervisor("one_for_all", limit=0, name="team") as crew:
                await crew.start(story.serve, "a")
                outside.start_soon(start_later, crew)
                await trio.sleep(1)
                node.send(crew.children[0], "crash")
                try:
                    await trio.sleep_forever()
                finally:
                    with trio.CancelScope(shield=True):
                        text = "supervisor team is ending, so serve cannot be started"
                        with pytest.raises(trio.ClosedResourceError, match=text):
                            await crew.start(story.serve, "late")
        assert str(raised[0]) == "supervisor team has ended before serve-2 had started"
        assert story.running() == []


async def test_an_interrupt_in_a_child_is_no_failure_of_it(autojump_clock: MockClock) -> None:
    story = Story()

    async def interrupt(_: Port, task_status: Any) -> None:
        task_status.started()
        raise KeyboardInterrupt

    with pytest.raises(BaseExceptionGroup, match="a node failed") as caught:
        async with open_node() as node, node.open_supervisor() as crew:
            await crew.start(story.serve, "a")
            await crew.start(interrupt)
            await crew.start(story.serve, "b")
            await trio.sleep_forever()
    assert [type(error) for error in caught.value.exceptions] == [KeyboardInterrupt]
    assert story.take() in {"+a +b -b -a", "+a -a"}


async def test_what_crashes_the_node_stops_the_children_in_order(autojump_clock: MockClock) -> None:
    story = Story()

    def fail(*_: object) -> None:
        raise Crash("outside any port")

    with pytest.raises(ExceptionGroup, match="a node failed") as caught:
        async with open_node() as node, node.open_supervisor() as crew:
            for name in "abc":
                await crew.start(story.serve, name)
            doomed = node.port()
            node.monitor(doomed, fail)
            doomed.kill()
            await trio.sleep_forever()
    assert [type(error) for error in caught.value.exceptions] == [Crash]
    assert story.take() == "+a +b +c -c -b -a"


async def test_a_task_of_the_node_that_fails_leaves_no_supervisor_waiting(autojump_clock: MockClock) -> None:
    story = Story()

    async def fail() -> None:
        raise Crash("in the node itself")

    with pytest.raises(ExceptionGroup, match="a node failed") as caught:
        async with open_node() as node, node.open_supervisor() as crew:
            await crew.start(story.serve, "a")
            story.starting["b"] = 100
            node._lifecycle.start_system_task(fail)
            await crew.start(story.serve, "b")
    assert [type(error) for error in caught.value.exceptions] == [Crash]
    assert trio.current_time() < 1
    assert story.running() == []


@pytest.mark.parametrize("leaving", [SystemExit, KeyboardInterrupt])
async def test_a_handler_that_leaves_the_program_leaves_no_child_behind(
    leaving: type[BaseException], autojump_clock: MockClock
) -> None:
    story = Story()

    def leave() -> None:
        raise leaving

    with pytest.raises(BaseExceptionGroup, match="a node failed") as caught:
        async with open_node() as node, node.open_supervisor() as crew:
            for name in "abc":
                await crew.start(story.serve, name)
            node.send(node.port(leave))
            await trio.sleep_forever()
    assert [type(error) for error in caught.value.exceptions] == [leaving]
    assert trio.current_time() < 1
    assert story.take() == "+a +b +c -c -b -a"


# Ends without a failure ----------------------------------------------------------------------------------------------


async def run_significant(node: Node, auto: Any, act: Callable[[Supervisor], None], story: Story) -> str:
    async with node.open_supervisor(auto_shutdown=auto) as crew:
        await crew.start(story.serve, "a", restart="transient", significant=True)
        await crew.start(story.serve, "b", restart="temporary", significant=True)
        await crew.start(story.serve, "c")
        act(crew)
        await trio.sleep(10)
        return "the body went on"
    return "it was cancelled"


@pytest.mark.parametrize(
    "auto, story, end",
    [
        ("any_significant", "+a +b +c -a -c -b", "it was cancelled"),
        ("all_significant", "+a +b +c -a -c -b", "the body went on"),
    ],
)
async def test_a_significant_child_that_ends_may_end_the_supervisor(
    auto: str, story: str, end: str, autojump_clock: MockClock
) -> None:
    told = Story()
    async with open_node() as node:
        assert await run_significant(node, auto, lambda crew: node.send(crew.children[0], "end"), told) == end
        assert told.take() == story
        both = Story()

        def end_both(crew: Supervisor) -> None:
            for child in crew.children[:2]:
                node.send(child, "end")

        assert await run_significant(node, auto, end_both, both) == "it was cancelled"


async def test_wait_returns_when_all_have_ended_for_good(autojump_clock: MockClock) -> None:
    story = Story()
    async with open_node() as node, node.open_supervisor(backoff=Backoff(1, 1)) as crew:
        with trio.testing.assert_checkpoints():
            await crew.wait()
        a = await crew.start(story.serve, "a", restart="transient")
        b = await crew.start(story.serve, "b", restart="temporary")
        with trio.move_on_after(1) as scope:
            await crew.wait()
        assert scope.cancelled_caught
        node.send(b, "crash")
        for _ in range(2):
            node.send(a, "crash")
            await wait_all_tasks_blocked()
        assert story.running() == []
        with trio.move_on_after(0.4) as scope:
            await crew.wait()
        assert scope.cancelled_caught, "the restart of one is waited for"
        node.send(await a.up(), "end")
        await crew.wait()
        assert crew.children == (a,)


async def test_a_shutdown_that_somebody_else_orders_is_no_abnormal_death(autojump_clock: MockClock) -> None:
    story = Story()
    async with open_node() as node, node.open_supervisor() as crew:
        child = await crew.start(story.serve, "a", restart="transient")
        node.kill(child, "shutdown", "for the night")
        await crew.wait()
        assert child.restarts == 0


async def test_no_exception_is_kept_for_longer_than_it_may_be_needed(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    # Else pytest keeps it, in the records.
    caplog.set_level(logging.CRITICAL, "trio_mp")

    class Big:
        pass

    kept: list[weakref.ref[Any]] = []

    async def fail(port: Port, task_status: Any) -> None:
        big = Big()
        kept.append(weakref.ref(big))
        task_status.started()
        await port.receive()
        raise Crash(big)

    async with open_node() as node, node.open_supervisor(within=5, backoff=None) as crew:
        child = await crew.start(fail)
        node.send(child, "now")
        await trio.sleep(6)
        await crew.start(Story().serve, "other")
        gc.collect()
        assert kept[0]() is None
