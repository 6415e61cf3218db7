"""The board: what the command knows of every node at this moment, and what has happened so far."""

from __future__ import annotations

import enum
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from .talk import AllArrived, Arrived, Figures, Fired, Ready, Report

_RATE_FIGURES = 5
"""A rate is taken over this many reports of a node, which are about a second."""


class Failure(Exception):
    """Something that the demo promises to show did not happen; the text says what."""


class NodeState(enum.Enum):
    """What a node's process is doing."""

    STARTING = "starting"
    UP = "up"
    KILLED = "killed"
    ENDED = "ended"


class Progress(enum.Enum):
    """How far a step of the scenario has come."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(eq=False)
class ScenarioStep:
    """A step of the scenario, as the picture shows it.

    Attributes:
      name: what the step does.
      detail: its result, in words.
      progress: how far it has come.
    """

    name: str
    detail: str = ""
    progress: Progress = Progress.WAITING


@dataclass(eq=False)
class NodeView:
    """What the command knows of one node.

    Attributes:
      number, name: the node's number and its node ID.
      run: how often the node was started before.
      pid: the ID of its process.
      state: what the process is doing.
      drained: whether the node has said that all it sent was delivered or reported lost.
      fired: how many monitors have fired in the node, in all its runs together.
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
        """Note that the node is being started."""
        self.pid, self.run = pid, run
        self.state = NodeState.STARTING
        self.drained = False
        self.forget()

    def forget(self) -> None:
        """Drop the figures of a run that has ended."""
        self._figures.clear()

    def add(self, figures: Figures) -> None:
        """Add figures that the node has reported."""
        self._figures.append(figures)

    @property
    def latest(self) -> Figures | None:
        """The latest figures of this run of the node; None if it has reported none."""
        return self._figures[-1] if self._figures else None

    def rates(self) -> tuple[float, float]:
        """How many messages the node sends and receives in a second."""
        if len(self._figures) < 2:
            return 0.0, 0.0
        first, last = self._figures[0], self._figures[-1]
        seconds = max(last.at - first.at, 1e-3)
        return (last.sent - first.sent) / seconds, (last.received - first.received) / seconds


class DemoBoard:
    """What the command knows of all nodes, and the place where its tasks wait for changes.

    Args:
      names: the node IDs, by number.

    Attributes:
      started: when the command was started, by `time.monotonic()`.
      nodes: what is known of each node, by its number.
      steps: the steps of the scenario.
      events: what happened, and how many seconds after the start; the latest is last.
      on_event: called with each event, seconds first.
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
        """Seconds since the command was started."""
        return time.monotonic() - self.started

    def note(self, text: str) -> None:
        """Add an event."""
        elapsed = self.elapsed
        self.events.append((elapsed, text))
        self.on_event(elapsed, text)

    def fail(self, why: str) -> None:
        """Note something that must not happen; `wait_until` and `sleep_until` raise `Failure` from now on."""
        if not self._failure:
            self._failure = why
            self.note(why)
        self._changed.unpark_all()

    def handle(self, number: int, report: Report) -> None:
        """Take a report of the node with this number."""
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
            case AllArrived():
                node.drained = True
        self._changed.unpark_all()

    # Questions -----------------------------------------------------------------------------------------------------

    def fired(self, observer: int, about: int, since: float) -> float | None:
        """When the first monitor of node `observer` on node `about` fired since that time; None if none has."""
        return next(
            (one.at for number, one in self._firings if number == observer and one.about == about and one.at >= since),
            None,
        )

    def arrived(self, sender: int, receiver: int, since: float) -> float | None:
        """When the first message arrived that the sender sent under a monitor set since then; None if none has.

        Nearly so: the board hears when messages arrive, and not when the monitor was set.
        """
        arrivals = self._arrivals.get((sender, receiver), [])
        run = self.nodes[sender].run
        return next((one.at for one in arrivals if one.run == run and one.at >= since), None)

    def pairs(self) -> list[tuple[int, int]]:
        """All ordered pairs of different nodes."""
        numbers = range(len(self.nodes))
        return [(one, other) for one in numbers for other in numbers if one != other]

    def links(self) -> int:
        """How many ends of connections there are in all nodes; a connection has two."""
        return sum(node.latest.peers for node in self.nodes if node.latest is not None)

    def rates(self) -> tuple[float, float]:
        """How many messages all nodes together send and receive in a second."""
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
        """Wait until a condition holds. A checkpoint only if it does not hold yet.

        Args:
          condition: asked again after every change of the board.
          seconds: how long to wait at most.
          what: what is waited for, for the text of the error.

        Raises:
          Failure: the condition does not hold in time, or something went wrong meanwhile.
        """
        with trio.move_on_after(seconds) as scope:
            while not condition():
                self._raise_failure()
                await self._changed.park()
        if scope.cancelled_caught and not condition():
            raise Failure(f"expected within {seconds:g} s: {what}")

    async def sleep_until(self, at: float) -> None:
        """Wait until a time of `time.monotonic()`. Raises `Failure` if something goes wrong meanwhile."""
        with trio.move_on_after(max(0.0, at - time.monotonic())):
            while True:
                self._raise_failure()
                await self._changed.park()

    def _raise_failure(self) -> None:
        if self._failure:
            raise Failure(self._failure)
