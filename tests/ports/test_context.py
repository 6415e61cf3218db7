"""`current_port` and `current_node`: whose code is running."""

from __future__ import annotations

import contextvars
from collections.abc import Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_mp import Port, current_node, current_port, open_node


def outside() -> bool:
    """Whether the running code is that of no port."""
    for question in (current_port, current_node):
        try:
            question()
        except RuntimeError:
            continue
        return False
    return True


def test_outside_trio_there_is_neither() -> None:
    assert outside()


async def test_outside_ports_there_is_neither() -> None:
    assert outside()
    async with open_node() as node, node.open_port():
        assert outside()


async def test_a_sync_handler_knows_its_port_and_its_node() -> None:
    async with open_node() as node:
        seen: list[object] = []
        port = node.port(lambda: seen.extend([current_port(), current_node()]))
        node.send(port)
        await wait_all_tasks_blocked()
        assert seen[0] is port
        assert seen[1] is node


async def test_each_handler_knows_its_own_port() -> None:
    async with open_node() as node:
        seen: list[object] = []
        ports = [node.port(lambda: seen.append(current_port())) for _ in range(5)]
        for port in ports * 2:
            node.send(port)
        await wait_all_tasks_blocked()
        assert seen == ports * 2


@pytest.mark.parametrize("pattern", [("a",), ("a", 1), ()])
async def test_handlers_of_every_pattern_know_their_port(pattern: tuple[object, ...]) -> None:
    async with open_node() as node, node.open_port() as port:
        seen: list[object] = []
        port.on(*pattern)(lambda *_: seen.append(current_port()))
        port.on(*pattern, once=True)(lambda *_: seen.append(current_port()))
        node.send(port, "a", 1)
        await wait_all_tasks_blocked()
        assert seen == [port]


async def test_an_async_handler_knows_its_port_throughout() -> None:
    async with open_node() as node:
        seen: list[object] = []
        other = node.port(lambda: None)

        async def handler() -> None:
            seen.append(current_port())
            node.send(other)
            await wait_all_tasks_blocked()
            seen.append(current_port())
            seen.append(current_node())

        port = node.port(handler)
        node.send(port)
        await wait_all_tasks_blocked()
        await wait_all_tasks_blocked()
        assert seen == [port, port, node]


async def test_a_handler_that_waited_for_an_async_one_knows_its_port() -> None:
    async with open_node() as node:
        seen: list[object] = []
        port = node.port()
        port.on("wait")(wait_all_tasks_blocked)
        port.on("x")(lambda: seen.append(current_port()))
        node.send(port, "wait")
        node.send(port, "x")
        await wait_all_tasks_blocked()
        await wait_all_tasks_blocked()
        assert seen == [port]


async def test_tasks_and_processes_know_their_port() -> None:
    async with open_node() as node:
        seen: list[object] = []

        async def task(*_: object) -> None:
            await trio.lowlevel.checkpoint()
            seen.append(current_port())

        port = node.port()
        port.start_soon(task)
        await wait_all_tasks_blocked()
        process = node.start_port(task)
        await wait_all_tasks_blocked()
        assert seen == [port, process]


async def test_nurseries_inside_a_task_inherit_the_port() -> None:
    async with open_node() as node:
        seen: list[object] = []

        async def child() -> None:
            await trio.lowlevel.checkpoint()
            seen.append(current_port())

        async def task(_: Port) -> None:
            async with trio.open_nursery() as outer, trio.open_nursery() as inner:
                outer.start_soon(child)
                inner.start_soon(child)

        port = node.start_port(task)
        await wait_all_tasks_blocked()
        assert seen == [port, port]


async def test_run_and_wrap_enter_the_port_and_leave_it() -> None:
    async with open_node() as node:
        one, other = node.port(), node.port()
        assert one.run(current_port) is one
        assert outside()
        assert one.run(other.wrap(current_port)) is other
        assert one.run(lambda: (other.run(current_port), current_port())) == (other, one)
        assert other.run(current_node) is node


async def test_run_in_a_handler_of_another_port_leads_back_to_it() -> None:
    async with open_node() as node:
        seen: list[object] = []
        other = node.port()

        def handler() -> None:
            seen.append(other.run(current_port))
            seen.append(current_port())

        port = node.port(handler)
        node.send(port)
        await wait_all_tasks_blocked()
        assert seen == [other, port]


async def test_run_in_a_task_of_another_port_leads_back_to_it() -> None:
    async with open_node() as node:
        seen: list[object] = []
        other = node.port()

        async def process(_: Port) -> None:
            seen.append(other.run(current_port))
            await trio.lowlevel.checkpoint()
            seen.append(current_port())

        port = node.start_port(process)
        await wait_all_tasks_blocked()
        assert seen == [other, port]


async def test_a_failure_in_run_leads_back_too() -> None:
    async with open_node() as node:

        def fail() -> None:
            raise ValueError("no good")

        node.port().run(fail)
        assert outside()


async def test_a_task_that_a_sync_handler_starts_in_a_users_nursery_belongs_to_no_port() -> None:
    async with open_node() as node, trio.open_nursery() as nursery:
        seen: list[object] = []

        async def task() -> None:
            seen.append(outside())
            await trio.lowlevel.checkpoint()
            seen.append(outside())

        port = node.port(lambda: nursery.start_soon(task))
        other = node.port(lambda: None)
        node.send(port)
        node.send(other)
        await wait_all_tasks_blocked()
        assert seen == [True, True]


async def test_a_task_that_is_started_in_a_users_nursery_by_run_belongs_to_no_port() -> None:
    """As one that a handler starts: the port's death does not end it."""
    async with open_node() as node, trio.open_nursery() as nursery:
        seen: list[object] = []

        async def task() -> None:
            seen.append(outside())

        node.port().run(nursery.start_soon, task)
        await wait_all_tasks_blocked()
        assert seen == [True]


async def test_a_monitor_set_by_a_task_of_a_users_nursery_belongs_to_no_port() -> None:
    async with open_node() as node, trio.open_nursery() as nursery:
        seen: list[object] = []
        watched = node.port()

        async def task() -> None:
            node.monitor(watched, lambda *_: seen.append(outside()))

        port = node.port(lambda: nursery.start_soon(task))
        node.send(port)
        await wait_all_tasks_blocked()
        node.kill(port)
        node.kill(watched)
        await wait_all_tasks_blocked()
        assert seen == [True]


async def test_a_timer_of_a_handler_runs_in_no_port(autojump_clock: object) -> None:
    async with open_node() as node:
        seen: list[object] = []
        other = node.port(lambda: seen.append(current_port()))
        port = node.port(lambda: node.send_after(1, other))
        node.send(port)
        await trio.sleep(2)
        assert seen == [other]


async def test_two_nodes_do_not_mix() -> None:
    async with open_node() as one, open_node() as other:
        seen: list[object] = []
        left = one.port(lambda: seen.append((current_port(), current_node())))

        def relay() -> None:
            seen.append((current_port(), current_node()))
            one.send(left)

        right = other.port(relay)
        other.send(right)
        await wait_all_tasks_blocked()
        assert seen == [(right, other), (left, one)]


async def test_a_monitor_of_one_node_set_in_a_port_of_another_runs_outside_ports() -> None:
    async with open_node() as one, open_node() as other:
        seen: list[object] = []
        watched = one.port()
        setter = other.port()
        setter.run(one.monitor, watched, lambda *_: seen.append(outside()))
        one.kill(watched)
        await wait_all_tasks_blocked()
        assert seen == [True]


async def test_a_node_opened_in_a_task_of_a_port_of_another() -> None:
    async with open_node() as outer:
        seen: list[object] = []

        async def process(port: Port) -> None:
            async with open_node() as inner:
                inner_port = inner.port(lambda: seen.append(current_node()))
                inner.send(inner_port)
                await wait_all_tasks_blocked()
                inner.monitor(inner_port, lambda *_: seen.append(outside()))
                inner.kill(inner_port)
                await wait_all_tasks_blocked()
                seen.extend([inner, current_port() is port])

        await outer.wait_death(outer.start_port(process))
        assert seen[0] is seen[2]
        assert seen[1] is True
        assert seen[3] is True


async def test_a_thread_started_by_a_task_of_a_port_may_come_back_to_it() -> None:
    async with open_node() as node:
        seen: list[object] = []

        async def process(_: Port) -> None:
            await trio.to_thread.run_sync(lambda: seen.append(trio.from_thread.run_sync(current_port)))

        port = node.start_port(process)
        await node.wait_death(port)
        assert seen == [port]


async def test_a_task_of_the_runtime_is_of_no_port_whoever_starts_it() -> None:
    async with open_node() as node:
        seen: list[object] = []

        async def note() -> None:
            await trio.lowlevel.checkpoint()
            seen.append(outside())

        async def process(port: Port) -> None:
            node._lifecycle.start_system_task(note)
            seen.append(current_port() is port)
            await trio.sleep_forever()

        node.start_port(process)
        await wait_all_tasks_blocked()
        assert seen == [True, True]


async def test_handlers_see_the_context_variables_of_where_the_node_was_opened() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="default")
    variable.set("opened")
    async with open_node() as node:
        variable.set("later")
        seen: list[str] = []
        port = node.port(lambda: seen.append(variable.get()))
        node.send(port)
        await wait_all_tasks_blocked()
        assert seen == ["opened"]


QUESTIONS: list[Callable[[], object]] = [current_port, current_node]


@pytest.mark.parametrize("question", QUESTIONS)
async def test_the_error_says_where_there_is_an_answer(question: Callable[[], object]) -> None:
    with pytest.raises(RuntimeError, match="in a handler or task of a port"):
        question()
