"""Which worker gets a task: the rules, without I/O, tasks or clocks.

A worker computes one sync function at a time, and any number of async ones at once.

1. An async task goes at once to the worker that has the fewest tasks.
2. A sync task waits in the pool until a worker has room for it. A worker has room if it has no sync task; or if it has
   one that takes less than `SOON`, so that the next task is there when that one has returned; or if its sync tasks take
   less than `AHEAD` together, so that tasks of microseconds travel in batches. So no task waits behind a long one.
3. The time of a function is estimated by its last calls: a longer call counts at once, a shorter one by a part. The
   time of a function that has never returned is unknown, and a worker gets only one task of it.
4. If an estimate was wrong, the pool calls back the tasks behind a long one when another worker is idle.
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
    """The tasks that one worker has been given and has not answered.

    Attributes:
      tasks: how many there are.
      sync_tasks: how many of them are sync.
      seconds: how long the sync ones are expected to take; infinite if the time of one of them is unknown.
    """

    __slots__ = ("_known", "_unknown", "sync_tasks", "tasks")

    def __init__(self) -> None:
        self.tasks = 0
        self.sync_tasks = 0
        self._known = 0.0
        self._unknown = 0

    @property
    def seconds(self) -> float:
        """How long the sync tasks are expected to take together; see `Load`."""
        return math.inf if self._unknown else self._known

    @property
    def has_room(self) -> bool:
        """Whether the worker may get one more sync task; see rule 2."""
        if self.sync_tasks < 2:
            return not self.sync_tasks or self.seconds < SOON
        return self.seconds < AHEAD and self.sync_tasks < MOST_AHEAD

    def add(self, seconds: float | None) -> None:
        """Count one task more: a sync one that takes so many seconds, or `math.inf`; None for an async one."""
        self.tasks += 1
        if seconds is not None:
            self.sync_tasks += 1
            if seconds == math.inf:
                self._unknown += 1
            else:
                self._known += seconds

    def remove(self, seconds: float | None) -> None:
        """Count one task less; call it with the argument of `add`."""
        self.tasks -= 1
        if seconds is not None:
            self.sync_tasks -= 1
            if seconds == math.inf:
                self._unknown -= 1
            else:
                self._known -= seconds
        if self.sync_tasks == self._unknown:
            # Without a rounding error from adding and subtracting.
            self._known = 0.0


class HasLoad:
    """A worker, as the rules see it.

    Attributes:
      load: the tasks that it has been given and has not answered.
    """

    load: Load


L = TypeVar("L", bound=HasLoad)


def least_busy(workers: Iterable[L], *, sync: bool) -> L | None:
    """Return the worker for the next task, the first of several equal ones; None if a sync task has to wait."""
    best: L | None = None
    for worker in workers:
        load = worker.load
        if (not sync or load.has_room) and (best is None or load.tasks < best.load.tasks):
            best = worker
    return best


class Durations:
    """Estimates how long functions take, by their last calls."""

    def __init__(self) -> None:
        self._seconds: dict[object, float] = {}

    def of(self, function: object) -> float:
        """Return how long a function takes, in seconds; infinite if that is unknown."""
        return self._seconds.get(function, math.inf)

    def learn(self, function: object, seconds: float) -> None:
        """Note how long a call of the function has taken."""
        before = self._seconds.get(function)
        if before is not None and seconds < before:
            seconds = before + (seconds - before) * _SHARE
        self._seconds[function] = seconds
