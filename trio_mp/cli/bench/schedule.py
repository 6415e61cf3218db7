"""The order of all runs: interleaved, and over in time.

What is compared is run in turn, close together, again and again: a machine that is slow for a minute is slow for all.
The rounds go through the whole table, so the runs of one workload are spread over the whole time. What a target depends
on comes first in each, and where time is short it has all its rounds, and the others have fewer.
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
    """One run that gave a figure.

    Attributes:
      cell: what was run.
      number: in which round.
      figure: what came of it.
    """

    cell: Cell
    number: int
    figure: Figure


@dataclass(slots=True)
class BenchOutcome:
    """What came of all runs.

    Attributes:
      runs: those that gave a figure, in the order of time.
      failures: cells that failed, with the text; they were not run again.
      cut: how many runs there was no time for.
    """

    runs: list[Run] = field(default_factory=list)
    failures: dict[tuple[str, str], str] = field(default_factory=dict)
    cut: int = 0


class TimeBudget:
    """Says what there is time for.

    Args:
      cells: all that is to be run.
      end: when the time is over.
    """

    def __init__(self, cells: Iterable[Cell], end: float) -> None:
        self._end = end
        self._took: dict[tuple[str, str], list[float]] = {}
        self._targets = {key_of(cell): cell for cell in cells if cell.target}

    def note(self, cell: Cell, seconds: float) -> None:
        """A cell took so long."""
        self._took.setdefault(key_of(cell), []).append(seconds)

    def forget(self, cell: Cell) -> None:
        """It is not run again."""
        self._targets.pop(key_of(cell), None)

    def choose(self, cells: Sequence[Cell], number: int, now: float) -> list[Cell]:
        """Which of these cells of a group to run in this round: all, those that targets need, or none."""
        targets = [cell for cell in cells if cell.target]
        # In the first round nothing is kept for later ones: everything once is better than less of it more often.
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
      cells: those of a group behind one another.
      seconds: the time there is. The group that would not fit into what is left of it, as far as is known from the
        rounds before, is left out; from the second round on, what is left is what the targets do not need.
      run: runs one.
      before, after: are told which one comes, and how many were done or need not be.
      clock: seconds.
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
            # Not always the same one first.
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
    """What tells it from others."""
    return cell.name, cell.program
