"""The one place that reaches into Trio's scheduler, so that the same seed gives the same run.

Trio runs ready tasks in a random order on purpose, so that nobody relies on one. It draws that order from a
private generator, and it sorts the tasks first only behind a private switch, which pytest-trio sets for Hypothesis
(`trio_typing` and Hypothesis know the same two names). There is no public way, and without the switch no simulation
can be repeated. Both are restored after the simulation.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from trio._core import _run

_SWITCH = "_ALLOW_DETERMINISTIC_SCHEDULING"
_GENERATOR = "_r"


@contextmanager
def deterministic_scheduling(seed: object) -> Iterator[None]:
    """Have Trio order tasks by a seed within the block, so that the order is the same every time.

    This changes every Trio run in this process, so simulations must run one after the other.

    Args:
      seed: any object; seeds with the same text give the same order.

    Raises:
      RuntimeError: this version of Trio does not have the two private names.
    """
    internals = _run.__dict__
    if _SWITCH not in internals or _GENERATOR not in internals:
        raise RuntimeError("expected a version of Trio that can repeat the order of its tasks, got one that cannot")
    generator = internals[_GENERATOR]
    switch, state = internals[_SWITCH], generator.getstate()
    internals[_SWITCH] = True
    generator.seed(f"trio_mp scheduling {seed}")
    try:
        yield
    finally:
        internals[_SWITCH] = switch
        generator.setstate(state)
