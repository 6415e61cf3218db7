"""xoscar: actors in one pool, or in two pools of different processes, by `tell` and by calls."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import xoscar

from benchmarks.peers import common
from benchmarks.peers.common import TEXT, Figure, Task, expect

PAUSE = 0.02


class Sink(xoscar.Actor):
    """Counts messages, and checks their order."""

    def __init__(self) -> None:
        self.seen = 0
        self.right = True
        self.last = 0.0

    def put(self, message: tuple[str, int, object]) -> None:
        """The next one."""
        self.right = self.right and message[1] == self.seen
        self.seen += 1
        self.last = time.monotonic()

    def echo(self, message: object) -> object:
        """An answer."""
        return message

    def result(self) -> tuple[int, bool, float]:
        """How many, whether in order, and when the last came: one clock serves the whole machine."""
        return self.seen, self.right, self.last


class Source(xoscar.Actor):
    """Sends them."""

    async def tell(self, sink: Any, count: int, size: int) -> None:
        """To that actor, so many."""
        data = bytes(size) if size else TEXT
        for number in range(count):
            await sink.put.tell(("ping", number, data))

    async def ask(self, sink: Any, count: int) -> list[int]:
        """One question after the other."""
        times, clock = [], time.perf_counter_ns
        for number in range(count):
            start = clock()
            answer = await sink.echo(("ping", number, TEXT))
            times.append(clock() - start)
            expect(answer[1] == number)
        return times


async def serve(address: str) -> None:
    """The second process."""
    pool = await xoscar.create_actor_pool(address, n_process=0)
    await xoscar.create_actor(Sink, address=address, uid="sink")
    print("ready", flush=True)
    await pool.join()


async def measure(task: Task) -> Figure:
    """With one pool, or two."""
    address = f"127.0.0.1:{common.free_port()}"
    pool = await xoscar.create_actor_pool(address, n_process=0)
    async with pool:
        if task.name == "idle":
            return await idle(task, pool.external_address)
        if task.name == "local":
            sink = await xoscar.create_actor(Sink, address=address, uid="sink")
            return await tell(task, sink, address)
        there = f"127.0.0.1:{common.free_port()}"
        process = common.start_other("xoscar", task, there)
        await asyncio.to_thread(common.read_line, process)
        sink = await xoscar.actor_ref(address=there, uid="sink")
        figure = await (ask if task.name == "round_trip" else tell)(task, sink, address)
        process.kill()
        return figure


async def tell(task: Task, sink: Any, address: str) -> Figure:
    """One way, from an actor."""
    source = await xoscar.create_actor(Source, address=address, uid="source")
    start = time.monotonic()
    await source.tell(sink, task.count, task.size)
    while (await sink.result())[0] < task.count:  # noqa: ASYNC110 - it cannot tell us
        await asyncio.sleep(PAUSE)
    seen, right, last = await sink.result()
    expect(right and seen == task.count)
    return common.speed(task, last - start)


async def ask(task: Task, sink: Any, address: str) -> Figure:
    """There and back, from an actor."""
    source = await xoscar.create_actor(Source, address=address, uid="source")
    return common.round_trips(await source.ask(sink, task.count))


async def idle(task: Task, address: str) -> Figure:
    """Bytes for an actor that does nothing."""
    await xoscar.create_actor(Sink, address=address)
    before = common.resident()
    start = time.perf_counter()
    for _ in range(task.count):
        await xoscar.create_actor(Sink, address=address)
    seconds = time.perf_counter() - start
    size = (common.resident() - before) / task.count
    return common.figure(size, "bytes", **{"µs an actor": seconds / task.count * 1e6})


def main(task: Task, *arguments: str) -> Figure | None:
    """All of it."""
    if arguments:
        asyncio.run(serve(arguments[0]))
        return None
    return asyncio.run(measure(task))
