"""The scenario: what the command does to the nodes while messages flow, and what must follow."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from .board import DemoBoard, Failure, NodeState, Progress, ScenarioStep
from .crew import Crew
from .relay import Relay

CUT_AT, KILL_AT, RESTART_AT = 0.2, 0.45, 0.6
"""When the scenario cuts, kills and restarts, as shares of the time for which messages flow."""

START_SECONDS = 15.0
REPORT_SECONDS = 5.0
RESUME_SECONDS = 10.0
DRAIN_SECONDS = 5.0
"""How long each wait may take before the demo has failed, in seconds."""


@dataclass(eq=False)
class Scenario:
    """One run of the demonstration.

    Args:
      board: what the command knows.
      crew: starts and kills the processes.
      relay: carries the connection between the two nodes of `pair`.
      pair: the nodes whose connection is cut: the seed, and a node that dials it.
      victim: the node that is killed.
      seconds: for how long messages flow.
    """

    board: DemoBoard
    crew: Crew
    relay: Relay
    pair: tuple[int, int]
    victim: int
    seconds: float
    _step: ScenarioStep = field(default_factory=lambda: ScenarioStep(""))

    def __post_init__(self) -> None:
        first, second = (self.board.nodes[number].name for number in self.pair)
        victim = self.board.nodes[self.victim].name
        self._start = ScenarioStep("all nodes talk")
        self._cut = ScenarioStep(f"cut {first} – {second}")
        self._kill = ScenarioStep(f"kill {victim}")
        self._restart = ScenarioStep(f"restart {victim}")
        self._drain = ScenarioStep("all accounted for")
        self.board.steps = [self._start, self._cut, self._kill, self._restart, self._drain]

    async def play(self) -> None:
        """Play all steps, in order. Raises `Failure` as soon as something that must happen does not."""
        board = self.board
        try:
            self._begin(self._start)
            await self._start_all()
            flowing_since = time.monotonic()
            await board.sleep_until(flowing_since + CUT_AT * self.seconds)
            self._begin(self._cut)
            await self._cut_connection()
            await board.sleep_until(flowing_since + KILL_AT * self.seconds)
            self._begin(self._kill)
            await self._kill_node()
            await board.sleep_until(flowing_since + RESTART_AT * self.seconds)
            self._begin(self._restart)
            await self._restart_node()
            await board.sleep_until(flowing_since + self.seconds)
            self._begin(self._drain)
            took = await self.stop()
            self._done(f"nothing on its way any more, {took * 1000:.0f} ms after the last")
        except Failure:
            self._step.progress = Progress.FAILED
            raise

    def _begin(self, step: ScenarioStep) -> None:
        self._step = step
        step.progress = Progress.RUNNING

    def _done(self, detail: str) -> None:
        self._step.detail = detail
        self._step.progress = Progress.DONE
        self.board.note(f"{self._step.name}: {detail}")

    def _seeds_of(self, number: int) -> list[str]:
        """The path by which a node reaches the seed. The node finds all other nodes by itself."""
        if not number:
            return []
        return [self.relay.path if (0, number) == self.pair else self.crew.socket_path(0)]

    async def _start_all(self) -> None:
        board = self.board
        began = time.monotonic()
        for node in board.nodes:
            await self.crew.start(node.number, self._seeds_of(node.number))
        pairs = board.pairs()
        await board.wait_until(
            lambda: all(board.arrived(sender, receiver, began) for sender, receiver in pairs),
            START_SECONDS,
            "every node receives from every other",
        )
        self._done(
            f"{len(board.nodes)} processes, {len(pairs) // 2} connections, {len(pairs)} streams"
            f" in {time.monotonic() - began:.2f} s"
        )

    async def _cut_connection(self) -> None:
        board, (one, other) = self.board, self.pair
        cut = await self.relay.cut()
        board.note(f"{self._step.name}: {cut.dropped[1]} and {cut.dropped[0]} bytes were on their way and are gone")
        if not all(cut.dropped):
            raise Failure("expected bytes in both directions when the connection was cut, got none in one of them")
        both = [(one, other), (other, one)]
        await board.wait_until(
            lambda: all(board.fired(observer, about, cut.at) for observer, about in both),
            REPORT_SECONDS,
            "the monitors of both sides of the cut fire",
        )
        await board.wait_until(
            lambda: all(board.arrived(sender, receiver, cut.at) for sender, receiver in both),
            RESUME_SECONDS,
            "messages flow again after the cut",
        )
        if any(board.nodes[number].state is not NodeState.UP for number in self.pair):
            raise Failure("expected both processes to live on after the cut, but one of them has ended")
        told = self._delays([board.fired(observer, about, cut.at) for observer, about in both], cut.at)
        resumed = max(self._delays([board.arrived(*pair, cut.at) for pair in both], cut.at))
        self._done(f"monitors fired in {_list(told)}; messages again in {resumed:.0f} ms")

    async def _kill_node(self) -> None:
        board = self.board
        observers = [node.number for node in board.nodes if node.number != self.victim]
        board.note(f"{self._step.name}: SIGKILL to process {board.nodes[self.victim].pid}")
        at = time.monotonic()
        await self.crew.kill(self.victim)
        await board.wait_until(
            lambda: all(board.fired(observer, self.victim, at) for observer in observers),
            REPORT_SECONDS,
            "the monitors of all other nodes fire after the kill",
        )
        told = self._delays([board.fired(observer, self.victim, at) for observer in observers], at)
        self._done(f"monitors of all {len(told)} others fired in {_range(told)}")

    async def _restart_node(self) -> None:
        board, victim = self.board, self.victim
        others = [node.number for node in board.nodes if node.number != victim]
        at = time.monotonic()
        await self.crew.start(victim, self._seeds_of(victim))
        pairs = [pair for other in others for pair in ((victim, other), (other, victim))]
        await board.wait_until(
            lambda: all(board.arrived(sender, receiver, at) for sender, receiver in pairs),
            RESUME_SECONDS,
            "messages flow again, to and from the node that was started again",
        )
        resumed = max(self._delays([board.arrived(*pair, at) for pair in pairs], at))
        self._done(f"messages to and from all others again in {resumed:.0f} ms")

    async def stop(self) -> float:
        """Stop sending, and wait until every message has arrived or was reported lost.

        Returns how many seconds that took. Raises `Failure` if it takes too long.
        """
        board = self.board
        at = time.monotonic()
        await self.crew.stop_traffic()
        await board.wait_until(
            lambda: all(node.drained for node in board.nodes), DRAIN_SECONDS, "what was sent is delivered or reported"
        )
        return time.monotonic() - at

    @staticmethod
    def _delays(times: list[float | None], since: float) -> list[float]:
        """How long after `since` the times are that are known, in milliseconds."""
        return [(at - since) * 1000 for at in times if at is not None]


def _list(milliseconds: list[float]) -> str:
    return " and ".join(f"{value:.1f}" for value in milliseconds) + " ms"


def _range(milliseconds: list[float]) -> str:
    return f"{min(milliseconds):.1f} to {max(milliseconds):.1f} ms"
