"""One task at a time, whose waiting can be cut short."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

import trio


class ConflictDetector:
    """One direction of a stream: entered by the task that uses it.

    Args:
      what: what that task is doing, for the error of another one.

    Attributes:
      taken: whether a task is in it.
      waits: how often somebody has waited, which is a checkpoint.
      patience: how long one waits each time, in seconds.
      scope: cuts it short; new for each call that waits at all.
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
        """Wait until no task is in it."""
        while self.taken:
            await self._free.park()

    async def wait(self, wait: Callable[[], Awaitable[None]]) -> None:
        """Wait for the pipe. Inside `scope`."""
        if self.patience < float("inf"):
            self.scope.deadline = trio.current_time() + self.patience
        self.waits += 1
        # Who has closed the pipe has left word in the stream.
        with contextlib.suppress(trio.ClosedResourceError):
            await wait()

    def limit(self, seconds: float) -> None:
        """Whoever waits, waits no longer than so many seconds from now."""
        self.scope.deadline = min(self.scope.deadline, trio.current_time() + seconds)
