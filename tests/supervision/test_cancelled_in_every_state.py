"""The block of a supervisor is left in every state in which it can be, in every way in which it can be."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from typing import Any

import pytest
import trio
from supervised import Crash, Story
from trio.abc import Instrument
from trio.testing import MockClock

from trio_mp import Backoff, Node, Port, PortDied, open_node
from trio_mp._protocol.supervision import Strategy
from trio_mp.testing._scheduler import deterministic_scheduling

LIMIT = 7.0
"""How long each child may take to stop, in seconds. Some take longer than the node's own setting allows."""

CHILDREN = 4


class AtStep(Instrument):
    """Does something, once, before a step of the program's tasks.

    Args:
      step: which, counted from 1; none for 0.
      act: what to do; set when it is known.

    Attributes:
      steps: how many there were while this counted.
      counts: whether it counts.
      acted_at: when it has acted, by Trio's clock.
    """

    def __init__(self, step: int) -> None:
        self.steps = 0
        self.counts = False
        self.acted_at: float | None = None
        self.act: Callable[[], object] = lambda: None
        self._step = step

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.counts:
            self.steps += 1
            if self.steps == self._step:
                self.acted_at = trio.current_time()
                self.act()


async def supervise(node: Node, strategy: str, story: Story, counter: AtStep) -> None:
    """A supervisor to which everything happens."""
    counter.counts = True
    story.starting = {"a": 1, "d": 1}
    story.unwinding = {"b": 6}
    async with node.open_supervisor(strategy, limit=9, within=100, backoff=Backoff(1, 4)) as crew:  # type: ignore[arg-type]
        await crew.start(story.serve, "a", shutdown=LIMIT)
        b = await crew.start(story.serve, "b", shutdown=LIMIT, restart="transient")
        c = await crew.start(story.serve, "c", shutdown=LIMIT)
        node.send(b, "crash")
        await trio.sleep(20)
        # From now on restarts wait.
        node.send(b, "crash")
        node.send(c, "crash")
        await trio.sleep(3)
        # In one_for_all and rest_for_one it crosses with the restart.
        story.failing["d"] = 1
        with pytest.raises(Crash):
            await crew.start(story.serve, "d", shutdown=LIMIT)
        await crew.start(story.serve, "d", shutdown=LIMIT)
        story.failing["d"] = 1
        node.send(crew.children[-1], "crash")
        await trio.sleep(20)
        await crew.stop(b)
    counter.counts = False


def run(
    main: Callable[[Story, AtStep], Any], step: int, caplog: pytest.LogCaptureFixture
) -> tuple[Story, AtStep, float]:
    story, counter = Story(), AtStep(step)

    async def timed() -> float:
        await main(story, counter)
        return trio.current_time()

    caplog.clear()
    clock = MockClock(autojump_threshold=0)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with deterministic_scheduling(0):
            end = trio.run(timed, clock=clock, instruments=[counter])
    finally:
        signal.signal(signal.SIGINT, before)
    return story, counter, end


def check_each_step(main: Callable[[Story, AtStep], Any], caplog: pytest.LogCaptureFixture, stride: int = 1) -> None:
    """Run a program once for each of its steps, in which something happens to it."""
    caplog.set_level(logging.ERROR)
    _, counter, _ = run(main, 0, caplog)
    assert counter.steps > 100
    for step in range(1, counter.steps + 1, stride):
        story, counter, end = run(main, step, caplog)
        assert story.running() == [], (step, str(story))
        if counter.acted_at is None:
            # By chance there were fewer steps this time.
            assert step > counter.steps - 10
            continue
        # The tasks of all children, one after the other; and one start that has to be given up.
        assert end - counter.acted_at <= CHILDREN * LIMIT, (step, str(story))
        # A child that was crashing already says so.
        errors = [line for line in caplog.messages if "failed after the port had died" not in line]
        assert not errors, (step, errors)


each_strategy = pytest.mark.parametrize("strategy", [each.value for each in Strategy])


@pytest.mark.exhaustive
@each_strategy
def test_cancelled_at_each_step(strategy: str, caplog: pytest.LogCaptureFixture) -> None:
    async def main(story: Story, counter: AtStep) -> None:
        async with open_node() as node:
            with trio.CancelScope() as scope:
                counter.act = scope.cancel
                await supervise(node, strategy, story, counter)
            assert story.running() == []
            assert not node._runtime.supervisors
            assert not node._lifecycle.ports

    check_each_step(main, caplog)


@pytest.mark.exhaustive
@each_strategy
def test_the_node_cancelled_at_each_step(strategy: str, caplog: pytest.LogCaptureFixture) -> None:
    async def main(story: Story, counter: AtStep) -> None:
        with trio.CancelScope() as scope:
            async with open_node() as node:
                counter.act = scope.cancel
                await supervise(node, strategy, story, counter)

    check_each_step(main, caplog)


@pytest.mark.exhaustive
@each_strategy
def test_interrupted_at_each_step(strategy: str, caplog: pytest.LogCaptureFixture) -> None:
    async def main(story: Story, counter: AtStep) -> None:
        counter.act = lambda: signal.raise_signal(signal.SIGINT)
        try:
            async with open_node() as node:
                try:
                    await supervise(node, strategy, story, counter)
                finally:
                    assert story.running() == [], "the block was left before its children had stopped"
        except KeyboardInterrupt:
            pass
        else:
            assert counter.acted_at is None, "an interrupt was lost"

    check_each_step(main, caplog)


@pytest.mark.exhaustive
@each_strategy
def test_the_port_around_it_killed_at_each_step(strategy: str, caplog: pytest.LogCaptureFixture) -> None:
    async def main(story: Story, counter: AtStep) -> None:
        async with open_node(shutdown_timeout=1) as node:

            async def team(port: Port) -> None:
                await supervise(node, strategy, story, counter)

            port = node.start_port(team)
            counter.act = lambda: node.kill(port, "enough")
            reason = await node.wait_death(port)
            assert story.running() == [], "it has unwound before the supervisor in it had ended"
            # The last kills come too late.
            assert reason in ([("enough",), ()] if counter.acted_at is not None else [()])

    check_each_step(main, caplog)


@pytest.mark.exhaustive
@each_strategy
def test_the_node_closed_at_each_step(strategy: str, caplog: pytest.LogCaptureFixture) -> None:
    async def main(story: Story, counter: AtStep) -> None:
        async with open_node(shutdown_timeout=1) as node:
            leave = trio.Event()
            counter.act = leave.set

            async def team(port: Port) -> None:
                try:
                    await supervise(node, strategy, story, counter)
                except (trio.ClosedResourceError, PortDied):
                    assert counter.acted_at is not None
                leave.set()

            node.start_port(team)
            await leave.wait()

    check_each_step(main, caplog)
