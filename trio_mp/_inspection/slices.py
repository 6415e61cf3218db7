"""Work that is done in slices, so that the tasks of the program hardly notice it."""

from __future__ import annotations

from collections.abc import Callable

import trio

SLICE = 0.001
"""After so many seconds of work other tasks have their turn."""

STRIDE = 100
"""How many ports, or other things, are looked at before the clock is: together they take a fraction of a slice."""


class Slices:
    """The slices of one piece of work.

    Args:
      clock: a monotonic clock in seconds, for fairness only.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._end = clock() + SLICE

    async def pause(self) -> None:
        """Let other tasks have their turn, if the slice is over: a checkpoint then, and none otherwise."""
        if self._clock() > self._end:
            await trio.lowlevel.checkpoint()
            self._end = self._clock() + SLICE
