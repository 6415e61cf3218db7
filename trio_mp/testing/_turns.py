"""Singletons for the hammer: in some seeds nodes are candidates for one place, and write to a resource in turn."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf

import trio

from .._protocol.groups.singleton import TurnEpoch
from ._network import SimulatedNetwork
from ._rules import Rule
from ._scenario import Plan
from ._sides import hosts_of
from ._witness import Witness

SHARE = 0.35
"""In which share of the seeds there are candidates."""

HOLD = 25.0
"""How long a turn lasts, on average, in seconds."""

PAUSE = 4.0
"""How long a turn waits until it writes again, in seconds."""

_LASTING = 80.0
"""How long before the quiet turns no longer end by themselves, in seconds: only the package ends one of two."""

FAMILY = "leaders"


@dataclass(eq=False, slots=True)
class SeenTurn:
    """One turn.

    Attributes:
      run: the run of the node that has it.
      epoch: its epoch.
      begun, ended: when, by Trio's clock.
      was_seen: whether all other candidates must have seen its claim before it ended.
    """

    run: str
    epoch: TurnEpoch
    begun: float
    ended: float = inf
    was_seen: bool = False

    def __str__(self) -> str:
        return f"turn {self.epoch.number} of {self.run}"


class TurnLedger:
    """All turns of one seed, the resource that they write to, and the rules that they are under.

    The resource stands outside of the network, and can always be reached: it keeps the greatest epoch.

    Args:
      network: the simulated network.

    Attributes:
      obeyed: whether a turn ends when the resource refuses it. If not, it goes on until the package ends it.
      turns: all of them.
      greatest: the greatest epoch that has written.
    """

    def __init__(self, network: SimulatedNetwork) -> None:
        self.obeyed: bool = True
        self.turns: list[SeenTurn] = []
        self.greatest: TurnEpoch | None = None
        self._network = network

    def write(self, epoch: TurnEpoch) -> bool:
        """Write to the resource; returns whether it takes that, because it knows of no greater epoch."""
        if self.greatest is not None and epoch < self.greatest:
            return False
        self.greatest = epoch
        return True

    @contextmanager
    def turn(self, witness: Witness, epoch: TurnEpoch) -> Iterator[None]:
        """One turn, until it has unwound."""
        turn = SeenTurn(witness.run, epoch, trio.current_time())
        if witness.oracle.lives(turn.run):
            self._network.trace.record("turn", turn.run, *epoch)
            self._check_begins(turn)
            self.turns.append(turn)
        try:
            yield
        finally:
            self._ends(turn, witness)

    def _check_begins(self, turn: SeenTurn) -> None:
        oracle = self._network.oracle
        for other in self.turns:
            if other.epoch == turn.epoch:
                oracle.fail(Rule.EPOCHS, f"{turn} has the epoch of {other}", turn.run)
            if (other.was_seen or other.epoch.run == turn.epoch.run) and other.epoch > turn.epoch:
                oracle.fail(Rule.EPOCHS, f"{turn} begins behind {other}, which is newer", turn.run)
            if self.is_running(other) and self._is_seen(other):
                oracle.fail(Rule.TURNS, f"{turn} begins beside {other}, which it could see", turn.run)

    def _is_seen(self, turn: SeenTurn) -> bool:
        oracle = self._network.oracle
        return oracle.settled_since(turn.begun, turn.epoch.node_id) > oracle.bounds.memory

    def _ends(self, turn: SeenTurn, witness: Witness) -> None:
        turn.ended = trio.current_time()
        if not witness.oracle.lives(turn.run):
            return
        self._network.trace.record("turn ends", turn.run, *turn.epoch)
        turn.was_seen = self._is_seen(turn)
        claim = [*turn.epoch, True]
        if claim not in witness.node.database._replica.owned(FAMILY).values():
            witness.oracle.fail(Rule.TURNS, f"{turn} has unwound, and its claim had gone before", turn.run)

    def is_running(self, turn: SeenTurn) -> bool:
        """Whether a turn goes on: it has not ended, and neither has its node."""
        return turn.ended == inf and self._network.oracle.lives(turn.run)

    def judge(self) -> None:
        """Check that one turn runs. To be called when the network is at rest, and has candidates."""
        running = [turn for turn in self.turns if self.is_running(turn)]
        oracle = self._network.oracle
        if len(running) != 1:
            oracle.fail(Rule.ONE_TURN, f"expected one turn at rest, got {[str(turn) for turn in running]}", FAMILY)
        if self.obeyed and not self.write(running[0].epoch):
            oracle.fail(Rule.ONE_TURN, f"{running[0]} runs, and the resource has seen {self.greatest}", FAMILY)


class Leaders:
    """Has nodes be candidates of one place. Its random numbers are its own; see `SideRole`.

    Args:
      network: the simulated network.
      plan: what the seed means.

    Attributes:
      ledger: the turns.
      nodes: see `SideRole`.
    """

    def __init__(self, network: SimulatedNetwork, plan: Plan) -> None:
        self.ledger = TurnLedger(network)
        self.nodes: list[str] = []
        self._network = network
        numbers = network.generator("singletons")
        hosts = hosts_of(plan)
        if numbers.random() < SHARE and len(hosts) > 1:
            self.nodes = numbers.sample(hosts, numbers.randint(2, min(5, len(hosts))))
            self.ledger.obeyed = numbers.random() < 0.5

    async def play(self, witness: Witness, until: float) -> None:
        """See `SideRole.play`."""
        async with trio.open_nursery() as nursery:
            numbers = self._network.generator(f"candidates of {witness.run}")
            for _ in range(numbers.choice((1, 1, 1, 2))):
                own = random.Random(numbers.random())
                nursery.start_soon(self._stand, witness, own, until)

    async def _stand(self, witness: Witness, numbers: random.Random, until: float) -> None:
        """Be a candidate, again and again; withdraw now and then."""
        while True:
            greatest = self.ledger.greatest
            withdrawn = trio.current_time() + numbers.expovariate(1 / 80)
            with trio.move_on_at(withdrawn if withdrawn < until - _LASTING else inf):
                await witness.node.run_singleton(
                    *(FAMILY, self._lead, witness, numbers, until), seen=greatest.number if greatest is not None else 0
                )
            await trio.sleep(numbers.choice((0.0, 0.0, 3.0)))

    async def _lead(self, epoch: TurnEpoch, witness: Witness, numbers: random.Random, until: float) -> None:
        """Have a turn: write, until the time of the turn is over, or the resource knows of a newer one."""
        unwinding = numbers.choice((0.0, 0.0, 0.5))
        end = trio.current_time() + numbers.expovariate(1 / HOLD)
        with self.ledger.turn(witness, epoch):
            try:
                while self.ledger.write(epoch) or not self.ledger.obeyed:
                    await trio.sleep(PAUSE)
                    if end < trio.current_time() < until - _LASTING:
                        return
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(unwinding)

    async def judge(self) -> None:
        """See `SideRole.judge`."""
        await trio.lowlevel.checkpoint()
        if self.nodes:
            self.ledger.judge()
