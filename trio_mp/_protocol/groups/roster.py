"""Who is in a group: which entries of a family are monitored, and which of those have joined. Rules, without I/O.

An entry that names a port is a *place*. The table `PLACE` has what can happen to one:

- A place is *listed* until it is monitored. The caller sets the monitor, then asks the port's node something. What is
  answered behind the monitor says that the node is reached and that the port was not missing: the member *joins*. In
  the meantime nobody is told anything.
- A monitor that fires makes a member *leave*. A place that is lost, before or after, is *tried* again after a delay,
  which doubles until a member joins; the reader of the group hears nothing of attempts that fail.
- A member whose entry goes is asked once more, because mostly its port has died and the reason is on its way. It is
  not chosen any more. It leaves with the reason of its death, or with the answer, whichever comes first.
- At most `limit` ports are monitored. Which ones differs from node to node: those that have the greatest weight with
  the node's own ID. Where a call wants another one, an idle member makes room: it leaves, and is listed again.

So the events of one key alternate, and no member was lost without leaving.

Nothing here blocks or reads a clock: what is to be done goes out as effects. Each attempt has a number of its own;
what comes late, of an attempt that is over, changes nothing.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from math import inf
from typing import TypeAlias

from ..._ids import node_of
from ..._reason import Reason
from .choice import Choice, choose, choose_by_key, weigh
from .events import Joined, Left

FIRST_DELAY = 0.5
LAST_DELAY = 30.0
"""The first and the longest delay before a member that was lost is tried again, in seconds, without the jitter."""


class PlaceState(enum.Enum):
    """How far an entry has come."""

    LISTED = "listed"
    ASKED = "asked"
    JOINED = "joined"
    LEAVING = "leaving"
    TRIED = "tried"
    GONE = "gone"


_MONITORED = frozenset({PlaceState.ASKED, PlaceState.JOINED, PlaceState.LEAVING})


@dataclass(slots=True, eq=False)
class GroupPlace:
    """One entry that names a port.

    Attributes:
      key: the key of the entry.
      port, value: what it says.
      state: see `PlaceState`.
      attempt: the number of the latest attempt.
      failures: how many attempts have failed since it was a member, or since it was listed.
      busy, used: see `Used`.
      wanted: how many calls wait for this one.
      weight: where it stands among those that are to be monitored.
    """

    key: str
    port: str
    value: object
    weight: int
    state: PlaceState = PlaceState.LISTED
    attempt: int = 0
    failures: int = 0
    busy: int = 0
    used: int = 0
    wanted: int = 0

    @property
    def node_id(self) -> str:
        """The node of the port."""
        return node_of(self.port)

    def has_joined(self) -> bool:
        """Whether it is a member."""
        return self.state is PlaceState.JOINED

    def may_join(self) -> bool:
        """Whether it is about to be monitored, or is monitored and has not answered."""
        return self.state in (PlaceState.LISTED, PlaceState.ASKED)


@dataclass(frozen=True, slots=True)
class WatchPlace:
    """Monitor the port, then ask its node; say `lost`, `answered` or `unanswered` with the number of the attempt."""

    attempt: int
    port: str


@dataclass(frozen=True, slots=True)
class AskPlace:
    """Ask the node of the port once more, behind the same monitor; say the same as for `WatchPlace`."""

    attempt: int
    port: str


@dataclass(frozen=True, slots=True)
class DropPlace:
    """Take the monitor of this attempt away."""

    attempt: int


@dataclass(frozen=True, slots=True)
class TryLater:
    """Say `due` with this number when so many seconds have passed, without the jitter."""

    attempt: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell the reader of the group."""

    event: Joined | Left


RosterEffect: TypeAlias = WatchPlace | AskPlace | DropPlace | TryLater | Tell


def unregistered(key: str) -> Reason:
    """The reason of a member, in `Left`, whose entry has gone from the family; the port may be alive."""
    return ("unregistered", f"its entry {key} has gone from the family")


def not_watched(limit: int) -> Reason:
    """The reason of a member, in `Left`, in whose place the group monitors another one; the port may be alive."""
    return ("not_watched", f"this group monitors {limit} members, and another one was wanted")


class Roster:
    """The members of one group.

    Args:
      node_id: the node that the group is on.
      limit: how many ports may be monitored at a time.

    Attributes:
      limit: see above.

    Every method that changes something returns what is to be done, in order.
    """

    def __init__(self, node_id: str, limit: int) -> None:
        self._node_id = node_id
        self.limit = limit
        self._places: dict[str, GroupPlace] = {}
        # By the attempt: those that are monitored, and those that are to be tried.
        self._attempts: dict[int, GroupPlace] = {}
        self._monitored = 0
        # How many calls wait for a place, all together.
        self._wants = 0
        self._counter = 0
        # Keys whose former member has not left yet: nobody joins under these.
        self._leaving: set[str] = set()

    # What is asked -------------------------------------------------------------------------------------------------

    @property
    def monitored(self) -> int:
        """How many ports are monitored."""
        return self._monitored

    @property
    def joined(self) -> Iterator[GroupPlace]:
        """The members that have joined and are in the family."""
        return (place for place in self._places.values() if place.has_joined())

    @property
    def known(self) -> Iterator[GroupPlace]:
        """All places of the family."""
        return iter(self._places.values())

    def choose(
        self, by: Choice, at_once: float = inf, full: Set[str] = frozenset(), leaving: Set[str] = frozenset()
    ) -> GroupPlace | None:
        """A member that has joined and has fewer than so many calls, or None.

        One on a full node only if there is no other one. One on a node that is leaving only if there are no members on
        others: None if those have no room.
        """
        members = self.joined
        if leaving:
            joined = [*members]
            members = iter([place for place in joined if place.node_id not in leaving] or joined)
        if full:
            free = [place for place in members if place.busy < at_once]
            return choose([place for place in free if place.node_id not in full] or free, by)
        return choose((place for place in members if place.busy < at_once), by)

    def choose_by_key(self, key: str, leaving: Set[str] = frozenset()) -> GroupPlace | None:
        """The place that a key belongs to, whether it has joined or not; one that cannot be reached is passed over.

        So is one on a node that is leaving, if there is another one.
        """
        reachable = {place.key: place for place in self._places.values() if place.state is not PlaceState.TRIED}
        if leaving:
            reachable = {key: place for key, place in reachable.items() if place.node_id not in leaving} or reachable
        chosen = choose_by_key(key, reachable)
        return reachable[chosen] if chosen is not None else None

    # Use -----------------------------------------------------------------------------------------------------------

    def begin_use(self, place: GroupPlace) -> None:
        """A call of this member begins."""
        self._counter += 1
        place.busy += 1
        place.used = self._counter

    def end_use(self, place: GroupPlace) -> list[RosterEffect]:
        """A call of this member has ended."""
        place.busy -= 1
        return self._fill() if self._wants else []

    def want(self, place: GroupPlace) -> list[RosterEffect]:
        """A call waits for this place to join."""
        place.wanted += 1
        self._wants += 1
        return self._fill()

    def unwant(self, place: GroupPlace) -> list[RosterEffect]:
        """The call does not wait any longer."""
        place.wanted -= 1
        self._wants -= 1
        return self._fill() if self._wants else []

    # What happens --------------------------------------------------------------------------------------------------

    def update(self, entries: Mapping[str, tuple[str, object]], deleted: Iterable[str] = ()) -> list[RosterEffect]:
        """The family has changed.

        Args:
          entries: new and changed entries that name a port: by key, the port and what is said of it.
          deleted: keys that are gone, or name no port any more.
        """
        effects: list[RosterEffect] = []
        for key in deleted:
            effects += self._remove(key)
        for key, (port, value) in entries.items():
            place = self._places.get(key)
            if place is not None and place.port == port:
                place.value = value
                continue
            effects += self._remove(key)
            self._places[key] = GroupPlace(key, port, value, weigh(self._node_id, key))
        return effects + self._fill()

    def answered(self, attempt: int) -> list[RosterEffect]:
        """The node of the port has answered what it was asked behind the monitor."""
        place = self._attempts.get(attempt)
        if place is None:
            return []
        if place.state is PlaceState.LEAVING:
            return [DropPlace(attempt), *self._leave(place, unregistered(place.key)), *self._fill()]
        if place.state is not PlaceState.ASKED:
            return []
        place.state, place.failures = PlaceState.JOINED, 0
        # One that a call waits for takes the place of the newcomer, if no other one is idle.
        return [Tell(Joined(place.port, place.value, place.key)), *(self._fill() if self._wants else [])]

    def lost(self, attempt: int, reason: Reason) -> list[RosterEffect]:
        """The monitor has fired."""
        place = self._attempts.get(attempt)
        if place is None or place.state not in _MONITORED:
            return []
        return [*self._lose(place, reason), *self._fill()]

    def unanswered(self, attempt: int) -> list[RosterEffect]:
        """The node has not answered for long, though the monitor has not fired."""
        place = self._attempts.get(attempt)
        if place is None or place.state not in (PlaceState.ASKED, PlaceState.LEAVING):
            return []
        return [DropPlace(attempt), *self._lose(place, unregistered(place.key)), *self._fill()]

    def due(self, attempt: int) -> list[RosterEffect]:
        """The time of a `TryLater` is up."""
        place = self._attempts.get(attempt)
        if place is None or place.state is not PlaceState.TRIED:
            return []
        del self._attempts[attempt]
        place.state = PlaceState.LISTED
        return self._fill()

    # How -----------------------------------------------------------------------------------------------------------

    def _remove(self, key: str) -> list[RosterEffect]:
        """The entry has gone, or names another port."""
        place = self._places.pop(key, None)
        if place is None:
            return []
        if place.state is PlaceState.JOINED:
            place.state = PlaceState.LEAVING
            self._leaving.add(key)
            return [AskPlace(place.attempt, place.port)]
        was_asked = place.state is PlaceState.ASKED
        if self._attempts.pop(place.attempt, None) is not None and was_asked:
            self._monitored -= 1
        place.state = PlaceState.GONE
        return [DropPlace(place.attempt)] if was_asked else []

    def _lose(self, place: GroupPlace, reason: Reason) -> list[RosterEffect]:
        """A port is not monitored any more, whoever has ended that."""
        if place.state is PlaceState.LEAVING:
            return self._leave(place, reason)
        effects: list[RosterEffect] = []
        if place.state is PlaceState.JOINED:
            effects.append(Tell(Left(place.port, reason, place.key)))
        self._monitored -= 1
        del self._attempts[place.attempt]
        place.state = PlaceState.TRIED
        self._number(place)
        delay = min(FIRST_DELAY * 2**place.failures, LAST_DELAY)
        # As many as lead to the longest delay, and no more: the number is to stay small.
        place.failures = min(place.failures + 1, 10)
        return [*effects, TryLater(place.attempt, delay)]

    def _leave(self, place: GroupPlace, reason: Reason) -> list[RosterEffect]:
        """A member leaves whose entry has gone."""
        self._monitored -= 1
        del self._attempts[place.attempt]
        self._leaving.discard(place.key)
        place.state = PlaceState.GONE
        return [Tell(Left(place.port, reason, place.key))]

    def _number(self, place: GroupPlace) -> None:
        self._counter += 1
        place.attempt = self._counter
        self._attempts[place.attempt] = place

    def _fill(self) -> list[RosterEffect]:
        """Monitor as many places as there is room for; those that calls wait for have it made for them."""
        effects: list[RosterEffect] = []
        while self._monitored < self.limit or self._wants:
            listed = [
                place
                for place in self._places.values()
                if place.state is PlaceState.LISTED and place.key not in self._leaving
            ]
            best = max(listed, key=lambda place: (place.wanted > 0, -place.failures, place.weight), default=None)
            if best is None:
                break
            if self._monitored >= self.limit:
                idle = [place for place in self.joined if not place.busy and not place.wanted]
                leaver = min(idle, key=lambda place: place.used, default=None)
                if not best.wanted or leaver is None:
                    break
                effects += [DropPlace(leaver.attempt), Tell(Left(leaver.port, not_watched(self.limit), leaver.key))]
                del self._attempts[leaver.attempt]
                leaver.state = PlaceState.LISTED
                self._monitored -= 1
            best.state = PlaceState.ASKED
            self._monitored += 1
            self._number(best)
            effects.append(WatchPlace(best.attempt, best.port))
        return effects
