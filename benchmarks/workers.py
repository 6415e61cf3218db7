"""Workers beside what else calls functions on all cores: `concurrent.futures.ProcessPoolExecutor` and `trio-parallel`.

    python -m benchmarks.workers [--quick] [--json FILE] [--only NAME …]

All of them have as many processes as there are cores, and take their turns in each round, so that what else the machine
does is the same for all. Of each figure the best round counts. trio-parallel is left out where it is not installed.

call        one call of an empty function at a time, beside `Node.call` to a port in another process: microseconds
calls       calls of an empty function a second, with 64 tasks that each wait for theirs
map         results a second, of as many items as fit into the limit
bulk        calls a second with 1 MiB of arguments, two for each worker at a time
mandelbrot  a picture of the Mandelbrot set, one row a call: seconds, and how many times faster than one core
"""

from __future__ import annotations

import argparse
import concurrent.futures
import importlib
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from benchmarks import worker_tasks as tasks
from trio_mp import Node, Workers, open_child_node, open_node
from trio_mp._supervision.processes import launch

OURS, EXECUTOR, PARALLEL, ALONE = "trio_mp", "ProcessPoolExecutor", "trio-parallel", "one core"
TASKS = tasks.__name__
MEBIBYTE = bytes(1024 * 1024)


@dataclass
class Amounts:
    """How much is done in a round.

    Attributes:
      rounds: how many there are.
      call, calls, map, bulk: how many calls.
      rows: of the picture, which is half as wide again.
    """

    rounds: int = 7
    call: int = 1000
    calls: int = 3000
    map: int = 6000
    bulk: int = 60
    rows: int = 200


QUICK = Amounts(rounds=2, call=200, calls=400, map=1000, bulk=10, rows=60)


@dataclass
class Bench:
    """Everything that is measured, opened.

    Attributes:
      cores: how many processes each has.
      node, there: a node, and a port on a node in another process.
      workers: ours.
      executor: that of the standard library.
      parallel: the module `trio_parallel`, or None.
      amounts: how much is done.
      figures: what was measured, by name and by whom.
    """

    cores: int
    node: Node
    there: str
    workers: Workers
    executor: concurrent.futures.ProcessPoolExecutor
    parallel: Any
    amounts: Amounts
    figures: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def note(self, name: str, who: str, figure: float) -> None:
        """Note a figure of one round."""
        self.figures.setdefault(name, {}).setdefault(who, []).append(figure)

    def in_executor(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a function as a Trio program would with the executor: in a thread that waits."""
        return self.executor.submit(function, *arguments).result()


def find_parallel() -> Any:
    """Return the module `trio_parallel`, or None if it is not installed."""
    try:
        return importlib.import_module("trio_parallel")
    except ImportError:
        return None


@asynccontextmanager
async def open_bench(amounts: Amounts) -> AsyncGenerator[Bench]:
    """Open everything that is measured, for the length of the block."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp"))
        # With the same kind of connection that the workers have: a Unix socket, without encryption.
        node = await stack.enter_async_context(
            open_node(binds=[f"unix:{directory}/s"], secret=os.urandom(16), encryption=False)
        )
        other = await launch(node._runtime, [sys.executable, "-m", "benchmarks.workers", "--be-the-other-node"])
        there = node.spawn(other.node_id, f"{TASKS}:echo")
        workers = await stack.enter_async_context(node.open_workers(cores, modules=[TASKS]))
        # Spawned, as workers are, and not forked from a process that has threads.
        executor = concurrent.futures.ProcessPoolExecutor(cores, mp_context=multiprocessing.get_context("spawn"))
        stack.callback(executor.shutdown)
        bench = Bench(cores, node, there, workers, executor, find_parallel(), amounts)
        # Everybody's processes are there before the first round.
        await warm_up(bench)
        yield bench


async def be_the_other_node() -> None:
    """Run the process that `Node.call` calls."""
    async with open_child_node(spawn_modules=[TASKS]):
        await trio.sleep_forever()


async def warm_up(bench: Bench) -> None:
    """Call a function by each of the means that are measured."""
    for _ in range(3):
        async with trio.open_nursery() as nursery:
            for _ in range(4 * bench.cores):
                nursery.start_soon(bench.workers.run, tasks.empty)
                nursery.start_soon(trio.to_thread.run_sync, bench.in_executor, tasks.empty)
                if bench.parallel is not None:
                    nursery.start_soon(bench.parallel.run_sync, tasks.empty)


# What is measured -----------------------------------------------------------------------------------------------------


async def measure_call(bench: Bench) -> None:
    """Measure one call at a time, by each means in turn."""
    callers: dict[str, Callable[[], Awaitable[object]]] = {
        "Node.call": lambda: bench.node.call(bench.there, "call", 1),
        OURS: lambda: bench.workers.run(tasks.empty),
        f"{OURS}, async": lambda: bench.workers.run(tasks.empty_async),
        EXECUTOR: lambda: trio.to_thread.run_sync(bench.in_executor, tasks.empty),
    }
    if bench.parallel is not None:
        callers[PARALLEL] = lambda: bench.parallel.run_sync(tasks.empty)
    times: dict[str, list[float]] = {who: [] for who in callers}
    for _ in range(bench.amounts.call):
        for who, call in callers.items():
            start = time.perf_counter()
            await call()
            times[who].append((time.perf_counter() - start) * 1e6)
    for who, all_times in times.items():
        bench.note("call", who, statistics.median(all_times))


async def in_tasks(count: int, many: int, call: Callable[[], Awaitable[object]]) -> float:
    """Return how many calls a second this number of tasks makes."""
    left = count

    async def work() -> None:
        nonlocal left
        while left:
            left -= 1
            await call()

    start = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(many):
            nursery.start_soon(work)
    return count / (time.perf_counter() - start)


def in_callbacks(
    executor: concurrent.futures.Executor, count: int, many: int, call: Callable[..., Any], *arguments: Any
) -> float:
    """The same with the executor alone: without Trio, which knows no futures. It is as good as it gets there."""
    start = time.perf_counter()
    pending: set[concurrent.futures.Future[Any]] = set()
    for _ in range(count):
        if len(pending) >= many:
            done, pending = concurrent.futures.wait(pending, return_when=concurrent.futures.FIRST_COMPLETED)
            for one in done:
                one.result()
        pending.add(executor.submit(call, *arguments))
    concurrent.futures.wait(pending)
    return count / (time.perf_counter() - start)


async def measure_calls(bench: Bench) -> None:
    """Measure many tasks, each of which makes one call at a time."""
    count = bench.amounts.calls
    bench.note("calls", OURS, await in_tasks(count, 64, lambda: bench.workers.run(tasks.empty)))
    figure = await trio.to_thread.run_sync(in_callbacks, bench.executor, count, 64, tasks.empty)
    bench.note("calls", EXECUTOR, figure)
    if bench.parallel is not None:
        bench.note("calls", PARALLEL, await in_tasks(count, 64, lambda: bench.parallel.run_sync(tasks.empty)))


async def measure_map(bench: Bench) -> None:
    """Measure `map`: results in order, with as many calls at a time as it makes."""
    count = bench.amounts.map

    async def check(mapped: Callable[[], Awaitable[int]], who: str) -> None:
        start = time.perf_counter()
        total = await mapped()
        bench.note("map", who, count / (time.perf_counter() - start))
        assert total == count * (count - 1) // 2, who

    async def ours() -> int:
        async with bench.workers.map(tasks.identity, range(count), limit=512) as results:
            return sum([result async for result in results])

    def executors(chunk: int) -> int:
        return sum(bench.executor.map(tasks.identity, range(count), chunksize=chunk))

    await check(ours, OURS)
    await check(lambda: trio.to_thread.run_sync(executors, 1), EXECUTOR)
    await check(lambda: trio.to_thread.run_sync(executors, 64), f"{EXECUTOR}, chunks of 64")


async def measure_bulk(bench: Bench) -> None:
    """Measure calls with large arguments."""
    count, many = bench.amounts.bulk, 2 * bench.cores
    bench.note("bulk", OURS, await in_tasks(count, many, lambda: bench.workers.run(tasks.length, MEBIBYTE)))
    figure = await trio.to_thread.run_sync(in_callbacks, bench.executor, count, many, tasks.length, MEBIBYTE)
    bench.note("bulk", EXECUTOR, figure)
    if bench.parallel is not None:
        called = await in_tasks(count, many, lambda: bench.parallel.run_sync(tasks.length, MEBIBYTE))
        bench.note("bulk", PARALLEL, called)


async def measure_mandelbrot(bench: Bench) -> None:
    """Measure the computation of a picture, by one core and by all."""
    height = bench.amounts.rows
    rows = [[row, height * 3 // 2, height] for row in range(height)]

    def check(who: str, start: float, picture: list[bytes]) -> None:
        bench.note("mandelbrot", who, time.perf_counter() - start)
        assert picture == expected, who

    start = time.perf_counter()
    expected = [tasks.mandelbrot_row(row) for row in rows]
    check(ALONE, start, expected)
    start = time.perf_counter()
    async with bench.workers.map(tasks.mandelbrot_row, rows) as results:
        check(OURS, start, [result async for result in results])
    start = time.perf_counter()
    picture = await trio.to_thread.run_sync(lambda: list(bench.executor.map(tasks.mandelbrot_row, rows)))
    check(EXECUTOR, start, picture)


MEASURED: dict[str, tuple[Callable[[Bench], Awaitable[None]], str, bool]] = {
    "call": (measure_call, "µs", False),
    "calls": (measure_calls, "calls/s", True),
    "map": (measure_map, "results/s", True),
    "bulk": (measure_bulk, "calls/s", True),
    "mandelbrot": (measure_mandelbrot, "s", False),
}
"""Each measurement: its function, the unit of its figures, and whether a greater figure is better."""


async def measure(amounts: Amounts, names: list[str]) -> dict[str, dict[str, float]]:
    """Measure these, and print the figures. Returns the best ones."""
    best: dict[str, dict[str, float]] = {}
    async with open_bench(amounts) as bench:
        for _ in range(amounts.rounds):
            for name in names:
                await MEASURED[name][0](bench)
        print(f"{bench.cores} processes, the best of {amounts.rounds} rounds")
        for name in names:
            _, unit, more = MEASURED[name]
            figures = {who: (max if more else min)(all_of) for who, all_of in bench.figures[name].items()}
            best[name] = figures
            for who, figure in figures.items():
                print(f"{name:12}{who:34}{figure:12,.2f} {unit}")
        if "call" in best:
            ratios = [
                a / b for a, b in zip(bench.figures["call"][OURS], bench.figures["call"]["Node.call"], strict=True)
            ]
            print(f"an empty function takes {statistics.median(ratios):.2f} × Node.call, in the median of the rounds")
            best["call"]["ratio"] = statistics.median(ratios)
        for who, seconds in list(best.get("mandelbrot", {}).items()):
            if who != ALONE:
                ratio = best["mandelbrot"][f"{who}, speed-up"] = best["mandelbrot"][ALONE] / seconds
                print(f"the picture is drawn {ratio:.2f} times as fast as by one core: {who}")
    return best


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers", description="Measure workers, beside others.")
    parser.add_argument("--quick", action="store_true", help="less of everything")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--only", nargs="+", choices=list(MEASURED), default=list(MEASURED), metavar="NAME")
    parser.add_argument("--be-the-other-node", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.be_the_other_node:
        trio.run(be_the_other_node)
        return
    best = trio.run(measure, QUICK if arguments.quick else Amounts(), arguments.only)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(best, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
