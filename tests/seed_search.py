"""Whether the hammer finds what is broken: the seed that did so when this was written is tried first."""

from __future__ import annotations

from typing import Any

from trio_mp.testing._seed import run_seed

LIKELY = {
    "KeepsTheDead": 5,
    "MeshesInSecret": 61,
    "OlderGoesOn": 25,
    "ReplacesInSilence": 13,
    "SaysItsEndFirst": 1,
    "_KeepsBehindTheFence": 1,
    "takes_a_loss_for_a_death": 4,
}
"""By the name of what is broken: the first seed that finds it, if that is not 0. It may change with the hammer."""


def finds(broken: Any, rule: str = "", *, seeds: int) -> bool:
    """Whether one of so many seeds finds a broken rule, or any rule.

    Args:
      broken: the class or function that takes the place of one of the package, for its name.
      rule: a part of the text about the rule.
      seeds: how many seeds there are; the first of them is 0.
    """
    for seed in dict.fromkeys((LIKELY.get(broken.__name__, 0), *range(seeds))):
        found = run_seed(seed).violation
        if found and rule in found:
            return True
    return False
