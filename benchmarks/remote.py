"""Between two processes. argv: WORKLOAD COUNT unix|tcp plain|tls

    one_way     small messages into a sync handler, 100 a scheduler pass; counted and timed by the receiver
    round_trip  a small message and its answer, from handler to handler; median and 99th percentile
    call        the same with `node.call`
    sigkill     SIGKILL of the other process, until the monitor has fired
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from benchmarks.harness import SECRET, SMALL, report
from trio_mp import Node, Port, open_node, spawnable

PASS = 100


@spawnable
def sink(port: Port, reply: str, count: int) -> None:
    """Count messages; time them from the first to the last."""
    received = 0
    start = 0.0

    @port.on("ping")
    def ping(_number: int, _text: str) -> None:
        nonlocal received, start
        received += 1
        if received == 1:
            start = time.perf_counter()
        elif received == count:
            port.node.send(reply, (count - 1) / (time.perf_counter() - start))


@spawnable
def echo(port: Port, reply: str) -> None:
    """Answer every message."""
    node = port.node

    @port.on("ping")
    def ping(number: int, text: str) -> None:
        node.send(reply, "pong", number, text)

    @port.on("call")
    def called(number: int, reply_port: str) -> None:
        node.send(reply_port, number)


async def serve(address: str, encryption: bool) -> None:
    """The other process: a node that others spawn on."""
    modules = ["benchmarks.remote"]
    async with open_node("other", binds=[address], secret=SECRET, encryption=encryption, spawn_modules=modules) as node:
        print(node.binds[0], flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)


@asynccontextmanager
async def two_nodes(transport: str, encryption: bool) -> AsyncGenerator[tuple[Node, subprocess.Popen[str]], None]:
    """A node here, and one in another process, connected."""
    with tempfile.TemporaryDirectory() as folder:
        address = f"unix:{folder}/s" if transport == "unix" else "127.0.0.1:0"
        command = [sys.executable, "-m", "benchmarks.remote", "serve", address, "tls" if encryption else "plain"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220
        assert process.stdout is not None
        bind = process.stdout.readline().strip()
        try:
            async with open_node("this", seeds=[bind], secret=SECRET, encryption=encryption) as node:
                await node.call("other", "time")
                yield node, process
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


async def one_way(count: int, transport: str, encryption: bool) -> None:
    """Messages a second."""
    async with two_nodes(transport, encryption) as (node, _), node.open_port() as port:
        there = node.spawn("other", "benchmarks.remote:sink", port, count)
        send = node.send
        for _ in range(count // PASS):
            for _ in range(PASS):
                send(there, *SMALL)
            await node.flush(there)
        (rate,) = await port.receive()
        report("remote one-way", "trio_mp", rate, "messages/s")


async def round_trip(count: int, transport: str, encryption: bool) -> None:
    """Microseconds from handler to handler and back."""
    async with two_nodes(transport, encryption) as (node, _):
        times: list[int] = []
        done = trio.Event()
        here = node.port()
        there = node.spawn("other", "benchmarks.remote:echo", here)
        clock = time.perf_counter_ns
        start = clock()

        @here.on("pong")
        def pong(number: int, text: str) -> None:
            nonlocal start
            times.append(clock() - start)
            if number == count:
                done.set()
            else:
                start = clock()
                node.send(there, "ping", number + 1, text)

        node.send(there, "ping", 1, "hello")
        await done.wait()
        report_times("round trip", times[count // 10 :])


async def call(count: int, transport: str, encryption: bool) -> None:
    """Microseconds for a call."""
    async with two_nodes(transport, encryption) as (node, _):
        there = node.spawn("other", "benchmarks.remote:echo", "this")
        times: list[int] = []
        for number in range(count):
            start = time.perf_counter_ns()
            await node.call(there, "call", number)
            times.append(time.perf_counter_ns() - start)
        report_times("call", times[count // 10 :])


async def sigkill(count: int, transport: str, encryption: bool) -> None:
    """Milliseconds from SIGKILL until the monitor's callback runs."""
    times: list[float] = []
    for _ in range(count):
        async with two_nodes(transport, encryption) as (node, process):
            await trio.sleep(0.1)
            fired = trio.Event()
            node.monitor("other", lambda *_, fired=fired: fired.set())
            start = time.perf_counter()
            os.kill(process.pid, signal.SIGKILL)
            await fired.wait()
            times.append((time.perf_counter() - start) * 1e3)
    report("SIGKILL to monitor", "trio_mp", statistics.median(times), "ms", best=min(times), worst=max(times))


def report_times(workload: str, nanoseconds: list[int]) -> None:
    """The median, and the 99th percentile."""
    ordered = sorted(nanoseconds)
    percentile = ordered[len(ordered) * 99 // 100] / 1e3
    report(workload, "trio_mp", statistics.median(ordered) / 1e3, "µs", p99=round(percentile, 1))


async def main(arguments: list[str]) -> None:
    """Run one workload."""
    workload, count, transport, encryption = arguments
    workloads = {"one_way": one_way, "round_trip": round_trip, "call": call, "sigkill": sigkill}
    await workloads[workload](int(count), transport, encryption == "tls")


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        trio.run(serve, sys.argv[2], sys.argv[3] == "tls")
    else:
        trio.run(main, sys.argv[1:])
