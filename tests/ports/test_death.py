"""How ports die, what else does not, and when others are told."""

# ruff: noqa: PT012 - what leaves a whole block is what many of these tests are about

from __future__ import annotations

import gc
import itertools
import logging
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import trio
from reason_helpers import Died
from trio.testing import wait_all_tasks_blocked

from trio_mp import Node, Port, PortDied, open_node
from trio_mp._ports.port_state import PortState


def fail(*_: object) -> None:
    raise ValueError("no good")


async def fail_later(*_: object) -> None:
    await trio.lowlevel.checkpoint()
    raise ValueError("no good")


@pytest.mark.parametrize("handler", [fail, fail_later])
async def test_an_exception_in_a_handler_kills_its_port_and_nothing_else(handler: Callable[..., Any]) -> None:
    async with open_node() as node:
        seen: list[object] = []
        other = node.port(seen.append)
        port = node.port(handler)
        node.send(port, "x")
        node.send(other, 1)
        assert await node.wait_death(port) == Died("ValueError: no good")
        node.send(other, 2)
        await wait_all_tasks_blocked()
        assert seen == [1, 2]


async def test_a_handler_called_with_the_wrong_arguments_kills_its_port() -> None:
    async with open_node() as node:
        port = node.port()
        port.on("x")(lambda one: one)
        node.send(port, "x", 1, 2)
        reason = await node.wait_death(port)
        assert reason[0] == "die"
        assert str(reason[1]).startswith("TypeError: ")


async def test_an_exception_in_a_handler_of_a_long_pattern_kills_its_port() -> None:
    async with open_node() as node:
        port = node.port()
        port.on("x", 1)(fail)
        node.send(port, "x", 1)
        assert await node.wait_death(port) == Died("ValueError: no good")


@pytest.mark.parametrize("handler", [fail, fail_later])
async def test_an_exception_in_a_handler_that_had_to_wait_kills_its_port(handler: Callable[..., Any]) -> None:
    async with open_node() as node:
        seen: list[object] = []
        port = node.port()
        go = trio.Event()
        port.on("wait")(go.wait)
        port.on("fail")(handler)
        port.on("more")(lambda: seen.append("more"))
        for tag in ("wait", "fail", "more"):
            node.send(port, tag)
        await wait_all_tasks_blocked()
        go.set()
        assert await node.wait_death(port) == Died("ValueError: no good")
        assert not seen


async def test_messages_behind_the_one_that_killed_the_port_are_dropped() -> None:
    async with open_node() as node:
        seen: list[object] = []
        port = node.port()
        port.on("fail")(fail)
        port.on("x")(lambda: seen.append("x"))
        for tag in ("x", "fail", "x"):
            node.send(port, tag)
        await wait_all_tasks_blocked()
        assert seen == ["x"]


@pytest.mark.parametrize("handler", [fail, fail_later])
async def test_messages_for_a_dead_port_reach_no_other(handler: Callable[..., Any]) -> None:
    async with open_node() as node:
        seen: list[object] = []
        dying = node.port(handler)
        dying.on("with", "a pattern")(handler)
        node.port(seen.append)
        for number in range(3):
            node.send(dying, number)
        await node.wait_death(dying)
        assert seen == []


async def test_a_group_of_exceptions_kills_like_an_exception() -> None:
    async with open_node() as node:

        def fail_in_a_group(*_: object) -> None:
            raise ExceptionGroup("several", [ValueError("no good"), KeyError("x")])

        port = node.port(fail_in_a_group)
        node.send(port)
        reason = await node.wait_death(port)
        assert reason == Died("ExceptionGroup: several (2 sub-exceptions)")


PASSING: list[BaseException] = [
    KeyboardInterrupt("stop"),
    SystemExit(3),
    BaseExceptionGroup("several", [ValueError("no good"), KeyboardInterrupt("stop")]),
]


@pytest.mark.parametrize("error", PASSING, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("where", ["sync handler", "async handler", "task", "process", "monitor"])
async def test_what_is_no_exception_passes_through_the_node(error: BaseException, where: str) -> None:
    def interrupt(*_: object) -> None:
        raise error

    async def interrupt_later(*_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise error

    with pytest.raises(BaseExceptionGroup) as caught:
        async with open_node() as node:
            port = node.port(interrupt_later if where == "async handler" else interrupt)
            monitor = node.monitor(port, interrupt if where == "monitor" else lambda *_: None)
            match where:
                case "task":
                    port.start_soon(interrupt_later)
                case "process":
                    node.start_port(interrupt_later)
                case "monitor":
                    node.kill(port)
                case _:
                    node.send(port)
            await trio.sleep_forever()
    wanted = error.exceptions[1] if isinstance(error, BaseExceptionGroup) else error
    found, _ = caught.value.split(lambda leaf: leaf is wanted)
    assert found is not None
    assert monitor.reason is not None
    assert monitor.reason[:1] in {("node_failed",), ()}


async def test_an_unmonitored_death_is_logged_as_an_error_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async with open_node() as node:
        port = node.port(fail)
        node.send(port)
        await wait_all_tasks_blocked()
    (record,) = caplog.records
    assert record.name == "trio_mp.port"
    assert record.levelno == logging.ERROR
    assert str(port) in record.getMessage()
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)
    assert "in fail" in caplog.text


@pytest.mark.parametrize("start", ["handler", "async handler", "task", "process"])
async def test_every_kind_of_unmonitored_death_is_logged_once(start: str, caplog: pytest.LogCaptureFixture) -> None:
    async with open_node() as node:
        match start:
            case "handler":
                node.send(node.port(fail))
            case "async handler":
                node.send(node.port(fail_later))
            case "task":
                node.port().start_soon(fail_later)
            case _:
                node.start_port(fail_later)
        await wait_all_tasks_blocked()
    (record,) = caplog.records
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)


async def test_an_unhandled_message_is_logged_when_nobody_monitors(caplog: pytest.LogCaptureFixture) -> None:
    async with open_node() as node:
        node.send(node.port(), "strange")
        await wait_all_tasks_blocked()
    assert "'strange'" in caplog.text


async def test_a_monitored_death_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with open_node() as node:
        port = node.port(fail)
        node.monitor(port, lambda *_: None)
        node.send(port)
        await wait_all_tasks_blocked()
    assert not caplog.records


async def test_a_kill_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with open_node() as node:
        node.kill(node.port(), "why")
        node.port().kill()
        await wait_all_tasks_blocked()
    assert not caplog.records


async def test_a_cancelled_monitor_does_not_count(caplog: pytest.LogCaptureFixture) -> None:
    async with open_node() as node:
        port = node.port(fail)
        node.monitor(port, lambda *_: None).cancel()
        node.send(port)
        await wait_all_tasks_blocked()
    assert len(caplog.records) == 1


async def test_an_unmonitored_death_can_be_made_to_crash_the_node() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with open_node(unmonitored_death="raise") as node:
            node.send(node.port(fail))
            await trio.sleep_forever()
    (error,) = caught.value.exceptions
    assert isinstance(error, ValueError)
    assert str(error) == "no good"


async def test_an_unhandled_message_can_be_made_to_crash_the_node() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with open_node(unmonitored_death="raise") as node:
            node.send(node.port(), "strange")
            await trio.sleep_forever()
    (error,) = caught.value.exceptions
    assert isinstance(error, PortDied)
    assert error.reason[0] == "unhandled_message"


async def test_a_monitored_death_or_a_kill_never_crashes_the_node() -> None:
    async with open_node(unmonitored_death="raise") as node:
        port = node.port(fail)
        node.monitor(port, lambda *_: None)
        node.send(port)
        node.kill(node.port(), "why")
        await wait_all_tasks_blocked()


async def test_all_unmonitored_deaths_of_a_crash_are_in_the_group() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with open_node(unmonitored_death="raise") as node:
            for _ in range(3):
                node.send(node.port(fail))
            await trio.sleep_forever()

    def count(error: BaseException) -> int:
        return sum(map(count, error.exceptions)) if isinstance(error, BaseExceptionGroup) else 1

    assert count(caught.value) == 3


async def test_a_crash_of_the_node_fails_its_other_ports() -> None:
    with pytest.raises(ExceptionGroup):
        async with open_node(unmonitored_death="raise") as node:
            monitor = node.monitor(node.start_port(lambda port: port.receive()), lambda *_: None)
            node.send(node.port(fail))
            await trio.sleep_forever()
    assert monitor.reason is not None
    assert monitor.reason[0] == "node_failed"


async def test_an_exception_that_cannot_be_printed_kills_the_port_and_nothing_else() -> None:
    class UnprintableError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("never")

    async with open_node() as node:
        seen: list[object] = []

        def fail_unprintably(*_: object) -> None:
            raise UnprintableError

        port = node.port(fail_unprintably)
        other = node.port(seen.append)
        monitor = node.monitor(port, lambda *_: None)
        node.send(port)
        node.send(other, 1)
        await wait_all_tasks_blocked()
        assert seen == [1]
        assert monitor.reason is not None
        assert monitor.reason[0] == "die"
        assert "UnprintableError" in str(monitor.reason[1])


async def test_a_kill_keeps_its_place_among_the_messages_sent_before_it() -> None:
    async with open_node() as node:
        seen: list[object] = []
        port = node.port(seen.append)
        node.send(port, 1)
        node.send(port, 2)
        node.kill(port)
        node.send(port, 3)
        await wait_all_tasks_blocked()
        assert seen == [1, 2]


async def test_a_kill_discards_what_is_queued_in_the_port() -> None:
    async with open_node() as node:
        seen: list[object] = []
        go = trio.Event()
        port = node.port()
        port.on("x")(lambda: seen.append("x"))

        @port.on("wait")
        async def wait() -> None:
            seen.append("waiting")
            try:
                await go.wait()
            finally:
                seen.append("cancelled")

        node.send(port, "wait")
        node.send(port, "x")
        await wait_all_tasks_blocked()
        node.kill(port, "why")
        assert await node.wait_death(port) == ("why",)
        assert seen == ["waiting", "cancelled"]


async def test_the_first_reason_stays() -> None:
    async with open_node() as node:
        port = node.port()
        monitor = node.monitor(port, lambda *_: None)
        node.kill(port, "first")
        node.kill(port, "second")
        await wait_all_tasks_blocked()
        assert monitor.reason == ("first",)


async def test_a_kill_by_port_id_and_a_kill_of_what_does_not_exist() -> None:
    async with open_node() as node:
        port = node.port()
        node.kill(str(port), "why", 1)
        assert await node.wait_death(port) == ("why", 1)
        node.kill(port)
        node.kill(f"{node.id}#aaaaaaaaaaaaaaaa.1")
        await wait_all_tasks_blocked()


async def test_a_node_port_cannot_be_killed() -> None:
    async with open_node("here") as node:
        for name in ("here", "here#"):
            with pytest.raises(ValueError, match="here"):
                node.kill(name)


REASONS: list[tuple[Any, type[Exception]]] = [(object(), TypeError), ({1}, TypeError), (2**70, ValueError)]


@pytest.mark.parametrize("element, error", REASONS)
async def test_a_reason_that_cannot_travel_is_refused(element: Any, error: type[Exception]) -> None:
    async with open_node() as node:
        port = node.port()
        with pytest.raises(error, match=r"\[1\]"):
            node.kill(port, "why", element)
        with pytest.raises(error, match=r"\[1\]"):
            port.kill("why", element)
        await wait_all_tasks_blocked()
        assert port.alive


async def test_a_port_in_a_reason_arrives_as_its_id() -> None:
    async with open_node() as node:
        port, other = node.port(), node.port()
        node.kill(port, "why", other)
        reason = await node.wait_death(port)
        assert reason == ("why", str(other))
        assert type(reason[1]) is str


async def test_a_port_may_kill_itself() -> None:
    async with open_node() as node:
        seen: list[object] = []

        def take(number: int) -> None:
            seen.append(number)
            port.kill("enough")

        port = node.port(take)
        node.send(port, 1)
        assert await node.wait_death(port) == ("enough",)
        assert seen == [1]


async def test_an_async_handler_may_kill_its_own_port() -> None:
    async with open_node() as node:
        seen: list[object] = []

        async def take(number: int) -> None:
            seen.append(number)
            port.kill("enough")
            await trio.sleep_forever()

        port = node.port(take)
        node.send(port, 1)
        node.send(port, 2)
        assert await node.wait_death(port) == ("enough",)
        assert seen == [1]


async def test_a_handler_that_fails_after_its_port_has_died_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with open_node() as node:
        port = node.port()

        @port.on("x")
        def take() -> None:
            port.run(fail)
            assert not port.alive
            raise KeyError("second")

        monitor = node.monitor(port, lambda *_: None)
        node.send(port, "x")
        await wait_all_tasks_blocked()
        assert monitor.reason == Died("ValueError: no good")
        assert "second" in caplog.text


async def test_an_async_handler_of_a_port_that_died_meanwhile_is_closed_without_a_warning() -> None:
    async with open_node() as node:
        seen: list[object] = []
        port = node.port()

        async def never() -> None:
            seen.append("ran")

        @port.on("x")
        def take() -> Any:
            port.run(fail)
            return never()

        node.monitor(port, lambda *_: None)
        node.send(port, "x")
        await wait_all_tasks_blocked()
    gc.collect()
    assert not seen


async def test_the_tasks_of_a_dead_port_are_cancelled() -> None:
    async with open_node() as node:
        ended: list[int] = []

        async def task(number: int) -> None:
            try:
                await trio.sleep_forever()
            finally:
                ended.append(number)

        port = node.port()
        for number in range(3):
            port.start_soon(task, number)
        await wait_all_tasks_blocked()
        node.kill(port)
        await wait_all_tasks_blocked()
        assert sorted(ended) == [0, 1, 2]


async def test_a_task_that_raises_cancels_the_other_tasks_of_its_port() -> None:
    async with open_node() as node:
        ended: list[object] = []

        async def task() -> None:
            try:
                await trio.sleep_forever()
            finally:
                ended.append(True)

        port = node.port()
        port.start_soon(task)
        await wait_all_tasks_blocked()
        port.start_soon(fail_later)
        assert await node.wait_death(port) == Died("ValueError: no good")
        assert ended


async def test_monitors_fire_when_the_tasks_have_unwound(autojump_clock: object) -> None:
    async with open_node() as node:
        order: list[str] = []

        async def task() -> None:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(3)
                order.append("unwound")

        port = node.port()
        port.start_soon(task)
        node.monitor(port, lambda *_: order.append("monitor"))
        await trio.sleep(1)
        node.kill(port)
        await trio.sleep(1)
        assert not port.alive
        assert order == []
        await trio.sleep(10)
        assert order == ["unwound", "monitor"]


async def test_a_monitor_set_while_a_dead_port_unwinds_gets_the_reason_of_the_death(autojump_clock: object) -> None:
    async with open_node() as node:

        async def task() -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep(3)

        port = node.port()
        port.start_soon(task)
        await trio.sleep(1)
        node.kill(port, "why")
        await trio.sleep(1)
        assert not port.alive
        assert await node.wait_death(port) == ("why",)


async def test_messages_for_a_port_that_unwinds_are_dropped(autojump_clock: object) -> None:
    async with open_node() as node:
        seen: list[object] = []

        async def task() -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep(3)

        port = node.port(seen.append)
        port.start_soon(task)
        await trio.sleep(1)
        node.kill(port)
        await trio.sleep(1)
        node.send(port, 1)
        node.send(str(port), 2)
        await trio.sleep(10)
        assert not seen


async def test_monitors_fire_after_the_shutdown_timeout_at_the_latest(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_node(shutdown_timeout=7) as node:

        async def task() -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep(100)

        port = node.port()
        port.start_soon(task)
        await trio.sleep(1)
        start = trio.current_time()
        node.kill(port, "why")
        assert await node.wait_death(port) == ("why",)
        assert trio.current_time() - start == pytest.approx(7)
        (record,) = caplog.records
        assert record.name == "trio_mp.port"
        assert record.levelno == logging.WARNING
        assert str(port) in record.getMessage()
        await trio.sleep(200)
        assert len(caplog.records) == 1


async def test_the_last_task_may_end_when_the_shutdown_timeout_is_up(autojump_clock: object) -> None:
    # Both come in one pass of the scheduler when a process goes on that was stopped for longer. Their order is chance.
    async with open_node(shutdown_timeout=7) as node:
        told: list[str] = []

        async def task() -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep_until(start + 7)

        start = trio.current_time()
        ports = [node.port() for _ in range(50)]
        for port in ports:
            port.start_soon(task)
            node.monitor(port, lambda *reason, port=port: told.append(str(port)))
        await wait_all_tasks_blocked()
        for port in ports:
            node.kill(port, "why")
        await trio.sleep(8)
        assert sorted(told) == sorted(map(str, ports))


def unwinding_sends(node: Node, other: Port) -> list[Callable[[], object]]:
    return [
        lambda: node.send(other, 1),
        lambda: node.send(str(other), 1),
        lambda: node.send(node.id, "devnull"),
        lambda: node.send_after(1, other, 1),
        lambda: node.kill(other),
        other.kill,
        lambda: node.monitor(other, lambda *_: None),
        lambda: node.link(other),
        lambda: node.spawn(node.id, "module:function"),
        node.port,
        lambda: node.start_port(trio.sleep),
    ]


@pytest.mark.parametrize("patience", [2, 1000])
async def test_what_the_tasks_of_a_dead_port_try_to_send_raises(patience: float, autojump_clock: object) -> None:
    """Before the monitors have fired, and no less when they could not wait any longer."""
    async with open_node(shutdown_timeout=patience) as node:
        received: list[object] = []
        refused: list[PortDied] = []
        sent: list[object] = []
        other = node.port(received.append)

        async def task() -> None:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(5)
                    for number, use in enumerate(unwinding_sends(node, other)):
                        try:
                            use()
                        except PortDied as error:
                            refused.append(error)
                        else:
                            sent.append(number)
                    try:
                        await node.call(other, 1)
                    except PortDied as error:
                        refused.append(error)

        port = node.port()
        port.start_soon(task)
        await trio.sleep(1)
        node.kill(port, "why")
        await trio.sleep(20)
        assert sent == []
        assert {(error.port, error.reason) for error in refused} == {(str(port), ("why",))}
        assert received == []
        assert other.alive


async def test_others_may_send_while_a_dead_port_unwinds(autojump_clock: object) -> None:
    async with open_node() as node:
        seen: list[object] = []
        receiver = node.port(seen.append)
        relay = node.port(lambda number: node.send(receiver, number))

        async def linger() -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep(3)

        async def task() -> None:
            await trio.sleep(1)
            node.send(receiver, "task")

        port = node.port()
        port.start_soon(linger)
        await trio.sleep(1)
        node.kill(port)
        await trio.sleep(0.1)
        relay.start_soon(task)
        node.send(relay, "handler")
        node.send(receiver, "body")
        await trio.sleep(2)
        assert seen == ["body", "handler", "task"]


async def test_a_task_whose_send_was_refused_is_not_logged_as_an_error(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    """That its own port has died is how it was told to end."""
    async with open_node() as node:
        other = node.port(lambda *_: None)

        async def task() -> None:
            try:
                await trio.sleep_forever()
            finally:
                node.send(other, "bye")

        port = node.port()
        port.start_soon(task)
        await trio.sleep(1)
        node.kill(port)
        await trio.sleep(1)
        assert not caplog.records


async def test_a_task_that_fails_while_it_unwinds_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with open_node() as node:

        async def task() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("no good")

        port = node.port()
        port.start_soon(task)
        await wait_all_tasks_blocked()
        node.kill(port, "why")
        assert await node.wait_death(port) == ("why",)
        assert "no good" in caplog.text


async def test_what_a_supervisor_hears_it_hears_when_resources_are_free_again(autojump_clock: object) -> None:
    async with open_node() as node:
        lock = trio.Lock()
        taken: list[bool] = []

        async def work(port: Port) -> None:
            async with lock:
                try:
                    await port.receive()
                finally:
                    with trio.CancelScope(shield=True):
                        await trio.sleep(1)

        async def supervise(_: Port) -> None:
            for _turn in range(3):
                worker = node.start_port(work)
                await wait_all_tasks_blocked()
                node.send_after(1, worker, "stop")
                await node.wait_death(worker)
                taken.append(lock.locked())

        assert await node.wait_death(node.start_port(supervise)) == ()
        assert taken == [False, False, False]


async def test_nothing_of_a_handlers_failure_is_kept_with_the_dead_port() -> None:
    """Its traceback would keep alive what was in the frames."""

    class Thing:
        pass

    async with open_node() as node:

        def fail_with_a_thing() -> None:
            thing = Thing()
            things.append(weakref.ref(thing))
            raise ValueError("no good")

        for monitored in (True, False):
            things: list[weakref.ref[Thing]] = []
            port = node.port(fail_with_a_thing)
            if monitored:
                node.monitor(port, lambda *_: None)
            logging.disable()
            try:
                node.send(port)
                await wait_all_tasks_blocked()
            finally:
                logging.disable(logging.NOTSET)
            gc.collect()
            assert not port.alive
            assert things[0]() is None, monitored


async def test_a_task_started_on_a_port_that_is_killed_before_it_runs_is_cancelled_at_its_first_checkpoint() -> None:
    async with open_node() as node:
        seen: list[object] = []

        async def task() -> None:
            seen.append("began")
            await trio.lowlevel.checkpoint()
            seen.append("went on")

        port = node.port()
        port.run(fail)
        other = node.port()
        other.start_soon(task)
        other.run(fail)
        node.monitor(other, lambda *_: None)
        await wait_all_tasks_blocked()
        assert seen == ["began"]


async def test_ports_that_die_of_each_other_all_die() -> None:
    async with open_node() as node:
        ports = [node.port() for _ in range(100)]
        for left, right in itertools.pairwise(ports):
            node.link(left, right)
        node.link(ports[-1], ports[0])
        node.kill(ports[0], "why")
        await wait_all_tasks_blocked()
        assert not any(port.alive for port in ports)
        assert not node._runtime.dispatcher.queue


async def test_port_died_says_which_port_and_why() -> None:
    died = PortDied("node#aaaaaaaaaaaaaaaa.1", ("die", "ValueError: no good"))
    assert str(died) == "port node#aaaaaaaaaaaaaaaa.1 died: die: ValueError: no good"


async def test_a_port_with_handlers_alone_that_is_monitored_after_it_died_says_why() -> None:
    """It leaves a gravestone that it shares with others, and a monitor may come before it is buried."""
    async with open_node() as node:
        ports = [node.port() for _ in range(100)]
        fired: list[tuple[int, tuple[object, ...]]] = []

        def fail() -> None:
            for port in ports:
                node._lifecycle.die(port, ("why",))
            for number in (0, 50, 99):
                node.monitor(ports[number], lambda *reason, number=number: fired.append((number, reason)))
            assert not fired

        node.port().run(fail)
        await wait_all_tasks_blocked()
        assert fired == [(number, ("why",)) for number in (0, 50, 99)]
        assert not node._lifecycle.unwinding
        assert not any(port.alive for port in ports)
        with pytest.raises(PortDied, match="why"):
            ports[1].on("a")


async def test_ports_with_handlers_alone_die_without_a_state() -> None:
    async with open_node() as node:
        ports = [node.port(print) for _ in range(100)]
        ports[3].on("a")(print)
    assert len({id(port._state) for port in ports}) == 1
    assert not isinstance(ports[0]._state, PortState | None)
    assert not any(port.alive for port in ports)


async def test_a_port_that_is_retired_without_a_state_gets_none() -> None:
    async with open_node() as node:
        seen: list[object] = []
        port = node.port(seen.append)
        node.send(port, 1)
        node._lifecycle.retire(port)
        assert not port.alive
        assert not isinstance(port._state, PortState | None)
        node.send(port, 2)
        assert (await node.wait_death(port))[0] == "no_such_port"
        node._lifecycle.retire(port)
        assert seen == []
        with pytest.raises(PortDied, match="normally"):
            port.on("a")


async def test_a_message_between_two_deaths_keeps_its_place() -> None:
    async with open_node() as node:
        seen: list[object] = []
        ports = [node.port() for _ in range(3)]
        inbox = node.port(seen.append)
        for number, port in enumerate(ports):
            node.kill(port, number)
        await trio.lowlevel.checkpoint()

        def die_and_send() -> None:
            for number in range(3):
                port = node.port()
                node._lifecycle.die(port, (number,))
                node.monitor(port, lambda number: seen.append(("died", number)))
                node.send(inbox, number)

        node.port().run(die_and_send)
        await wait_all_tasks_blocked()
        assert seen == [("died", 0), 0, ("died", 1), 1, ("died", 2), 2]
