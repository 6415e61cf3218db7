"""Which of several candidates has the one place: the rules, without I/O.

Each candidate has an entry in a family of the database. A *turn* of one is named by its epoch: a number, the ID of the
node and a random token. Epochs are compared as tuples, so any two nodes, now and later, agree which one is newer.

1. A candidate that sees no claim makes one, with one more than the greatest number it has seen. Those that wait say in
   their entries which number that is, so who comes later knows it when all who had a turn are gone.
2. It has its turn when it sees its own claim and no other one. So it waits for an older turn to end.
3. Who sees a newer claim than its own gives way: it withdraws a claim, and ends a turn. So does who sees a number that
   is greater than its own, because the turn of that number may have been, and a resource may refuse all older ones. The
   claim of a turn stays until the turn has unwound.

That makes turns comparable, and not exclusive. Nodes may see different entries: for a moment always, and as long as a
network is parted. Then each part has its own turn, and when the parts meet again the older one ends.

    WAITS ── sees no claim ──> CLAIMS ── sees its own alone ──> RUNS ── sees a newer one ──> YIELDS ── unwound ──> WAITS
                               CLAIMS ── sees a newer one ──> WAITS
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import NamedTuple

from ..._ids import is_node_id, is_token

NUMBER_LIMIT = 2**62
"""Numbers from here on are not believed: somebody has made them up, and one more must still travel."""


class TurnEpoch(NamedTuple):
    """The name of one turn. The newer of two is the greater tuple. Send it as `tuple(epoch)`: it arrives as a list."""

    number: int
    """One more than the greatest number that the candidate had seen."""
    node_id: str
    """The ID of the candidate's node."""
    run: str
    """A random token of the candidate."""


class CandidateState(enum.Enum):
    """Where a candidate stands."""

    WAITS = "waits"
    CLAIMS = "claims"
    RUNS = "runs"
    YIELDS = "yields"


class Candidate:
    """One candidate.

    Args:
      node_id: its node.
      run: its random token.
      seen: the greatest number that is known to have been used.

    Attributes:
      state: where it stands.
      epoch: of its claim, or of its turn.
    """

    def __init__(self, node_id: str, run: str, seen: int) -> None:
        self.state = CandidateState.WAITS
        self.epoch = TurnEpoch(0, node_id, run)
        self._seen = seen

    @property
    def key(self) -> str:
        """The key of its entry."""
        return f"{self.epoch.node_id}/{self.epoch.run}"

    @property
    def entry(self) -> list[object]:
        """The value of its entry: a number, the node, the token, and whether it is a claim."""
        if self.state is CandidateState.WAITS:
            return [self._seen, self.epoch.node_id, self.epoch.run, False]
        return [*self.epoch, True]

    def look(self, table: Mapping[str, object]) -> None:
        """Take what the family says now. Afterwards `state` and `entry` say what is to be true."""
        entries = [entry for entry in map(read_entry, table.values()) if entry is not None]
        self._seen = max([self._seen, *(epoch.number for epoch, _ in entries)])
        claims = {epoch for epoch, claimed in entries if claimed}
        others = {epoch for epoch in claims if epoch.run != self.epoch.run}
        newer = self._seen > self.epoch.number or any(epoch > self.epoch for epoch in others)
        match self.state:
            case CandidateState.WAITS if not others:
                self.epoch = self.epoch._replace(number=self._seen + 1)
                self.state = CandidateState.CLAIMS
            case CandidateState.CLAIMS if newer:
                self.state = CandidateState.WAITS
            case CandidateState.CLAIMS if claims == {self.epoch}:
                self.state = CandidateState.RUNS
            case CandidateState.RUNS if newer:
                self.state = CandidateState.YIELDS
            case _:
                pass

    def unwound(self) -> None:
        """The turn that was to end has ended, and nothing of it runs."""
        self.state = CandidateState.WAITS


def read_entry(entry: object) -> tuple[TurnEpoch, bool] | None:
    """The epoch in the entry of a candidate, and whether it is a claim. None for what no candidate says."""
    match entry:
        case [int(number), str(node_id), str(run), bool(claimed)] if type(number) is int:
            if 0 <= number < NUMBER_LIMIT and is_node_id(node_id) and is_token(run):
                return TurnEpoch(number, node_id, run), claimed
        case _:
            pass
    return None
