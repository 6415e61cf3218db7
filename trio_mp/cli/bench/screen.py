"""The tables that the benchmark prints."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from ..text import Table
from .analysis import Comparison, Estimate, compare
from .catalogue import Workload, WorkloadGroup
from .results import BenchResults, Measurement
from .runner import OURS


def number(value: float) -> str:
    """Write a figure with three significant digits."""
    if abs(value) >= 1_000_000:
        return f"{value / 1e6:.2f} M"
    if abs(value) >= 10_000:
        return f"{value / 1e3:.0f} k" if abs(value) >= 100_000 else f"{value / 1e3:.1f} k"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def interval(found: Estimate) -> str:
    """Write the interval of a median; with its confidence, if that is below `CONFIDENCE`."""
    if found.count == 1:
        return "once"
    text = f"{number(found.low)} to {number(found.high)}"
    return text if found.sound else f"{text}, {found.confidence:.0%}"


def ratios(results: BenchResults, group: WorkloadGroup, workload: Workload) -> list[str]:
    """Write our figure as a multiple of each peer's.

    No peer has a busy task beside it. A workload with one is compared with our own figure without the busy task.
    """
    if workload.task.busy:
        return _beside_itself(results, group, workload)
    texts = []
    for line in peers(results, group):
        found = results.ratio(workload.key, group.key, line.program)
        if found is not None:
            texts.append(f"{number(found.median)} × {line.program} ({interval(found)})")
    return texts


def _beside_itself(results: BenchResults, group: WorkloadGroup, workload: Workload) -> list[str]:
    alone = replace(workload.task, busy=False)
    for other in group.workloads:
        found = results.ratio(workload.key, other.key) if replace(other.task, count=alone.count) == alone else None
        if found is not None:
            return [f"{number(found.median)} × ours without the busy task ({interval(found)})"]
    return []


def peers(results: BenchResults, group: WorkloadGroup) -> list[Measurement]:
    """The figures of peers in a group."""
    return [line for line in results.lines if line.program != OURS and line.name == group.key]


def draw_results(results: BenchResults, groups: Sequence[WorkloadGroup]) -> Table:
    """Draw all figures as a table."""
    headings = "workload", "median", "95 % interval of the median", "also", "as a multiple of the peer's"
    machine = ", ".join(f"{name} {text}" for name, text in results.machine.items())
    table = Table(headings, right=frozenset({1}), title=machine)
    for group in groups:
        ours = [(workload, results.line(workload.key)) for workload in group.workloads]
        if not any(line for _, line in ours) and not peers(results, group):
            continue
        if table.rows:
            table.add_rule()
        table.add(group.title)
        for workload, line in ours:
            if line is not None:
                _add(table, f"  {workload.title}", line, "\n".join(ratios(results, group, workload)))
        for line in peers(results, group):
            _add(table, f"  {line.program}", line, "")
    return table


def _add(table: Table, title: str, line: Measurement, multiples: str) -> None:
    extra = ", ".join(f"{name} {number(value)}" for name, value in line.extra.items())
    table.add(title, number(line.estimate.median), interval(line.estimate), extra, multiples)


def changes(
    old: BenchResults, new: BenchResults, groups: Sequence[WorkloadGroup]
) -> list[tuple[str, Measurement, Measurement, Comparison]]:
    """Compare each of our figures with that of an earlier benchmark."""
    found = []
    for group in groups:
        for workload in group.workloads:
            before, now = old.line(workload.key), new.line(workload.key)
            if before is not None and now is not None:
                comparison = compare(before.estimate, now.estimate, more_is_better=group.more_is_better)
                found.append((f"{group.title}: {workload.title}", before, now, comparison))
    return found


def draw_changes(old: BenchResults, new: BenchResults, groups: Sequence[WorkloadGroup]) -> Table:
    """Draw the figures that have changed beyond the noise, and count the others."""
    found = changes(old, new, groups)
    table = Table(("workload", "before", "now", "now / before", ""), title=f"changed since {old.date}")
    for title, before, now, comparison in found:
        if comparison in {Comparison.BETTER, Comparison.WORSE}:
            was, now_is = before.estimate, now.estimate
            columns = [f"{number(one.median)} ({interval(one)})" for one in (was, now_is)]
            table.add(title, *columns, f"{now_is.median / was.median:.2f}", comparison.value)
    same = sum(comparison is Comparison.SAME for *_, comparison in found)
    unknown = sum(comparison is Comparison.UNKNOWN for *_, comparison in found)
    table.caption = f"{same} within the noise; {unknown} with too few figures to tell"
    if old.quick != new.quick:
        table.caption += "; one of the two was a quick run, whose figures cannot be compared with full ones"
    return table
