"""The tables of the page and of the terminal, from what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence

from benchmarks.losses.judge import Verdict
from benchmarks.losses.results import Case, LossResults

HEAD = ("system", "used", "lost", "twice", "out of order", "the sender was told", "before a later one arrived")


def spread(values: Sequence[float]) -> str:
    """Return the median and, where the values differ, the range in brackets."""
    shown = f"{statistics.median(values):,.0f}"
    low, high = f"{min(values):,.0f}", f"{max(values):,.0f}"
    return shown if low == high else f"{shown} ({low} to {high})"


def rows_of(results: LossResults, fault: str) -> list[tuple[str, ...]]:
    """Return the rows of one fault's table."""
    return [
        (
            case.system,
            case.title,
            _spread(case, lambda verdict: verdict.lost),
            _spread(case, lambda verdict: verdict.twice),
            _spread(case, lambda verdict: verdict.disordered),
            told(case),
            in_time(case),
        )
        for case in results.of(fault)
    ]


def _spread(case: Case, figure: Callable[[Verdict], int]) -> str:
    return spread([figure(run.verdict) for run in case.runs])


def told(case: Case) -> str:
    """Say by what the sender was told, and how soon."""
    sources = dict.fromkeys(source for run in case.runs for source in run.verdict.by)
    if not sources:
        return "no"
    delays = [run.delay for run in case.runs if run.delay is not None]
    runs = "" if len(delays) == len(case.runs) else f" in {len(delays)} of {len(case.runs)} runs"
    return f"{_listed(sources)}{runs}, after {spread(delays)} ms"


def _listed(sources: Iterable[str]) -> str:
    return ", ".join(f"`{source}`" for source in sources)


def in_time(case: Case) -> str:
    """Say of how many lost numbers the sender knew before a greater one was handled."""
    verdicts = [run.verdict for run in case.runs]
    lost = sum(verdict.lost for verdict in verdicts)
    if not lost:
        return "nothing lost"
    known = sum(verdict.in_time for verdict in verdicts)
    if known == lost:
        return "yes, all"
    parts = [f"{known:,} of {lost:,}"] if known else ["no"]
    late, untold = sum(verdict.late for verdict in verdicts), sum(verdict.untold for verdict in verdicts)
    if late:
        parts.append(f"later: {late:,}")
    if untold:
        parts.append(f"never: {untold:,}")
    return "; ".join(parts)


def markdown(results: LossResults, fault: str) -> str:
    """Draw one fault's table for the page."""
    rows = ["| " + " | ".join(HEAD) + " |", "| --- | --- | ---: | ---: | ---: | --- | --- |"]
    rows += ["| " + " | ".join(row) + " |" for row in rows_of(results, fault)]
    return "\n".join(rows)


def setting(results: LossResults) -> str:
    """Say on which machine it was run, with which versions, and what was left out."""
    rows = "\n".join(f"| {name} | {text} |" for name, text in results.machine.items())
    runs = sorted({len(case.runs) for case in results.cases})
    times = " or ".join(str(number) for number in runs)
    skipped = "".join(f"\n\nWithout {name}: {why}." for name, why in results.skipped.items())
    return (
        f"{results.date} UTC. {results.count:,} numbers, {results.rate:,} a second; the receiver is busy for "
        f"{results.busy * 1000:.0f} ms with the middle one. Each row is {times} runs.\n\n"
        f"| | |\n| --- | --- |\n{rows}{skipped}"
    )
