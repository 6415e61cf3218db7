"""Measure wholes: the cost of a message between two processes, and round trips of programs, each of which does more."""

from __future__ import annotations

import contextlib
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import trio

from benchmarks import profile_programs as programs
from trio_mp import Node, open_node
from trio_mp.cli.bench.pair import end_process
from trio_mp.cli.bench.task import SECRET, TEXT, WARM, expect

BATCH = 100
"""The number of messages that are sent in one pass of the scheduler, and so in one frame."""

PROGRAMS = Path(programs.__file__)
ASKERS = {"sockets": programs.ask_with_sockets, "epoll": programs.ask_with_epoll, "trio": programs.ask_with_trio}


class Effort(msgspec.Struct, frozen=True):
    """How much is measured.

    Attributes:
      messages: how many messages one run of a part handles.
      runs: how many runs of each part there are.
      flood: how many messages one run of the whole sends between two processes.
      trips: how many round trips there are in one run.
      rounds: how many runs of the wholes, and of each kind of round trip, there are.
    """

    messages: int = 2_000
    runs: int = 60
    flood: int = 200_000
    trips: int = 3_000
    rounds: int = 7


@contextlib.contextmanager
def other_program(kind: str) -> Iterator[socket.socket]:
    """Open a connection with another process."""
    with subprocess.Popen([sys.executable, "-P", str(PROGRAMS), kind], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            with socket.create_connection(("127.0.0.1", int(process.stdout.readline()))) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                yield connection
        finally:
            process.kill()


@asynccontextmanager
async def other_node() -> AsyncGenerator[tuple[Node, str], None]:
    """Open a node here and one in another process. Yields the node, and the ID of the other node."""
    async with open_node("this", binds=["127.0.0.1:0"], secret=SECRET, encryption=False) as node:
        command = [sys.executable, "-P", str(PROGRAMS), "node", node.binds[0]]
        process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE)
        try:
            await node.call("other", "time")
            yield node, "other"
        finally:
            await end_process(process)


async def flood(effort: Effort, node: Node, other: str) -> tuple[float, float, float]:
    """Return the CPU time of a message in nanoseconds: the sender's, its part in the kernel, and the receiver's."""
    send, sending, receiving = node.send, float("inf"), float("inf")
    total = in_kernel = 0.0
    for _ in range(effort.rounds):
        async with node.open_port() as port:
            there = node.spawn(other, "::sink", port, effort.flood)
            await node.flush(there)
            kernel, start = os.times().system, time.process_time()
            for first in range(0, effort.flood, BATCH):
                for number in range(first, min(first + BATCH, effort.flood)):
                    send(there, "ping", number, TEXT)
                await node.flush(there)
            took = time.process_time() - start
            sending = min(sending, took)
            # The system counts CPU time in ticks, and a single run has too few of them.
            total, in_kernel = total + took, in_kernel + os.times().system - kernel
            right, seconds = await port.receive()
            expect(right, "expected messages in order, got others")
            receiving = min(receiving, seconds)
    whole = sending / effort.flood * 1e9
    return whole, whole * in_kernel / total, receiving / effort.flood * 1e9


def write_calls(effort: Effort, size: int) -> float:
    """Return what a `send` of `size` bytes costs, in nanoseconds, while another process takes them."""
    packet, shortest = bytes(size), float("inf")
    with other_program("drain") as connection:
        for _ in range(effort.runs):
            took = 0.0
            # Many calls in a row: some wake the other process, and cost more than those that find it awake.
            for _ in range(BATCH):
                start = time.perf_counter()
                connection.send(packet)
                took += time.perf_counter() - start
            shortest = min(shortest, took)
    return shortest / BATCH * 1e9


async def round_trips(node: Node, other: str, count: int) -> list[int]:
    """Send messages from handler to handler and back. Returns how long each round trip took."""
    times: list[int] = []
    done = trio.Event()
    clock = time.perf_counter_ns
    start = 0
    port = node.port()
    there = node.spawn(other, "::echo", port)

    @port.on("pong")
    def pong(number: int, text: str) -> None:
        nonlocal start
        times.append(clock() - start)
        if number == count:
            done.set()
        else:
            start = clock()
            node.send(there, "ping", number + 1, text)

    start = clock()
    node.send(there, "ping", 1, TEXT)
    await done.wait()
    port.kill()
    return times


def middle(times: list[int]) -> float:
    """Return the median in microseconds, without the first round trips."""
    return statistics.median(times[len(times) // WARM :]) / 1e3


def ask(effort: Effort) -> dict[str, float]:
    """Return the microseconds of a round trip of each kind: the least median of several turns."""
    found = dict.fromkeys([*ASKERS, "node"], float("inf"))

    async def ask_node() -> list[int]:
        async with other_node() as (node, other):
            return await round_trips(node, other, effort.trips)

    for _ in range(effort.rounds):
        for kind, asker in ASKERS.items():
            with other_program(kind) as connection:
                found[kind] = min(found[kind], middle(asker(connection, effort.trips)))
        found["node"] = min(found["node"], middle(trio.run(ask_node)))
    return found
