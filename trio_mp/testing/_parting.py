"""Partings for the hammer: in some seeds, pairs of nodes give back their connection while all else goes on."""

from __future__ import annotations

import random
from collections import Counter

import trio

from .._peers.peer import Peer
from .._settings.settings import SettingArguments
from ._network import SimulatedNetwork
from ._workload import Trial

SHARE = 0.4
"""In which share of the seeds nodes part."""

PAUSE = 5.0
"""How long it takes until two nodes are made to part again, on average, in seconds."""


_DRAINS = "this node drains"
"""The reason for which a node that drains keeps its connections. The promise of a drain rests on it."""


class _Disregarded(Counter[str]):
    """A set of reasons to keep a connection of which none counts, except that the node drains."""

    def __bool__(self) -> bool:
        return self[_DRAINS] > 0


class Parter:
    """Has pairs of nodes part. Its random numbers are its own, and change nothing else of a seed.

    Args:
      network: the simulated network.

    Attributes:
      active: whether nodes part in this seed.
      asked: how often a node was made to ask another one to part.
    """

    def __init__(self, network: SimulatedNetwork) -> None:
        self._network = network
        self._random: random.Random = network.generator("parting")
        self.active: bool = self._random.random() < SHARE
        self.asked: int = 0

    def adjust(self, nodes: dict[str, SettingArguments]) -> None:
        """Set a short idle time, so that nodes with nothing to say to each other also part by themselves."""
        for settings in nodes.values():
            if self.active:
                settings["idle_timeout"] = self._random.choice((0.5, 2.0, 10.0))

    async def run(self, trial: Trial) -> None:
        """Have nodes part until the trial is quiet."""
        names = list(trial.plan.nodes)
        while self.active and trio.current_time() < trial.quiet_at:
            await trio.sleep(self._random.expovariate(1 / PAUSE))
            one, other = self._random.sample(names, 2)
            if self._network.agree(one, other):
                await self._part(trial, one, other)
        self._keep_all()

    async def _part(self, trial: Trial, one: str, other: str) -> None:
        network, numbers = self._network, self._random
        for node_id, peer_id in ((one, other), (other, one)):
            trial.players[node_id].let_go(peer_id)
        # Each node has to tell the other first that it monitors nothing any more. A fault may come in between.
        await trio.sleep(numbers.choice((0.0, 4 * network.default_link.delay, 0.5)))
        for node_id, peer_id in ((one, other), (other, one)):
            peer = self._peer(node_id, peer_id)
            if peer is not None:
                self._release(peer)
                if node_id == one or numbers.random() < 0.2:
                    self.asked += peer.ask_to_part()
        await trio.sleep(numbers.choice((0.0, network.default_link.delay, 0.1)) * numbers.random())
        for node_id in (one, other):
            if numbers.random() < 0.5 and network.is_up(node_id):
                trial.players[node_id].burst()

    def _peer(self, node_id: str, peer_id: str) -> Peer | None:
        node = self._network.nodes.get(node_id)
        network = node._runtime.network if node is not None else None
        return network.peers.get(peer_id) if network is not None else None

    def _release(self, peer: Peer) -> None:
        """Ignore the reasons to keep the connection with a peer, such as that the peer is a seed; not a drain."""
        peer._idleness._kept = _Disregarded(peer._idleness._kept)

    def _keep_all(self) -> None:
        """Let the reasons to keep a connection count again, at the end."""
        for node in self._network.nodes.values():
            for peer in node._runtime.network.peers.values() if node._runtime.network is not None else ():
                peer._idleness._kept = Counter(peer._idleness._kept)
