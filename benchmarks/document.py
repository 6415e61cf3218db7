"""Puts the figures of docs/benchmarks.json and docs/profiles.json into the pages, and draws docs/benchmarks.svg.

python -m benchmarks.document
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path

from benchmarks.chart import draw_chart
from benchmarks.profiles import Profiles, markdown, read_profiles
from benchmarks.targets import TARGETS, judge
from trio_mp.cli.bench.catalogue import GROUPS
from trio_mp.cli.bench.results import BenchResults, Measurement, read_results
from trio_mp.cli.bench.screen import interval, number, peers, ratios

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
FIGURES, PROFILES, CHART = DOCS / "benchmarks.json", DOCS / "profiles.json", DOCS / "benchmarks.svg"
PAGES = (DOCS / "benchmarks.md", DOCS / "performance.md", ROOT / "README.md")

QUOTED = ("one_way/tcp/1/100/plain", "round_trip/tcp/handler", "local/sync")
"""The workloads that README quotes, beside the peers of their targets."""

MARKS = re.compile(r"(<!-- begin: (\w+) -->\n).*?(<!-- end: \2 -->)", re.DOTALL)


def fill(page: str, results: BenchResults, profiles: Profiles) -> str:
    """Put the generated parts of a page between their marks."""
    parts: dict[str, Callable[[], str]] = {
        "machine": lambda: machine(results),
        "targets": lambda: targets(results),
        "figures": lambda: figures(results),
        "quoted": lambda: quoted(results),
        "profiled": lambda: profiled(profiles),
        **{one.key: functools.partial(markdown, one) for one in profiles.profiles},
    }
    return MARKS.sub(lambda found: f"{found[1]}{parts[found[2]]()}\n{found[3]}", page)


CHECK = "A quick run, on a machine with other work to do: a check, and no measurement.\n\n"


def quoted(results: BenchResults) -> str:
    """Three lines of the table, for README."""
    lines = ["| | median | beside others |", "| --- | ---: | --- |"]
    for group in GROUPS:
        for workload in group.workloads:
            line = results.line(workload.key)
            if workload.key in QUOTED and line is not None:
                title, _, _unit = group.title.rpartition(", ")
                programs = [target.other[1] for target in TARGETS if target.workload == workload.key and target.other]
                found = [(program, results.ratio(workload.key, group.key, program)) for program in programs]
                shown = ", ".join(f"{number(one.median)} × {program}" for program, one in found if one is not None)
                lines.append(f"| {title}: {workload.title} | {number(line.estimate.median)} {line.unit} | {shown} |")
    return (CHECK if results.quick else "") + "\n".join(lines)


def profiled(profiles: Profiles) -> str:
    """Say on which machine the profiles were measured."""
    where = ", ".join(f"{name} {profiles.machine[name]}" for name in ("system", "processor", "CPUs", "Python"))
    return f"{CHECK if profiles.quick else ''}{profiles.date} UTC: {where}."


def machine(results: BenchResults) -> str:
    """Say on which machine the benchmarks were measured."""
    rows = [f"| {name} | {text} |" for name, text in results.machine.items()]
    note = CHECK if results.quick else ""
    skipped = "".join(f"\n\nWithout {name}: {why}." for name, why in results.skipped.items())
    return f"{note}{results.date} UTC\n\n| | |\n| --- | --- |\n" + "\n".join(rows) + skipped


def targets(results: BenchResults) -> str:
    """Draw the table of targets, and say which of them hold."""
    rows = ["| target | measured | interval | |", "| --- | ---: | --- | --- |"]
    for target in TARGETS:
        found = judge(target, results)
        measured = found.measured
        shown = " | ".join(("", "") if measured is None else (number(measured.median), interval(measured)))
        rows.append(f"| {target.text} | {shown} | {found.verdict} |")
    return "\n".join(rows)


def figures(results: BenchResults) -> str:
    """Draw one table for each group."""
    parts = []
    for group in GROUPS:
        rows = []
        for workload in group.workloads:
            line = results.line(workload.key)
            if line is not None:
                multiples = "<br>".join(ratios(results, group, workload))
                rows.append(f"| {workload.title} | {_cells(line)} | {multiples} |")
        rows += [f"| {line.program} | {_cells(line)} | |" for line in peers(results, group)]
        if rows:
            head = ["| | median | interval | also | as a multiple of the peer's |", "| --- | ---: | --- | --- | --- |"]
            title = group.title[0].upper() + group.title[1:]
            parts.append("\n".join([f"### {title}", "", *head, *rows]))
    return "\n\n".join(parts)


def _cells(line: Measurement) -> str:
    extra = ", ".join(f"{name} {number(value)}" for name, value in line.extra.items())
    return f"{number(line.estimate.median)} | {interval(line.estimate)} | {extra}"


def main() -> None:
    """Write all generated parts anew."""
    results, profiles = read_results(FIGURES), read_profiles(PROFILES)
    for page in PAGES:
        page.write_text(fill(page.read_text(encoding="utf-8"), results, profiles), encoding="utf-8")
    CHART.write_text(draw_chart(results), encoding="utf-8")


if __name__ == "__main__":
    main()
