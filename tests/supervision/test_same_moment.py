"""Supervisors to which several things happen between two steps of their own tasks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import trio
from remote_children import lives, next_life, open_three
from supervised import Story
from trio.abc import Instrument
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_mp import Backoff, Monitor, Port, current_node, open_node
from trio_mp.testing import SimulatedNetwork, simulate

LONG = Backoff(100, 100)


async def test_a_supervisor_ends_in_the_moment_in_which_a_back_off_begins(autojump_clock: MockClock) -> None:
    """The task that waits for the time has not run yet, so it must be found all the same."""
    story, crews = Story(), []

    async def supervise(_: Port, task_status: Any) -> None:
        async with current_node().open_supervisor(backoff=LONG) as crew:
            crews.append(await crew.start(story.serve, "a"))
            task_status.started()
            await trio.sleep_forever()

    async with open_node() as node:
        around = (await node.start(supervise)).port
        child = crews[0]
        node.send(child, "crash")
        await child.up()
        await wait_all_tasks_blocked()
        # The supervisor's port dies right behind the child, and before any task runs.
        node.link(child, around)
        node.send(child, "crash")
        await node.wait_death(around)
        assert story.running() == []
    assert trio.current_time() == 0


async def test_a_time_is_waited_for_once_however_often_it_is_asked_for(autojump_clock: MockClock) -> None:
    """With tied children each stop asks anew; those here may come before the task that waits has run."""
    story = Story()
    async with open_node() as node, node.open_supervisor("rest_for_one", backoff=LONG) as crew:
        first = await crew.start(story.serve, "first")
        others = [await crew.start(story.serve, f"{number}") for number in range(12)]
        node.send(first, "crash")
        await others[-1].up()
        await wait_all_tasks_blocked()
        # The last to be stopped, so that the time is asked for when this monitor fires.
        told = trio.Event()
        node.monitor(others[0], lambda *_: told.set())

        async def stop(number: int) -> None:
            await told.wait()
            await crew.stop(others[number])

        async with trio.open_nursery() as nursery:
            for number in range(12):
                nursery.start_soon(stop, number)
            await wait_all_tasks_blocked()
            node.send(first, "crash")
        assert trio.current_time() == 0
        assert len(crew._driver.nursery.child_tasks) == 1
        await first.up()
        assert 50 <= trio.current_time() <= 100
        await wait_all_tasks_blocked()
        assert not crew._driver.nursery.child_tasks


class Between(Instrument):
    """Does something before and after a step of the first task whose step makes a condition true.

    Args:
      is_it: whether a task is one before whose steps `before` is called.
      before: called before such a step.
      after: called after the step; returns whether this is over.
    """

    def __init__(
        self, is_it: Callable[[trio.lowlevel.Task], bool], before: Callable[[], object], after: Callable[[], bool]
    ) -> None:
        self._is_it = is_it
        self._before = before
        self._after = after
        self._done = False

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if not self._done and self._is_it(task):
            self._before()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if not self._done and self._is_it(task):
            self._done = self._after()


def test_a_monitor_set_between_two_lives_fires_before_the_next_one_begins() -> None:
    """The next life is on another node, so no queue of this one keeps the order of the monitor and what is sent."""

    async def scenario(network: SimulatedNetwork) -> None:
        async with open_three(network) as node, node.open_supervisor(name="team", backoff=Backoff(1, 1)) as crew:
            child = await crew.spawn("b", "remote_children:serve")
            node.kill(child, "broken")
            await next_life(2, 10)
            await child.up()
            monitors: list[Monitor] = []

            def before() -> None:
                monitors.append(node.monitor(child, lambda *_: None))
                # This one is lost.
                node.send(child, "first")

            def after() -> bool:
                if child.running:
                    # This one would come, and the monitor has not said that the first did not.
                    reasons.extend(monitor.reason for monitor in monitors)
                return child.running

            reasons: list[Any] = []
            last = child.port
            node.kill(child, "broken")
            assert (await node.wait_death(child)) == ("broken",)
            instrument = Between(lambda task: "serve" in task.name and "team" in task.name, before, after)
            trio.lowlevel.add_instrument(instrument)
            await child.up()
            trio.lowlevel.remove_instrument(instrument)
            assert child.port != last
            assert len(reasons) > 1
            assert {reason and reason[0] for reason in reasons} == {"not_running"}

    simulate(scenario)
    assert len(lives) == 3


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("error", [SystemExit(3), BaseExceptionGroup("both", [SystemExit(3), ValueError()])])
async def test_a_function_of_the_program_that_wants_to_leave_leaves_by_the_block(
    error: BaseException, times: int, autojump_clock: MockClock
) -> None:
    story, given = Story(), iter(range(times, 0, -1))

    def next_epoch() -> int:
        left = next(given)
        if left == 1:
            raise error
        return 1

    with trio.fail_after(60):
        async with open_node() as node:
            with pytest.raises(type(error)) as caught:  # noqa: PT012 - it is the block that raises
                async with node.open_supervisor("one_for_all", epochs=next_epoch) as crew:
                    child = await crew.start(story.serve, "a")
                    node.send(child, "crash")
                    await trio.sleep_forever()
            assert str(caught.value) == str(error)
            assert not node._runtime.supervisors
    assert story.running() == []


async def test_another_thread_cannot_use_a_supervisor(autojump_clock: MockClock) -> None:
    story, errors = Story(), []
    async with open_node() as node, node.open_supervisor() as crew:
        child = await crew.start(story.serve, "a")

        async def use() -> None:
            for use in (lambda: crew.start(story.serve, "b"), lambda: crew.stop(child)):
                with pytest.raises(RuntimeError, match="thread that runs Trio") as caught:
                    await use()
                errors.append(caught.value)

        thread = threading.Thread(target=trio.run, args=(use,))
        thread.start()
        thread.join()
        assert len(errors) == 2
        assert crew.children == (child,)
        assert child.running
