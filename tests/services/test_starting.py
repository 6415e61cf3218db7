"""Ports that say when they have started: `Node.start` and `Node.start_on`."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_mp import Port, PortDied, Started, current_epoch, current_node, open_node
from trio_mp._services.starting import start

IGNORED: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED


async def serve(port: Port, *arguments: Any, task_status: trio.TaskStatus[Any] = IGNORED) -> None:
    task_status.started(arguments)
    async for message in port:
        current_node().send(message[0], *message[1:])


async def test_a_port_has_started_when_it_says_so() -> None:
    async with open_node() as node, node.open_port() as answers:
        started = await node.start(serve, 1, "two")
        assert started == Started(started.port, (1, "two"))
        assert started.port.alive
        node.send(started.port, answers, "hello")
        assert await answers.receive() == ("hello",)


async def test_what_a_port_sends_before_it_has_started_arrives_before_the_answer() -> None:
    async with open_node() as node:
        got: list[object] = []
        mine = node.port(got.append)

        async def talk(port: Port, *, task_status: trio.TaskStatus[None]) -> None:
            for number in range(3):
                node.send(mine, number)
            task_status.started()
            await trio.sleep_forever()

        for _ in range(20):
            # In some orders of Trio's tasks an answer that overtakes messages is taken later than they are.
            got.clear()
            await node.start(talk)
            assert got == [0, 1, 2]


async def test_start_waits_for_started() -> None:
    async with open_node() as node, trio.open_nursery() as nursery:
        go_on = trio.Event()
        order: list[str] = []

        async def slow(port: Port, *, task_status: trio.TaskStatus[str]) -> None:
            await go_on.wait()
            order.append("started")
            task_status.started("value")
            await trio.sleep_forever()

        async def wait() -> None:
            assert (await node.start(slow)).value == "value"
            order.append("returned")

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        assert not order
        go_on.set()
        await wait_all_tasks_blocked()
        assert order == ["started", "returned"]


async def test_the_exception_of_a_port_that_fails_before_it_has_started(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(port: Port, *, task_status: trio.TaskStatus[None]) -> None:
        raise ValueError("no good")

    async with open_node() as node:
        with pytest.raises(ValueError, match="no good") as caught:
            await node.start(fail)
        assert caught.value.__context__ is None
        assert [entry.name for entry in caught.traceback][-1] == "fail"
        assert not node._lifecycle.ports
        assert not node._lifecycle.unwinding
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]


async def test_an_exception_in_another_task_or_handler_of_a_port_that_starts() -> None:
    async def with_task(port: Port, *, task_status: trio.TaskStatus[None]) -> None:
        async def break_down() -> None:
            raise KeyError("task")

        port.start_soon(break_down)
        await trio.sleep_forever()

    async def with_handler(port: Port, *, task_status: trio.TaskStatus[None]) -> None:
        @port.on("x")
        def break_down() -> None:
            raise KeyError("handler")

        current_node().send(port, "x")
        await trio.sleep_forever()

    async with open_node() as node:
        with pytest.raises(KeyError, match="task"):
            await node.start(with_task)
        with pytest.raises(KeyError, match="handler"):
            await node.start(with_handler)


async def test_a_function_that_returns_without_having_started() -> None:
    async def forget(port: Port, *, task_status: trio.TaskStatus[None]) -> None:
        pass

    async with open_node() as node:
        with pytest.raises(RuntimeError, match="returned without calling task_status"):
            await node.start(forget)


async def test_a_function_that_returns_at_once_after_it_has_started() -> None:
    async def finish(port: Port, *, task_status: trio.TaskStatus[int]) -> None:
        task_status.started(7)

    async with open_node() as node:
        started = await node.start(finish)
        assert started.value == 7
        await wait_all_tasks_blocked()
        assert not started.port.alive


async def test_a_port_that_is_killed_before_it_has_started() -> None:
    async with open_node() as node:

        async def kill(port: Port, *, task_status: trio.TaskStatus[None]) -> None:
            port.kill("why", 1)
            await trio.sleep_forever()

        with pytest.raises(PortDied) as caught:
            await node.start(kill)
        assert caught.value.reason == ("why", 1)


async def test_started_twice() -> None:
    async def twice(port: Port, *, task_status: trio.TaskStatus[int]) -> None:
        task_status.started(1)
        task_status.started(2)

    async with open_node() as node:
        reasons: list[tuple[Any, ...]] = []
        started = await start(node._runtime, twice, (), died=lambda *reason: reasons.append(reason))
        await wait_all_tasks_blocked()
        assert started.value == 1
        assert reasons[0][0] == "die"
        assert "twice" in reasons[0][1]


async def test_a_cancelled_start_has_unwound_first(autojump_clock: trio.testing.MockClock) -> None:
    async with open_node() as node:
        unwound = False

        async def slow(port: Port, *, task_status: trio.TaskStatus[None]) -> None:
            nonlocal unwound
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(2)
                unwound = True
                # Quietly: it is being cancelled.
                task_status.started()

        with trio.move_on_after(1) as scope:
            await node.start(slow)
        assert scope.cancelled_caught
        assert unwound
        assert trio.current_time() == pytest.approx(3)
        assert not node._lifecycle.ports


async def test_a_cancelled_start_whose_port_does_not_unwind(autojump_clock: trio.testing.MockClock) -> None:
    async with open_node(shutdown_timeout=4) as node:

        async def shield(port: Port, *, task_status: trio.TaskStatus[None]) -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep(100)

        with trio.move_on_after(1) as scope:
            await node.start(shield)
        assert scope.cancelled_caught
        assert trio.current_time() == pytest.approx(5)


async def test_a_start_that_has_failed_is_cancelled_while_it_unwinds(autojump_clock: trio.testing.MockClock) -> None:
    """The exception leaves, and not the cancellation: nobody else would be told of it."""

    async def fail(port: Port, *, task_status: trio.TaskStatus[None]) -> None:
        async def unwind() -> None:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(3)

        port.start_soon(unwind)
        await trio.sleep(1)
        raise ValueError("no good")

    async with open_node() as node:
        with pytest.raises(ValueError, match="no good"), trio.move_on_after(2):
            await node.start(fail)
        assert trio.current_time() == pytest.approx(4)


async def test_a_start_that_is_cancelled_already_makes_no_port() -> None:
    async with open_node() as node:
        with trio.CancelScope() as scope:
            scope.cancel()
            await node.start(serve)
        assert scope.cancelled_caught
        assert not node._lifecycle.ports


async def test_an_epoch_is_seen_in_the_port_alone() -> None:
    seen: list[int | None] = []

    async def look(port: Port, *, task_status: trio.TaskStatus[None]) -> None:
        seen.append(current_epoch())
        task_status.started()

    async with open_node() as node:
        await start(node._runtime, look, (), epoch=12)
        await node.start(look)
        node.port().run(lambda: seen.append(current_epoch()))
        assert seen == [12, None, None]
        with pytest.raises(RuntimeError, match="in a handler or task of a port"):
            current_epoch()


async def test_the_context_of_a_node() -> None:
    application = object()
    async with open_node(context=application) as node, open_node() as other:
        assert node.context is application
        assert node.port().run(lambda: current_node().context) is application
        assert other.context is None


async def test_a_monitor_of_a_start_is_not_called_if_that_fails() -> None:
    async def fail(port: Port, *, task_status: trio.TaskStatus[None]) -> None:
        raise ValueError("no good")

    called: list[tuple[Any, ...]] = []
    async with open_node() as node:
        with pytest.raises(ValueError, match="no good"):
            await start(node._runtime, fail, (), died=lambda *reason: called.append(reason))
    assert not called


async def test_a_start_at_a_node_that_closes() -> None:
    async with trio.open_nursery() as nursery:
        caught: list[PortDied] = []

        async def wait(port: Port, *, task_status: trio.TaskStatus[None]) -> None:
            await trio.sleep_forever()

        async def try_to_start() -> None:
            try:
                await node.start(wait)
            except PortDied as error:
                caught.append(error)
            with pytest.raises(trio.ClosedResourceError):
                await node.start(wait)

        async with open_node("n") as node:
            nursery.start_soon(try_to_start)
            await wait_all_tasks_blocked()
    assert [error.reason for error in caught] == [("node_closed", "n")]
