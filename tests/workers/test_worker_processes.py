"""Workers in processes of their own: starting, computing, dying, and leaving nothing behind."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import worker_functions as functions
from chaos.crew import environment
from chaos.workers import run_campaign
from child_process import is_running
from watched_nodes import warnings_in
from worker_helpers import outcome_of

import trio_mp
from trio_mp import ConfigurationError, SupervisorFailed, WorkerLost, Workers
from trio_mp._workers.items import WorkerHandle

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Unix sockets, and signals")

MODULES = ["worker_functions"]
LIMIT = 60.0
"""Whatever a test does takes less, in seconds, however slow the machine is."""


@asynccontextmanager
async def open_workers(count: int = 1, **settings: Any) -> AsyncGenerator[Workers]:
    settings.setdefault("modules", MODULES)
    with trio.fail_after(LIMIT):
        async with trio_mp.open_node() as node, node.open_workers(count, **settings) as workers:
            yield workers


async def wait_until(condition: Callable[[], object]) -> None:
    """Wait for what only the operating system tells."""
    while not condition():  # noqa: ASYNC110 - there is no event
        await trio.sleep(0.01)


@pytest.fixture
def directories(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The temporary directories that were made."""
    made: list[Path] = []
    make = tempfile.mkdtemp

    def mkdtemp(*arguments: Any, **named: Any) -> str:
        made.append(Path(make(*arguments, **named)))
        return str(made[-1])

    monkeypatch.setattr(tempfile, "mkdtemp", mkdtemp)
    return made


async def test_functions_run_in_other_processes_and_nothing_is_left(directories: list[Path]) -> None:
    async with open_workers(2) as workers:
        assert repr(workers) == "<Workers: 2 of 2 up>"
        (directory,) = directories
        assert directory.stat().st_mode & 0o077 == 0
        seen: Counter[int] = Counter()

        async def where() -> None:
            in_main_thread, pid = await workers.run(functions.thread_and_process)
            assert in_main_thread
            await workers.run(functions.sleep, 0.05)
            seen[pid] += 1

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(where)
        processes = workers.processes
        assert set(seen) == set(processes)
        assert os.getpid() not in processes
        raised = await outcome_of(workers.run(functions.raise_one, "OwnError('x')"))
        assert type(raised) is functions.OwnError
        assert f"(process {processes[0]})" in raised.__notes__[0] or f"(process {processes[1]})" in raised.__notes__[0]
        data = os.urandom(1024 * 1024)
        assert await workers.run(functions.echo, data) == [data]
    assert not [pid for pid in processes if is_running(pid)]
    assert not directory.exists()


async def test_there_are_as_many_as_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 5, 6}, raising=False)
    with trio.fail_after(LIMIT):
        async with trio_mp.open_node() as node, node.open_workers(modules=MODULES) as workers:
            assert len(workers) == 3


@pytest.mark.parametrize(
    "arguments, error, text",
    [
        ({"count": 0}, ValueError, "expected a number of workers above 0, got 0"),
        ({"count": "2"}, TypeError, "expected a number of workers, got '2'"),
        ({"modules": "os"}, TypeError, r"modules: expected the names of one module or more, .* got 'os'"),
        ({"modules": []}, TypeError, "modules: expected the names of one module or more"),
        ({"modules": [os]}, TypeError, "modules: expected the names of one module or more"),
        ({"shutdown_timeout": -1}, ValueError, "shutdown_timeout: expected seconds, 0 or more, got -1"),
        ({"limit": -1}, ValueError, "limit"),
    ],
)
async def test_arguments_that_cannot_work_are_refused_at_once(
    arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    async with trio_mp.open_node() as node:
        with pytest.raises(error, match=text):
            node.open_workers(**({"modules": MODULES} | arguments))


async def test_a_module_that_cannot_be_imported_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="modules: cannot import 'no_such_module'"):
        async with open_workers(modules=["no_such_module"]):
            pass
    # One that only a worker cannot import.
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "only_here.py").write_text("import os\nif os.environ.get('TRIO_MP_WORKER_TEST'): raise ValueError(5)\n")
    async with trio_mp.open_node() as node:
        import_here = node.open_workers(2, modules=["only_here"])
        __import__("only_here")
        monkeypatch.setenv("TRIO_MP_WORKER_TEST", "1")
        with pytest.raises(ConfigurationError, match=r"worker-.: modules: cannot import 'only_here': ValueError: 5"):
            async with import_here:
                pass


async def test_a_closed_node_opens_none() -> None:
    async with trio_mp.open_node() as node:
        pass
    with pytest.raises(trio.ClosedResourceError):
        async with node.open_workers(1, modules=MODULES):
            pass


async def test_the_exception_of_the_block_leaves_as_it_is() -> None:
    async def leave() -> None:
        async with open_workers() as workers:
            assert workers.processes
            raise KeyError("of the block")

    with pytest.raises(KeyError, match="of the block"):
        await leave()


async def test_a_pool_may_be_opened_in_a_port_which_is_killed() -> None:
    processes: list[int] = []

    async def keep(port: trio_mp.Port, task_status: trio.TaskStatus[None]) -> None:
        async with port.node.open_workers(1, modules=MODULES) as workers:
            processes.extend(workers.processes)
            task_status.started()
            await workers.run(functions.wait_for_ever)

    with trio.fail_after(LIMIT):
        async with trio_mp.open_node() as node:
            started = await node.start(keep)
            assert is_running(processes[0])
            started.port.kill()
            await node.wait_death(started.port)
            assert not is_running(processes[0])


def children_of_this_process() -> set[str]:
    """Where the system says so: the processes that this one has started."""
    return {number for path in Path("/proc/self/task").glob("*/children") for number in path.read_text().split()}


async def test_cancelling_while_it_opens_leaves_nothing_behind(directories: list[Path]) -> None:
    before = children_of_this_process()
    for delay in (0.0, 0.1, 0.3):
        with trio.move_on_after(delay):
            async with open_workers(2):
                await trio.sleep_forever()
    assert not [directory for directory in directories if directory.exists()]
    assert children_of_this_process() <= before


async def test_cancelling_from_outside_ends_what_runs(tmp_path: Path) -> None:
    path = tmp_path / "cancelled"
    with trio.CancelScope() as scope:
        async with open_workers() as workers, trio.open_nursery() as nursery:
            processes = workers.processes
            nursery.start_soon(workers.run, functions.say_when_cancelled, str(path))
            await wait_until(path.with_suffix(".begun").exists)
            scope.cancel()
    assert scope.cancelled_caught
    # It has unwound, and was not killed.
    assert path.exists()
    assert not is_running(processes[0])


# Computing ------------------------------------------------------------------------------------------------------------


async def test_a_computation_stops_neither_the_node_nor_async_functions() -> None:
    async with open_workers() as workers, trio.open_nursery() as nursery:
        nursery.start_soon(workers.run, functions.compute, 3.0)
        await wait_until(lambda: workers._pool.workers[0].load.sync_tasks)
        slow = 0
        for number in range(100):
            start = time.perf_counter()
            assert await workers.run(functions.echo_async, number) == [number]
            slow += time.perf_counter() - start > 0.15
        # A few may be, on a busy machine. If the two threads changed too seldom, many would be.
        assert slow <= 5
        assert workers._pool.workers[0].load.sync_tasks == 1


async def test_a_sync_function_that_does_not_end_is_killed_with_its_worker(caplog: pytest.LogCaptureFixture) -> None:
    async with open_workers(shutdown_timeout=0.3) as workers:
        (process,) = workers.processes
        with trio.move_on_after(0.2) as scope:
            await workers.run(functions.compute, 1000)
        assert scope.cancelled_caught
        assert not is_running(process)
        assert await workers.run(functions.double, 4) == 8
        assert workers.processes != (process,)
    assert [text for text in warnings_in(caplog) if "is killed: a task has not ended within 0.3 s" in text]


@pytest.mark.parametrize("seconds", [0, math.inf])
async def test_the_end_may_be_given_no_time_or_all(seconds: float) -> None:
    async with open_workers(shutdown_timeout=seconds) as workers:
        (process,) = workers.processes
        with trio.move_on_after(0.1) as scope:
            await workers.run(functions.compute, 0.5 if seconds else 1000)
        assert scope.cancelled_caught is (seconds == 0)
        assert await workers.run(functions.double, 4) == 8
        assert (workers.processes == (process,)) is (seconds == math.inf)


async def test_a_process_that_nobody_knows_may_have_begun_anything() -> None:
    # One that was killed while it became a worker, because its start was given up.
    async with open_workers() as workers:
        pool = workers._pool
        unknown = WorkerHandle("worker-2", 0, pool.workers[0].sender)
        begun, reason = await pool._find_begun(unknown)
        assert begun(1, asynchronous=False)
        assert reason == ()
        pool._kill(unknown)


async def test_what_still_runs_when_the_block_is_left_is_told_so() -> None:
    results: list[object] = []

    async def call(workers: Workers) -> None:
        results.append(await outcome_of(workers.run(functions.compute, 1000)))

    async with trio.open_nursery() as nursery:
        async with open_workers(shutdown_timeout=0.2) as workers:
            (process,) = workers.processes
            nursery.start_soon(call, workers)
            await wait_until(lambda: workers._pool.workers[0].load.sync_tasks)
        assert not is_running(process)
    assert isinstance(results[0], trio.ClosedResourceError)


# Dying ----------------------------------------------------------------------------------------------------------------


async def test_a_task_that_kills_its_worker_is_lost_and_the_worker_comes_back() -> None:
    async with open_workers() as workers:
        (process,) = workers.processes
        raised = await outcome_of(workers.run(functions.die))
        assert isinstance(raised, WorkerLost)
        assert raised.worker == "worker-1"
        assert raised.reason == ("process_ended", f"worker-1, process {process}: killed by SIGKILL")
        assert "may have run" in str(raised)
        assert await workers.run(functions.double, 4) == 8
        assert workers.processes != (process,)


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_task_that_runs_is_lost_with_its_worker_unless_it_may_run_twice(
    tmp_path: Path, asynchronous: bool
) -> None:
    async with open_workers() as workers, trio.open_nursery() as nursery:
        results: dict[bool, object] = {}

        async def call(idempotent: bool) -> None:
            path = str(tmp_path / f"{idempotent}")
            if asynchronous:
                called = workers.run(functions.wait_unless_there, path, 1000, idempotent=idempotent)
            else:
                called = workers.run(functions.sleep_unless_there, path, 1000, idempotent=idempotent)
            results[idempotent] = await outcome_of(called)

        for idempotent in (False, True):
            nursery.start_soon(call, idempotent)
            await wait_until((tmp_path / f"{idempotent}").exists)
            os.kill(workers.processes[0], signal.SIGKILL)
            await wait_until(partial(results.__contains__, idempotent))
        assert isinstance(results[False], WorkerLost)
        assert results[True] == "again"


async def test_tasks_that_had_not_begun_run_on_another_worker(tmp_path: Path) -> None:
    async with open_workers() as workers, trio.open_nursery() as nursery:
        # Short ones are sent ahead, so the worker dies with several of them.
        workers._pool._durations.learn("worker_functions:append_and_sleep", 10e-6)
        path = tmp_path / "lines"
        results: dict[int, object] = {}

        async def call(number: int) -> None:
            seconds = 0 if number else 1000
            results[number] = await outcome_of(workers.run(functions.append_and_sleep, str(path), f"{number}", seconds))

        for number in range(10):
            nursery.start_soon(call, number)
            await trio.testing.wait_all_tasks_blocked()
        await wait_until(lambda: path.exists() and path.read_text() == "0\n")
        assert workers._pool.workers[0].load.sync_tasks == 10
        os.kill(workers.processes[0], signal.SIGKILL)
        await wait_until(lambda: len(results) == 10)
        assert isinstance(results.pop(0), WorkerLost)
        assert results == {number: f"{number}" for number in range(1, 10)}
        # Each ran once.
        assert sorted(path.read_text().split()) == [f"{number}" for number in range(10)]


async def test_too_many_deaths_end_the_block() -> None:
    async def die_often() -> None:
        async with open_workers(limit=2, within=30) as workers:
            while True:
                await outcome_of(workers.run(functions.die))

    with pytest.raises(SupervisorFailed, match="of the workers has given up: more than 2 restarts within 30 s"):
        await die_often()


async def test_workers_that_are_killed_in_a_loop_lose_nothing_silently(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    count, kills = 600, 6
    results: dict[int, object] = {}
    async with open_workers(2, limit=1000) as workers:
        killed: list[int] = []

        def is_gone(pid: int) -> bool:
            return pid not in workers.processes

        async def kill() -> None:
            while len(killed) < kills:
                await trio.sleep(0.05)
                if workers.processes:
                    pid = workers.processes[len(killed) % len(workers.processes)]
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
                    await wait_until(partial(is_gone, pid))

        async def call(number: int) -> None:
            name = f"{number}"
            idempotent = number % 3 == 0
            results[number] = await outcome_of(
                workers.run(functions.append_and_sleep, str(path), name, 0.003, idempotent=idempotent)
            )

        async with trio.open_nursery() as nursery:
            nursery.start_soon(kill)
            for number in range(count):
                nursery.start_soon(call, number)
        assert not workers._pool._unfinished
    runs = Counter(path.read_text().split())
    lost = {number for number, result in results.items() if isinstance(result, WorkerLost)}
    assert len(results) == count
    assert {number: result for number, result in results.items() if number not in lost} == {
        number: f"{number}" for number in range(count) if number not in lost
    }
    # A worker that is killed loses the one task that it has begun, and no more.
    assert len(lost) <= len(killed) == kills
    for number in range(count):
        most = 3 if number % 3 == 0 else 1
        assert (0 if number in lost else 1) <= runs[f"{number}"] <= most


PARENT = """
import sys, trio, trio_mp, worker_functions as functions
async def main():
    async with trio_mp.open_node() as node, node.open_workers(2, modules=["worker_functions"]) as workers:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(workers.run, functions.compute, 1000)
            nursery.start_soon(workers.run, functions.wait_for_ever)
            while not all(worker.load.tasks for worker in workers._pool.workers):
                await trio.sleep(0.01)
            print(*workers.processes, flush=True)
trio.run(main)
"""


def test_workers_do_not_outlive_the_parent(tmp_path: Path) -> None:
    # It has to have imported the functions, whose directory is not the current one.
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), text=True
    ) as parent:
        assert parent.stdout is not None
        processes = [int(word) for word in parent.stdout.readline().split()]
        assert len(processes) == 2
        parent.kill()
        killed = time.monotonic()
        while [pid for pid in processes if is_running(pid)]:
            time.sleep(0.01)
            assert time.monotonic() - killed < 10
    assert time.monotonic() - killed < 2 + 2  # the machine may be slow


INTERRUPTED = """
import signal, trio, trio_mp, worker_functions as functions
signal.signal(signal.SIGINT, signal.default_int_handler)
async def main():
    async with trio_mp.open_node() as node:
        async with node.open_workers(1, modules=["worker_functions"], shutdown_timeout=0.2) as workers:
            print(*workers.processes, flush=True)
            await workers.run(functions.compute, 1000)
trio.run(main)
"""


def test_an_interrupt_ends_a_program_whose_workers_compute() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        text=True,
    ) as parent:
        assert parent.stdout is not None
        process = int(parent.stdout.readline())
        parent.send_signal(signal.SIGINT)
        _, errors = parent.communicate(timeout=LIMIT)
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert not is_running(process)


# Main programs --------------------------------------------------------------------------------------------------------

MAIN = """
import os, sys, trio, trio_mp

class OwnError(Exception):
    pass

@trio_mp.spawnable
def square(number):
    assert __name__ == "__mp_main__"
    return [number * number, os.getpid()]

@trio_mp.spawnable
def fail():
    raise OwnError("of the main program")

async def main():
    async with trio_mp.open_node() as node, node.open_workers(1, modules=[__name__]) as workers:
        result, pid = await workers.run(square, 12)
        assert pid != os.getpid()
        try:
            await workers.run(fail)
        except OwnError as error:
            print(result, error)
{guard}
"""


def run_program(command: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, *command]
    # Without it `-m` finds nothing in the directory where it is run.
    variables = {name: value for name, value in environment().items() if name != "PYTHONSAFEPATH"}
    return subprocess.run(
        words, check=False, capture_output=True, text=True, timeout=LIMIT, cwd=directory, env=variables
    )


@pytest.mark.parametrize("command", [["program.py"], ["-m", "program"], ["-m", "package"]])
def test_functions_of_the_main_program_run_too(tmp_path: Path, command: list[str]) -> None:
    text = MAIN.replace("{guard}", "if __name__ == '__main__':\n    trio.run(main)")
    (tmp_path / "program.py").write_text(text)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "package" / "__main__.py").write_text(text)
    ended = run_program(command, tmp_path)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("144 of the main program\n", "", 0)


def test_a_main_program_without_its_condition_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(MAIN.replace("{guard}", "trio.run(main)"))
    ended = run_program(["program.py"], tmp_path)
    assert ended.returncode == 1
    assert "below `if __name__ == '__main__':`" in ended.stderr.splitlines()[-1]


def test_a_main_program_that_is_no_file_is_refused() -> None:
    ended = run_program(["-c", MAIN.replace("{guard}", "trio.run(main)")], Path.cwd())
    assert "got '__main__', which is no file here" in ended.stderr


async def test_a_short_campaign_of_kills_finds_nothing_wrong(tmp_path: Path) -> None:
    with trio.fail_after(LIMIT):
        tally = await run_campaign(3.0, 1, 2, tmp_path / "journal")
    assert tally.wrong == []
    assert tally.kills
    assert tally.answered
