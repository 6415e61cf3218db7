"""Effects of pure rules, done one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

E = TypeVar("E")


class EffectQueue(Generic[E]):
    """Does effects in order: sending may find that a connection is lost, which has effects as well.

    Args:
      do: does one.
    """

    def __init__(self, do: Callable[[E], None]) -> None:
        self._do = do
        self._waiting: deque[E] = deque()
        self._busy = False

    def execute(self, effects: Iterable[E]) -> bool:
        """Do these after those that wait; returns whether all are done, or are left to the call that this one is in."""
        self._waiting += effects
        if self._busy:
            return False
        self._busy = True
        try:
            while self._waiting:
                self._do(self._waiting.popleft())
        finally:
            self._busy = False
        return True
