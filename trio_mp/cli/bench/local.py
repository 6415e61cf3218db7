"""Inside one process: one-way messages."""

from __future__ import annotations

import time

import trio

from trio_mp import Node, Port, open_node

from .task import TEXT, Figure, Task, expect


class Count:
    """Counts numbered messages, and checks their order.

    Args:
      wanted: how many there will be.

    Attributes:
      received: how many there were.
      right: whether they were in order.
      done: set when all are there.
    """

    __slots__ = ("done", "received", "right", "wanted")

    def __init__(self, wanted: int) -> None:
        self.wanted: int = wanted
        self.received: int = 0
        self.right: bool = True
        self.done: trio.Event = trio.Event()

    def take(self, number: int) -> None:
        """The next one."""
        self.right &= number == self.received
        self.received += 1
        if self.received == self.wanted:
            self.done.set()


def receiver(node: Node, kind: str, count: Count) -> Port:
    """A port of one of the three kinds that counts messages."""
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
            # As `take` does, without a call: that would be a fifth of what is measured.
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
    """Messages a second from the program to a port; so many are sent in each pass of the scheduler."""
    count = Count(task.count)
    async with open_node() as node:
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
    expect(count.right and count.received == task.count, f"{count.received} of {task.count} came, or not in order")
    return Figure(task.count / seconds, "messages/s")
