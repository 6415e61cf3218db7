"""A clock for fairness and for delays of the scheduler that stands still until a test moves it."""

from __future__ import annotations


class ManualClock:
    """A clock that a test moves; or that moves by itself, by so much with every look at it.

    Args:
      step: how much, in seconds.
    """

    def __init__(self, step: float = 0.0) -> None:
        self.now = 0.0
        self.step = step

    def __call__(self) -> float:
        self.now += self.step
        return self.now
