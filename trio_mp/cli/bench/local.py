"""One-way messages within one process."""

from __future__ import annotations

import time

import trio

from trio_mp import Node, Port, open_node

from .task import TEXT, Figure, Task, expect


class Count:
    """Counts numbered messages, and checks their order.

    Args:
      wanted: how many messages will come.

    Attributes:
      received: how many have come.
      right: whether they came in order.
      done: set when all have come.
    """

    __slots__ = ("done", "received", "right", "wanted")

    def __init__(self, wanted: int) -> None:
        self.wanted: int = wanted
        self.received: int = 0
        self.right: bool = True
        self.done: trio.Event = trio.Event()

    def take(self, number: int) -> None:
        """Count a message."""
        self.right &= number == self.received
        self.received += 1
        if self.received == self.wanted:
            self.done.set()


def receiver(node: Node, kind: str, count: Count) -> Port:
    """Make a port of one of the three kinds, which counts messages."""
    take = count.take
    if kind == "process":

        async def process(port: Port) -> None:
            async for _tag, number, _text in port:
                take(number)

        return node.start_port(process)
    port = node.port()
    if kind == "sync":
        wanted, received, right = count.wanted, 0, True

        @port.on("ping")
        def ping(number: int, _text: str) -> None:
            # This does what `take` does. A call of `take` would be a fifth of the time that is measured.
            nonlocal received, right
            right &= number == received
            received += 1
            if received == wanted:
                count.received, count.right = received, right
                count.done.set()

    else:

        @port.on("ping")
        async def ping_async(number: int, _text: str) -> None:
            take(number)

    return port


async def one_way(task: Task) -> Figure:
    """How many messages go from the program to a port in a second; each pass of the scheduler sends `batch` of them."""
    count = Count(task.count)
    async with open_node(profile=False) as node:
        port = receiver(node, task.kind, count)
        await trio.lowlevel.checkpoint()
        send = node.send
        start = time.perf_counter()
        for first in range(0, task.count, task.batch):
            for number in range(first, min(first + task.batch, task.count)):
                send(port, "ping", number, TEXT)
            await trio.lowlevel.checkpoint()
        await count.done.wait()
        seconds = time.perf_counter() - start
    text = f"expected {task.count} messages in order, got {count.received}{'' if count.right else ' in another order'}"
    expect(count.right and count.received == task.count, text)
    return Figure(task.count / seconds, "messages/s")
