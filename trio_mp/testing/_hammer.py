"""The hammer: runs many seeds on all cores, and prints a table of their results.

The hammer is in the wheel, and needs nothing that the package does not. So users can try the promise on their platform
and with their version of Trio, and report the seed that breaks it.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import TextIO

from ._seed import Result, run_seed

PATIENCE = 300.0
"""How many real seconds a seed may take before it counts as hung. Most take a fifth of a second."""

_MOST_SHOWN = 5


@dataclass(slots=True)
class Summary:
    """The results of many seeds, added up.

    Attributes:
      seeds: how many were run.
      simulated: how many simulated seconds they took together.
      elapsed: how many real seconds have passed.
      sent, delivered, fired: how many messages and monitors the oracle saw.
      asked: how often a node was made to ask another node to part.
      lives: how many lives of supervised children there were.
      turns: how many turns of singletons there were.
      answered: how many calls were answered whose handlers the hammer has followed.
      items: how many items were received from channels.
      drains: how many drains have ended, or were cut off.
      faults: how many faults of each kind were injected.
      violations: the results with a violation.
    """

    seeds: int = 0
    simulated: float = 0.0
    elapsed: float = 0.0
    sent: int = 0
    delivered: int = 0
    fired: int = 0
    asked: int = 0
    lives: int = 0
    turns: int = 0
    answered: int = 0
    items: int = 0
    drains: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    violations: list[Result] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """Add the result of one seed."""
        self.seeds += 1
        self.simulated += result.seconds
        self.sent += result.sent
        self.delivered += result.delivered
        self.fired += result.fired
        self.asked += result.asked
        self.lives += result.lives
        self.turns += result.turns
        self.answered += result.answered
        self.items += result.items
        self.drains += result.drains
        self.faults += result.faults
        if result.violation:
            self.violations.append(result)


def hammer(seeds: range, jobs: int) -> int:
    """Run seeds, and print their results. Returns the exit status.

    Args:
      seeds: the seeds to run.
      jobs: how many processes run them; 1 means this process alone.
    """
    summary = Summary()
    start = time.monotonic()
    with results_of(seeds, jobs) as results:
        for result in results:
            summary.add(result)
            _show_progress(summary.seeds, len(seeds), time.monotonic() - start)
            if result.violation and len(summary.violations) <= _MOST_SHOWN:
                show_violation(result)
    summary.elapsed = time.monotonic() - start
    print(draw(summary))
    return 1 if summary.violations else 0


def replay(seed: int) -> int:
    """Run one seed again, and print its result. Returns the exit status."""
    result = run_seed(seed)
    summary = Summary()
    summary.add(result)
    if result.violation:
        show_violation(result)
    print(draw(summary))
    print(f"the trace: {result.digest}")
    return 1 if result.violation else 0


def show_violation(result: Result, file: TextIO | None = None) -> None:
    """Print the rule that was broken, and the command that runs the seed again; to stdout if no file is given."""
    print(f"✗ seed {result.seed} {result.violation}", file=file)
    print(f"  again: python -m trio_mp.testing replay {result.seed}", file=file, flush=True)


def _show_progress(done: int, seeds: int, elapsed: float) -> None:
    """Show on a terminal how many seeds are done, in a line that the next output overwrites."""
    if sys.stderr.isatty():
        left = elapsed / done * (seeds - done)
        text = f"{done:,} of {seeds:,} seeds, {elapsed:,.0f} s, about {left:,.0f} s more" if done < seeds else ""
        print(f"{text:<70}\r", end="", file=sys.stderr, flush=True)


def draw(summary: Summary) -> str:
    """Draw the table at the end."""
    rows: list[tuple[str, str, str]] = []

    def add(name: str, figure: str, remark: str = "") -> None:
        rows.append((name, figure, remark))

    each = summary.elapsed / summary.seeds if summary.seeds else 0.0
    pace = f"{summary.elapsed:,.0f} s, {each:.3f} s each" if summary.elapsed else ""
    add("seeds", f"{summary.seeds:,}", pace)
    add("simulated hours", f"{summary.simulated / 3600:,.1f}")
    add("messages through the oracle", f"{summary.sent:,}", f"{summary.delivered:,} of them delivered")
    add("monitors fired", f"{summary.fired:,}")
    add("asked to part", f"{summary.asked:,}")
    add("lives of children", f"{summary.lives:,}")
    add("turns of singletons", f"{summary.turns:,}")
    add("calls followed", f"{summary.answered:,}", "answered")
    add("items of channels", f"{summary.items:,}")
    add("drains", f"{summary.drains:,}")
    add("faults", f"{summary.faults.total():,}")
    for kind, count in sorted(summary.faults.items()):
        add(f"  {kind}", f"{count:,}")
    found = len(summary.violations)
    add("violations", f"{found:,}")
    if found > _MOST_SHOWN:
        add("  of seeds", "", ", ".join(str(result.seed) for result in summary.violations[:50]))
    return "\n".join(f"{name:<26}  {figure:>14}  {remark}".rstrip() for name, figure, remark in rows)


@contextmanager
def results_of(seeds: Iterable[int], jobs: int, run: Callable[[int], Result] = run_seed) -> Iterator[Iterator[Result]]:
    """Yield the result of each seed as soon as it is there.

    A seed is taken when a process is about to be free for it, so `seeds` may be endless, or end when the time is up.

    Args:
      seeds: the seeds to run.
      jobs: how many processes run them; 1 means this process alone.
      run: what runs one seed.

    Raises:
      BrokenProcessPool: from the iterator, if one of the processes has died.
    """
    if jobs == 1:
        logger = logging.getLogger("trio_mp")
        level = logger.level
        logger.setLevel(logging.CRITICAL)
        try:
            yield map(run, seeds)
        finally:
            logger.setLevel(level)
        return
    # Spawned, not forked: a forked child inherits locks that threads hold, and what the parent has imported. An
    # executor, not a pool of multiprocessing: that one waits for ever for the result of a process that was killed.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, context, _prepare_worker)
    try:
        yield _completed(pool, iter(seeds), 2 * jobs, run)
    finally:
        pool.shutdown(cancel_futures=True)


def _completed(
    pool: ProcessPoolExecutor, seeds: Iterator[int], ahead: int, run: Callable[[int], Result]
) -> Iterator[Result]:
    """Have a pool run seeds, of which so many are submitted at a time, and yield what is complete."""
    pending: set[Future[Result]] = set()
    while True:
        pending |= {pool.submit(_run_impatiently, run, seed) for seed in islice(seeds, ahead - len(pending))}
        if not pending:
            return
        done, pending = wait(pending, return_when=FIRST_COMPLETED)
        for future in done:
            yield future.result()


def _prepare_worker() -> None:
    logging.getLogger("trio_mp").setLevel(logging.CRITICAL)
    # Ctrl-C is for the parent, which ends these processes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _run_impatiently(run: Callable[[int], Result], seed: int) -> Result:
    """Run a seed. One that hangs counts as a violation, and must not hold up the others."""
    if not hasattr(signal, "setitimer"):
        return run(seed)

    def give_up(*_: object) -> None:
        raise TimeoutError(f"expected seed {seed} to end within {PATIENCE:g} s, and it has not")

    signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        return run(seed)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def available_cores() -> int:
    """How many processes can run at once here."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
