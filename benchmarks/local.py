"""Inside one process: one-way messages into a sync handler, and the memory of idle ports. argv: one_way|idle COUNT"""

from __future__ import annotations

import resource
import sys
import time
import tracemalloc

import trio

from benchmarks.harness import SMALL, report
from trio_mp import Node, open_node


async def one_way(count: int) -> None:
    """Messages a second from the program to a sync handler, sent 100 at a time."""
    received = 0
    done = trio.Event()

    async with open_node() as node:
        port = node.port()

        @port.on("ping")
        def ping(_number: int, _text: str) -> None:
            nonlocal received
            received += 1
            if received == count:
                done.set()

        start = time.perf_counter()
        send = node.send
        for _ in range(count // 100):
            for _ in range(100):
                send(port, *SMALL)
            await trio.lowlevel.checkpoint()
        await done.wait()
        report("local one-way", "trio_mp", count / (time.perf_counter() - start), "messages/s")


def _ignore(*_message: object) -> None:
    """A handler that many ports share."""


def _make(node: Node, count: int) -> list[str]:
    return [node.port(_ignore) for _ in range(count)]


async def idle(count: int) -> None:
    """Bytes and time for one idle port with a shared handler, its ID and its place in the table."""
    async with open_node() as node:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        ports = _make(node, count)
        seconds = time.perf_counter() - start
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / count
        tracemalloc.start()
        more = _make(node, count // 10)
        traced = tracemalloc.get_traced_memory()[0] / (count // 10)
        tracemalloc.stop()
        # The list that keeps them is not the port's.
        report("idle port", "trio_mp", grown - 8, "bytes", traced=round(traced - 8), microseconds=seconds / count * 1e6)
        assert len(ports) + len(more) == count + count // 10


if __name__ == "__main__":
    trio.run({"one_way": one_way, "idle": idle}[sys.argv[1]], int(sys.argv[2]))
