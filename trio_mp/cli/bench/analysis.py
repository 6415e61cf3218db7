"""What the figures of many runs say together: a median, and how far it can be trusted.

Figures of a busy machine are not normally distributed: they have a long tail to the slow side. So the median stands for
them, with its nonparametric interval. Each figure falls on either side of the true median with equal probability, as a
tossed coin does. So the k-th figure from below and the k-th from above enclose the true median, unless fewer than k
figures fell on one of its sides. Of nine figures, the second and the second to last enclose it with 96 %; of fewer than
six, not even the whole range reaches 95 %.
"""

from __future__ import annotations

import enum
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95

NOISE = 0.1
"""By how much two runs of one program on one machine may differ, although each run's intervals are narrower."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """The median of some figures, and an interval for the true median.

    Attributes:
      median: the median of the figures.
      low, high: the interval.
      confidence: how likely the true median is in the interval; 0 for a single figure.
      count: how many figures there are.
    """

    median: float
    low: float
    high: float
    confidence: float
    count: int

    @property
    def sound(self) -> bool:
        """Whether there are enough figures for a confidence of `CONFIDENCE`."""
        return self.confidence >= CONFIDENCE


def estimate(values: Sequence[float], wanted: float = CONFIDENCE) -> Estimate:
    """Estimate the median, with the narrowest symmetric interval that has the wanted confidence.

    If no interval has it, the interval is the whole range.

    Raises:
      ValueError: there are no values.
    """
    if not values:
        raise ValueError("expected figures to estimate a median from, got none")
    ordered = sorted(values)
    count = len(ordered)
    rank = 1
    while 2 * (rank + 1) <= count and coverage(count, rank + 1) >= wanted:
        rank += 1
    low, high = ordered[rank - 1], ordered[count - rank]
    return Estimate(statistics.median(ordered), low, high, coverage(count, rank), count)


def coverage(count: int, rank: int) -> float:
    """The probability that the true median is between the figures of this rank from below and from above."""
    outside = sum(math.comb(count, number) for number in range(rank))
    return max(0.0, 1 - outside / (1 << (count - 1)))


def ratio(ours: dict[int, float], theirs: dict[int, float]) -> Estimate | None:
    """Divide our figures by theirs, in pairs of the same round. None if there is no pair.

    A disturbance of the machine that lasts longer than a pair disturbs both figures of the pair.
    """
    pairs = [value / theirs[number] for number, value in ours.items() if theirs.get(number)]
    return estimate(pairs) if pairs else None


class Comparison(enum.Enum):
    """How a figure compares with that of an earlier run."""

    SAME = "within the noise"
    BETTER = "better"
    WORSE = "worse"
    UNKNOWN = "too few figures"


def compare(old: Estimate, new: Estimate, *, more_is_better: bool) -> Comparison:
    """Compare two estimates. They differ if their intervals do not overlap and their medians are over `NOISE` apart."""
    if not (old.sound and new.sound):
        return Comparison.UNKNOWN
    apart = new.low > old.high or new.high < old.low
    far = abs(new.median - old.median) > NOISE * abs(old.median)
    if not (apart and far):
        return Comparison.SAME
    return Comparison.BETTER if (new.median > old.median) is more_is_better else Comparison.WORSE
