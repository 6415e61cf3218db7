"""A receiver that stands still: how far its sender's memory grows, and whether every loss is reported."""

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
    """The memory of this process, in bytes: what it takes now; where the system hides that, the most it has taken."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


class Sender:
    """Sends numbered messages, and notes how much memory this process takes."""

    def __init__(self, node: Node, target: str, size: int) -> None:
        self._node = node
        self._target = target
        self._data = bytes(size)
        self._before = resident()
        self.sent: int = 0
        self.most: int = 0

    def send(self) -> None:
        """Send the next message."""
        self._node.send(self._target, "number", self.sent, self._data)
        self.sent += 1
        if self.sent % CHECK_EVERY == 0:
            self.look()

    def look(self) -> None:
        """Note how much memory this process takes now."""
        self.most = max(self.most, resident() - self._before)


async def slow_receiver(task: Task) -> Figure:
    """By how many MiB a sender grows while its receiver stands still.

    A sender that never waits sends until its monitor fires; a sender that waits at `flush` loses nothing. Afterwards
    the receiver goes on, and tells what it got: all messages, or all but one run of them, which the monitor reported.
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
            # The nodes connect again, and a monitor of its own covers the messages from now on.
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
    expect(bool(reasons), f"expected a monitor to fire, got none after {sender.sent} messages that nobody read")


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
        text = f"expected all {sent} messages, got {received} with holes at {gaps}, and no monitor fired"
        expect((received, gaps) == (sent, []), text)
        return
    expect(fired == 1, f"expected one loss to be reported, got {fired}")
    expect(last == sent - 1, f"expected the last of {sent} messages after the report, got none later than {last}")
    # There is one hole, and it ends where the monitor fired.
    expect(len(gaps) == 1 and gaps[0][1] == before, f"expected one hole, which ends before {before}, got {gaps}")
