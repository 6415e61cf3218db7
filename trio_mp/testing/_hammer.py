"""Many seeds on all cores, and a table of what came of them."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from ._seed import Result, run_seed

PATIENCE = 300.0
"""After so many real seconds a seed is taken to hang: most take a fifth of one."""

_MOST_SHOWN = 5


@dataclass(slots=True)
class Summary:
    """What came of many seeds.

    Attributes:
      seeds: how many were run.
      simulated: how long in simulated seconds, all of them.
      elapsed: how long in real seconds.
      sent, delivered, fired: messages and monitors that the oracle saw.
      asked: how often a node was made to ask another one to part.
      faults: how many of each kind.
      violations: the results with one.
    """

    seeds: int = 0
    simulated: float = 0.0
    elapsed: float = 0.0
    sent: int = 0
    delivered: int = 0
    fired: int = 0
    asked: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    violations: list[Result] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """One more."""
        self.seeds += 1
        self.simulated += result.seconds
        self.sent += result.sent
        self.delivered += result.delivered
        self.fired += result.fired
        self.asked += result.asked
        self.faults += result.faults
        if result.violation:
            self.violations.append(result)


def hammer(console: Console, seeds: range, jobs: int) -> int:
    """Run these seeds; returns the exit status.

    Args:
      console: where the progress and the table go.
      seeds: which.
      jobs: how many processes; 1 is this one.
    """
    summary = Summary()
    start = time.monotonic()
    with _progress(console) as progress, _results(seeds, jobs) as results:
        bar = progress.add_task("seeds", total=len(seeds))
        for result in results:
            summary.add(result)
            progress.advance(bar)
            if result.violation and len(summary.violations) <= _MOST_SHOWN:
                show_violation(progress.console, result)
    summary.elapsed = time.monotonic() - start
    console.print(draw(summary))
    return 1 if summary.violations else 0


def replay(console: Console, seed: int) -> int:
    """Run one seed again, and say what comes of it; returns the exit status."""
    result = run_seed(seed)
    summary = Summary()
    summary.add(result)
    if result.violation:
        show_violation(console, result)
    console.print(draw(summary))
    console.print(f"the trace: {result.digest}")
    return 1 if result.violation else 0


def show_violation(console: Console, result: Result) -> None:
    """What was broken, and how to see it again."""
    console.print(f"[bold red]✗ seed {result.seed}[/] {escape(result.violation)}", soft_wrap=True)
    console.print(f"  again: python -m trio_mp.testing replay {result.seed}", style="bold")


def draw(summary: Summary) -> Table:
    """The table at the end."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(justify="right")
    table.add_column(style="dim")
    each = summary.elapsed / summary.seeds if summary.seeds else 0.0
    pace = f"{summary.elapsed:,.0f} s, {each:.3f} s each" if summary.elapsed else ""
    table.add_row("seeds", f"{summary.seeds:,}", pace)
    table.add_row("simulated hours", f"{summary.simulated / 3600:,.1f}")
    table.add_row("messages through the oracle", f"{summary.sent:,}", f"{summary.delivered:,} of them delivered")
    table.add_row("monitors fired", f"{summary.fired:,}")
    table.add_row("asked to part", f"{summary.asked:,}")
    table.add_row("faults", f"{summary.faults.total():,}")
    for kind, count in sorted(summary.faults.items()):
        table.add_row(f"  {kind}", f"{count:,}")
    found = len(summary.violations)
    table.add_row("violations", f"[bold red]{found:,}[/]" if found else "[bold green]0[/]")
    if found > _MOST_SHOWN:
        table.add_row("  of seeds", "", ", ".join(str(result.seed) for result in summary.violations[:50]))
    return table


def _progress(console: Console) -> Progress:
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(TextColumn("{task.description}"), *columns, console=console)


@contextmanager
def _results(seeds: range, jobs: int) -> Iterator[Iterator[Result]]:
    """The results, as they come."""
    if jobs == 1:
        logger = logging.getLogger("trio_mp")
        level = logger.level
        logger.setLevel(logging.CRITICAL)
        try:
            yield map(run_seed, seeds)
        finally:
            logger.setLevel(level)
        return
    # Not forked: a forked child inherits the threads' locks and what the parent has imported.
    context = multiprocessing.get_context("spawn")
    with context.Pool(jobs, _prepare_worker) as pool:
        yield pool.imap_unordered(_run_impatiently, seeds, chunksize=4)


def _prepare_worker() -> None:
    logging.getLogger("trio_mp").setLevel(logging.CRITICAL)
    # Ctrl-C is for the parent, which ends us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _run_impatiently(seed: int) -> Result:
    """Run a seed; one that does not end is a violation as well, and must not hold up the others."""
    if not hasattr(signal, "setitimer"):
        return run_seed(seed)

    def give_up(*_: object) -> None:
        raise TimeoutError(f"seed {seed} has not ended within {PATIENCE:g} s")

    signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        return run_seed(seed)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def available_cores() -> int:
    """How many processes can run at once here."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
