"""The rule of the promise that each fault of the explorer breaks, by its name in `trio_mp.testing`.

The explorer does not use `trio_mp.testing.Oracle`, which keeps times, runs and monitors as objects: a state here is a
few small numbers, and there are millions. The checks in `world.py` and `process.py` check these rules within one state.
A fault without a rule breaks something else that the runtime relies on, or wastes something; `Bounds.promise_only`
leaves such checks out.

The other rules have no check. INVENTED, DEAD_PORT and PORT_ID cannot be broken here: a channel invents no message, and
the model gives a dead port no message and no successor. LATE and UNANSWERED are about time. CONNECTED depends on the
code that dials again. `TwoNodes` in test_association_properties.py, whose queue counts bytes, checks MEMORY.
"""

from __future__ import annotations

import re

from trio_mp.testing import Rule

RULES: dict[str, Rule | None] = {
    r"message \d+ is delivered (twice|after message \d+)": Rule.ORDER,
    r"message \d+ is delivered, ": Rule.HOLE,
    r"message \d+ was lost, and its monitor does not fire": Rule.SILENCE,
    r".* is dead, and its monitor does not fire": Rule.SILENCE,
    r"monitor \d+ of .* fired, which was not set": Rule.ONCE,
    r"connection .* is in use on one side( only|, and ended on the other)": Rule.AGREEMENT,
    r"connection .* is left open, and not in use": None,
    r"loss \d+ is reported to one side after \d+ accidents": None,
    r"message \d+ was lost, and nothing had gone wrong": None,
    r"\w+ is \w+ for ever": None,
    r"it is believed to have gone, with connection \w+ going on": None,
    r"the monitors fire in the middle of the call": None,
    r"\w+ is refused, though the other side has lost \w+": None,
    r"it does not say that it has lost \w+": None,
    r"\w+ is not its last word": None,
    r".* is watched, and .* monitored": None,
    r"a message is read on .*, which is not in use there": None,
    r"what was queued at a loss is still there when it is reported": None,
    r"\w+Error: ": None,
}
"""By a pattern for the beginning of the fault's text, the rule that the fault breaks."""


def rule_of(fault: str) -> Rule | None:
    """Return the rule that a fault breaks; None if it breaks no rule of the promise.

    Raises:
      LookupError: the table above has no such fault, or several.
    """
    found = [rule for pattern, rule in RULES.items() if re.match(pattern, fault)]
    if len(found) != 1:
        raise LookupError(f"{len(found)} rules for {fault!r}")
    return found[0]
