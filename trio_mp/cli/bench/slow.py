"""A receiver that does not keep up: what its sender's memory comes to, and whether every loss is told."""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path

import trio

from trio_mp import Node

from .pair import FUNCTIONS, open_others
from .task import Figure, Task, expect

LIMIT = 16 * 1024 * 1024
"""The sender's `queue_limit`."""

CHECK_EVERY = 500
PAUSE = 0.5
"""How long the receiver stands still while the sender waits for it, in seconds."""


def resident() -> int:
    """Memory of this process, in bytes: what it takes now where the system tells, else the most it has taken."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


class Sender:
    """Sends numbered messages, and watches its memory."""

    def __init__(self, node: Node, target: str, size: int) -> None:
        self._node = node
        self._target = target
        self._data = bytes(size)
        self._before = resident()
        self.sent: int = 0
        self.most: int = 0

    def send(self) -> None:
        """The next message."""
        self._node.send(self._target, "number", self.sent, self._data)
        self.sent += 1
        if self.sent % CHECK_EVERY == 0:
            self.look()

    def look(self) -> None:
        """See how much memory there is now."""
        self.most = max(self.most, resident() - self._before)


async def slow_receiver(task: Task) -> Figure:
    """MiB by which a sender grows whose receiver has been stopped.

    It sends without waiting, until its monitor fires, or all the same when it waits at `flush`. Then the receiver goes
    on, and says what it got: everything, or without a hole up to the one that was told.
    """
    async with open_others(task, queue_limit=LIMIT, message_limit=LIMIT // 4) as (node, (other,)):
        target = node.spawn(other.id, f"{FUNCTIONS}:log")
        await node.call(target, "figures")
        reasons: list[tuple[object, ...]] = []
        monitor = node.monitor(target, lambda *reason: reasons.append(reason))
        sender = Sender(node, target, task.size)
        os.kill(other.process.pid, signal.SIGSTOP)
        if task.kind == "flush":
            await _send_with_patience(node, sender, target, task.count, other.process.pid)
        else:
            await _send_without(sender, task.count, reasons)
            os.kill(other.process.pid, signal.SIGCONT)
        sender.look()
        before = sender.sent
        if reasons:
            # The connection is made again, and what is sent from now on is under a monitor of its own.
            monitor = node.monitor(target, lambda *reason: reasons.append(reason))
            await node.flush(target)
            for _ in range(10):
                sender.send()
        received, last, gaps = await node.call(target, "figures")
        monitor.cancel()
    _judge(before, sender.sent, len(reasons), (int(received), int(last), gaps))
    extra = {"sent": float(before), "received": float(received), "limit": LIMIT / 2**20}
    return Figure(sender.most / 2**20, "MiB", extra)


async def _send_without(sender: Sender, count: int, reasons: list[tuple[object, ...]]) -> None:
    while sender.sent < count and not reasons:
        for _ in range(CHECK_EVERY):
            sender.send()
        await trio.lowlevel.checkpoint()
    expect(bool(reasons), f"{sender.sent} messages were taken for a receiver that stands still, and no monitor fired")


async def _send_with_patience(node: Node, sender: Sender, target: str, count: int, process: int) -> None:
    async def go_on() -> None:
        await trio.sleep(PAUSE)
        os.kill(process, signal.SIGCONT)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(go_on)
        while sender.sent < count:
            for _ in range(10):
                sender.send()
            await node.flush(target)


def _judge(before: int, sent: int, fired: int, figures: tuple[int, int, list[list[int]]]) -> None:
    received, last, gaps = figures
    if not fired:
        expect((received, gaps) == (sent, []), f"{received} of {sent} came, with holes at {gaps}, and nothing was told")
        return
    expect(fired == 1, f"{fired} losses were told, of one")
    expect(last == sent - 1, f"the last of {sent} messages never came, and nothing was told")
    # One hole, which ends where the report came.
    expect(len(gaps) == 1 and gaps[0][1] == before, f"there are the holes {gaps}; one was told, before {before}")
