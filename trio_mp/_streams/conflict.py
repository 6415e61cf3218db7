"""The conflict detector: lets one task at a time use a direction of a stream, and can cut its waiting short."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

import trio


class ConflictDetector:
    """One direction of a stream, which a task enters while it uses that direction.

    Args:
      what: what the task is doing, for the error of a second task.

    Attributes:
      taken: whether a task uses the direction.
      waits: how often a task has waited. Waiting is a checkpoint, so a call that has waited needs no other one.
      patience: how long a task may wait each time, in seconds.
      scope: cancels the waiting of the task; a new one for each call that waits.
    """

    def __init__(self, what: str) -> None:
        self.taken = False
        self.waits = 0
        self._what = what
        self._free = trio.lowlevel.ParkingLot()
        self.patience = float("inf")
        self.scope = trio.CancelScope()

    def __enter__(self) -> None:
        if self.taken:
            raise trio.BusyResourceError(f"another task is {self._what} this stream")
        self.taken = True

    def __exit__(self, *_: object) -> None:
        self.taken = False
        self._free.unpark_all()

    async def wait_free(self) -> None:
        """Wait until no task uses this direction. A checkpoint only if one does."""
        while self.taken:
            await self._free.park()

    async def wait(self, wait: Callable[[], Awaitable[None]]) -> None:
        """Wait for the pipe, for as long as `patience` allows. The caller has entered `scope`."""
        if self.patience < float("inf"):
            self.scope.deadline = trio.current_time() + self.patience
        self.waits += 1
        # The pipe was closed: the stream knows why, and raises that when it looks.
        with contextlib.suppress(trio.ClosedResourceError):
            await wait()

    def limit(self, seconds: float) -> None:
        """Let the task that waits now wait no longer than so many seconds from now."""
        self.scope.deadline = min(self.scope.deadline, trio.current_time() + seconds)
