"""The verdict in the numbers that the demo shows: what became of each message, and what is wrong.

The module `oracle` compares the journals and says what must hold; this one only puts its findings into words.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from . import oracle
from .journal import Journal


class ReportedLoss(NamedTuple):
    """A monitor that fired, and how many messages of its epoch did not arrive."""

    sender: int
    receiver: int
    messages: int


@dataclass(slots=True)
class Verdict:
    """What the comparison of all journals has found.

    Attributes:
      sent, delivered: messages, in all streams.
      reported: messages that did not arrive, and whose sender was told.
      untold: messages that did not arrive, and whose sender did not live to be told.
      unaccounted: messages that did not arrive, though the sender lived and was not told.
      streams: how many streams there were.
      losses: the monitors that fired, with what each of them covers.
      problems: every violation, in words.
    """

    sent: int = 0
    delivered: int = 0
    reported: int = 0
    untold: int = 0
    unaccounted: int = 0
    streams: int = 0
    losses: list[ReportedLoss] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether there was no hole, and each message is accounted for."""
        accounted = self.delivered + self.reported + self.untold
        return not self.problems and not self.unaccounted and accounted == self.sent


def check(journals: Iterable[Journal]) -> Verdict:
    """Compare the journals of all runs of all nodes. The nodes in these journals are numbers."""
    found = oracle.check(journals)
    return Verdict(
        found.sent,
        found.delivered,
        found.reported,
        found.untold,
        found.silent,
        found.streams,
        [ReportedLoss(int(loss.sender), int(loss.receiver), loss.messages) for loss in found.losses],
        [violation.text for violation in found.violations],
    )
