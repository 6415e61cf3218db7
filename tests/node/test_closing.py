"""Opening and closing a node: what leaves the block, what is done before, and who is told."""

# ruff: noqa: PT012 - what leaves a whole block is what many of these tests are about

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
from network_helpers import FakeNetwork, open_test_node
from trio.testing import MockClock, assert_checkpoints, wait_all_tasks_blocked

from trio_mp import Node, Port, PortDied, open_node


class MyError(Exception):
    """What a program raises."""


def holds(error: BaseException, wanted: BaseException) -> bool:
    """Whether an exception is in a group, or is what another was raised in place of or because of."""
    pending: list[BaseException | None] = [error]
    seen: set[int] = set()
    while pending:
        one = pending.pop()
        if one is wanted:
            return True
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        pending += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            pending += one.exceptions
    return False


def leaves(error: BaseException) -> list[BaseException]:
    """The exceptions in a group of groups; or the one that it is."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in leaves(part)]
    return [error]


async def test_entering_and_leaving_are_checkpoints() -> None:
    manager = open_node()
    with assert_checkpoints():
        await manager.__aenter__()
    with assert_checkpoints():
        await manager.__aexit__(None, None, None)


async def test_a_node_opened_in_a_cancelled_scope_raises_cancelled() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        async with open_node():
            await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught


@pytest.mark.parametrize("kind", [MyError, StopIteration, StopAsyncIteration, RuntimeError, KeyboardInterrupt])
async def test_an_exception_of_the_body_leaves_as_it_is(kind: type[BaseException]) -> None:
    error = kind("no good")
    with pytest.raises(kind) as caught:
        async with open_node() as node:
            node.start_port(lambda port: port.receive())
            await wait_all_tasks_blocked()
            raise error
    assert caught.value is error
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("group", [ExceptionGroup("x", [MyError()]), BaseExceptionGroup("x", [KeyboardInterrupt()])])
async def test_a_group_of_the_body_leaves_as_it_is(group: BaseExceptionGroup[Any]) -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        async with open_node():
            raise group
    assert caught.value is group


async def test_a_cancelled_body_leaves_quietly() -> None:
    with trio.CancelScope() as scope:
        async with open_node() as node:
            for _ in range(3):
                node.start_port(lambda port: port.receive())
            node.port().start_soon(trio.sleep_forever)
            await wait_all_tasks_blocked()
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_what_was_sent_is_delivered_before_the_node_closes() -> None:
    received: list[int] = []
    async with open_node() as node:
        port = node.port(received.append)
        for number in range(5000):
            node.send(port, number)
    assert received == list(range(5000))


async def test_what_handlers_send_on_to_ports_made_before_is_delivered_if_it_was_sent_in_time() -> None:
    received: list[object] = []
    async with open_node() as node:
        last = node.port(received.append)
        first = node.port(lambda number: node.send(last, number))
        node.send(first, 1)
        await wait_all_tasks_blocked()
        node.send(last, 2)
    assert received == [1, 2]


async def test_a_clean_exit_kills_all_ports_and_says_so() -> None:
    async with open_node("here") as node:
        ports = [node.port(), node.start_port(lambda port: port.receive())]
        monitors = [node.monitor(port, lambda *_: None) for port in ports]
        await wait_all_tasks_blocked()
    assert not any(port.alive for port in ports)
    assert [monitor.reason for monitor in monitors] == [("node_closed", "here")] * 2


async def test_an_exception_kills_all_ports_with_its_text() -> None:
    with pytest.raises(MyError):
        async with open_node() as node:
            monitor = node.monitor(node.port(), lambda *_: None)
            raise MyError("no good")
    assert monitor.reason is not None
    assert monitor.reason[0] == "node_failed"
    assert str(monitor.reason[1]).startswith("MyError: no good (test_closing.py:")


async def test_a_cancelled_exit_kills_all_ports() -> None:
    with trio.CancelScope() as scope:
        async with open_node() as node:
            ports = [node.port(), node.start_port(lambda port: port.receive())]
            monitors = [node.monitor(port, lambda *_: None) for port in ports]
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert not any(port.alive for port in ports)
    assert [monitor.reason[0] for monitor in monitors if monitor.reason] == ["node_failed"] * 2


async def test_a_reason_of_a_cancelled_exit_says_so_and_nothing_of_trios_insides() -> None:
    with trio.CancelScope() as scope:
        async with open_node() as node:
            monitor = node.monitor(node.port(), lambda *_: None)
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert monitor.reason is not None
    assert "cancelled" in str(monitor.reason[1]).lower()
    assert "Task" not in str(monitor.reason[1])


async def test_ports_unwind_before_the_block_is_left(autojump_clock: object) -> None:
    ended: list[object] = []

    async def process(port: Port) -> None:
        try:
            await port.receive()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(3)
            ended.append(True)

    async with open_node() as node:
        node.start_port(process)
        await trio.sleep(1)
    assert ended == [True]


async def test_a_port_that_takes_too_long_to_unwind_is_logged_and_waited_for(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    ended: list[object] = []

    async def process(_: Port) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(100)
        ended.append(True)

    async with open_node("here", shutdown_timeout=5) as node:
        port = node.start_port(process)
        monitor = node.monitor(port, lambda *_: ended.append("monitor"))
        await trio.sleep(1)
    assert ended == ["monitor", True]
    assert monitor.reason == ("node_closed", "here")
    assert len(caplog.records) == 1


async def test_the_log_is_silent_when_a_node_with_busy_ports_closes(caplog: pytest.LogCaptureFixture) -> None:
    async with open_node() as node:

        async def iterate(port: Port) -> None:
            async for _ in port:
                pass

        async def nested(port: Port) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(iterate, port)
                nursery.start_soon(trio.sleep_forever)

        async def sleep(*_: object) -> None:
            await trio.sleep_forever()

        node.start_port(lambda port: port.receive())
        node.start_port(iterate)
        node.start_port(nested)
        with_task = node.start_port(sleep)
        with_task.start_soon(with_task.receive)
        blocked = node.port(sleep)
        node.send(blocked)
        node.send(blocked)
        silent = node.port(lambda *_: None)
        node.start_port(lambda _: node.call(silent))
        node.send_after(1000, silent)
        await wait_all_tasks_blocked()
    assert not caplog.records


async def test_callbacks_run_and_deaths_are_awaited_to_the_end() -> None:
    seen: list[object] = []

    async def wait(node: Node, port: str) -> None:
        seen.append(await node.wait_death(port))

    async with trio.open_nursery() as nursery, open_node("here") as node:
        port = node.port()
        node.monitor(port, lambda *reason: seen.append(("callback", *reason)))
        nursery.start_soon(wait, node, port)
        nursery.start_soon(wait, node, node.id)
        await wait_all_tasks_blocked()
    assert seen[0] == ("callback", "node_closed", "here")
    assert ("node_closed", "here") in seen
    assert any(reason[:1] == ("transport_error",) for reason in seen if isinstance(reason, tuple))


@pytest.mark.parametrize("way", ["clean", "exception", "cancelled", "crash"])
async def test_nobody_waits_for_ever_for_a_node_that_has_closed(way: str) -> None:
    ended: list[str] = []

    async def wait(node: Node, port: Port) -> None:
        await node.wait_death(port)
        ended.append("wait_death")

    async def wait_for_node(node: Node) -> None:
        await node.wait_death(node.id)
        ended.append("wait_death of the node")

    async def call(node: Node, port: Port) -> None:
        with pytest.raises(PortDied):
            await node.call(port)
        ended.append("call")

    async def move_on(node: Node, port: Port) -> None:
        with node.move_on_death(port):
            await trio.Event().wait()
        ended.append("move_on_death")

    async def receive(node: Node, opened: trio.Event) -> None:
        with pytest.raises((PortDied, trio.ClosedResourceError)):
            async with node.open_port() as port:
                opened.set()
                await port.receive()
        ended.append("receive")

    def fail(*_: object) -> None:
        raise MyError

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            try:
                with trio.CancelScope() as scope:
                    async with open_node(unmonitored_death="raise") as node:
                        port = node.port(lambda *_: None)
                        opened = trio.Event()
                        nursery.start_soon(wait, node, port)
                        nursery.start_soon(wait_for_node, node)
                        nursery.start_soon(call, node, port)
                        nursery.start_soon(move_on, node, port)
                        nursery.start_soon(receive, node, opened)
                        await opened.wait()
                        await wait_all_tasks_blocked()
                        match way:
                            case "exception":
                                raise MyError
                            case "cancelled":
                                scope.cancel()
                                await trio.sleep_forever()
                            case "crash":
                                node.send(node.port(fail))
                                await trio.sleep_forever()
            except* MyError:
                pass
    assert sorted(ended) == ["call", "move_on_death", "receive", "wait_death", "wait_death of the node"]


ASYNC_USES: list[Callable[[Node, Port], Awaitable[object]]] = [
    lambda node, port: node.flush(port),
    lambda node, port: node.call(port, "x"),
    lambda node, port: node.wait_death(port),
    lambda node, _: node.open_port().__aenter__(),
]
USES: list[Callable[[Node, Port], object]] = [
    lambda node, port: node.send(port, "x"),
    lambda node, port: node.send(str(port), "x"),
    lambda node, _: node.send(node.id, "devnull"),
    lambda node, port: node.send_after(1, port, "x"),
    lambda node, port: node.kill(port),
    lambda _, port: port.kill(),
    lambda node, port: node.monitor(port, lambda *_: None),
    lambda node, _: node.monitor(node.id, lambda *_: None),
    lambda node, port: node.link(port, port),
    lambda node, port: node.spawn(port, "module:function"),
    lambda node, _: node.port(),
    lambda node, _: node.start_port(trio.sleep_forever),
    lambda node, port: node.move_on_death(port).__enter__(),
    lambda node, port: node.fail_on_death(port).__enter__(),
]


async def closed_node(way: str) -> tuple[Node, Port]:
    """A node that has closed, and a port of it."""
    try:
        with trio.CancelScope() as scope:
            async with open_node() as node:
                port = node.port()
                if way == "exception":
                    raise MyError
                if way == "cancelled":
                    scope.cancel()
                    await trio.lowlevel.checkpoint()
    except MyError:
        pass
    return node, port


@pytest.mark.parametrize("way", ["clean", "exception", "cancelled"])
@pytest.mark.parametrize("use", USES)
async def test_later_calls_raise(use: Callable[[Node, Port], object], way: str) -> None:
    node, port = await closed_node(way)
    with pytest.raises(trio.ClosedResourceError, match=node.id):
        use(node, port)


@pytest.mark.parametrize("use", ASYNC_USES)
async def test_later_async_calls_raise(use: Callable[[Node, Port], Awaitable[object]]) -> None:
    node, port = await closed_node("clean")
    with pytest.raises(trio.ClosedResourceError, match=node.id):
        await use(node, port)


async def test_after_closing_a_mailbox_says_that_its_port_has_died() -> None:
    async with open_node() as node:
        manager = node.open_port()
        port = await manager.__aenter__()
        node.send(port, "x")
    with pytest.raises(PortDied):
        await port.receive()
    async for _ in port:
        raise AssertionError
    await manager.__aexit__(None, None, None)


async def test_after_closing_monitors_and_timers_can_still_be_cancelled() -> None:
    async with open_node() as node:
        monitor = node.monitor(node.port(), lambda *_: None)
        timer = node.send_after(1000, node.port(), "x")
    monitor.cancel()
    timer.cancel()


async def test_no_port_is_made_while_the_node_closes() -> None:
    caught: list[Exception] = []
    async with open_node() as node:
        port = node.port()

        def respond(*_: object) -> None:
            try:
                node.port()
            except trio.ClosedResourceError as error:
                caught.append(error)

        node.monitor(port, respond)
    assert len(caught) == 1


async def test_a_send_in_a_callback_while_the_node_closes_is_no_error() -> None:
    async with open_node() as node:
        one, other = node.port(), node.port(lambda *_: None)
        node.monitor(one, other, "died")
        node.monitor(one, lambda *_: node.send(other, "died"))
        node.monitor(other, one, "died")


async def test_a_handler_that_answers_itself_does_not_keep_the_node_from_closing() -> None:
    async with open_node() as node:
        port = node.port(lambda: node.send(port))
        node.send(port)
        await trio.lowlevel.checkpoint()


async def test_two_handlers_that_answer_each_other_do_not_keep_the_node_from_closing() -> None:
    async with open_node() as node:
        one = node.port(lambda: node.send(other))
        other = node.port(lambda: node.send(one))
        node.send(one)
        await trio.lowlevel.checkpoint()


async def test_a_handler_may_end_the_block() -> None:
    async with open_node() as node:
        done = trio.Event()
        port = node.port(done.set)
        node.send(port)
        await done.wait()


async def test_a_callback_may_end_the_block() -> None:
    async with open_node() as node:
        done = trio.Event()
        port = node.port()
        node.monitor(port, lambda *_: done.set())
        node.kill(port)
        await done.wait()


async def test_a_callback_that_monitors_the_dead_port_again_does_not_keep_the_node_from_closing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    def watch(node: Node, port: Port) -> None:
        node.monitor(port, lambda *_: watch(node, port))

    with trio.fail_after(60):
        async with open_node() as node:
            watch(node, node.port(lambda *_: None))


async def test_the_failures_of_the_node_leave_as_a_group() -> None:
    error = MyError("callback")

    def fail(*_: object) -> None:
        raise error

    with pytest.raises(ExceptionGroup) as caught:
        async with open_node() as node:
            port = node.port()
            node.monitor(port, fail)
            node.kill(port)
            await trio.sleep_forever()
    assert leaves(caught.value) == [error]


async def test_a_crash_cancels_the_block() -> None:
    seen: list[str] = []

    def fail(*_: object) -> None:
        raise MyError

    with pytest.raises(ExceptionGroup):
        async with open_node() as node:
            port = node.port()
            node.monitor(port, fail)
            node.kill(port)
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                seen.append("cancelled")
                raise
    assert seen == ["cancelled"]


async def test_cancellation_by_a_crash_does_not_leak_out_of_the_block() -> None:
    def handler(*_message: object) -> None:
        raise ValueError("crash")

    with pytest.raises(ExceptionGroup) as caught:
        async with open_node(unmonitored_death="raise") as node, trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(trio.sleep_forever)
            node.send(node.port(handler), "x")
    assert caught.group_contains(ValueError, match="crash")


async def test_a_failure_while_closing_does_not_hide_what_the_body_raised() -> None:
    body, callback = MyError("body"), MyError("callback")

    def fail(*_: object) -> None:
        raise callback

    with pytest.raises((MyError, ExceptionGroup)) as caught:
        async with open_node() as node:
            node.monitor(node.port(), fail)
            raise body
    assert holds(caught.value, body)
    assert holds(caught.value, callback)


async def test_a_failure_at_the_very_end_does_not_hide_what_the_body_raised() -> None:
    """The monitor of the node itself is the last that fires."""
    body, callback = MyError("body"), MyError("callback")

    def fail(*_: object) -> None:
        raise callback

    with pytest.raises((MyError, ExceptionGroup)) as caught:
        async with open_node() as node:
            node.monitor(node.id, fail)
            raise body
    assert holds(caught.value, body)
    assert holds(caught.value, callback)


async def test_a_failure_at_the_very_end_leaves_in_a_group() -> None:
    callback = MyError("callback")

    def fail(*_: object) -> None:
        raise callback

    with pytest.raises(ExceptionGroup) as caught:
        async with open_node() as node:
            node.monitor(node.id, fail)
    assert leaves(caught.value) == [callback]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
async def test_a_failure_while_closing_does_not_replace_an_interrupt(kind: type[BaseException]) -> None:
    body, callback = kind("body"), MyError("callback")

    def fail(*_: object) -> None:
        raise callback

    with pytest.raises(BaseException) as caught:  # noqa: PT011 - sorted out below
        async with open_node() as node:
            node.monitor(node.port(), fail)
            raise body
    assert body in leaves(caught.value)
    assert holds(caught.value, callback)


async def test_failures_of_a_crash_and_after_it_are_all_in_the_group() -> None:
    first, second = MyError("first"), MyError("second")

    def fail(error: Exception) -> None:
        raise error

    with pytest.raises(ExceptionGroup) as caught:
        async with open_node() as node:
            one, other = node.port(), node.port()
            node.monitor(one, lambda *_: fail(first))
            node.monitor(other, lambda *_: fail(second))
            node.kill(one)
            node.kill(other)
            await trio.sleep_forever()
    assert set(leaves(caught.value)) == {first, second}


async def test_two_nodes_of_one_process_are_independent() -> None:
    async with open_node() as one:
        async with open_node() as other:
            assert one.id != other.id
            port = one.port()
            other.port()
        assert port.alive
        with pytest.raises(trio.ClosedResourceError):
            other.port()
        monitor = one.monitor(port, lambda *_: None)
        await wait_all_tasks_blocked()
        assert monitor.active
        one.send(port.node.port(lambda *_: None), "x")


async def test_two_nodes_of_one_process_do_not_know_each_other() -> None:
    async with open_node() as one, open_node() as other:
        port = one.port(lambda *_: None)
        one.send(port)
        with pytest.raises(RuntimeError, match="no network"):
            other.send(port)
        with pytest.raises(RuntimeError, match="no network"):
            other.monitor(port, lambda *_: None)
        with pytest.raises(RuntimeError, match="no network"):
            other.kill(port)


async def test_a_node_crashes_alone() -> None:
    def fail(*_: object) -> None:
        raise MyError

    async with open_node() as one:
        received: list[object] = []
        port = one.port(received.append)
        with pytest.raises(ExceptionGroup):
            async with open_node(unmonitored_death="raise") as other:
                other.send(other.port(fail))
                await trio.sleep_forever()
        one.send(port, 1)
        await wait_all_tasks_blocked()
        assert received == [1]


async def test_nodes_may_be_opened_one_after_the_other_under_one_id() -> None:
    for number in range(3):
        async with open_node("again") as node, node.open_port() as port:
            node.send(port, number)
            assert await port.receive() == (number,)


async def test_a_node_may_be_opened_inside_a_block_of_itself_and_nested_deeply() -> None:
    async with trio.open_nursery() as nursery, open_node("a") as a, open_node("b") as b, open_node("a") as again:
        ports = [node.port(lambda *_: None) for node in (a, b, again)]
        for node, port in zip((a, b, again), ports, strict=True):
            node.send(port, "x")
        await wait_all_tasks_blocked()
        assert all(port.alive for port in ports)
        again.send(ports[0], "for the other one of this name")
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


def test_a_whole_run_ends_by_itself() -> None:
    seen: list[object] = []

    async def main() -> None:
        async with open_node() as node:
            done = trio.Event()
            port = node.port()

            @port.on("test")
            def received(data: int) -> None:
                seen.append(data)
                done.set()

            node.send(port, "test", 123)
            await done.wait()

    trio.run(main)
    assert seen == [123]


def test_after_the_run_a_node_is_closed() -> None:
    async def main() -> tuple[Node, Port]:
        async with open_node() as node:
            return node, node.port()

    node, port = trio.run(main)
    with pytest.raises(trio.ClosedResourceError):
        node.send(port, "x")
    assert not port.alive


def test_a_run_that_is_interrupted_in_a_handler_ends_with_the_interrupt() -> None:
    async def main() -> None:
        async with open_node() as node:

            def interrupt() -> None:
                raise KeyboardInterrupt

            node.send(node.port(interrupt))
            await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as caught:
        trio.run(main)
    assert [type(leaf) for leaf in leaves(caught.value)] == [KeyboardInterrupt]


@pytest.mark.parametrize("checkpoints", range(6))
@pytest.mark.parametrize("messages", [0, 3, 1500])
def test_a_node_can_be_cancelled_at_every_point(checkpoints: int, messages: int) -> None:
    """Whatever it is doing, it ends; every port is dead then, and every monitor has fired."""

    async def main() -> None:
        with trio.CancelScope() as scope:
            async with open_node() as node, trio.open_nursery() as nursery:

                def fail(*_: object) -> None:
                    raise MyError

                async def process(port: Port) -> None:
                    async for _ in port:
                        await trio.lowlevel.checkpoint()

                async def handler(*_: object) -> None:
                    await trio.lowlevel.checkpoint()

                echo = node.port(lambda *message: node.send(str(message[-1])))
                ports = [node.start_port(process), node.port(handler), node.port(fail), echo]
                monitors = [node.monitor(port, lambda *_: None) for port in ports]
                nursery.start_soon(functools.partial(node.call, echo))
                nursery.start_soon(node.wait_death, ports[0])
                for number in range(messages):
                    node.send(ports[number % 3], number)
                node.kill(ports[0])
                for _ in range(checkpoints):
                    await trio.lowlevel.checkpoint()
                scope.cancel()
                nursery.start_soon(trio.sleep_forever)
        assert scope.cancelled_caught
        assert not any(port.alive for port in ports)
        assert all(monitor.reason is not None for monitor in monitors)
        assert not node._runtime.dispatcher.ports
        assert not node._runtime.lifecycle.unwinding
        assert not node._runtime.dispatcher.queue

    trio.run(main, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("turns", range(8))
def test_closing_can_be_cancelled_at_every_point(turns: int) -> None:
    async def main() -> None:
        monitors = []
        with trio.CancelScope() as scope:

            async def cancel_soon() -> None:
                for _ in range(turns):
                    await trio.lowlevel.checkpoint()
                scope.cancel()

            async with trio.open_nursery() as nursery, open_node() as node:

                async def process(port: Port) -> None:
                    try:
                        await port.receive()
                    finally:
                        with trio.CancelScope(shield=True):
                            await trio.lowlevel.checkpoint()
                            await trio.lowlevel.checkpoint()

                for _ in range(3):
                    port = node.start_port(process)
                    monitors.append(node.monitor(port, lambda *_: None))
                nursery.start_soon(cancel_soon)
        assert all(monitor.reason is not None for monitor in monitors)
        with pytest.raises(trio.ClosedResourceError):
            node.port()

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_a_closed_node_refuses_to_send_to_whatever_port(autojump_clock: MockClock) -> None:
    async with open_test_node(FakeNetwork(), "a") as node:
        port = node.port()
        other = "b#there-is-no-such-port"
    for target in (port, str(port), other, "a", "b"):
        for send in (node.send, lambda target, *message: node._runtime.send(target, message)):
            with pytest.raises(trio.ClosedResourceError, match="node a is closed"):
                send(target, "too late")
    assert not node._items
