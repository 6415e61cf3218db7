"""What many runs of one workload say together.

Figures of a busy machine are not normally distributed: they have a long tail to the slow side. So what stands for
them is the median, and its interval is the nonparametric one: of n sorted figures the k-th from below and the k-th from
above enclose the median of whatever they were drawn from unless fewer than k of them fell on one side of it, and on
which side each falls is the toss of a coin. With nine figures the second and the second to last make 96 %; with fewer
than six not even the whole range makes 95 %.
"""

from __future__ import annotations

import enum
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95

NOISE = 0.1
"""Two runs of the same program on the same machine differ by so much, whatever the intervals within each say."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A median, and where the true one is.

    Attributes:
      median: of the figures.
      low, high: the interval.
      confidence: how likely the true median is within it; 0 for a single figure.
      count: of figures.
    """

    median: float
    low: float
    high: float
    confidence: float
    count: int

    @property
    def sound(self) -> bool:
        """Whether there were enough figures for the confidence that is wanted."""
        return self.confidence >= CONFIDENCE


def estimate(values: Sequence[float], wanted: float = CONFIDENCE) -> Estimate:
    """The median with the narrowest symmetric interval of the wanted confidence, or the whole range if there is none.

    Raises:
      ValueError: there are no values.
    """
    if not values:
        raise ValueError("there is no median of nothing")
    ordered = sorted(values)
    count = len(ordered)
    rank = 1
    while 2 * (rank + 1) <= count and coverage(count, rank + 1) >= wanted:
        rank += 1
    low, high = ordered[rank - 1], ordered[count - rank]
    return Estimate(statistics.median(ordered), low, high, coverage(count, rank), count)


def coverage(count: int, rank: int) -> float:
    """How likely the median is between the order statistics of this rank from below and from above."""
    outside = sum(math.comb(count, number) for number in range(rank))
    return max(0.0, 1 - outside / (1 << (count - 1)))


def ratio(ours: dict[int, float], theirs: dict[int, float]) -> Estimate | None:
    """Ours divided by theirs, in pairs of the same round; None if there are none.

    What disturbs the machine for longer than a pair takes disturbs both of it.
    """
    pairs = [value / theirs[number] for number, value in ours.items() if theirs.get(number)]
    return estimate(pairs) if pairs else None


class Comparison(enum.Enum):
    """What has become of a figure since an earlier run."""

    SAME = "within the noise"
    BETTER = "better"
    WORSE = "worse"
    UNKNOWN = "too few figures"


def compare(old: Estimate, new: Estimate, *, more_is_better: bool) -> Comparison:
    """Whether a figure has changed: the intervals have nothing in common, and the medians are over `NOISE` apart."""
    if not (old.sound and new.sound):
        return Comparison.UNKNOWN
    apart = new.low > old.high or new.high < old.low
    far = abs(new.median - old.median) > NOISE * abs(old.median)
    if not (apart and far):
        return Comparison.SAME
    return Comparison.BETTER if (new.median > old.median) is more_is_better else Comparison.WORSE
