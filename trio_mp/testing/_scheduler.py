"""The one place that reaches into Trio's scheduler, so that the same seed gives the same run.

Trio runs the tasks that are ready in a random order, on purpose: nobody should rely on one. It draws that order from a
private generator, and it sorts the tasks first only behind a private switch, which pytest-trio sets for Hypothesis
(`trio_typing` and Hypothesis know the same two names). There is no public way; without the switch no simulation can be
repeated. Both are put back as they were.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from trio._core import _run

_SWITCH = "_ALLOW_DETERMINISTIC_SCHEDULING"
_GENERATOR = "_r"


@contextmanager
def deterministic_scheduling(seed: object) -> Iterator[None]:
    """In the block, Trio orders tasks as the seed says, and so in the same way every time.

    It concerns every Trio program of this process, so simulations run one after the other.

    Args:
      seed: anything whose text tells it from other seeds.

    Raises:
      RuntimeError: this version of Trio has no such switch.
    """
    internals = _run.__dict__
    if _SWITCH not in internals or _GENERATOR not in internals:
        raise RuntimeError("this version of Trio cannot be made to schedule its tasks in a repeatable order")
    generator = internals[_GENERATOR]
    switch, state = internals[_SWITCH], generator.getstate()
    internals[_SWITCH] = True
    generator.seed(f"trio_mp scheduling {seed}")
    try:
        yield
    finally:
        internals[_SWITCH] = switch
        generator.setstate(state)
