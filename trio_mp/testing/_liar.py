"""Lies for the hammer: in some seeds a global node says false things of others. The database must recover in all."""

from __future__ import annotations

import random
from collections.abc import Mapping

import trio

from .._node.node import Node
from .._protocol.database.records import NODES, same
from .._services.database import GRACE
from ._formation import NodePlace, parts_of, places_of
from ._network import SimulatedNetwork
from ._rules import Rule
from ._workload import Trial

SHARE = 0.3
"""In which share of the seeds a node lies."""

PAUSE = 10.0
"""How long a liar waits before its next lie, on average, in seconds."""


def repair_bound(heartbeat: float) -> float:
    """Within how many seconds after the end of a liar's connections its lies are gone everywhere."""
    return 2 * GRACE + heartbeat


class Liar:
    """Has a node say false things of others. Its random numbers are its own, and change nothing else of a seed.

    Args:
      network: the simulated network.

    Attributes:
      active: whether a node lies in this seed.
      told: how many lies were told.
    """

    def __init__(self, network: SimulatedNetwork) -> None:
        self._network = network
        self._random: random.Random = network.generator("lies")
        self.active: bool = self._random.random() < SHARE
        self.told: int = 0

    async def run(self, trial: Trial) -> None:
        """Have one node lie until the trial is quiet. Then reset its connections, and those of no other node."""
        if not self.active:
            return
        names, nodes, last = list(trial.plan.nodes), self._network.nodes, trial.quiet_at - 2.0
        liar = self._random.choice(names)
        while (pause := self._random.expovariate(1 / PAUSE)) < last - trio.current_time():
            await trio.sleep(pause)
            victim = self._random.choice(names)
            if liar in nodes and victim in nodes and nodes[liar].peers:
                self._lie(nodes[liar], nodes[victim], self._random.choice(nodes[liar].peers))
        await trio.sleep_until(last)
        # A lie that the next fault undoes shows nothing: the last lies go to the hosts of those they are about.
        for victim in names:
            anchor = nodes[victim].database._replica.anchor if victim in nodes else None
            if anchor is not None and victim != liar and liar in nodes and anchor in nodes[liar].peers:
                self._lie(nodes[liar], nodes[victim], anchor)
        await trio.sleep(1.0)
        for other in names:
            if other != liar:
                self._network.reset(liar, other)
        if liar in nodes:
            # If the liar is not up, its lies have ended with it.
            self._network.oracle.lies_end(self._network.run_of(nodes[liar]))

    def _lie(self, liar: Node, victim: Node, hearer: str) -> None:
        """Have a node tell another that a third one has moved, or runs anew, and listens elsewhere."""
        version = victim.database._replica._own.version
        numbers = self._random
        started = version.started + numbers.choice((0, 0, 0, 10**9))
        attachment = version.attachment + numbers.choice((0, 1, 1, 1000))
        record = ("record", victim.id, started, version.incarnation, attachment, numbers.randrange(10**6))
        entries = {NODES: {victim.id: ["A" * 16, "nowhere"], "n0": ["A" * 16, "nowhere"]}, "lies": {"k": 1}}
        if liar is victim:
            # Of itself the liar says the truth.
            return
        if liar.database._replica.is_global and hearer != victim.id:
            # A lie of any other kind must change nothing at all.
            self._network.oracle.lie_told(self._network.run_of(liar), victim.id)
        for message in (("begin", False), record, ("entries", entries), ("done",)):
            liar.send(hearer, "db", *message)
        self.told += 1


def judge_database(network: SimulatedNetwork) -> None:
    """Check that every global node knows the nodes of its part of the network as they are, and nothing else.

    To be called when the network is quiet.

    Raises:
      PromiseBroken: a global node holds something else.
    """
    places = places_of(network.nodes, network.seeds_of)
    parts = parts_of(places)
    for node_id, node in network.nodes.items():
        if node_id in places and places[node_id].is_global:
            said = node.database._replica.held(NODES)
            expected = _true_nodes(network.nodes, places, [one for one in parts if parts[one] == parts[node_id]])
            if not same(dict(sorted(said.items())), expected):
                network.oracle.fail(Rule.DATABASE, f"expected {node_id} to hold {expected}, got {said}")
            lies = node.database._replica.held("lies")
            if lies:
                network.oracle.fail(Rule.DATABASE, f"expected {node_id} to hold no lies, got {lies}")


def _true_nodes(nodes: Mapping[str, Node], places: Mapping[str, NodePlace], part: list[str]) -> dict[str, object]:
    known = [one for one in sorted(part) if places[one].is_global or places[one].anchor is not None]
    return {one: [nodes[one]._runtime.incarnation, *nodes[one].binds] for one in known}
