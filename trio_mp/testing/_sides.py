"""What some nodes of some seeds do beside the workload: supervise, call, register, join groups, take turns."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from ._scenario import Plan
from ._witness import Witness


class Side(Protocol):
    """Something that some nodes do beside the workload. Its random numbers are its own, as are its rules."""

    @property
    def nodes(self) -> Collection[str]:
        """The IDs of the nodes that take part, in this seed."""
        ...

    async def play(self, witness: Witness, until: float) -> None:
        """Take part on one run of a node. Disturb nothing from `until` on, by Trio's clock. Until cancelled."""
        ...

    async def judge(self) -> None:
        """Check what must hold when the network is at rest. A checkpoint.

        Raises:
          PromiseBroken: it does not hold.
        """
        ...


def hosts_of(plan: Plan) -> list[str]:
    """The nodes of the largest part of a network that take any number of monitors, so that all of them meet at rest.

    A node that allows few monitors may refuse every member of a group, and every child. Nodes whose seeds do not know
    each other form networks apart, which share nothing.
    """
    parts = {name: frozenset({name}) for name in plan.nodes}
    for name, settings in plan.nodes.items():
        for seed in settings.get("seeds") or ():
            joined = parts[name] | parts[str(seed)]
            parts.update(dict.fromkeys(joined, joined))
    largest = max(parts.values(), key=lambda part: (len(part), min(part)))
    return [name for name in plan.nodes if name in largest and plan.nodes[name].get("monitor_limit") is None]
