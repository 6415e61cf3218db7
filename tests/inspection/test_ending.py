"""An operator ends a node in good order: it drains, its program stops, or starts again."""

from __future__ import annotations

import logging
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from busy_ports import busy_port
from network_helpers import FakeNetwork, Inbox, Notices, open_pair, open_test_node
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_mp import CallError, Drained, Inspector, Node, stop_on_signals
from trio_mp._node.signals import Stopping

ENDINGS: dict[str, Callable[[Inspector], Awaitable[object]]] = {
    "drain": lambda inspector: inspector.drain(),
    "stop": lambda inspector: inspector.stop(),
    "restart": lambda inspector: inspector.restart(force=True),
}


@asynccontextmanager
async def operator_and_node(**settings: Any) -> AsyncGenerator[tuple[Node, str], None]:
    """An operator's node, and the name of another one, which runs until it is stopped. Its end is in the log."""
    network = FakeNetwork()
    async with open_test_node(network, "a") as a, trio.open_nursery() as nursery:
        opened = trio.Event()

        async def serve() -> None:
            async with open_test_node(network, "b", seeds=["a"], inspect="act", **settings) as b, stop_on_signals(b):
                busy_port(b, 5)
                opened.set()
                await trio.sleep_forever()

        nursery.start_soon(serve)
        await opened.wait()
        yield a, "b"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
async def test_who_may_only_read_ends_nothing(
    ending: Callable[[Inspector], Awaitable[object]], autojump_clock: MockClock
) -> None:
    async with open_pair(FakeNetwork(), inspect="read") as (a, b), stop_on_signals(b) as stopping:
        with pytest.raises(CallError, match=r"needs inspect='act' on b, whose setting `inspect` is 'read'") as raised:
            await ending(a.inspect("b"))
        assert raised.value.type_name == "refused"
        assert not b.draining.is_set()
        assert not stopping.begun.is_set()


async def test_an_operator_drains_a_node_which_goes_on_running(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_pair(FakeNetwork(), inspect="act") as (a, b), trio.open_nursery() as nursery:
        port, answers = busy_port(b, 5), []

        async def call() -> None:
            answers.append(await a.call(port, "work", reply=str))

        nursery.start_soon(call)
        await wait_all_tasks_blocked()
        caplog.clear()
        start = trio.current_time()
        assert await a.inspect("b").drain() == Drained()
        assert trio.current_time() - start == pytest.approx(5, abs=1)
        assert answers == ["done"]
        assert b.draining.is_set()
        # The question itself is none of the calls that are waited for. And once more, it is answered at once.
        assert await a.inspect("b").drain() == Drained()
        texts = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert texts == ["a has the node drain"] * 2


async def test_who_waits_no_longer_leaves_the_node_draining(autojump_clock: MockClock) -> None:
    async with open_pair(FakeNetwork(), inspect="act") as (a, b):
        a.send(busy_port(b, 1000), "work")
        await wait_all_tasks_blocked()
        with trio.move_on_after(3) as scope:
            await a.inspect("b").drain()
        assert scope.cancelled_caught
        assert b.draining.is_set()


async def test_a_node_whose_program_takes_no_part_is_not_stopped(autojump_clock: MockClock) -> None:
    async with open_pair(FakeNetwork(), inspect="act") as (a, b):
        for end in (a.inspect("b").stop(), a.inspect("b").restart()):
            with pytest.raises(CallError, match=r"not in a block of stop_on_signals\(\)") as raised:
                await end
            assert raised.value.type_name == "refused"
        # Nor if it did, and does no more.
        async with stop_on_signals(b):
            pass
        with pytest.raises(CallError, match=r"not in a block of stop_on_signals\(\)"):
            await a.inspect("b").stop()
        assert not b.draining.is_set()


async def test_an_operator_stops_a_program_and_has_the_answer_before_the_node_closes(autojump_clock: MockClock) -> None:
    async with open_pair(FakeNetwork(), inspect="act") as (a, b):
        b.send(busy_port(b, 5), "work")
        await wait_all_tasks_blocked()
        inspector, start = a.inspect("b"), trio.current_time()
        drained: list[Drained] = []

        async def stop() -> None:
            drained.append(await inspector.stop())

        async with trio.open_nursery() as nursery, stop_on_signals(b) as stopping:
            nursery.start_soon(stop)
            nursery.start_soon(stop)
            await trio.sleep_forever()
        assert trio.current_time() - start == pytest.approx(5, abs=1)
        assert drained == [Drained(), Drained()]
        assert stopping.cause == "stop by a"


async def test_the_node_closes_behind_the_answer(autojump_clock: MockClock) -> None:
    async with operator_and_node() as (a, name):
        told = Notices()
        a.monitor(name, told)
        assert await a.inspect(name).stop() == Drained()
        assert (await told.wait())[0] in ("node_closed", "transport_error")


async def test_what_was_unfinished_is_in_the_answer(autojump_clock: MockClock) -> None:
    async with open_pair(FakeNetwork(), inspect="act", drain_timeout=2) as (a, b):
        port = busy_port(b, 1000)
        a.send(port, "work")
        await wait_all_tasks_blocked()
        found: list[Drained] = []

        async def stop() -> None:
            found.append(await a.inspect("b").stop())

        async with trio.open_nursery() as nursery, stop_on_signals(b) as stopping:
            nursery.start_soon(stop)
            await trio.sleep_forever()
        (drained,) = found
        (unfinished,) = drained.unfinished
        assert unfinished.port == port
        assert stopping.exit_status == 1


# Starting again ------------------------------------------------------------------------------------------------------


async def test_nobody_would_start_it_again(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("INVOCATION_ID", "NOTIFY_SOCKET", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    async with open_pair(FakeNetwork(), inspect="act") as (a, b), stop_on_signals(b):
        with pytest.raises(CallError, match="nobody is known who would start b again") as raised:
            await a.inspect("b").restart()
        assert raised.value.type_name == "refused"
        assert not b.draining.is_set()
        with pytest.raises(TypeError, match="expected force to be a bool"):
            await a.inspect("b").restart(force=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("force", [False, True])
async def test_a_node_that_is_to_start_again_closes_and_then_leaves_by_status_75(
    force: bool, autojump_clock: MockClock
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") as a, trio.open_nursery() as nursery:
        answers: list[Drained] = []
        inbox = Inbox(a)

        async def restart() -> None:
            answers.append(await a.inspect("b").restart(force=force))

        async def serve() -> None:
            async with open_test_node(network, "b", seeds=["a"], inspect="act") as b:
                async with Stopping(b, b.drain, seconds=9, restarter="" if force else "the test") as stopping:
                    nursery.start_soon(restart)
                    await trio.sleep_forever()
                assert stopping.exit_status == 75
                b.send(inbox.port, "last words")

        with pytest.raises(SystemExit) as raised:
            await serve()
        assert raised.value.code == 75
        assert answers == [Drained()]
        assert inbox.messages == [("last words",)], "it has closed in good order"


async def test_a_program_that_fails_meanwhile_fails(autojump_clock: MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") as a, trio.open_nursery() as nursery:

        async def restart() -> None:
            await a.inspect("b").restart(force=True)

        async def serve() -> None:
            async with open_test_node(network, "b", seeds=["a"], inspect="act") as b, stop_on_signals(b):
                nursery.start_soon(restart)
                try:
                    await trio.sleep_forever()
                finally:
                    raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await serve()


async def test_a_program_that_stops_already_is_not_started_again(autojump_clock: MockClock) -> None:
    async with open_pair(FakeNetwork(), inspect="act", drain_timeout=3) as (a, b), trio.open_nursery() as nursery:
        b.send(busy_port(b, 1000), "work")
        await wait_all_tasks_blocked()

        async def stop() -> None:
            await a.inspect("b").stop()

        async with stop_on_signals(b):
            nursery.start_soon(stop)
            await b.draining.wait()
            with pytest.raises(CallError, match="b stops already, because of stop by a"):
                await a.inspect("b").restart(force=True)
            await trio.sleep_forever()


async def test_a_signal_after_an_operator_is_the_first_one(autojump_clock: MockClock) -> None:
    async with open_pair(FakeNetwork(), inspect="act") as (a, b), trio.open_nursery() as nursery:
        b.send(busy_port(b, 6), "work")
        await wait_all_tasks_blocked()

        async def stop() -> None:
            await a.inspect("b").stop()

        async with stop_on_signals(b) as stopping:
            nursery.start_soon(stop)
            await b.draining.wait()
            # As a service manager does that stops a process which an operator has told to stop.
            signal.raise_signal(signal.SIGTERM)
            await trio.sleep_forever()
        assert not stopping.cut_short
