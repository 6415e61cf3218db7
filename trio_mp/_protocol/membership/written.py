"""Who writes itself into a directory of seeds, and which of the runs that are written there may live.

A directory is a seed for nodes that know no address before they start. A few of them write into it where they listen,
and each reads it again and again, and dials whoever is written there.

1. A node writes itself if fewer than `ENOUGH` others are there that may live. It looks, waits for a random time, and
   looks again before it writes. Of those that start together most then find that enough are written.
2. When it has written itself it looks once more. Those that wrote at the same time are there now, so all but the first
   few withdraw: those behind `ENOUGH` others, in the order of time, by the clock of each. The others are global from
   then on: each is among its own seeds. As whoever is dialled as a seed becomes global, those behind the first few are
   dialled only when they have stayed.
3. A run may live as long as nobody knows better: until it could not be reached, or its file is old. So a node dials the
   runs that it finds before it takes their place.
4. A run is dead if it cannot be reached and its file is old, because a node that lives renews its file. Whoever finds
   that removes the file. A node that lives all the same finds its file gone, and begins anew by rule 1.
5. A node that drains is about to leave. It removes its file once another run is written that is in its network, and
   then looks once more: of two that do so at the same time one writes itself again. As long as no other one is written
   it keeps its file, because the file is the only way to its network. A node that drains and is not written writes
   itself only where nobody is written that may live.

Two parts of a network cannot stay apart. Each global node that a directory has made is written in it, or has found
enough others there that it is connected with. All nodes read the directory for as long as they live, and join whoever
is written there and is unknown to them: two that start at once, and each see nobody, find each other when they look
again.

Nothing here reads a directory, dials, or knows the time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

ENOUGH = 3
"""How many nodes are to be written in a directory. Each of them is global, and holds the whole database."""

OLD = 180.0
"""From which age on a file is old, in seconds. A node that lives renews its file four times in this time, or more."""


@dataclass(frozen=True, slots=True)
class WrittenRun:
    """A run of another node that is written in a directory, as one node sees it.

    Attributes:
      run: the incarnation.
      written_at: when it wrote itself, in seconds since 1970, by its own clock.
      age: for how long its file has not been renewed, in seconds; below zero if clocks differ.
      in_use: whether this node is connected with that node, or its anchor is.
      failed: whether this node has tried each address of that run, and reached it by none, the last time.
    """

    run: str
    written_at: float = 0.0
    age: float = 0.0
    in_use: bool = False
    failed: bool = False

    @property
    def may_live(self) -> bool:
        """Whether this run is to be counted: it is in use, or nothing suggests that it is dead."""
        return self.in_use or not (self.failed or self._is_old)

    @property
    def rank(self) -> tuple[float, str]:
        """The smaller, the earlier; no two runs have the same."""
        return self.written_at, self.run

    @property
    def is_dead(self) -> bool:
        """Whether the file of this run is to be removed."""
        return self.failed and self._is_old and not self.in_use

    @property
    def _is_old(self) -> bool:
        # A file from the future would never become old.
        return abs(self.age) > OLD


def is_needed(others: Iterable[WrittenRun], *, drains: bool = False) -> bool:
    """Whether a node that finds these others in a directory is to write itself; one that drains, only if nobody is."""
    return sum(other.may_live for other in others) < (1 if drains else ENOUGH)


def may_part(others: Iterable[WrittenRun]) -> bool:
    """Whether a node that is about to leave need not be written, because these others show the way to its network."""
    # Not those that only may live: of a run that this node is not connected with nobody knows where it leads.
    return any(other.in_use for other in others)


def is_one_too_many(one: WrittenRun, others: Iterable[WrittenRun]) -> bool:
    """Whether a run that has just been written, where there are these others now, is to withdraw."""
    return sum(other.may_live and other.rank < one.rank for other in others) >= ENOUGH
