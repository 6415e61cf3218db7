"""Channels: items from one task to another, within a node and between processes, beside Trio's own memory channel."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from trio_mp import ChannelReceiver, ChannelSender, Node, open_node

from .pair import FUNCTIONS, open_others
from .task import Figure, Task, expect

BUFFER = 64
"""How many items each kind of channel holds."""

AHEAD = 1000
"""How many items `send_nowait` may be ahead. Plain sends wait for the operating system after each batch instead."""


async def channel(task: Task) -> Figure:
    """How many items are received in a second, until the receiver confirms that all have come in order."""
    if task.kind == "memory":
        seconds = await _memory(task.count)
    elif task.kind == "here":
        async with open_node(profile=False) as node:
            # The function is released by the module, which is imported here.
            seconds = await _through(node, node.id, task.count)
    else:
        async with open_others(task) as (node, (other,)):
            if task.kind == "there":
                seconds = await _through(node, other.id, task.count)
            elif task.kind == "nowait":
                seconds = await _nowait(node, other.id, task.count)
            else:
                seconds = await _plain(node, other.id, task)
    return Figure(task.count / seconds, "items/s")


@asynccontextmanager
async def _timed(node: Node, where: str, buffer: int) -> AsyncGenerator[tuple[ChannelSender[int], list[float]], None]:
    """A channel to a function that counts, and a list in which the seconds are when the block has been left."""
    times: list[float] = []
    async with node.open_channel(where, f"{FUNCTIONS}:channel_sink", buffer=buffer) as (send, receive):
        start = time.perf_counter()
        yield send, times
        await send.aclose()
        await _confirm(receive)
        times.append(time.perf_counter() - start)


async def _confirm(receive: ChannelReceiver[bool]) -> None:
    expect(await receive.receive(), "expected all items in order, got others")


async def _through(node: Node, where: str, count: int) -> float:
    async with _timed(node, where, BUFFER) as (send, times):
        for number in range(count):
            await send.send(number)
        await send.send(-count)
    return times[0]


async def _nowait(node: Node, where: str, count: int) -> float:
    async with _timed(node, where, AHEAD) as (send, times):
        for number in range(count):
            try:
                send.send_nowait(number)
            except trio.WouldBlock:
                await send.send(number)
        await send.send(-count)
    return times[0]


async def _plain(node: Node, where: str, task: Task) -> float:
    """The same items as messages, to a handler."""
    async with node.open_port() as port:
        there = node.spawn(where, f"{FUNCTIONS}:item_sink", port, task.count)
        start = time.perf_counter()
        for first in range(0, task.count, task.batch):
            for number in range(first, min(first + task.batch, task.count)):
                node.send(there, "item", number)
            await node.flush(there)
        (right,) = await port.receive()
        seconds = time.perf_counter() - start
    expect(right, "expected all messages in order, got others")
    return seconds


async def _memory(count: int) -> float:
    """The same items through Trio's memory channel, to a task of the same process."""
    send, receive = trio.open_memory_channel[int](BUFFER)
    expected = 0

    async def take() -> None:
        nonlocal expected
        async for number in receive:
            expect(number == expected, f"expected item {expected}, got {number}")
            expected += 1

    start = time.perf_counter()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        async with send:
            for number in range(count):
                await send.send(number)
    seconds = time.perf_counter() - start
    expect(expected == count, f"expected {count} items, got {expected}")
    return seconds
