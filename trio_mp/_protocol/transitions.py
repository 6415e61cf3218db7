"""Transitions as data: which state follows, on which event, under which conditions.

The fence of an association, the stages of a connection and the steps of a handshake have one table each, as in h11. The
code asks the table at every transition, the state diagrams of the documentation are drawn from it, and a test tries
everything on the real objects and compares. A table says which state follows; what is written, closed or fired then is
said by the method that asks.

No message asks a table: what is looked at for each message are plain attributes.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Generic, TypeVar

State = TypeVar("State", bound=enum.Enum)
Cause = TypeVar("Cause", bound=enum.Enum)
Subject = TypeVar("Subject")


class Row(Generic[State, Cause, Subject]):
    """One transition.

    Args:
      before: the state that is left.
      event: what happens in that state.
      after: the state that follows.
      guards: the conditions, which must all hold. Each is a named function of the object whose state it is.
    """

    __slots__ = ("after", "before", "event", "guards")

    def __init__(self, before: State, event: Cause, after: State, *guards: Callable[[Subject], bool]) -> None:
        self.before = before
        self.event = event
        self.after = after
        self.guards = guards


class TransitionTable(Generic[State, Cause, Subject]):
    """The transitions of one kind of object. At most one row applies at a time, so their order does not matter."""

    def __init__(self, *rows: Row[State, Cause, Subject]) -> None:
        self.rows = rows

    def row(self, before: State, event: Cause, subject: Subject) -> Row[State, Cause, Subject] | None:
        """The row that applies when an event happens to an object; None if nothing can come of the event there."""
        for row in self.rows:
            if row.before is before and row.event is event and all(holds(subject) for holds in row.guards):
                return row
        return None

    def after(self, before: State, event: Cause, subject: Subject) -> State | None:
        """The state that follows when an event happens to an object; None if nothing can come of the event there."""
        row = self.row(before, event, subject)
        return row.after if row is not None else None

    def expected(self, before: State) -> str:
        """The events that may happen in a state, as text for an error."""
        events = dict.fromkeys(str(row.event.value) for row in self.rows if row.before is before)
        return " or ".join(events) or "nothing"
