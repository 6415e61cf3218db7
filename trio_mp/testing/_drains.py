"""Drains for the hammer: in some seeds nodes drain, and are then stopped and started anew, while all else goes on."""

from __future__ import annotations

import random
from collections.abc import Callable

import trio

from .._node.node import Node
from .._protocol.database.entries import read_port
from .._protocol.drain import Drained
from .._services.database import RESERVED
from ._network import SimulatedNetwork
from ._rules import Rule
from ._scenario import Plan
from ._sides import hosts_of
from ._witness import losses_of
from ._workload import Trial

SHARE = 0.35
"""In which share of the seeds nodes drain."""

PAUSE = 25.0
"""How long it takes until another node drains, on average, in seconds."""

_LASTING = 75.0
"""How long before the quiet the last drain begins, in seconds: its node is up again in time."""

_SETTLED = 0.5
"""How much longer than its bound the end of a drain may take where nothing is left, in seconds."""


class DrainJudge:
    """The rules that drains are under.

    Args:
      network: the simulated network.
    """

    def __init__(self, network: SimulatedNetwork) -> None:
        self._network = network

    def ended(self, node: Node, run: str, drained: Drained) -> None:
        """Check what must hold when a drain ends. No checkpoint may lie between its end and this."""
        network, oracle = self._network, self._network.oracle
        if not oracle.lives(run):
            return
        if node._drains._rules.awaited:
            oracle.fail(Rule.DRAIN_ENDS, f"{run} has drained, and awaits {node._drains._rules.awaited}", run)
        named = {each.port for each in drained.unfinished}
        oracle.drained(run, named, {str(port) for port in node._runtime.lifecycle.ports.values()}, self._losses(node))
        for peer in node._runtime.network.peers.values() if node._runtime.network is not None else ():
            other = network.nodes.get(peer.id)
            if peer.is_up() and other is not None and peer.id not in named and not peer.has_parted:
                oracle.has_heard(network.run_of(other), run)
        self._judge_entries(node, run)

    async def cut_off(self, node: Node, run: str) -> None:
        """Check what must hold when a drain was cut off: it says why, or ends now. A checkpoint."""
        oracle = self._network.oracle
        self._judge_entries(node, run)
        if not node.unfinished():
            with trio.move_on_after(_SETTLED):
                await node.drain()
                return
            if not node.unfinished() and oracle.lives(run):
                oracle.fail(Rule.DRAIN_ENDS, f"{run} does not end its drain, and says that nothing is unfinished", run)

    def _judge_entries(self, node: Node, run: str) -> None:
        for family, table in node.database._replica.all_owned().items():
            for key, value in table.items():
                if not family.startswith(RESERVED) and read_port(key, value) is not None:
                    self._network.oracle.fail(Rule.WITHDRAWN, f"{run} drains, and {family}/{key} names a port", run)

    def _losses(self, node: Node) -> Callable[[str], int]:
        def losses(run: str) -> int:
            other = self._network.nodes.get(run.rpartition("/")[0])
            return losses_of(other, node.id) if other is not None and self._network.run_of(other) == run else -1

        return losses


class Drainer:
    """Has nodes drain. Its random numbers are its own, and change nothing else of a seed.

    Args:
      network: the simulated network.
      plan: what the seed means.

    Attributes:
      nodes: the IDs of the nodes that may drain, in this seed.
      count: how many drains have ended, or were cut off.
    """

    def __init__(self, network: SimulatedNetwork, plan: Plan) -> None:
        self.count: int = 0
        self.nodes: list[str] = []
        self._network = network
        self._judge = DrainJudge(network)
        self._random: random.Random = network.generator("drains")
        if self._random.random() < SHARE:
            self.nodes = hosts_of(plan)

    async def run(self, trial: Trial) -> None:
        """Have one node after the other drain, until the trial is about to get quiet."""
        while self.nodes:
            await trio.sleep(self._random.expovariate(1 / PAUSE))
            if trio.current_time() > trial.quiet_at - _LASTING:
                return
            name = self._random.choice(self.nodes)
            if self._network.is_up(name):
                # Some messages are on their way.
                trial.provoke_at(name, self._random)
                await self._drain(name)

    async def _drain(self, name: str) -> None:
        """Drain a node for a while, then have it stopped and started anew."""
        network, numbers = self._network, self._random
        node = network.nodes[name]
        run = network.run_of(node)
        ended = trio.Event()
        network.trace.record("drains", run)
        network.oracle.drain_heard(run, run)

        async def drain() -> None:
            self._judge.ended(node, run, await node.drain())
            ended.set()

        in_a_port = numbers.random() < 0.3
        try:
            with trio.move_on_after(numbers.choice((0.0, 2.0, 10.0, 40.0))):
                if in_a_port:
                    node.start_port(lambda _: drain())
                    await ended.wait()
                else:
                    await drain()
            # Else it was cut off before the task of its port had begun.
            if not ended.is_set() and node.draining.is_set():
                await self._judge.cut_off(node, run)
        except trio.ClosedResourceError:
            # It was crashed meanwhile. Who crashes nodes starts them again.
            return
        self.count += 1
        # What comes now is handled, or its monitor fires.
        await trio.sleep(numbers.choice((0.0, 0.0, 1.0, 5.0)))
        if network.oracle.lives(run):
            await network.stop(name)
            await trio.sleep(numbers.choice((0.0, 1.0, 5.0)))
            if not network.is_up(name) and not network.was_crashed(name):
                network.restart(name)
