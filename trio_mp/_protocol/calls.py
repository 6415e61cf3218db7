"""Calls in flight: their tickets, how many there may be, and until when they are waited for.

A ticket is the name of a port that the caller has made for the reply. Nobody can guess it, and it is never used twice,
so a ticket that is unknown is that of a call that has ended.
"""

from __future__ import annotations

import enum
import math
from typing import Final, Generic, TypeVar

C = TypeVar("C")

BUSY: Final = "busy"
"""What is in the place of an exception's name when a call is refused because too many are in flight."""


class TicketFate(enum.Enum):
    """What becomes of a call that arrives."""

    ADMITTED = "it is in flight now"
    TWICE = "a call with its ticket is in flight already"
    TOO_MANY = "as many as there may be are in flight"


class TicketTable(Generic[C]):
    """The calls in flight with one node, in one direction, by their tickets. A call leaves it once.

    Args:
      limit: how many there may be.
    """

    __slots__ = ("_calls", "_limit")

    def __init__(self, limit: float = math.inf) -> None:
        self._limit = limit
        self._calls: dict[str, C] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def admit(self, ticket: str, call: C) -> TicketFate:
        """Take up a call, if there is room, and its ticket is not in flight."""
        if ticket in self._calls:
            return TicketFate.TWICE
        if len(self._calls) >= self._limit:
            return TicketFate.TOO_MANY
        self._calls[ticket] = call
        return TicketFate.ADMITTED

    def find(self, ticket: str) -> C | None:
        """The call of this ticket; None if it has ended, or never was."""
        return self._calls.get(ticket)

    def end(self, ticket: str, call: C) -> bool:
        """Take a call out, once; False if it is not there any more, or never was."""
        if self._calls.get(ticket) is not call:
            return False
        del self._calls[ticket]
        return True

    def calls(self) -> list[C]:
        """All that are in flight, the oldest first."""
        return list(self._calls.values())


def seconds_left(deadline: float, now: float) -> float | None:
    """How long a call is still waited for, as it travels; None for ever. Computed when the call is encoded."""
    return None if math.isinf(deadline) and deadline > 0 else max(0.0, deadline - now)


def deadline_of(seconds: float | None, now: float) -> float:
    """Until when a call is waited for that arrives now. Late by its way, and never early."""
    return math.inf if seconds is None else now + seconds
