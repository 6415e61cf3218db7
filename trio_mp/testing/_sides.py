"""What some nodes of some seeds do beside the workload: supervise, call, register, join groups, take turns."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from math import inf
from typing import Protocol

import trio

from ._scenario import Plan
from ._witness import Witness


class SideRole(Protocol):
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


async def keep_port(
    witness: Witness,
    numbers: random.Random,
    until: float,
    life: float,
    make: Callable[[], str],
    gone: Callable[[str], object],
) -> None:
    """Have a port on a node, and another one when it has died; kill it now and then. Until cancelled.

    Args:
      witness: the node.
      numbers: the random numbers of this port.
      until: when the killing ends, by Trio's clock.
      life: how long a port lives, on average, in seconds.
      make: makes the port, and returns its ID.
      gone: is called with the ID of the port when it has died.
    """
    node = witness.node
    while True:
        port = make()
        end = trio.current_time() + numbers.expovariate(1 / life)
        with trio.move_on_at(end if end < until else inf):
            await node.wait_death(port)
        node.kill(port, *numbers.choice(((), ("enough", "of it"))))
        await node.wait_death(port)
        gone(port)
        if trio.current_time() < until:
            await trio.sleep(numbers.choice((0.0, 0.5, 5.0)))
