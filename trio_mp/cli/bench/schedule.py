"""The order of all runs: interleaved, and within the time there is.

Programs that are compared run in turn, close together, again and again: a machine that is slow for a minute is slow for
all of them. Each round goes through the whole table, so the runs of one workload are spread over the whole time. The
workloads that a target depends on come first in each round. When time is short they keep all their rounds, and the
others get fewer.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from .runner import Cell, FailedRun
from .task import Figure


@dataclass(slots=True)
class Run:
    """A run that has printed a figure.

    Attributes:
      cell: what was run.
      number: the number of the round.
      figure: what the run has printed.
    """

    cell: Cell
    number: int
    figure: Figure


@dataclass(slots=True)
class BenchOutcome:
    """The figures and failures of all runs.

    Attributes:
      runs: the runs that have printed a figure, in the order of time.
      failures: why cells have failed. A cell that has failed is not run again.
      cut: how many runs there was no time for.
    """

    runs: list[Run] = field(default_factory=list)
    failures: dict[tuple[str, str], str] = field(default_factory=dict)
    cut: int = 0


class TimeBudget:
    """Decides which runs there is time for.

    Args:
      cells: all cells to run.
      end: when the time is over, by the clock of `run_all`.
    """

    def __init__(self, cells: Iterable[Cell], end: float) -> None:
        self._end = end
        self._took: dict[tuple[str, str], list[float]] = {}
        self._targets = {key_of(cell): cell for cell in cells if cell.target}

    def note(self, cell: Cell, seconds: float) -> None:
        """Note how long a run of a cell took, in seconds."""
        self._took.setdefault(key_of(cell), []).append(seconds)

    def forget(self, cell: Cell) -> None:
        """Keep no more time for a cell, because it is not run again."""
        self._targets.pop(key_of(cell), None)

    def choose(self, cells: Sequence[Cell], number: int, now: float) -> list[Cell]:
        """Choose which cells of a group to run in this round: all, those that targets depend on, or none."""
        targets = [cell for cell in cells if cell.target]
        # The first round keeps no time for later ones: a figure for everything is worth more than a second for some.
        kept = self._kept(targets, number) if number else 0.0
        if now + self._longest(cells) + kept <= self._end:
            return [*cells]
        return targets if now + self._longest(targets) <= self._end else []

    def _longest(self, cells: Iterable[Cell]) -> float:
        return sum(max(self._took.get(key_of(cell), [0.0])) for cell in cells)

    def _kept(self, now: Sequence[Cell], number: int) -> float:
        """What all that targets need will take, but for those of this round."""
        total = 0.0
        for key, cell in self._targets.items():
            took = self._took.get(key, [0.0])
            left = cell.repeats - max(number, len(took)) - (cell in now)
            total += max(0, left) * statistics.median(took)
        return total


def run_all(
    cells: Iterable[Cell],
    seconds: float,
    run: Callable[[Cell], Figure],
    *,
    before: Callable[[Cell], object] = lambda _: None,
    after: Callable[[int], object] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> BenchOutcome:
    """Run all cells, round by round.

    Args:
      cells: what to run; the cells of a group follow one another.
      seconds: the time there is. A round leaves out a group that would not fit into the time left, judged by the
        rounds before. From the second round on, the time that targets need does not count as left.
      run: runs a cell once. May raise `FailedRun`.
      before: called with each cell before it is run.
      after: called with the number of runs that are done, or left out.
      clock: a monotonic clock, in seconds.
    """
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.group, []).append(cell)
    ordered = sorted(groups.values(), key=lambda group: not any(cell.target for cell in group))
    outcome = BenchOutcome()
    budget = TimeBudget([cell for group in ordered for cell in group], clock() + seconds)
    for number in range(max((cell.repeats for group in ordered for cell in group), default=0)):
        for group in ordered:
            due = [cell for cell in group if number < cell.repeats]
            able = [cell for cell in due if key_of(cell) not in outcome.failures]
            wanted = budget.choose(able, number, clock())
            outcome.cut += len(able) - len(wanted)
            after(len(due) - len(wanted))
            # Each round begins with another cell, so that none is always the first.
            for cell in wanted[number % len(wanted) :] + wanted[: number % len(wanted)] if wanted else ():
                before(cell)
                start = clock()
                try:
                    outcome.runs.append(Run(cell, number, run(cell)))
                except FailedRun as failure:
                    outcome.failures[key_of(cell)] = str(failure)
                    budget.forget(cell)
                budget.note(cell, clock() - start)
                after(1)
    return outcome


def key_of(cell: Cell) -> tuple[str, str]:
    """What tells a cell from all others: the names of the workload and of the program."""
    return cell.name, cell.program
