"""What the hammer sees of the children of supervisors: their lives, as the nodes see them that run them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf

import trio

from .._node.node import Node
from .._ports.port import Port, current_epoch
from ._network import SimulatedNetwork
from ._rules import Rule


@dataclass(eq=False, slots=True)
class ChildLife:
    """One life of a child, as it was.

    Attributes:
      supervisor: the run of the node whose supervisor has started it.
      child: the name of the child, which no other child of the hammer has.
      run: the run of the node that runs it.
      port: its port.
      epoch: which life it is.
      begun, ended: when, by Trio's clock.
    """

    supervisor: str
    child: str
    run: str
    port: str
    epoch: int
    begun: float
    ended: float = inf

    def __str__(self) -> str:
        return f"life {self.epoch} of {self.child} of {self.supervisor} on {self.run}"


class Lives:
    """All lives of supervised children in one seed, and the rules that they are under.

    Args:
      network: the simulated network.

    Attributes:
      count: how many lives have begun.
    """

    def __init__(self, network: SimulatedNetwork) -> None:
        self.count = 0
        self._network = network
        self._lives: dict[str, list[ChildLife]] = {}
        self._stopped: dict[str, int] = {}

    @contextmanager
    def life(self, node: Node, port: Port, supervisor: str, child: str) -> Iterator[None]:
        """One life of a child, for as long as it runs; used by the child itself."""
        epoch = current_epoch()
        assert epoch is not None, "it is started by supervisors alone"
        life = ChildLife(supervisor, child, self._network.run_of(node), str(port), epoch, trio.current_time())
        self._begins(life)
        try:
            yield
        finally:
            life.ended = trio.current_time()
            if self._network.oracle.lives(life.run):
                self._network.trace.record("child ends", child, life.run, life.epoch)

    def _begins(self, life: ChildLife) -> None:
        network = self._network
        if not network.oracle.lives(life.run):
            return
        self.count += 1
        network.trace.record("child", life.child, life.run, life.epoch)
        earlier = self._lives.setdefault(life.child, [])
        for other in earlier:
            if self.is_running(other):
                network.oracle.fail(Rule.LIVES, f"{life} begins beside {other}", life.child)
            if other.epoch >= life.epoch:
                network.oracle.fail(Rule.LIVES, f"{life} begins, and was not numbered above {other}", life.child)
        if life.child in self._stopped:
            network.oracle.fail(Rule.STOPPED, f"{life} begins, and the child was stopped before", life.child)
        earlier.append(life)

    def is_running(self, life: ChildLife) -> bool:
        """Whether a life goes on: it has not ended, and neither has its node."""
        return life.ended == inf and self._network.oracle.lives(life.run)

    def stopped(self, child: str, restarts: int) -> None:
        """Note that a child was stopped, and taken out: none of its lives goes on, and no other one begins.

        Args:
          child: its name.
          restarts: how many restarts of it were counted meanwhile.
        """
        oracle = self._network.oracle
        self._stopped[child] = restarts
        for life in self._lives.get(child, ()):
            if self.is_running(life):
                oracle.fail(Rule.STOPPED, f"{life} goes on, and the child was stopped", child)
        if restarts:
            oracle.fail(Rule.STOPPED, f"{child} was stopped, and {restarts} restarts were counted for that", child)

    def judge(self, wanted: dict[str, str], astray: Collection[str] = ()) -> None:
        """Check that what is to run does, once, and nothing else. To be called when the network is at rest.

        Args:
          wanted: the port of each child that is to run, as its supervisor sees it.
          astray: those of them that may be started on a node which the supervisor's cannot reach. Such a child may be
            between two lives at any time, and is not to run twice.
        """
        oracle = self._network.oracle
        for child, lives in self._lives.items():
            running = [life.port for life in lives if self.is_running(life)]
            expected = [wanted[child]] if child in wanted else []
            if running != expected and not (child in astray and not running):
                about = f"{child} of {lives[-1].supervisor}"
                oracle.fail(Rule.SUPERVISED, f"expected {about} to run as {expected}, got {running}", child)
        for child in wanted.keys() - self._lives.keys() - set(astray):
            oracle.fail(Rule.SUPERVISED, f"expected {child} to run as {wanted[child]}, and it never has", child)
