"""A program with channels is cancelled, or its port killed, before each of its steps: nothing hangs or is left behind."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
import trio
from trio.abc import Instrument
from trio.testing import MockClock

from trio_mp import ChannelReceiver, ChannelSender, Node, Port, open_node, spawnable
from trio_mp.testing._scheduler import deterministic_scheduling

HERE = __name__

running: list[str] = []


@spawnable
async def doubles(receive: ChannelReceiver[int], send: ChannelSender[int]) -> None:
    running.append("doubles")
    try:
        async with send:
            async for item in receive:
                await send.send(2 * item)
    finally:
        running.remove("doubles")


@spawnable
async def counts(number: int) -> AsyncGenerator[int, None]:
    running.append("counts")
    try:
        for item in range(number):
            yield item
            await trio.sleep(0.1)
    finally:
        running.remove("counts")


class AtStep(Instrument):
    """Does something, once, before a step of the program's tasks.

    Args:
      step: which, counted from 1; none for 0.

    Attributes:
      steps: how many there were while this counted.
      counts: whether it counts.
      act: what to do; set when it is known.
    """

    def __init__(self, step: int) -> None:
        self.steps = 0
        self.counts = False
        self.act: Callable[[], object] = lambda: None
        self._step = step

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.counts:
            self.steps += 1
            if self.steps == self._step:
                self.act()


async def use_channels(node: Node, counter: AtStep) -> None:
    """A chain: a source, and a function that doubles its items."""
    counter.counts = True
    results: list[int] = []
    async with (
        node.open_source(node.id, f"{HERE}:counts", 6, buffer=2) as rows,
        node.open_channel(node.id, f"{HERE}:doubles", buffer=2) as (send, receive),
        trio.open_nursery() as nursery,
    ):

        async def pass_on() -> None:
            async with send, rows:
                async for row in rows:
                    await send.send(row)

        nursery.start_soon(pass_on)
        with receive.clone() as twin:
            results += [item async for item in twin]
    counter.counts = False
    assert results == [0, 2, 4, 6, 8, 10]


def run(main: Callable[[AtStep], Any], step: int) -> AtStep:
    counter = AtStep(step)
    with deterministic_scheduling(0):
        trio.run(main, counter, clock=MockClock(autojump_threshold=0), instruments=[counter])
    return counter


def check_each_step(main: Callable[[AtStep], Any], caplog: pytest.LogCaptureFixture) -> None:
    """Run a program once for each of its steps, in which something happens to it."""
    caplog.set_level(logging.WARNING)
    steps = run(main, 0).steps
    assert steps > 50
    for step in range(1, steps + 1):
        run(main, step)
        assert not running, step
        assert not caplog.messages, (step, caplog.messages)


@pytest.mark.exhaustive
def test_cancelled_at_each_step(caplog: pytest.LogCaptureFixture) -> None:
    async def main(counter: AtStep) -> None:
        async with open_node() as node:
            with trio.CancelScope() as scope:
                counter.act = scope.cancel
                await use_channels(node, counter)
            counter.counts = False
            await trio.sleep(1)
            assert not running
            assert not node._lifecycle.ports

    check_each_step(main, caplog)


@pytest.mark.exhaustive
def test_the_node_cancelled_at_each_step(caplog: pytest.LogCaptureFixture) -> None:
    async def main(counter: AtStep) -> None:
        with trio.CancelScope() as scope:
            async with open_node() as node:
                counter.act = scope.cancel
                await use_channels(node, counter)

    check_each_step(main, caplog)


@pytest.mark.exhaustive
def test_the_port_around_them_killed_at_each_step(caplog: pytest.LogCaptureFixture) -> None:
    async def main(counter: AtStep) -> None:
        async with open_node() as node:

            async def team(port: Port) -> None:
                await use_channels(node, counter)

            port = node.start_port(team)
            counter.act = lambda: node.kill(port, "enough")
            await node.wait_death(port)
            counter.counts = False
            await trio.sleep(1)
            assert not running
            assert not node._lifecycle.ports

    check_each_step(main, caplog)
