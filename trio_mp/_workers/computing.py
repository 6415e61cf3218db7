"""The computing thread of a worker: it calls sync functions, one after the other.

The worker's node runs in a thread of its own, because a function may compute for hours while the node must answer
heartbeats and requests to cancel. The two threads share Python's interpreter lock.
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
    """The result of a task.

    Attributes:
      ticket: the task's ticket.
      value: the value that the function has returned.
      failure: the description and the traceback of the exception that it has raised; or None.
      seconds: how long it took.
    """

    ticket: int
    value: object
    failure: tuple[list[object], str] | None
    seconds: float


class Computer:
    """Runs sync functions in the thread that calls `run`. All other methods belong to the thread of the node.

    Args:
      begins: called with a task's ticket, in the computing thread, before the function is called.
      wake: called in the computing thread when a task is finished and no `collect` waits.
    """

    def __init__(self, begins: Callable[[int], None], wake: Callable[[], None]) -> None:
        self._begins = begins
        self._wake = wake
        # Tickets of tasks to begin, None for the end; a task that was taken back is no longer in the table.
        self._tickets: SimpleQueue[int | None] = SimpleQueue()
        self._tasks: dict[int, tuple[Callable[..., object], tuple[Any, ...]]] = {}
        self._finished: SimpleQueue[Computed] = SimpleQueue()
        # Written by the node's thread, read by the other one. The computing thread puts a task among the finished
        # before it reads this, and `collect` clears this before it looks at the finished tasks for the last time. So no
        # finished task is left without a wake-up.
        self._collecting = False
        # Whether the node was woken, and has not collected yet.
        self._woken = False
        self._unfinished = 0

    # In the thread of the node -------------------------------------------------------------------------------------

    def give(self, ticket: int, function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        """Have a function called when the functions before it have returned."""
        self._unfinished += 1
        self._tasks[ticket] = (function, arguments)
        self._tickets.put(ticket)

    def take_back(self, ticket: int) -> bool:
        """Forget a task if it has not begun; return whether it was forgotten."""
        if self._tasks.pop(ticket, None) is None:
            return False
        self._unfinished -= 1
        return True

    def collect(self, patience: float) -> list[Computed]:
        """Return the tasks that have finished.

        Args:
          patience: how long to wait for the other tasks, in seconds. This blocks the node. A task of a few microseconds
            is then answered without waking the node's thread through Trio, which takes longer.
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
        """Have `run` return when the present function has returned."""
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
        except BaseException as error:  # noqa: BLE001 - even sys.exit() ends the task only, and not the worker
            failure = describe(error), traceback_of(error)
        return Computed(ticket, value, failure, time.perf_counter() - start)
