"""A handler that computes for long stops the whole node, its heartbeats too: it is logged, by name."""

from __future__ import annotations

import logging

import pytest
import trio
import trio.testing
from manual_clock import ManualClock
from network_helpers import FakeNetwork, Inbox, open_pair, open_test_node
from trio.testing import wait_all_tasks_blocked

from trio_mp import Node
from trio_mp.lowlevel import Environment, open_node_in


def stalls_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if " computed for " in record.getMessage()]


def computing(node: Node, clock: ManualClock, seconds: float) -> str:
    def compute() -> None:
        clock.now += seconds

    return node.port(compute)


async def test_a_handler_that_computes_for_more_than_a_heartbeat_is_named(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    async with open_node_in(Environment(fairness_clock=clock), heartbeat=2) as node:
        port = computing(node, clock, 2.1)
        node.send(port)
        await wait_all_tasks_blocked()
        (line,) = stalls_in(caplog)
        assert line.startswith(f"a handler of {port} computed for 2.1 s")
        assert "trio.to_thread" in line
        assert caplog.records[-1].name == "trio_mp.port"
        assert caplog.records[-1].levelno == logging.WARNING


async def test_a_handler_that_computes_for_a_heartbeat_is_not(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    async with open_node_in(Environment(fairness_clock=clock), heartbeat=2) as node:
        for _ in range(20):
            node.send(computing(node, clock, 2.0))
        await wait_all_tasks_blocked()
        assert not stalls_in(caplog)


@pytest.mark.parametrize("position", range(20))
async def test_among_others_it_is_one_of_a_few_the_first_time_and_certain_the_next(
    caplog: pytest.LogCaptureFixture, position: int
) -> None:
    clock = ManualClock()
    async with open_node_in(Environment(fairness_clock=clock)) as node:
        guilty = computing(node, clock, 60)
        for time in (1, 2):
            for number in range(20):
                node.send(guilty if number == position else node.port(lambda: None))
            await wait_all_tasks_blocked()
            lines = stalls_in(caplog)
            assert len(lines) == time
            assert guilty in lines[-1]
            assert lines[-1].count("#") <= 8
        assert lines[-1].startswith(f"a handler of {guilty} computed")


async def test_a_handler_of_messages_from_another_node_is_named(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    async with open_pair(FakeNetwork(), fairness_clock=clock) as (a, b):
        guilty, inbox = computing(a, clock, 60), Inbox(a)
        for time in (1, 2):
            for number in range(20):
                b.send(guilty if number == 5 else inbox.port, *() if number == 5 else (number,))
            await inbox.wait(19 * time)
            lines = stalls_in(caplog)
            assert len(lines) == time
            assert guilty in lines[-1]
        assert lines[-1].startswith(f"a handler of {guilty} computed")


async def test_a_callback_of_a_monitor_that_computes_for_long_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    async with open_node_in(Environment(fairness_clock=clock)) as node:
        port = node.port()

        def compute(*reason: object) -> None:
            clock.now += 60

        node.monitor(port, compute)
        port.kill()
        await wait_all_tasks_blocked()
        (line,) = stalls_in(caplog)
        assert line.startswith("a callback of a monitor computed for 60")


async def test_a_task_that_computes_for_long_is_reported_too(
    mock_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not known which; but the heartbeats did not go out."""
    async with open_test_node(FakeNetwork(), "a", heartbeat=2):
        await wait_all_tasks_blocked()
        for seconds in (1, 2, 3, 1, 4):
            mock_clock.jump(seconds)
            await wait_all_tasks_blocked()
        lines = [record.getMessage() for record in caplog.records]
        assert len(lines) == 1
        assert lines[0].startswith("nothing of this program ran for 3.0 s")


async def test_a_handler_that_was_named_is_not_reported_again(
    mock_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    async with open_test_node(FakeNetwork(), "a", fairness_clock=clock) as node:

        def compute() -> None:
            clock.now += 60
            mock_clock.jump(60)

        node.send(node.port(compute))
        await wait_all_tasks_blocked()
        assert len(stalls_in(caplog)) == 1
        assert len(caplog.records) == 1
