"""The execution of the effects that pure rules ask for, one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

E = TypeVar("E")


class EffectQueue(Generic[E]):
    """Executes effects in their order. One effect may cause others: sending may find that a connection is lost.

    Those wait until the present ones are done. Executed at once, inside each other, they would overtake what the rules
    had decided before.

    Args:
      do: executes one effect.
    """

    def __init__(self, do: Callable[[E], None]) -> None:
        self._do = do
        self._waiting: deque[E] = deque()
        self._busy = False

    def execute(self, effects: Iterable[E]) -> bool:
        """Execute effects after those that wait. A call from inside another one leaves them to that one.

        Returns:
          Whether all effects are done when this returns; False in a call from inside another one.
        """
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
