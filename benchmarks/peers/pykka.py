"""Pykka: `tell` from one thread's actor to another's; an idle actor is a thread."""

from __future__ import annotations

import threading
import time
from typing import Any

from pykka import ActorRegistry, ThreadingActor

from benchmarks.peers import common
from benchmarks.peers.common import TEXT, Figure, Task, expect


class Sink(ThreadingActor):
    """Counts messages, and checks their order."""

    def __init__(self, count: int, done: threading.Event) -> None:
        super().__init__()
        self.count = count
        self.done = done
        self.seen = 0
        self.right = True
        self.end = 0.0

    def on_receive(self, message: Any) -> Any:
        """The next one, or the question how it went."""
        if message == "result":
            return self.right, self.end
        self.right = self.right and message[1] == self.seen
        self.seen += 1
        if self.seen == self.count:
            self.end = time.perf_counter()
            self.done.set()
        return None


class Source(ThreadingActor):
    """Sends them."""

    def on_receive(self, message: Any) -> None:
        """To that actor, so many."""
        sink, count = message
        for number in range(count):
            sink.tell(("ping", number, TEXT))


def main(task: Task) -> Figure:
    """All in one process."""
    if task.name == "idle":
        return idle(task)
    done = threading.Event()
    sink = Sink.start(task.count, done)
    source = Source.start()
    start = time.perf_counter()
    source.tell((sink, task.count))
    done.wait()
    right, end = sink.ask("result")
    ActorRegistry.stop_all()
    expect(right)
    return common.speed(task, end - start)


def idle(task: Task) -> Figure:
    """Bytes for an actor that does nothing."""
    before = common.resident()
    start = time.perf_counter()
    actors = [Sink.start(1, threading.Event()) for _ in range(task.count)]
    seconds = time.perf_counter() - start
    size = (common.resident() - before) / len(actors)
    ActorRegistry.stop_all()
    return common.figure(size, "bytes", **{"µs an actor": seconds / task.count * 1e6})
