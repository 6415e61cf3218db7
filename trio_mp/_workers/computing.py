"""The thread of a worker that computes: sync functions, one after the other.

The worker's node runs in a thread of its own, because a function may compute for hours while heartbeats, and requests
to cancel, have to be answered. The two share Python's interpreter lock.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from .failures import describe, traceback_of


@dataclass(frozen=True, slots=True)
class Computed:
    """What has become of a task.

    Attributes:
      ticket: which task.
      value: what the function has returned.
      failure: the description of what it has raised, and its traceback; or None.
      seconds: how long it took.
    """

    ticket: int
    value: object
    failure: tuple[list[object], str] | None
    seconds: float


class Computer:
    """Runs sync functions in the thread that calls `run`. All other methods belong to the thread of the node.

    Args:
      begins: called with a task's ticket before its function is, in the thread that computes.
      wake: called in that thread when something is finished and nobody waits in `collect`.
    """

    def __init__(self, begins: Callable[[int], None], wake: Callable[[], None]) -> None:
        self._begins = begins
        self._wake = wake
        # Tickets of tasks to begin, None for the end; a task that was taken back is no longer in the table.
        self._tickets: SimpleQueue[int | None] = SimpleQueue()
        self._tasks: dict[int, tuple[Callable[..., object], tuple[Any, ...]]] = {}
        self._finished: SimpleQueue[Computed] = SimpleQueue()
        # Written by the node's thread, read by the other one. A task is put among the finished before this is read, and
        # this is cleared before those are looked at for the last time: so none is left there without a wake-up.
        self._collecting = False
        # Whether the node was woken, and has not looked yet.
        self._woken = False
        self._unfinished = 0

    # In the thread of the node -------------------------------------------------------------------------------------

    def give(self, ticket: int, function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        """Have a function called when those before it have returned."""
        self._unfinished += 1
        self._tasks[ticket] = (function, arguments)
        self._tickets.put(ticket)

    def take_back(self, ticket: int) -> bool:
        """Forget a task, if it has not begun; whether it had not."""
        if self._tasks.pop(ticket, None) is None:
            return False
        self._unfinished -= 1
        return True

    def collect(self, patience: float) -> list[Computed]:
        """What has finished.

        Args:
          patience: how long to wait for tasks that have not, in seconds. This blocks the node: what takes a few
            microseconds is then answered without waking its thread by way of Trio, which takes longer.
        """
        finished: list[Computed] = []
        if patience and self._unfinished:
            self._collecting = True
            end = time.perf_counter() + patience
            try:
                while len(finished) < self._unfinished:
                    finished.append(self._finished.get(timeout=max(0.0, end - time.perf_counter())))
            except Empty:
                pass
            self._collecting = False
        else:
            self._woken = False
        while True:
            try:
                finished.append(self._finished.get_nowait())
            except Empty:
                break
        self._unfinished -= len(finished)
        return finished

    def end(self) -> None:
        """Let `run` return when the function that runs has returned."""
        self._tasks.clear()
        self._tickets.put(None)

    # In the thread that computes -----------------------------------------------------------------------------------

    def run(self) -> None:
        """Call functions until `end`."""
        while (ticket := self._tickets.get()) is not None:
            task = self._tasks.pop(ticket, None)
            if task is not None:
                self._finished.put(self._compute(ticket, *task))
                if not (self._collecting or self._woken):
                    self._woken = True
                    self._wake()

    def _compute(self, ticket: int, function: Callable[..., object], arguments: tuple[Any, ...]) -> Computed:
        self._begins(ticket)
        start = time.perf_counter()
        value, failure = None, None
        try:
            value = function(*arguments)
            if inspect.iscoroutine(value):
                value.close()
                raise TypeError(f"{function.__qualname__} is async behind a sync front; decorate it async")
        except BaseException as error:  # noqa: BLE001 - sys.exit() too ends the task, and not the worker
            failure = describe(error), traceback_of(error)
        return Computed(ticket, value, failure, time.perf_counter() - start)
