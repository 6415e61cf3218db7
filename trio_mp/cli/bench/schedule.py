"""The order of all runs: interleaved, and over in time.

What is compared is run in turn, close together, again and again: a machine that is slow for a minute is slow for all.
The rounds go through the whole table, so the runs of one workload are spread over the whole time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
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
class Outcome:
    """What came of all runs.

    Attributes:
      runs: those that gave a figure, in the order of time.
      failures: cells that failed, with the text; they were not run again.
      cut: how many runs there was no time for.
    """

    runs: list[Run] = field(default_factory=list)
    failures: dict[tuple[str, str], str] = field(default_factory=dict)
    cut: int = 0


def run_all(
    cells: Iterable[Cell],
    seconds: float,
    run: Callable[[Cell], Figure],
    *,
    before: Callable[[Cell], object] = lambda _: None,
    after: Callable[[int], object] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Run all cells, round by round.

    Args:
      cells: those of a group behind one another.
      seconds: the time there is. The group that would not fit into what is left of it, as far as is known from the
        rounds before, is left out.
      run: runs one.
      before, after: are told which one comes, and how many were done or need not be.
      clock: seconds.
    """
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.group, []).append(cell)
    outcome = Outcome()
    took: dict[tuple[str, str], float] = {}
    end = clock() + seconds
    for number in range(max((cell.repeats for group in groups.values() for cell in group), default=0)):
        for group in groups.values():
            due = [cell for cell in group if number < cell.repeats]
            wanted = [cell for cell in due if key_of(cell) not in outcome.failures]
            after(len(due) - len(wanted))
            if clock() + sum(took.get(key_of(cell), 0.0) for cell in wanted) > end:
                outcome.cut += len(wanted)
                after(len(wanted))
                continue
            # Not always the same one first.
            for cell in wanted[number % len(wanted) :] + wanted[: number % len(wanted)] if wanted else ():
                before(cell)
                start = clock()
                try:
                    outcome.runs.append(Run(cell, number, run(cell)))
                except FailedRun as failure:
                    outcome.failures[key_of(cell)] = str(failure)
                took[key_of(cell)] = max(clock() - start, took.get(key_of(cell), 0.0))
                after(1)
    return outcome


def key_of(cell: Cell) -> tuple[str, str]:
    """What tells it from others."""
    return cell.name, cell.program
