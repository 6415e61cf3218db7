"""A clock for fairness and for delays of the scheduler that stands still until a test moves it."""

from __future__ import annotations


class ManualClock:
    """A fairness clock that only a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now
