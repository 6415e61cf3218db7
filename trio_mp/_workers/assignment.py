"""Which worker gets a task: the rules, without I/O, tasks or clocks.

A worker computes one sync function at a time, and any number of async ones at once.

1. An async task goes at once to the worker that has the fewest tasks.
2. A sync task waits here until a worker has room: one that has no sync task at all; or that has one which takes less
   than `SOON`, so that the next one is there when it has returned; or whose sync tasks take less than `AHEAD` together,
   so that what takes microseconds travels in batches. What takes long is not sent ahead of its turn.
3. How long a function takes is what it took lately: longer at once, shorter step by step. Of one that has never
   returned it is not known, and a worker has only one of it.
4. Where that was an error, the tasks behind one that takes long are called back when another worker is idle.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TypeVar

AHEAD = 0.001
"""Any number of sync tasks are sent ahead to a worker that has less than this to do, in seconds."""

SOON = 0.05
"""One sync task is sent ahead to a worker that has less than this to do, in seconds: some hundred round trips."""

MOST_AHEAD = 64
"""How many sync tasks a worker has at most, however short they are."""

SLOW = 0.01
"""A sync task that takes longer, in seconds, has those behind it called back if another worker is idle."""

_SHARE = 0.125


class Load:
    """What one worker has been given and has not answered.

    Attributes:
      tasks: how many.
      sync_tasks: how many of them are sync.
      seconds: how long the sync ones take, as far as is known; infinite if that of one of them is not.
    """

    __slots__ = ("_known", "_unknown", "sync_tasks", "tasks")

    def __init__(self) -> None:
        self.tasks = 0
        self.sync_tasks = 0
        self._known = 0.0
        self._unknown = 0

    @property
    def seconds(self) -> float:
        """How long its sync tasks take."""
        return math.inf if self._unknown else self._known

    @property
    def has_room(self) -> bool:
        """Whether it may be given one more sync task."""
        if self.sync_tasks < 2:
            return not self.sync_tasks or self.seconds < SOON
        return self.seconds < AHEAD and self.sync_tasks < MOST_AHEAD

    def add(self, seconds: float | None) -> None:
        """A task more: a sync one that takes so many seconds, or `math.inf`; None for an async one."""
        self.tasks += 1
        if seconds is not None:
            self.sync_tasks += 1
            if seconds == math.inf:
                self._unknown += 1
            else:
                self._known += seconds

    def remove(self, seconds: float | None) -> None:
        """A task less; called with what `add` was called with."""
        self.tasks -= 1
        if seconds is not None:
            self.sync_tasks -= 1
            if seconds == math.inf:
                self._unknown -= 1
            else:
                self._known -= seconds
        if self.sync_tasks == self._unknown:
            # What adding and subtracting have left.
            self._known = 0.0


class HasLoad:
    """Something that has a load.

    Attributes:
      load: what it has been given.
    """

    load: Load


L = TypeVar("L", bound=HasLoad)


def least_busy(workers: Iterable[L], *, sync: bool) -> L | None:
    """The worker for the next task, the first of several that are equal; None if a sync task has to wait."""
    best: L | None = None
    for worker in workers:
        load = worker.load
        if (not sync or load.has_room) and (best is None or load.tasks < best.load.tasks):
            best = worker
    return best


class Durations:
    """How long functions take, by what they took."""

    def __init__(self) -> None:
        self._seconds: dict[object, float] = {}

    def of(self, function: object) -> float:
        """How long it takes, in seconds; infinite if that is not known."""
        return self._seconds.get(function, math.inf)

    def learn(self, function: object, seconds: float) -> None:
        """It has taken so long."""
        before = self._seconds.get(function)
        if before is not None and seconds < before:
            seconds = before + (seconds - before) * _SHARE
        self._seconds[function] = seconds
