"""tractor: a child actor, and a context stream with it, over TCP. Each message is a write: it has no queue.

A parent is not told within five seconds when its child is killed, so there is nothing to measure there.
"""

from __future__ import annotations

import time
from typing import Any

import tractor
import trio

from benchmarks.peers import common
from benchmarks.peers.common import TEXT, Figure, Task, expect

NAME = "benchmarks.peers.tractor"


@tractor.context
async def source(ctx: tractor.Context, count: int, size: int) -> None:
    """The child: sends so many messages."""
    await ctx.started()
    data = bytes(size) if size else TEXT
    async with ctx.open_stream() as stream:
        await stream.send(time.monotonic())
        for number in range(count):
            await stream.send(["ping", number, data])


@tractor.context
async def echo(ctx: tractor.Context, count: int, size: int) -> None:
    """The child: answers."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        async for message in stream:
            await stream.send(message)


async def receive(task: Task, stream: Any) -> Figure:
    """Check the order."""
    seen, start = 0, await stream.receive()
    async for _tag, number, data in stream:
        expect(number == seen and (not task.size or len(data) == task.size))
        seen += 1
    expect(seen == task.count)
    return common.speed(task, time.monotonic() - start)


async def ask(task: Task, stream: Any) -> Figure:
    """One question after the other."""
    times, clock = [], time.perf_counter_ns
    for number in range(task.count):
        start = clock()
        await stream.send(["ping", number, TEXT])
        answer = await stream.receive()
        times.append(clock() - start)
        expect(answer[1] == number)
    return common.round_trips(times)


async def measure(task: Task) -> Figure:
    """With one child."""
    function, work = (echo, ask) if task.name == "round_trip" else (source, receive)
    async with tractor.open_nursery() as nursery:
        portal = await nursery.start_actor("child", enable_modules=[NAME])
        opened = portal.open_context(function, count=task.count, size=task.size)
        async with opened as (context, _), context.open_stream() as stream:
            figure = await work(task, stream)
        await portal.cancel_actor()
    return figure


def main(task: Task) -> Figure:
    """All of it."""
    return trio.run(measure, task)
