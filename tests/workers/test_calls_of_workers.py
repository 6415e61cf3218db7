"""Calls of functions in workers: values, failures, cancellation, and who gets which task."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import worker_functions as functions
from trio.testing import assert_checkpoints
from watched_nodes import until, warnings_in
from worker_helpers import Rig, open_rig, outcome_of, serving

from trio_mp import WorkerError, WorkerLost
from trio_mp._workers import pool as pool_module
from trio_mp._workers.assignment import MOST_AHEAD


@pytest.mark.parametrize("function", [functions.echo, functions.echo_async])
async def test_a_call_returns_what_the_function_does(function: Any) -> None:
    async with open_rig() as rig:
        assert await rig.workers.run(function) == []
        assert await rig.workers.run(function, 1, "two", None, b"four", {"five": (6,)}) == [
            *(1, "two", None, b"four", {"five": [6]}),
        ]


async def test_a_call_is_a_checkpoint() -> None:
    async with open_rig() as rig:
        with assert_checkpoints():
            await rig.workers.run(functions.empty)


async def test_calls_at_the_same_time_get_their_own_results() -> None:
    async with open_rig() as rig:
        results: dict[int, object] = {}

        async def call(number: int) -> None:
            results[number] = await rig.workers.run(functions.double, number)

        async with trio.open_nursery() as nursery:
            for number in range(300):
                nursery.start_soon(call, number)
        assert results == {number: 2 * number for number in range(300)}


async def test_async_functions_run_at_the_same_time(autojump_clock: trio.testing.MockClock) -> None:
    async with open_rig(2) as rig:
        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(rig.workers.run, functions.wait, 10)
        assert trio.current_time() - start < 11


async def test_tasks_go_to_the_least_busy(autojump_clock: trio.testing.MockClock) -> None:
    async with open_rig(3) as rig, trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(rig.workers.run, functions.wait_for_ever)
        await until(lambda: [worker.load.tasks for worker in rig.pool.workers] == [10, 10, 10])
        nursery.cancel_scope.cancel()
    assert not rig.pool._unfinished


async def test_a_worker_has_one_long_sync_task_and_the_others_wait_here() -> None:
    async with open_rig(2) as rig, trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(rig.workers.run, functions.sleep, 0.06)
        most = 0
        while rig.pool._unfinished or not most:
            await trio.sleep(0.005)
            most = max(most, *[worker.load.sync_tasks for worker in rig.pool.workers])
    assert most == 1


async def test_short_tasks_travel_together() -> None:
    async with open_rig(1) as rig, trio.open_nursery() as nursery:
        rig.pool._durations.learn("worker_functions:sleep", 10e-6)
        for _ in range(1000):
            nursery.start_soon(rig.workers.run, functions.sleep, 0.001)
        load = rig.pool.workers[0].load
        counts: list[int] = []

        def counted() -> int:
            counts.append(load.sync_tasks)
            return counts[-1]

        # As fast as the tasks may end: a look may come between the end of one and the next, and seldom while others use
        # all cores. So there are many.
        await until(lambda: counted() == MOST_AHEAD)
        await until(lambda: counted() == 0)
        assert max(counts) == MOST_AHEAD


async def test_tasks_behind_a_long_one_are_called_back(tmp_path: Path) -> None:
    # The function was quick so far, so several are sent at once; then the first of them is not.
    async with open_rig(2) as rig, trio.open_nursery() as nursery:
        rig.pool._durations.learn("worker_functions:sleep_unless_there", 10e-6)
        first, second = rig.pool.workers
        rig.pool.workers.remove(second)
        slow = tmp_path / "slow"
        results: list[object] = []

        async def call(path: Path, seconds: float) -> None:
            results.append(await rig.workers.run(functions.sleep_unless_there, str(path), seconds))

        nursery.start_soon(call, slow, 1.0)
        await until(lambda: first.load.sync_tasks == 1)
        for _ in range(3):
            nursery.start_soon(call, tmp_path, 0)
        await until(lambda: first.load.sync_tasks == 4)
        rig.pool.workers.append(second)
        rig.pool._assign()
        await until(lambda: len(results) == 3)
        assert results == ["again"] * 3
        assert first.load.sync_tasks == 1


# Failures ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [functions.raise_one, functions.raise_async])
@pytest.mark.parametrize(
    "kind",
    [
        "ValueError('no good', 7)",
        "KeyError('x')",
        "FileNotFoundError(2, 'No such file', 'f')",
        "UnicodeDecodeError('utf-8', b'x', 0, 1, 'why')",
        "trio.TooSlowError()",
        "OwnError('of the module', [1, {'a': None}])",
        "ExceptionGroup('two', [ValueError(1), ExceptionGroup('in it', [OwnError('x')])])",
    ],
)
async def test_an_exception_comes_back_as_what_it_is(function: Any, kind: str) -> None:
    async with open_rig(1) as rig:
        raised = await outcome_of(rig.workers.run(function, kind))
        expected: Exception = eval(kind, {**vars(functions)})
        assert type(raised) is type(expected)
        assert str(raised) == str(expected)
        assert isinstance(raised, Exception)
        if isinstance(raised, ExceptionGroup):
            assert repr(raised) == repr(expected)
        else:
            assert raised.args == expected.args
        (note,) = raised.__notes__
        assert note.startswith("in worker-1 (process ")
        assert "worker_functions.py" in note
        assert "in raise_one" in note
        assert "computing.py" not in note
        assert "server.py" not in note


@pytest.mark.parametrize(
    "kind, type_name, text",
    [
        ("OddError('a', 'b')", "worker_functions.OddError", "a and b"),
        ("ValueError({1})", "ValueError", "{1}"),
        ("SystemExit(3)", "SystemExit", "3"),
        ("KeyboardInterrupt()", "KeyboardInterrupt", ""),
        ("StopIteration(4)", "StopIteration", "4"),
        ("StopAsyncIteration()", "StopAsyncIteration", ""),
        ("ValueError('x' * 100_000)", "ValueError", "x" * 2000 + "\n…\n" + "x" * 2000),
        ("trio.abc.ssl.SSLError('elsewhere')", "ssl.SSLError", "('elsewhere',)"),
    ],
)
async def test_what_cannot_be_made_again_comes_as_a_worker_error(kind: str, type_name: str, text: str) -> None:
    kind = kind.replace("trio.abc.ssl", "__import__('ssl')")
    async with open_rig(1) as rig:
        raised = await outcome_of(rig.workers.run(functions.raise_one, kind))
        assert isinstance(raised, WorkerError)
        assert (raised.type_name, raised.text) == (type_name, text)
        assert str(raised).startswith(type_name)
        # The worker is still there.
        assert await rig.workers.run(functions.double, 4) == 8


async def test_notes_and_groups_of_a_nursery_come_back() -> None:
    async with open_rig(1) as rig:
        raised = await outcome_of(rig.workers.run(functions.raise_in_nursery))
        assert isinstance(raised, ExceptionGroup)
        assert repr(raised.exceptions) == "(ValueError('in a task'),)"


async def test_an_exception_is_not_kept(recwarn: pytest.WarningsRecorder) -> None:
    import gc
    import weakref

    async with open_rig(1) as rig:
        gc.collect()
        gc.disable()
        try:
            raised = await outcome_of(rig.workers.run(functions.raise_one, "OwnError('x')"))
            reference = weakref.ref(raised)
            del raised
            assert reference() is None
        finally:
            gc.enable()


@pytest.mark.parametrize(
    "function, arguments, text",
    [
        (functions.echo, (1, {"a": {2}}), r'^arguments\[1\]\["a"\]: expected what travels .* got a value of type set'),
        (functions.echo, (2**70,), r"^arguments\[0\]: expected an int of at most 64 bits, got one of 71"),
        (functions.return_a_set, (), r"^the value that the function returned: .* of type set"),
        (functions.returns_a_coroutine, (), "returns_a_coroutine is async behind a sync front"),
    ],
)
async def test_what_cannot_travel_is_refused(function: Any, arguments: tuple[object, ...], text: str) -> None:
    async with open_rig(1) as rig:
        with pytest.raises((TypeError, ValueError), match=text):
            await rig.workers.run(function, *arguments)
        assert await rig.workers.run(functions.double, 4) == 8
        assert rig.pool.workers[0].load.tasks == 0


async def test_what_is_too_large_is_refused() -> None:
    async with open_rig(1) as rig:
        with pytest.raises(ValueError, match="expected at most"):
            await rig.workers.run(functions.echo, bytes(65 * 1024 * 1024))
        with pytest.raises(ValueError, match="expected at most"):
            await rig.workers.run(functions.return_bytes, 65 * 1024 * 1024)
        assert await rig.workers.run(functions.double, 4) == 8


def outer() -> Any:
    def inner() -> None: ...

    return inner


class Callable:
    def __call__(self) -> None: ...


@pytest.mark.parametrize(
    "function, error, text",
    [
        ("worker_functions:double", TypeError, "expected a function at the top level of a module, got 'worker_f"),
        (len, TypeError, "expected a function at the top level of a module, got <built-in function len>"),
        (partial(functions.double, 1), TypeError, "expected a function at the top level of a module, got functools"),
        (lambda: None, TypeError, "expected a function at the top level"),
        (outer(), TypeError, "expected a function at the top level"),
        (Callable(), TypeError, "expected a function at the top level"),
        (functions.is_not_spawnable, TypeError, "got worker_functions.is_not_spawnable; write that above it"),
        (Path.touch, TypeError, "expected a function at the top level"),
    ],
)
async def test_a_function_that_workers_cannot_call_is_refused_at_once(
    function: Any, error: type[Exception], text: str
) -> None:
    async with open_rig(1) as rig:
        with pytest.raises(error, match=text):
            await rig.workers.run(function)
        with pytest.raises(error, match=text):
            rig.workers.map(function, [])


async def test_a_function_of_another_module_is_refused_at_once() -> None:
    import network_helpers

    async with open_rig(1) as rig:
        with pytest.raises(ValueError, match=r"give open_workers\(\) modules=\['network_helpers'\]"):
            await rig.workers.run(network_helpers.ends_at_once, 1)


async def test_a_worker_calls_only_what_is_released(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_rig(1) as rig:
        for name in ["worker_functions:is_not_spawnable", "worker_functions:NOT_A_FUNCTION", "os:getpid", "nonsense"]:
            monkeypatch.setattr(rig.workers._callables, "name_of", lambda _, name=name: (name, False))
            with pytest.raises(LookupError, match="the worker has no @spawnable function"):
                await rig.workers.run(functions.empty)


async def test_a_function_gets_no_port() -> None:
    async with open_rig(1) as rig:
        with pytest.raises(RuntimeError, match="expected a running port"):
            await rig.workers.run(functions.asks_for_its_node)


# Cancellation --------------------------------------------------------------------------------------------------------


async def test_cancelling_reaches_an_async_function(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with open_rig(1) as rig:
        path = tmp_path / "cancelled"
        with trio.move_on_after(5) as scope:
            await rig.workers.run(functions.say_when_cancelled, str(path))
        assert scope.cancelled_caught
        # When this returns it has unwound.
        assert path.exists()
        assert not rig.servers[0]._scopes
        assert not rig.pool._unfinished
        assert not rig.killed


async def test_a_function_that_returns_all_the_same_is_not_cancelled(autojump_clock: trio.testing.MockClock) -> None:
    async with open_rig(1) as rig:
        with trio.move_on_after(1) as scope:
            assert await rig.workers.run(functions.shield, 2) == "all the same"
        assert not scope.cancelled_caught


async def test_a_task_that_waits_is_cancelled_at_once(tmp_path: Path) -> None:
    async with open_rig(1) as rig, trio.open_nursery() as nursery:
        nursery.start_soon(rig.workers.run, functions.sleep, 0.2)
        await until(lambda: rig.pool.workers[0].load.tasks)
        with trio.move_on_after(0) as scope:
            await rig.workers.run(functions.touch, str(tmp_path / "never"))
        assert scope.cancelled_caught
        assert rig.pool.workers[0].load.tasks == 1
    await rig.wait_idle()
    assert not (tmp_path / "never").exists()


async def test_a_sync_task_that_was_sent_ahead_is_cancelled(tmp_path: Path) -> None:
    async with open_rig(1) as rig, trio.open_nursery() as nursery:
        for name in ("sleep", "touch"):
            rig.pool._durations.learn(f"worker_functions:{name}", 10e-6)
        nursery.start_soon(rig.workers.run, functions.sleep, 0.2)
        await until(lambda: rig.pool.workers[0].load.tasks)
        with trio.move_on_after(0.05) as scope:
            await rig.workers.run(functions.touch, str(tmp_path / "never"))
        assert scope.cancelled_caught
        assert rig.pool.workers[0].load.tasks == 1
    assert not (tmp_path / "never").exists()


async def test_a_sync_function_that_runs_is_waited_for() -> None:
    async with open_rig(1) as rig:
        with trio.move_on_after(0.05) as scope:
            assert await rig.workers.run(functions.sleep, 0.2, "value") == "value"
        assert scope.cancel_called
        assert not scope.cancelled_caught
        assert not rig.killed


async def test_a_worker_whose_cancelled_task_does_not_end_is_killed(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_rig(2, shutdown_timeout=3) as rig:
        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.workers.run, functions.shield, 10)
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
            await until(lambda: rig.killed)
            assert 3.9 < trio.current_time() - start < 4.1
        assert rig.killed == ["worker-1"]
        assert "worker-1" in warnings_in(caplog)[-1]
        assert "is killed" in warnings_in(caplog)[-1]


async def test_cancelling_twice_is_once(autojump_clock: trio.testing.MockClock) -> None:
    async with open_rig(1) as rig:
        with trio.move_on_after(2), trio.move_on_after(1) as inner:
            await rig.workers.run(functions.shield, 3)
        assert inner.cancel_called
        assert not rig.pool._ending


# Workers that end ----------------------------------------------------------------------------------------------------


async def cut(rig: Rig) -> None:
    """Let the connections of the workers that are up break."""
    for wire in rig.network.wires:
        wire.reset()
    await until(lambda: not rig.pool.workers)


async def test_a_task_whose_worker_ends_is_told_so(autojump_clock: trio.testing.MockClock) -> None:
    async with open_rig(1) as rig, trio.open_nursery() as nursery:
        results: list[object] = []

        async def call() -> None:
            results.append(await outcome_of(rig.workers.run(functions.wait_for_ever)))

        nursery.start_soon(call)
        await until(lambda: rig.pool.workers[0].load.tasks)
        await cut(rig)
        await until(lambda: results)
        (raised,) = results
        assert isinstance(raised, WorkerLost)
        assert raised.worker == "worker-1"
        assert raised.reason == ("ended",)
        assert "its task may have run" in str(raised)


async def test_a_node_that_crashes_leaves_nobody_waiting(autojump_clock: trio.testing.MockClock) -> None:
    results: list[object] = []

    async def call(rig: Rig) -> None:
        results.append(await outcome_of(rig.workers.run(functions.wait_for_ever)))

    async def crash() -> None:
        async with open_rig(1) as rig, trio.open_nursery() as nursery:
            rig.examination_fails = True
            nursery.start_soon(call, rig)
            await until(lambda: rig.pool.workers[0].load.tasks)
            await cut(rig)
            await trio.sleep_forever()

    raised = await outcome_of(crash())
    assert isinstance(raised, ExceptionGroup)
    failed = raised.subgroup(ValueError)
    assert failed is not None
    assert "the examination fails" in repr(failed)
    # The crash cancels the block, and with it the call, which may hear of that before it hears of the pool's end.
    assert {type(result) for result in results} <= {trio.ClosedResourceError}


async def test_an_idempotent_task_runs_again(autojump_clock: trio.testing.MockClock) -> None:
    async with open_rig(1) as rig, trio.open_nursery() as nursery:
        results: list[object] = []

        async def call() -> None:
            results.append(await rig.workers.run(functions.wait, 5, "value", idempotent=True))

        nursery.start_soon(call)
        await until(lambda: rig.pool.workers[0].load.tasks)
        await cut(rig)
        async with serving(rig, "worker-2"):
            await until(lambda: results)
        assert results == ["value"]


async def test_an_idempotent_task_is_given_up_at_last(autojump_clock: trio.testing.MockClock) -> None:
    async with open_rig(1) as rig, trio.open_nursery() as nursery:
        results: list[object] = []

        async def call() -> None:
            results.append(await outcome_of(rig.workers.run(functions.wait_for_ever, idempotent=True)))

        nursery.start_soon(call)
        await until(lambda: rig.pool.workers[0].load.tasks)
        await cut(rig)
        for number in range(2, pool_module.MOST_LIVES + 1):
            assert not results
            async with serving(rig, f"worker-{number}"):
                await until(lambda: rig.pool.workers and rig.pool.workers[0].load.tasks)
                await cut(rig)
        await until(lambda: results)
        (raised,) = results
        assert isinstance(raised, WorkerLost)
        assert raised.__notes__ == ["3 workers have ended with this task"]


async def test_a_task_that_had_not_begun_runs_elsewhere(autojump_clock: trio.testing.MockClock) -> None:
    async with open_rig(1) as rig, trio.open_nursery() as nursery:
        rig.begun = set()
        results: list[object] = []

        async def call() -> None:
            results.append(await rig.workers.run(functions.wait, 5, "value"))

        nursery.start_soon(call)
        await until(lambda: rig.pool.workers[0].load.tasks)
        await cut(rig)
        async with serving(rig, "worker-2"):
            await until(lambda: results)
        assert results == ["value"]


async def test_a_cancelled_task_whose_worker_ends_is_cancelled(autojump_clock: trio.testing.MockClock) -> None:
    async with open_rig(1) as rig:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.workers.run, functions.shield, 100)
            await until(lambda: rig.pool.workers[0].load.tasks)
            nursery.cancel_scope.cancel()
            await cut(rig)
        assert not rig.pool._unfinished


async def test_tasks_wait_for_a_worker(autojump_clock: trio.testing.MockClock) -> None:
    async with open_rig(1) as rig, trio.open_nursery() as nursery:
        await cut(rig)
        results: list[object] = []

        async def call(number: int) -> None:
            results.append(await rig.workers.run(functions.wait, 1, number))

        for number in range(5):
            nursery.start_soon(call, number)
        await trio.sleep(10)
        with trio.move_on_after(1) as scope:
            await rig.workers.run(functions.wait, 1)
        assert scope.cancelled_caught
        async with serving(rig, "worker-2"):
            await until(lambda: len(results) == 5)
        assert sorted(results) == [0, 1, 2, 3, 4]  # type: ignore[type-var]


async def test_closed_workers_say_so(autojump_clock: trio.testing.MockClock) -> None:
    async with open_rig(1) as rig, trio.open_nursery() as nursery:
        results: list[object] = []

        async def call() -> None:
            results.append(await outcome_of(rig.workers.run(functions.wait_for_ever)))

        nursery.start_soon(call)
        await until(lambda: rig.pool.workers[0].load.tasks)
        rig.pool.close()
        await until(lambda: results)
        assert isinstance(results[0], trio.ClosedResourceError)
        with pytest.raises(trio.ClosedResourceError):
            await rig.workers.run(functions.empty)
        assert repr(rig.workers) == "<Workers: closed>"


async def test_workers_describe_themselves() -> None:
    async with open_rig(2) as rig:
        assert repr(rig.workers) == "<Workers: 2 of 2 up>"
        assert len(rig.workers) == 2
        assert len(rig.workers.processes) == 2


# Amounts -------------------------------------------------------------------------------------------------------------


async def test_much_data_waits_outside_of_the_queues() -> None:
    # All arguments, and all results, would be more than the queue for a node may hold.
    size, limit = 3 * 1024 * 1024, 16 * 1024 * 1024
    async with open_rig(1, queue_limit=limit, message_limit=limit // 4) as rig:
        results: list[object] = []

        async def call() -> None:
            sent: Any = await rig.workers.run(functions.echo_async, bytes(size))
            results.append(len(sent[0]))

        async with trio.open_nursery() as nursery:
            for _ in range(12):
                nursery.start_soon(call)
        assert results == [size] * 12
