"""Puts the figures of docs/benchmarks.json into docs/benchmarks.md, and draws docs/benchmarks.svg.

python -m benchmarks.document
"""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.chart import draw_chart
from benchmarks.targets import TARGETS, judge
from trio_mp.cli.bench.catalogue import GROUPS
from trio_mp.cli.bench.record import Line, Record, read_record
from trio_mp.cli.bench.screen import interval, number, peers, ratios

DOCS = Path(__file__).resolve().parents[1] / "docs"
FIGURES, PAGE, CHART = DOCS / "benchmarks.json", DOCS / "benchmarks.md", DOCS / "benchmarks.svg"

MARKS = re.compile(r"(<!-- begin: (\w+) -->\n).*?(<!-- end: \2 -->)", re.DOTALL)


def fill(page: str, record: Record) -> str:
    """The page with what is generated put between its marks."""
    parts = {"machine": machine, "targets": targets, "figures": figures}
    return MARKS.sub(lambda found: f"{found[1]}{parts[found[2]](record)}\n{found[3]}", page)


def machine(record: Record) -> str:
    """Where it was measured."""
    rows = [f"| {name} | {text} |" for name, text in record.machine.items()]
    note = "A quick run, on a machine with other work to do: a check, and no measurement.\n\n" if record.quick else ""
    skipped = "".join(f"\n\nWithout {name}: {why}." for name, why in record.skipped.items())
    return f"{note}{record.date} UTC\n\n| | |\n| --- | --- |\n" + "\n".join(rows) + skipped


def targets(record: Record) -> str:
    """Which hold."""
    rows = ["| target | measured | interval | |", "| --- | ---: | --- | --- |"]
    for target in TARGETS:
        found = judge(target, record)
        measured = found.measured
        shown = " | ".join(("", "") if measured is None else (number(measured.median), interval(measured)))
        rows.append(f"| {target.text} | {shown} | {found.verdict} |")
    return "\n".join(rows)


def figures(record: Record) -> str:
    """One table for each group."""
    parts = []
    for group in GROUPS:
        rows = []
        for workload in group.workloads:
            line = record.line(workload.key)
            if line is not None:
                multiples = "<br>".join(ratios(record, group, workload))
                rows.append(f"| {workload.title} | {_cells(line)} | {multiples} |")
        rows += [f"| {line.program} | {_cells(line)} | |" for line in peers(record, group)]
        if rows:
            head = ["| | median | interval | also | as a multiple of the peer's |", "| --- | ---: | --- | --- | --- |"]
            title = group.title[0].upper() + group.title[1:]
            parts.append("\n".join([f"### {title}", "", *head, *rows]))
    return "\n\n".join(parts)


def _cells(line: Line) -> str:
    extra = ", ".join(f"{name} {number(value)}" for name, value in line.extra.items())
    return f"{number(line.estimate.median)} | {interval(line.estimate)} | {extra}"


def main() -> None:
    """Do it."""
    record = read_record(FIGURES)
    PAGE.write_text(fill(PAGE.read_text(encoding="utf-8"), record), encoding="utf-8")
    CHART.write_text(draw_chart(record), encoding="utf-8")


if __name__ == "__main__":
    main()
