"""Under which names other nodes may have ports spawned here: never under one that was used before."""

from __future__ import annotations

from .._ids import spawn_counter, spawner_mark

RUNS = 100_000
"""Of how many runs of other nodes it is kept how far their names have got; of any further ones nothing is spawned."""

RUNS_OF_ONE = 10_000
"""How many of these may have been of one node: whoever comes again and again must not use up what is for all."""


class SpawnedNames:
    """How far the names have got that other nodes give to ports that they spawn here.

    The names of one run of a node hold a counter that rises. Where it has got to is kept for as long as this node runs,
    also after the other one was forgotten: else that could come back, say that it is the run of before, and have a port
    made under the name of one that is dead. So the table only grows, and has a limit.
    """

    def __init__(self) -> None:
        # By node ID, and by incarnation.
        self._last: dict[str, dict[str, int]] = {}
        self._runs = 0

    def may_be_given(self, node_id: str, incarnation: str, name: str) -> bool:
        """Whether this run of a node may give this name to a port that it spawns here, and never has before."""
        counter = spawn_counter(name, spawner_mark(node_id, incarnation))
        return counter is not None and counter > self._last.get(node_id, {}).get(incarnation, 0)

    def take(self, node_id: str, incarnation: str, name: str) -> str:
        """Use up a name that may be given; returns why it cannot be used, or an empty string if it can."""
        counter = spawn_counter(name, spawner_mark(node_id, incarnation))
        assert counter is not None
        runs = self._last.get(node_id, {})
        if incarnation not in runs:
            full = f"{RUNS_OF_ONE} of its runs" if len(runs) >= RUNS_OF_ONE else ""
            full = f"{RUNS} runs of nodes" if self._runs >= RUNS else full
            if full:
                return f"{node_id} may spawn no ports here: {full} have done so, the limit until this node restarts"
            self._runs += 1
            self._last[node_id] = runs
        runs[incarnation] = counter
        return ""
