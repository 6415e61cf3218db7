"""Supervisors for the hammer: some nodes of some seeds have children, here and elsewhere, while all else goes on."""

from __future__ import annotations

import itertools
import random
from typing import Any

import trio

from .._errors import PortDied
from .._node.node import Node
from .._ports.port import Port, current_node
from .._services.spawning import spawnable
from .._supervision.arguments import Backoff
from .._supervision.reference import ChildRef
from .._supervision.supervisor import Supervisor
from ._formation import parts_of, places_of
from ._lives import Lives
from ._network import SimulatedNetwork
from ._scenario import Plan
from ._witness import Witness

SHARE = 0.5
"""In which share of the seeds nodes have supervisors."""

PAUSE = 8.0
"""How long it takes until something is done to a child again, on average, in seconds."""

_PLENTY = 1000
"""How many restarts a supervisor makes in a seed, at most; it is never to give up."""


class ChildCrash(Exception):
    """What children of the hammer die of, now and then."""


class Overseer:
    """Has nodes supervise children. Its random numbers are its own, and change nothing else of a seed.

    Args:
      network: the simulated network.
      plan: what the seed means.

    Attributes:
      lives: the lives of all children.
      nodes: the IDs of the nodes that have a supervisor, in this seed.
    """

    def __init__(self, network: SimulatedNetwork, plan: Plan) -> None:
        self.lives = Lives(network)
        self.nodes: list[str] = []
        self._network = network
        self._random: random.Random = network.generator("supervision")
        # A node that allows few monitors may refuse every child, and every link of one with its supervisor's node.
        self._hosts = [name for name, settings in plan.nodes.items() if settings.get("monitor_limit") is None]
        self._numbers = itertools.count(1)
        self._crews: dict[str, tuple[Supervisor, list[ChildRef]]] = {}
        self._names: dict[ChildRef, str] = {}
        # The nodes that each child may be started on.
        self._places: dict[str, tuple[str, ...]] = {}
        if self._random.random() < SHARE and len(self._hosts) > 1:
            self.nodes = self._random.sample(self._hosts, self._random.choice((1, 1, 2)))
        self._strategies: dict[str, Any] = {
            name: self._random.choice(("one_for_one", "one_for_one", "rest_for_one", "one_for_all"))
            for name in self.nodes
        }

    async def play(self, witness: Witness, until: float) -> None:
        """Run a supervisor on a node, and disturb its children, up to a time; then let them run. Until cancelled."""
        node = witness.node
        numbers = self._network.generator(f"supervisor of {witness.run}")
        async with node.open_supervisor(
            self._strategies[node.id], name=node.id, limit=_PLENTY, within=600.0, backoff=Backoff(0.1, 2.0)
        ) as crew:
            children: list[ChildRef] = []
            self._crews[node.id] = crew, children
            for _ in range(numbers.choice((2, 3, 4))):
                await self._add(node, crew, numbers, until)
            while trio.current_time() < until:
                await trio.sleep(min(numbers.expovariate(1 / PAUSE), until - trio.current_time()))
                child = numbers.choice(children) if children else None
                draw = numbers.random()
                if child is None or (draw < 0.15 and trio.current_time() < until):
                    await self._add(node, crew, numbers, until)
                elif draw < 0.3:
                    await self._stop(crew, children, child)
                elif draw < 0.7:
                    node.send(child, numbers.choice(("crash", "end")))
                else:
                    node.kill(child, "enough", "of it")
            await trio.sleep_forever()

    async def _add(self, node: Node, crew: Supervisor, numbers: random.Random, until: float) -> None:
        """Add a child; try again while it cannot be started."""
        name = f"child {next(self._numbers)}"
        run, limit = self._network.run_of(node), node._runtime.settings.shutdown_timeout
        arguments = run, name, numbers.choice((0.0, 0.0, 0.5)), limit * numbers.choice((0.0, 0.0, 0.5, 0.9))
        draw = numbers.random()
        while trio.current_time() < until:
            try:
                if draw < 0.3:
                    self._places[name] = ()
                    child = await crew.start(serve_child, *arguments)
                elif draw < 0.6:
                    self._places[name] = (numbers.choice(self._hosts),)
                    child = await crew.spawn(self._places[name][0], f"{__name__}:serve_child", *arguments)
                else:
                    self._places[name] = tuple(self._hosts)
                    child = await crew.spawn(lambda: numbers.choice(self._hosts), f"{__name__}:serve_child", *arguments)
            except PortDied:
                # As often as it takes: a first start is not repeated by the supervisor.
                await trio.sleep(1.0)
            else:
                self._crews[node.id][1].append(child)
                self._names[child] = name
                return

    async def _stop(self, crew: Supervisor, children: list[ChildRef], child: ChildRef) -> None:
        children.remove(child)
        before = child.restarts
        await crew.stop(child)
        self.lives.stopped(self._names[child], child.restarts - before)

    async def judge(self) -> None:
        """Check the children of all supervisors that live. To be called when the network is at rest. A checkpoint.

        Raises:
          PromiseBroken: one does not run, or runs twice, or something runs that should not.
        """
        await trio.lowlevel.checkpoint()
        wanted: dict[str, str] = {}
        astray: set[str] = set()
        parts = parts_of(places_of(self._network.nodes, self._network.seeds_of))
        for node_id, (_, children) in self._crews.items():
            if self._network.is_up(node_id):
                wanted.update((self._names[child], child.port) for child in children)
                astray.update(
                    self._names[child]
                    for child in children
                    if any(parts.get(place) != parts[node_id] for place in self._places[self._names[child]])
                )
        self.lives.judge(wanted, astray)


@spawnable
async def serve_child(
    port: Port, supervisor: str, name: str, starting: float, unwinding: float, *, task_status: trio.TaskStatus[None]
) -> None:
    """Run a child, which does as it is told by messages.

    Args:
      supervisor, name: see `ChildLife`.
      starting, unwinding: how long that takes, in seconds.
    """
    node = current_node()
    lives: Lives = node.context
    with lives.life(node, port, supervisor, name):
        try:
            await trio.sleep(starting)
            task_status.started()
            async for (what,) in port:
                if what == "crash":
                    raise ChildCrash(name)
                return
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(unwinding)
