"""What the reader of a group is told: who has joined it, and who has left it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..._reason import Reason

EVENT_LIMIT = 1000
"""How many events wait for a reader before what a slow one need not see is left out."""


@dataclass(frozen=True, slots=True)
class Joined:
    """A member of a group has answered behind this node's monitor of it.

    Attributes:
      port: the ID of its port.
      value: what was registered with it.
      key: the key of its entry in the family; the port's ID, if the port was registered without one.
    """

    port: str
    value: Any
    key: str


@dataclass(frozen=True, slots=True)
class Left:
    """A member of a group has died, or may have lost messages, or has left the family. `Joined` came before.

    Attributes:
      port, key: as those of `Joined`.
      reason: why the port has died, or messages to it may have been lost, as a monitor has it. `("unregistered", …)` if
        its entry has gone, and `("not_watched", …)` if this node monitors others in its place.
    """

    port: str
    reason: Reason
    key: str


MembershipEvent: TypeAlias = Joined | Left


class EventLog:
    """The events that wait for a reader, who may be slow, or not there at all.

    Those of one key alternate: `Joined`, `Left`, `Joined`. If too many wait, whole pairs are left out, so that they
    still do: of a member that was there when the reader looked last, and is there now, its latest `Left` and `Joined`
    stay. So the reader is told that it was lost. A member that has come and gone meanwhile stays unmentioned.

    Args:
      limit: how many events may wait before pairs are left out.
    """

    def __init__(self, limit: int = EVENT_LIMIT) -> None:
        self._limit = self._most = limit
        self._waiting: deque[MembershipEvent] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, event: MembershipEvent) -> None:
        """One more."""
        self._waiting.append(event)
        if len(self._waiting) > self._most:
            self._shorten()
            # Twice what must stay, so that an event costs the same however many members there are.
            self._most = max(self._limit, 2 * len(self._waiting))

    def take(self) -> MembershipEvent | None:
        """The next one, or None."""
        return self._waiting.popleft() if self._waiting else None

    def _shorten(self) -> None:
        by_key: dict[str, list[MembershipEvent]] = {}
        for event in self._waiting:
            by_key.setdefault(event.key, []).append(event)
        stay: set[int] = set()
        for events in by_key.values():
            if len(events) % 2:
                stay.add(id(events[-1]))
            elif isinstance(events[0], Left):
                stay.update(map(id, events[-2:]))
        self._waiting = deque(event for event in self._waiting if id(event) in stay)
