"""How the SRV records of a name rank the seeds that they name (RFC 2782)."""

from __future__ import annotations

import math
from collections.abc import Iterable

_NEARLY_NONE = 0.1
"""The weight that counts for 0, which says: seldom, if others have some."""


def turn_of(weight: int, greatest: int, drawn: float) -> float:
    """When a seed has its turn among those of its priority: the smaller, the earlier.

    The first of several is each with the probability that its weight has among theirs, and so is each next one among
    those that are left.

    Args:
      weight: the seed's.
      greatest: the greatest weight among those of its priority.
      drawn: a random number from 0 to 1.

    Returns:
      A number from 0 to 1. With equal weights it is as random as what was drawn.
    """
    # The smallest of exponential variables is each in proportion to its rate. This one is brought back to 0 to 1.
    return 1.0 - math.pow(1.0 - drawn, max(greatest, _NEARLY_NONE) / max(weight, _NEARLY_NONE))


def is_spare(priority: int, others: Iterable[tuple[int, bool]]) -> bool:
    """Whether a seed is left alone for now, because one of a better priority may work.

    Args:
      priority: the seed's. The smallest number is the best.
      others: the priority of each other seed of the name, and whether it could not be reached.
    """
    return any(theirs < priority and not failed for theirs, failed in others)
