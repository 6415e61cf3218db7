"""A function of seeds that the hammer's processes find: they import it from here, and no test module."""

from __future__ import annotations

from trio_mp.testing._seed import Result


def fails_if_odd(seed: int) -> Result:
    """The result of a seed that has not run: every other one breaks a rule."""
    return Result(seed, violation="odd" if seed % 2 else "")
