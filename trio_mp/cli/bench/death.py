"""Monitors: the cost of setting one and of its firing, and how soon the death of a process is noticed."""

from __future__ import annotations

import os
import signal
import time

import trio

from trio_mp import Node, open_node

from .pair import FUNCTIONS, Other, ignore, open_others
from .task import Figure, Task, expect


class Firings:
    """Counts monitors that fire: `fire` is the callback of all of them."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.fired: int = 0
        self.done: trio.Event = trio.Event()

    def fire(self, *_reason: object) -> None:
        """Count a monitor that has fired."""
        self.fired += 1
        if self.fired == self.wanted:
            self.done.set()


async def monitors(task: Task) -> Figure:
    """How many microseconds it takes to set a monitor, and to have it fire, for ports here or in another process."""
    firings = Firings(task.count)
    if task.kind == "local":
        async with open_node(profile=False) as node:
            setting, firing = await _here(node, task.count, firings)
            await trio.lowlevel.checkpoint()
            expect(firings.fired == task.count, f"expected {task.count} monitors to fire once, got {firings.fired}")
    else:
        async with open_others(task) as (node, (other,)):
            setting, firing = await _there(node, other, task, firings)
            # A monitor that fires twice would have done so by now.
            await trio.sleep(0.05)
            expect(firings.fired == task.count, f"expected {task.count} monitors to fire once, got {firings.fired}")
    setting, firing = setting / task.count * 1e6, firing / task.count * 1e6
    return Figure(setting + firing, "µs", {"set": setting, "fire": firing})


async def _here(node: Node, count: int, firings: Firings) -> tuple[float, float]:
    ports = [node.port(ignore) for _ in range(count)]
    start = time.perf_counter()
    for port in ports:
        node.monitor(port, firings.fire)
    middle = time.perf_counter()
    for port in ports:
        port.kill()
    await firings.done.wait()
    return middle - start, time.perf_counter() - middle


async def _there(node: Node, other: Other, task: Task, firings: Firings) -> tuple[float, float]:
    async with node.open_port() as port:
        crowd = node.spawn(other.id, f"{FUNCTIONS}:crowd", port, task.count)
        (ports,) = await port.receive()
    start = time.perf_counter()
    for number, one in enumerate(ports):
        node.monitor(one, firings.fire)
        if number % 1000 == 0:
            await node.flush(other.id)
    # The answer comes behind all requests to monitor, so all monitors are in place.
    await node.call(crowd, "ready")
    middle = time.perf_counter()
    if task.kind == "kill":
        node.send(crowd, "kill")
    else:
        os.kill(other.process.pid, signal.SIGKILL)
    await firings.done.wait()
    return middle - start, time.perf_counter() - middle


async def kill(task: Task) -> Figure:
    """How many milliseconds pass from SIGKILL of a process until the callback of a monitor runs in another."""
    slowest = total = 0.0
    for _ in range(task.count):
        async with open_others(task) as (node, (other,)):
            await trio.sleep(0.1)
            fired = trio.Event()
            node.monitor(other.id, lambda *_, fired=fired: fired.set())
            start = time.perf_counter()
            os.kill(other.process.pid, signal.SIGKILL)
            await fired.wait()
            took = (time.perf_counter() - start) * 1e3
        total += took
        slowest = max(slowest, took)
    return Figure(total / task.count, "ms", {"slowest": slowest})
