"""What an idle port, the start of a node, and the forming of a network cost."""

from __future__ import annotations

import sys
import time
from subprocess import PIPE

import trio

from trio_mp import Node, Port, open_node

from .member import READY
from .pair import end_process, folder_for, ignore
from .slow import resident
from .task import Figure, Task, expect, report

START = """
import time, sys
import trio
first = time.monotonic()
import trio_mp
second = time.monotonic()
async def main():
    settings = {"binds": [sys.argv[1]], "secret": "0123456789abcdef"} if len(sys.argv) > 1 else {}
    async with trio_mp.open_node(profile=False, **settings):
        print(first, second, time.monotonic(), flush=True)
trio.run(main)
"""

MEMBER = "trio_mp.cli.bench.member"


def make_ports(node: Node, kind: str, count: int) -> list[Port]:
    """Make many idle ports: bare ones, or ones with two handlers, which all of them share."""
    if kind != "handlers":
        return [node.port() for _ in range(count)]
    ports = []
    for _ in range(count):
        port = node.port()
        port.on("one")(ignore)
        port.on("two")(ignore)
        ports.append(port)
    return ports


async def idle(task: Task) -> Figure:
    """The bytes of one idle port with its ID and its place in the table, or the seconds that making all of them takes.

    The bytes are those by which the process grows. The list that holds the ports here is not counted.
    """
    async with open_node(profile=False) as node:
        # Memory that the first ports bring with them, such as the pool of names, is not counted.
        first = make_ports(node, task.kind, 100)
        before = resident()
        start = time.perf_counter()
        ports = make_ports(node, task.kind, task.count)
        seconds = time.perf_counter() - start
        size = (resident() - before) / task.count - 8
        expect(len(set(ports)) == task.count and all(port.alive for port in ports), "ports are missing")
        expect(len(first) == 100, "ports are missing")
        microseconds = seconds / task.count * 1e6
        if task.kind == "time":
            figure = Figure(seconds, "s", {"µs a port": microseconds, "bytes": size})
        else:
            figure = Figure(size, "bytes", {"µs a port": microseconds})
        # The runner kills this process when it has read the figure. If the node closed, it would kill each port: the
        # death of a million takes longer than the measurement.
        report(figure)
    return figure


async def start_up(task: Task) -> Figure:
    """How many milliseconds pass from the start of a process until a node is open in it."""
    async with folder_for(task) as address:
        network = [address] if task.kind == "network" else []
        before = time.monotonic()
        command = [sys.executable, "-P", "-c", START, *network]
        done = await trio.run_process(command, capture_stdout=True)
    first, second, third = (float(word) for word in done.stdout.split())
    extra = {"import": (second - first) * 1e3, "open_node": (third - second) * 1e3}
    return Figure((third - before) * 1e3, "ms", extra)


async def form(task: Task) -> Figure:
    """How many seconds pass from the start of all processes until each has an answer from every other."""
    names = [f"node-{number}" for number in range(task.count)]
    processes: list[trio.Process] = []
    async with folder_for(task) as seed:
        start = time.monotonic()
        try:
            for name in names:
                command = [sys.executable, "-P", "-m", MEMBER, name, seed, *names]
                processes.append(await trio.lowlevel.open_process(command, stdin=PIPE, stdout=PIPE))
            async with trio.open_nursery() as nursery:
                for process in processes:
                    nursery.start_soon(_wait_ready, process)
            seconds = time.monotonic() - start
        finally:
            for process in processes:
                await end_process(process)
    return Figure(seconds, "s", {"processes": float(task.count)})


async def _wait_ready(process: trio.Process) -> None:
    assert process.stdout is not None
    async with process.stdout:
        expect(await process.stdout.receive_some() == READY, "a process of the network has ended")
