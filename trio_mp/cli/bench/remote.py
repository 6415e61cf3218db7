"""Between processes: one-way messages, round trips, large messages, and a byte stream."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncGenerator

import trio

from trio_mp import Node

from .pair import FUNCTIONS, open_others
from .task import TEXT, Figure, Task, expect, summary

BURST = 100e-6
"""How long the busy sibling computes in each pass of the scheduler, in seconds."""


async def one_way(task: Task) -> Figure:
    """How many messages reach sync handlers of other processes in a second. Each pass sends `batch` to each of them.

    The time runs from the first `send` until the last process has its last message, so all waiting counts.
    """
    async with open_others(task) as (node, others), node.open_port() as port:
        share = task.count // task.peers
        there = [node.spawn(other.id, f"{FUNCTIONS}:sink", port, share) for other in others]
        send, flush = node.send, node.flush
        start = time.monotonic()
        for first in range(0, share, task.batch):
            for target in there:
                for number in range(first, min(first + task.batch, share)):
                    send(target, "ping", number, TEXT)
            for target in there:
                await flush(target)
        end = start
        for _ in there:
            right, ended = await port.receive()
            expect(right, "expected messages in order, got others")
            end = max(end, ended)
    return Figure(share * task.peers / (end - start), "messages/s")


async def round_trip(task: Task) -> Figure:
    """How many microseconds a message takes from handler to handler and back, or a call takes."""
    async with open_others(task) as (node, (other,)), busy_sibling(task.busy):
        if task.busy_poll:
            give_cores(other.process.pid)
        if task.kind in {"call", "reply"}:
            times = await _calls(node, other.id, task.count, task.kind)
        else:
            times = await _handlers(node, other.id, task.count)
    expect(len(times) == task.count, f"expected {task.count} answers, got {len(times)}")
    return summary(times)


def give_cores(other: int) -> None:
    """Give this process and another one a core each, where the system can: busy polling needs that."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) > 1:
            os.sched_setaffinity(0, cores[:1])
            os.sched_setaffinity(other, cores[1:2])


async def _handlers(node: Node, other: str, count: int) -> list[int]:
    times: list[int] = []
    done = trio.Event()
    clock = time.perf_counter_ns
    start = 0
    port = node.port()
    there = node.spawn(other, f"{FUNCTIONS}:echo", port)

    @port.on("pong")
    def pong(number: int, text: str) -> None:
        nonlocal start
        times.append(clock() - start)
        # The number proves that this message answers the latest one of ours.
        if number != len(times) or number == count:
            done.set()
        else:
            start = clock()
            node.send(there, "ping", number + 1, text)

    start = clock()
    node.send(there, "ping", 1, TEXT)
    await done.wait()
    return times


async def _calls(node: Node, other: str, count: int, tag: str) -> list[int]:
    """Call the handler of a tag: that of `reply` returns the reply, that of `call` sends it to the reply port."""
    times: list[int] = []
    there = node.spawn(other, f"{FUNCTIONS}:echo", node.id)
    for number in range(count):
        start = time.perf_counter_ns()
        (answer,) = await node.call(there, tag, number)
        times.append(time.perf_counter_ns() - start)
        expect(answer == number, f"expected the answer to {number}, got that to {answer}")
    return times


@contextlib.asynccontextmanager
async def busy_sibling(wanted: bool) -> AsyncGenerator[None, None]:
    """Run a task that computes for `BURST` in every pass of the scheduler, for the length of the block."""

    async def compute() -> None:
        while True:
            end = time.perf_counter() + BURST
            while time.perf_counter() < end:
                pass
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        if wanted:
            nursery.start_soon(compute)
        yield
        nursery.cancel_scope.cancel()


async def stream(task: Task) -> Figure:
    """How many megabytes go through a byte stream in a second, until the receiver confirms that it has all of them."""
    piece = bytes(task.size)
    function = f"{FUNCTIONS}:stream_sink"
    async with open_others(task) as (node, (other,)), node.open_stream(other.id, function, task.size) as opened:
        start = time.perf_counter()
        for _ in range(task.count):
            await opened.send_all(piece)
        await opened.send_eof()
        answer = b""
        while data := await opened.receive_some(8):
            answer += data
        seconds = time.perf_counter() - start
    received = int.from_bytes(answer, "big")
    expect(received == task.count * task.size, f"expected {task.count * task.size} bytes, got {received}")
    return Figure(received / seconds / 1e6, "MB/s")


async def bulk(task: Task) -> Figure:
    """How many megabytes (of 1,000,000 bytes) go through large messages in a second."""
    data = bytes(task.size)
    async with open_others(task) as (node, (other,)), node.open_port() as port:
        there = node.spawn(other.id, f"{FUNCTIONS}:bulk_sink", port, task.count, task.size)
        start = time.monotonic()
        for number in range(task.count):
            node.send(there, "bulk", number, data)
            await node.flush(there)
        right, end = await port.receive()
    expect(right, "expected all messages in order and whole, got others")
    return Figure(task.count * task.size / (end - start) / 1e6, "MB/s")
