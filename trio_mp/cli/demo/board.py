"""What is known of everybody at this moment, and what has happened so far."""

from __future__ import annotations

import enum
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from .talk import Arrived, Drained, Figures, Fired, Ready, Report

_RATE_FIGURES = 5
"""Rates are taken over so many figures: about a second."""


class Failure(Exception):
    """What was to be seen did not happen; the text says what."""


class NodeState(enum.Enum):
    """What a node's process is doing."""

    STARTING = "starting"
    UP = "up"
    KILLED = "killed"
    ENDED = "ended"


class Progress(enum.Enum):
    """How far a step has come."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(eq=False)
class ScenarioStep:
    """A part of the demonstration.

    Attributes:
      name: what is done.
      detail: what came of it.
      progress: how far it has come.
    """

    name: str
    detail: str = ""
    progress: Progress = Progress.WAITING


@dataclass(eq=False)
class NodeView:
    """What is known of one node.

    Attributes:
      number, name: which.
      run: how often it was started before.
      pid: its process.
      state: what that is doing.
      drained: whether it has said that all it sent was delivered or reported.
      fired: monitors that have fired in it, all its runs together.
    """

    number: int
    name: str
    run: int = 0
    pid: int = 0
    state: NodeState = NodeState.STARTING
    drained: bool = False
    fired: int = 0
    _figures: deque[Figures] = field(default_factory=lambda: deque(maxlen=_RATE_FIGURES))

    def start(self, pid: int, run: int) -> None:
        """It is being started."""
        self.pid, self.run = pid, run
        self.state = NodeState.STARTING
        self.drained = False
        self.forget()

    def forget(self) -> None:
        """Its figures are history."""
        self._figures.clear()

    def add(self, figures: Figures) -> None:
        """New figures."""
        self._figures.append(figures)

    @property
    def latest(self) -> Figures | None:
        """Its latest figures, if it is up and has told any."""
        return self._figures[-1] if self._figures else None

    def rates(self) -> tuple[float, float]:
        """Messages sent and received, a second."""
        if len(self._figures) < 2:
            return 0.0, 0.0
        first, last = self._figures[0], self._figures[-1]
        seconds = max(last.at - first.at, 1e-3)
        return (last.sent - first.sent) / seconds, (last.received - first.received) / seconds


class Board:
    """Everything that the command knows.

    Args:
      names: the node IDs, by number.

    Attributes:
      started: when the command was, by `time.monotonic()`.
      nodes: by number.
      steps: what has been begun or done of the demonstration.
      events: what happened, and how long after the start, the latest last.
      on_event: called with each of them.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self.started: float = time.monotonic()
        self.nodes: list[NodeView] = [NodeView(number, name) for number, name in enumerate(names)]
        self.steps: list[ScenarioStep] = []
        self.events: deque[tuple[float, str]] = deque(maxlen=200)
        self.on_event: Callable[[float, str], None] = lambda *_: None
        self._firings: list[tuple[int, Fired]] = []
        self._arrivals: dict[tuple[int, int], list[Arrived]] = {}
        self._failure = ""
        self._changed = trio.lowlevel.ParkingLot()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def note(self, text: str) -> None:
        """Something happened."""
        elapsed = self.elapsed
        self.events.append((elapsed, text))
        self.on_event(elapsed, text)

    def fail(self, why: str) -> None:
        """Something happened that must not; whoever waits gets a `Failure`."""
        if not self._failure:
            self._failure = why
            self.note(why)
        self._changed.unpark_all()

    def handle(self, number: int, report: Report) -> None:
        """What a node has reported."""
        node = self.nodes[number]
        match report:
            case Ready():
                node.state = NodeState.UP
            case Figures():
                node.add(report)
            case Fired():
                node.fired += 1
                self._firings.append((number, report))
                self.note(f"{node.name}: monitor on {self.nodes[report.about].name} fired: {report.reason}")
            case Arrived():
                self._arrivals.setdefault((report.sender, number), []).append(report)
            case Drained():
                node.drained = True
        self._changed.unpark_all()

    # Questions -----------------------------------------------------------------------------------------------------

    def fired(self, observer: int, about: int, since: float) -> float | None:
        """When the first of its monitors on the other node fired, since then."""
        return next(
            (one.at for number, one in self._firings if number == observer and one.about == about and one.at >= since),
            None,
        )

    def arrived(self, sender: int, receiver: int, since: float) -> float | None:
        """When the first message arrived that the sender sent under a monitor which it set since then (nearly so)."""
        arrivals = self._arrivals.get((sender, receiver), [])
        run = self.nodes[sender].run
        return next((one.at for one in arrivals if one.run == run and one.at >= since), None)

    def pairs(self) -> list[tuple[int, int]]:
        """All ordered pairs of different nodes."""
        numbers = range(len(self.nodes))
        return [(one, other) for one in numbers for other in numbers if one != other]

    def links(self) -> int:
        """How many ends of connections there are."""
        return sum(node.latest.peers for node in self.nodes if node.latest is not None)

    def rates(self) -> tuple[float, float]:
        """Messages sent and received by all, a second."""
        rates = [node.rates() for node in self.nodes]
        return sum(out for out, _ in rates), sum(into for _, into in rates)

    def round_trip(self) -> tuple[float, float]:
        """The median of all nodes' medians, and the greatest of their 99th percentiles, in microseconds."""
        figures = [node.latest for node in self.nodes if node.latest is not None and node.latest.median]
        if not figures:
            return 0.0, 0.0
        medians = sorted(one.median for one in figures)
        return medians[len(medians) // 2], max(one.slow for one in figures)

    # Waiting -------------------------------------------------------------------------------------------------------

    async def wait_until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait until something is so.

        Raises:
          Failure: it is not, after so many seconds (the text is made of `what`); or something went wrong meanwhile.
        """
        with trio.move_on_after(seconds) as scope:
            while not condition():
                self._raise_failure()
                await self._changed.park()
        if scope.cancelled_caught and not condition():
            raise Failure(f"{what}: not within {seconds:g} s")

    async def sleep_until(self, at: float) -> None:
        """Wait until a time, by `time.monotonic()`. Raises `Failure` if something goes wrong meanwhile."""
        with trio.move_on_after(max(0.0, at - time.monotonic())):
            while True:
                self._raise_failure()
                await self._changed.park()

    def _raise_failure(self) -> None:
        if self._failure:
            raise Failure(self._failure)
