"""`stop_on_signals`: what follows the first signal and the second one, and what handlers there are afterwards."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio
from busy_ports import busy_port
from network_helpers import FakeNetwork, Inbox, Notices, open_pair, open_test_node
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_mp import Node, Port, Stopping, open_node, stop_on_signals
from trio_mp._node.signals import STOPPING_PROCESS, StoppingProcess, manager_of

both_signals = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])


def handlers() -> tuple[object, object]:
    return signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)


@pytest.fixture(autouse=True)
def same_handlers() -> Iterator[None]:
    """However a test ends, the handlers of this process are those that were there before."""
    before = handlers()
    yield
    after = handlers()
    for number, handler in zip((signal.SIGTERM, signal.SIGINT), before, strict=True):
        signal.signal(number, handler)  # type: ignore[arg-type]
    assert after == before
    assert not STOPPING_PROCESS.hears


@asynccontextmanager
async def pair_with_a_call(seconds: float, **settings: Any) -> AsyncGenerator[tuple[Node, list[object]], None]:
    """A node with a call in flight, which takes so long, and what the other node gets as the answer."""
    async with open_pair(FakeNetwork(), **settings) as (a, b), trio.open_nursery() as nursery:
        answers: list[object] = []

        async def call() -> None:
            answers.append(await a.call(port, "work", reply=str))

        port = busy_port(b, seconds)
        nursery.start_soon(call)
        await wait_all_tasks_blocked()
        try:
            yield b, answers
        except trio.Cancelled as cancelled:
            # A nursery would take it for its own, and what the test checks behind it would never be looked at.
            raise AssertionError("expected the block of the test to end, got a cancellation") from cancelled
        nursery.cancel_scope.cancel()


# One signal ----------------------------------------------------------------------------------------------------------


@both_signals
async def test_the_first_signal_drains_cancels_the_block_and_the_program_goes_on(
    number: int, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trio_mp")
    async with pair_with_a_call(10) as (node, answers):
        unwound = False
        start = trio.current_time()
        async with stop_on_signals(node) as stopping:
            signal.raise_signal(number)
            try:
                await trio.sleep_forever()
            finally:
                unwound = True
        assert unwound
        assert answers == ["done"], "the call was answered before"
        assert trio.current_time() - start == pytest.approx(10, abs=1)
        assert stopping.cause == signal.Signals(number).name
        assert (stopping.unfinished, stopping.cut_short, stopping.exit_status) == ((), False, 0)
        # The node is open still: what is behind the block may use it.
        assert await node.call(node.id, "info") == ("b",)
    told = [record.getMessage() for record in caplog.records if record.__dict__.get("event") == "stopping"]
    assert told == [f"{stopping.cause}: the node b drains, for at most 25 s"]


async def test_when_the_time_is_up_the_log_names_what_was_unfinished(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with pair_with_a_call(100, drain_timeout=7) as (node, answers):
        start = trio.current_time()
        async with stop_on_signals(node) as stopping:
            signal.raise_signal(signal.SIGTERM)
            await trio.sleep_forever()
        assert trio.current_time() - start == pytest.approx(7)
        assert not answers
        assert (stopping.cut_short, stopping.exit_status) == (True, 1)
        (unfinished,) = stopping.unfinished
        (warning,) = [record.getMessage() for record in caplog.records if record.__dict__.get("event") == "stopping"]
        assert warning == f"the node b was cut short while it drained; unfinished: {unfinished}"
        assert unfinished.port.startswith("b#")


async def test_the_log_names_ten_ports_and_how_many_more(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_test_node(FakeNetwork(), "a", drain_timeout=1) as node:
        for _ in range(13):
            port = node.port()
            port.on("work")(trio.sleep_forever)
            node.send(port, "work")
        await wait_all_tasks_blocked()
        async with stop_on_signals(node) as stopping:
            signal.raise_signal(signal.SIGTERM)
            await trio.sleep_forever()
        assert len(stopping.unfinished) == 13
        (warning,) = [record.getMessage() for record in caplog.records if record.__dict__.get("event") == "stopping"]
        assert warning.endswith("; and 3 more")
        assert warning.count("a#") == 10


async def test_sigint_has_its_own_handler_again_at_once(autojump_clock: MockClock) -> None:
    before = handlers()
    async with open_node() as node, stop_on_signals(node):
        ours, also_ours = handlers()
        assert ours == also_ours != before[1]
        # Trio has had no turn yet, as in a program that blocks it.
        signal.raise_signal(signal.SIGTERM)
        assert handlers() == (ours, before[1])
        await trio.sleep_forever()


def test_a_second_ctrl_c_interrupts() -> None:
    async def interrupted_twice(node: Node) -> None:
        async with stop_on_signals(node):
            signal.raise_signal(signal.SIGINT)
            await trio.sleep(1)
            signal.raise_signal(signal.SIGINT)
            await trio.sleep_forever()

    async def main() -> None:
        before = signal.getsignal(signal.SIGINT)
        async with pair_with_a_call(1000, drain_timeout=500) as (node, _):
            with pytest.raises(KeyboardInterrupt):
                await interrupted_twice(node)
            assert signal.getsignal(signal.SIGINT) is before

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_a_second_sigterm_cancels_now_and_a_third_one_is_no_more_ours(autojump_clock: MockClock) -> None:
    before = handlers()
    async with pair_with_a_call(1000, drain_timeout=500) as (node, _):
        start = trio.current_time()
        async with stop_on_signals(node) as stopping:
            signal.raise_signal(signal.SIGTERM)
            await trio.sleep(3)
            assert node.draining.is_set()
            signal.raise_signal(signal.SIGTERM)
            assert handlers() == before
            await trio.sleep_forever()
        assert trio.current_time() - start == 3
        assert stopping.cut_short
        assert len(stopping.unfinished) == 1


async def test_two_signals_before_trio_has_its_turn_cut_the_drain_short(autojump_clock: MockClock) -> None:
    async with pair_with_a_call(1000) as (node, _):
        start = trio.current_time()
        async with stop_on_signals(node) as stopping:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
            await trio.sleep_forever()
        assert trio.current_time() == start
        assert stopping.cut_short


# What handlers there are afterwards ----------------------------------------------------------------------------------


async def test_nothing_comes_and_the_handlers_are_restored(autojump_clock: MockClock) -> None:
    before = handlers()
    async with open_node() as node:
        async with stop_on_signals(node) as stopping:
            assert handlers() != before
            await trio.sleep(1)
        assert handlers() == before
        assert not stopping.begun.is_set()
        assert stopping.exit_status == 0
        # An exception leaves the block as it is.
        with pytest.raises(ZeroDivisionError):
            async with stop_on_signals(node):
                raise ZeroDivisionError
        assert handlers() == before
        # Another scope's cancellation is not swallowed, and nothing is drained.
        with trio.move_on_after(1) as scope:
            async with stop_on_signals(node):
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert handlers() == before
        assert not node.draining.is_set()


async def test_a_handler_that_the_program_has_set_meanwhile_stays(autojump_clock: MockClock) -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        async with open_node() as node, stop_on_signals(node):
            signal.signal(signal.SIGTERM, own := lambda *_: None)
        assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)


@both_signals
async def test_a_signal_while_the_last_block_is_left_comes_again_to_the_handler_from_before(
    number: int, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[int] = []
    before = signal.signal(number, lambda got, _: heard.append(got))
    try:
        async with open_node() as node:
            # Before the block has let go of the signals, and when it has forgotten itself already.
            for place in ("settle", "_stop_hearing"):
                original = getattr(STOPPING_PROCESS, place)

                def signalled(original: Callable[[], None] = original) -> None:
                    signal.raise_signal(number)
                    original()

                with monkeypatch.context() as patched:
                    async with stop_on_signals(node) as stopping:
                        patched.setattr(STOPPING_PROCESS, place, signalled)
                assert heard == [number]
                heard.clear()
                await trio.sleep(1)
                assert not stopping.begun.is_set()
            async with stop_on_signals(node) as stopping:
                leave = stopping._leave

                def leave_late() -> None:
                    signal.raise_signal(number)
                    leave()

                stopping._leave = leave_late  # type: ignore[method-assign]
            assert heard == [number]
            # What the signal had Trio do comes too late, and nothing is left of it.
            await trio.sleep(1)
            async with stop_on_signals(node) as stopping:
                await trio.sleep(1)
            assert not stopping.begun.is_set()
            assert not node.draining.is_set()
    finally:
        signal.signal(number, before)


async def test_a_forked_child_ends_by_sigterm(autojump_clock: MockClock) -> None:
    async with open_node() as node:
        with STOPPING_PROCESS.hearing():
            async with stop_on_signals(node) as stopping:
                child = os.fork()
                if not child:
                    # Nothing may leave this function in the child: it would go on with the tests.
                    with suppress(BaseException):
                        signal.raise_signal(signal.SIGTERM)
                    os._exit(3)
                _, status = os.waitpid(child, 0)  # noqa: ASYNC222 - it ends at once
                assert os.WIFSIGNALED(status)
                assert os.WTERMSIG(status) == signal.SIGTERM
                assert STOPPING_PROCESS.hears
                await trio.sleep(1)
                assert not stopping.begun.is_set()


def test_a_child_forgets_the_blocks() -> None:
    before = handlers()

    async def main() -> None:
        within = handlers()
        with STOPPING_PROCESS.hearing():
            async with open_node() as node, stop_on_signals(node):
                # As in a child, which may unwind all blocks.
                STOPPING_PROCESS.forget()
                assert handlers() == within
                assert not STOPPING_PROCESS.hears
        assert not STOPPING_PROCESS.hears

    trio.run(main)
    assert handlers() == before


async def test_nothing_begins_when_nobody_hears(autojump_clock: MockClock) -> None:
    STOPPING_PROCESS.begin("an operator")
    async with open_node() as node, stop_on_signals(node) as stopping:
        await trio.sleep(1)
    # Behind the block: one that has begun to stop is cancelled, with all that it would assert.
    assert not stopping.begun.is_set()


async def test_an_ignored_sigint_stays_ignored(autojump_clock: MockClock) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        async with open_node() as node, stop_on_signals(node) as stopping:
            signal.raise_signal(signal.SIGINT)
            await trio.sleep(1)
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        assert not stopping.begun.is_set()
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_than_the_main_thread_is_refused() -> None:
    before, errors = handlers(), []

    async def main() -> None:
        async with open_node() as node:
            try:
                async with stop_on_signals(node):
                    raise AssertionError("expected an error")
            except RuntimeError as error:
                errors.append(str(error))

    thread = threading.Thread(target=trio.run, args=(main,), name="another")
    thread.start()
    thread.join()
    (error,) = errors
    assert error.startswith("stop_on_signals(): expected the main thread, which alone gets signals, got the thread ano")
    assert handlers() == before


async def test_a_closed_node_and_a_block_that_is_entered_again(autojump_clock: MockClock) -> None:
    async with open_node() as node, stop_on_signals(node) as stopping:
        with pytest.raises(RuntimeError, match="a block is entered once"):
            async with stopping:
                pass
    with pytest.raises(trio.ClosedResourceError):
        async with stop_on_signals(node):
            pass


class Interrupted:
    """Raises SIGINT at the so-manieth line of some functions."""

    def __init__(self, place: int, functions: tuple[Callable[..., Any], ...]) -> None:
        self.came = False
        self._left = place
        self._codes = {function.__code__ for function in functions}

    def trace(self, frame: Any, event: str, argument: object) -> Any:
        return self._step if frame.f_code in self._codes else None

    def _step(self, frame: Any, event: str, argument: object) -> Any:
        self._left -= 1
        if not self._left:
            self.came = True
            signal.raise_signal(signal.SIGINT)
        return self._step


def test_an_interrupt_at_any_line_leaves_the_handlers_as_they_were() -> None:
    functions = (
        *(Stopping.__aenter__, Stopping.__aexit__, Stopping._leave, StoppingProcess.enter, StoppingProcess.leave),
        *(StoppingProcess._hear, StoppingProcess._stop_hearing, StoppingProcess._restore),
    )
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        expected, place, interrupts = handlers(), 0, Interrupted(0, functions)

        async def main() -> None:
            async with open_node() as node:
                sys.settrace(interrupts.trace)
                try:
                    async with stop_on_signals(node):
                        await trio.sleep(1)
                finally:
                    sys.settrace(None)

        while not place or interrupts.came:
            place += 1
            interrupts = Interrupted(place, functions)
            # Either Trio's handler raises it, or ours has the block cancelled.
            try:
                trio.run(main, clock=MockClock(autojump_threshold=0))
            except KeyboardInterrupt:
                assert interrupts.came
            assert handlers() == expected
            assert not STOPPING_PROCESS.hears
        assert place > 40
    finally:
        signal.signal(signal.SIGINT, before)


# Several blocks ------------------------------------------------------------------------------------------------------


async def test_all_nodes_of_the_process_drain_before_the_first_block_is_cancelled(autojump_clock: MockClock) -> None:
    async with open_pair(FakeNetwork()) as (a, b):
        ports = {"a": busy_port(a, 2), "b": busy_port(b, 8)}
        a.send(ports["a"], "work")
        b.send(ports["b"], "work")
        await wait_all_tasks_blocked()
        start = trio.current_time()
        async with stop_on_signals(a) as outer:
            async with stop_on_signals(b) as inner:
                signal.raise_signal(signal.SIGTERM)
                await outer.over.wait()
                assert trio.current_time() - start == pytest.approx(2, abs=0.2)
                await trio.sleep_forever()
            await trio.sleep_forever()
        assert trio.current_time() - start == pytest.approx(8, abs=0.2)
    assert (outer.cut_short, inner.cut_short) == (False, False)


async def test_a_node_inside_another_closes_in_good_order_although_both_are_cancelled(
    autojump_clock: MockClock,
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") as watcher:
        inbox, told = Inbox(watcher), Notices()
        async with open_test_node(network, "b", seeds=["a"]) as outer, stop_on_signals(outer):
            async with open_test_node(network, "c", seeds=["a"]) as inner, stop_on_signals(inner):
                watcher.monitor(inner.port(), told)
                await inner.call("a", "info")
                signal.raise_signal(signal.SIGTERM)
                try:
                    # Its cancellation is a group.
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(trio.sleep_forever)
                        await trio.sleep_forever()
                finally:
                    inner.send(inbox.port, "last words")
            await trio.sleep_forever()
        assert inbox.messages == [("last words",)]
        assert (await told.wait())[0] == "node_closed"


async def test_two_blocks_for_one_node_drain_it_once(autojump_clock: MockClock) -> None:
    async with pair_with_a_call(4) as (node, answers):
        async with stop_on_signals(node) as outer:
            async with stop_on_signals(node) as inner:
                signal.raise_signal(signal.SIGTERM)
                await trio.sleep_forever()
            await trio.sleep_forever()
        assert answers == ["done"]
        assert outer.over.is_set()
        assert inner.over.is_set()


async def test_blocks_that_are_left_in_another_order(autojump_clock: MockClock) -> None:
    before = handlers()
    async with open_node() as node:
        first, second = stop_on_signals(node), stop_on_signals(node)
        left = trio.Event()

        async def hold(task_status: Any) -> None:
            async with first:
                task_status.started()
                await left.wait()

        async with trio.open_nursery() as nursery:
            await nursery.start(hold)
            async with second as stopping:
                left.set()
                await wait_all_tasks_blocked()
                assert handlers() != before, "the second block hears on"
                signal.raise_signal(signal.SIGTERM)
                await trio.sleep_forever()
        assert stopping.over.is_set()
        assert handlers() == before


@pytest.mark.parametrize("when", ["before", "meanwhile"])
async def test_a_block_that_outlives_its_node_holds_no_other_one(when: str, autojump_clock: MockClock) -> None:
    leaves = trio.Event()

    async def run_node(task_status: Any) -> None:
        async with open_node("short") as short:
            port = busy_port(short, 1000)
            short.send(port, "work")
            task_status.started(short)
            await leaves.wait()

    async with pair_with_a_call(4) as (node, answers), trio.open_nursery() as nursery:
        short = await nursery.start(run_node)
        start = trio.current_time()
        async with stop_on_signals(short) as outer:
            async with stop_on_signals(node) as inner:
                if when == "before":
                    leaves.set()
                    await wait_all_tasks_blocked()
                signal.raise_signal(signal.SIGTERM)
                await trio.sleep(1)
                leaves.set()
                with trio.fail_after(100):
                    await trio.sleep_forever()
            await trio.sleep_forever()
        assert answers == ["done"]
        assert trio.current_time() - start == pytest.approx(4, abs=0.5)
        assert outer.over.is_set()
        assert (inner.cut_short, inner.exit_status) == (False, 0)


async def test_a_block_whose_node_has_closed_is_cancelled_when_a_signal_comes(autojump_clock: MockClock) -> None:
    leaves = trio.Event()

    async def run_node(task_status: Any) -> None:
        async with open_node("short") as short:
            task_status.started(short)
            await leaves.wait()

    async with trio.open_nursery() as nursery:
        short = await nursery.start(run_node)
        async with stop_on_signals(short) as stopping:
            leaves.set()
            await wait_all_tasks_blocked()
            assert not stopping.over.is_set()
            signal.raise_signal(signal.SIGTERM)
            with trio.fail_after(100):
                await trio.sleep_forever()
        assert stopping.cause == "SIGTERM"


async def test_a_block_that_is_entered_while_others_drain_drains_at_once(autojump_clock: MockClock) -> None:
    async with pair_with_a_call(5) as (node, answers), stop_on_signals(node):
        signal.raise_signal(signal.SIGTERM)
        await node.draining.wait()
        async with open_node() as late, stop_on_signals(late) as stopping:
            await late.draining.wait()
            await trio.sleep_forever()
        assert stopping.cause == "SIGTERM"
    assert answers == ["done"]


async def test_a_signal_while_a_command_opens_its_node(autojump_clock: MockClock) -> None:
    with STOPPING_PROCESS.hearing() as opening, opening:
        signal.raise_signal(signal.SIGTERM)
        async with open_node(seeds=["unix:/nobody"], secret="at least 16 bytes", attach_timeout=1000):
            raise AssertionError("expected a node that waits")
    assert opening.cancelled_caught


async def test_a_signal_while_a_command_closes_its_node(autojump_clock: MockClock) -> None:
    with STOPPING_PROCESS.hearing() as opening, opening:
        async with open_node() as node:
            async with stop_on_signals(node):
                pass
            signal.raise_signal(signal.SIGTERM)
            await trio.sleep(1)
        # Nothing was cut.
        await trio.sleep(1)
    assert not opening.cancelled_caught


async def test_a_block_that_is_entered_after_a_signal_drains_at_once(autojump_clock: MockClock) -> None:
    with STOPPING_PROCESS.hearing():
        signal.raise_signal(signal.SIGTERM)
        async with open_node() as node, stop_on_signals(node) as stopping:
            await trio.sleep_forever()
        assert (stopping.cause, stopping.exit_status) == ("SIGTERM", 0)


async def test_another_scope_that_cancels_the_block_while_it_drains_cuts_it_short(autojump_clock: MockClock) -> None:
    async with pair_with_a_call(100) as (node, _):
        with trio.move_on_after(3) as scope:
            async with stop_on_signals(node) as stopping:
                signal.raise_signal(signal.SIGTERM)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(trio.sleep_forever)
                    await trio.sleep_forever()
        assert scope.cancelled_caught
        assert (stopping.cut_short, stopping.exit_status) == (True, 1)
        assert any(each.port.startswith("b#") for each in stopping.unfinished)


async def test_a_reader_that_is_gone_does_not_end_the_node(autojump_clock: MockClock) -> None:
    def tell(_: str) -> None:
        raise BrokenPipeError

    async with open_node() as node:
        async with Stopping(node, node.drain, seconds=1, tell=tell) as stopping:
            signal.raise_signal(signal.SIGTERM)
            await trio.sleep_forever()
        assert (stopping.cut_short, stopping.exit_status) == (False, 0)


async def test_a_program_that_ends_by_itself_while_it_drains_waits_for_the_drain(autojump_clock: MockClock) -> None:
    async with pair_with_a_call(10) as (node, answers):
        async with stop_on_signals(node) as stopping:
            signal.raise_signal(signal.SIGTERM)
            await node.draining.wait()
        assert answers == ["done"]
        assert (stopping.over.is_set(), stopping.cut_short, stopping.unfinished) == (True, False, ())


async def test_the_wait_for_the_drain_ends_when_its_time_is_up(autojump_clock: MockClock) -> None:
    async with pair_with_a_call(100, drain_timeout=7) as (node, _):
        start = trio.current_time()
        async with stop_on_signals(node) as stopping:
            signal.raise_signal(signal.SIGTERM)
            await node.draining.wait()
        assert trio.current_time() - start == pytest.approx(7)
        assert (stopping.cut_short, stopping.exit_status) == (True, 1)
        assert any(each.port.startswith("b#") for each in stopping.unfinished)


@pytest.mark.parametrize("ended_by", ["a second signal", "a cancellation"])
async def test_the_wait_for_the_drain_can_be_ended(ended_by: str, autojump_clock: MockClock) -> None:
    before = handlers()
    async with pair_with_a_call(1000, drain_timeout=500) as (node, _), trio.open_nursery() as nursery:
        start = trio.current_time()

        async def end() -> None:
            await trio.sleep(3)
            if ended_by == "a second signal":
                signal.raise_signal(signal.SIGTERM)
            else:
                nursery.cancel_scope.cancel()

        nursery.start_soon(end)
        async with stop_on_signals(node) as stopping:
            signal.raise_signal(signal.SIGTERM)
            await node.draining.wait()
    assert nursery.cancel_scope.cancelled_caught == (ended_by == "a cancellation")
    assert trio.current_time() - start == 3
    assert stopping.cut_short
    assert handlers() == before


def test_a_second_ctrl_c_interrupts_the_wait_for_the_drain() -> None:
    async def interrupted(node: Node) -> Stopping:
        async with trio.open_nursery() as nursery:

            async def interrupt() -> None:
                await trio.sleep(3)
                signal.raise_signal(signal.SIGINT)

            nursery.start_soon(interrupt)
            async with stop_on_signals(node) as stopping:
                signal.raise_signal(signal.SIGINT)
                await node.draining.wait()
        return stopping

    async def main() -> None:
        before = signal.getsignal(signal.SIGINT)
        async with pair_with_a_call(1000, drain_timeout=500) as (node, _):
            start = trio.current_time()
            with pytest.raises(BaseExceptionGroup) as caught:
                await interrupted(node)
            assert caught.value.split(KeyboardInterrupt)[1] is None
            assert trio.current_time() - start == 3
            assert signal.getsignal(signal.SIGINT) is before

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_an_exception_does_not_wait_for_the_drain(autojump_clock: MockClock) -> None:
    async def fail_while_it_drains(stopping: Any) -> None:
        async with stopping:
            signal.raise_signal(signal.SIGTERM)
            await node.draining.wait()
            raise ZeroDivisionError

    async with pair_with_a_call(100) as (node, _):
        start, stopping = trio.current_time(), stop_on_signals(node)
        assert isinstance(stopping, Stopping)
        with pytest.raises(ZeroDivisionError):
            await fail_while_it_drains(stopping)
        assert trio.current_time() == start
        assert (stopping.over.is_set(), stopping.cut_short) == (True, True)
        assert any(each.port.startswith("b#") for each in stopping.unfinished)


async def fail_in_the_drain(port: Port, task_status: trio.TaskStatus[None]) -> None:
    task_status.started()
    await port.node.draining.wait()
    raise ValueError("unlucky")


async def test_a_child_that_is_not_restarted_does_not_cut_the_drain_short(autojump_clock: MockClock) -> None:
    """The tutorial's program: it waits for its supervisor, whose only child dies while the node drains."""
    async with pair_with_a_call(10) as (node, answers):
        async with stop_on_signals(node) as stopping, node.open_supervisor() as supervisor:
            await supervisor.start(fail_in_the_drain)
            signal.raise_signal(signal.SIGTERM)
            await supervisor.wait()
        assert answers == ["done"]
        assert not stopping.cut_short


async def test_a_child_that_is_not_restarted_does_not_end_the_supervisor_around_its_own(
    autojump_clock: MockClock,
) -> None:
    async def answer_late(port: Port, task_status: trio.TaskStatus[None]) -> None:
        @port.on("work", reply=True)
        async def work() -> str:
            await trio.sleep(10)
            return "done"

        task_status.started()
        await trio.sleep_forever()

    answers: list[object] = []

    async def call() -> None:
        answers.append(await node.call(child, "work", reply=str))

    async with (
        open_node() as node,
        trio.open_nursery() as nursery,
        stop_on_signals(node) as stopping,
        node.open_supervisor() as outer,
    ):
        child = await outer.start(answer_late)
        nursery.start_soon(call)
        async with node.open_supervisor() as inner:
            await inner.start(fail_in_the_drain)
            await wait_all_tasks_blocked()
            signal.raise_signal(signal.SIGTERM)
            await inner.wait()
    # Behind the nursery, which would take a cancellation that leaves the block for its own.
    assert answers == ["done"]
    assert not stopping.cut_short


@pytest.mark.parametrize("event", ["begun", "over"])
async def test_a_block_may_be_left_as_soon_as_it_is_over(event: str) -> None:
    for _ in range(5):
        async with open_node() as node:
            try:
                async with stop_on_signals(node) as stopping:
                    signal.raise_signal(signal.SIGTERM)
                    await getattr(stopping, event).wait()
            except trio.Cancelled as cancelled:
                raise AssertionError("expected the block to end, got a cancellation") from cancelled
            assert stopping.over.is_set()
            assert not stopping.cut_short


# Who starts a process again ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "environ, manager",
    [
        ({}, ""),
        ({"INVOCATION_ID": "0"}, "systemd"),
        ({"NOTIFY_SOCKET": "@x"}, "systemd"),
        ({"INVOCATION_ID": "0", "SYSTEMD_EXEC_PID": str(os.getpid())}, "systemd"),
        # A shell in a terminal that is a service of the user's session, and all that is started there.
        ({"INVOCATION_ID": "0", "SYSTEMD_EXEC_PID": "1"}, ""),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "Kubernetes"),
        ({"SLURM_JOB_ID": "7"}, ""),
    ],
)
def test_who_starts_a_process_again(environ: dict[str, str], manager: str) -> None:
    assert manager_of(environ) == manager


def test_the_first_process_of_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert manager_of({}) == "the container"
