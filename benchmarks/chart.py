"""The chart of the documentation: bars, ours and the peers', one panel for each of a few groups."""

from __future__ import annotations

import textwrap
from xml.sax.saxutils import escape

from trio_mp.cli.bench.catalogue import GROUPS, WorkloadGroup
from trio_mp.cli.bench.results import BenchResults, Measurement
from trio_mp.cli.bench.runner import OURS
from trio_mp.cli.bench.screen import number, peers

PANELS = ("local", "one_way/tcp/1/100", "round_trip/tcp", "bulk/1MiB", "kill")

WIDTH, LEFT, RIGHT = 760, 300, 90
ROW, GAP, TITLE = 20, 22, 26
LINE = 16
"""How much higher a row is for each further line of its label."""

LABEL = 40
"""How many characters have room in a line of a label: `LEFT` has 7 pixels for each, and texts take less."""

# A panel stands behind the chart, so that it can be read on a page of any colour.
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.title { font-weight: 600; }
.back { fill: #ffffff; }
.ours { fill: #0969da; }
.peer { fill: #afb8c1; }
.span { stroke: #1f2328; stroke-width: 1.5; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .back { fill: #161b22; }
  .ours { fill: #4493f8; }
  .peer { fill: #57606a; }
  .span { stroke: #e6edf3; }
}
"""


def draw_chart(results: BenchResults) -> str:
    """Draw the chart as SVG: medians, with the interval of each as a line across its end."""
    parts: list[str] = []
    top = GAP // 2
    for group in GROUPS:
        if group.key in PANELS:
            rows = _rows(results, group)
            if rows:
                panel, height = _panel(group, rows, top)
                parts += panel
                top += height + GAP
    about = "Medians of trio_mp and its peers; the figures are in the table"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" role="img" aria-label="{about}">'
    back = f'<rect class="back" width="{WIDTH}" height="{top}" rx="8"/>'
    return "\n".join([head, f"<style>{STYLE}</style>", back, *parts, "</svg>", ""])


def _rows(results: BenchResults, group: WorkloadGroup) -> list[tuple[str, Measurement]]:
    """The rows of a group: ours first, then the peers, the best of them first."""
    quiet = [workload for workload in group.workloads if not workload.task.busy]
    ours = [(f"trio_mp, {workload.title}", results.line(workload.key)) for workload in quiet]
    others = sorted(peers(results, group), key=lambda line: line.estimate.median, reverse=group.more_is_better)
    shown = [(title, line) for title, line in ours if line is not None]
    return [*shown, *((line.program, line) for line in others)] if shown else []


def _panel(group: WorkloadGroup, rows: list[tuple[str, Measurement]], top: int) -> tuple[list[str], int]:
    """Draw a panel from there on. Returns its parts and its height."""
    better = "more" if group.more_is_better else "less"
    parts = [f'<text class="title" x="16" y="{top + 16}">{escape(group.title)} ({better} is better)</text>']
    most = max(line.estimate.high for _, line in rows)
    scale = (WIDTH - LEFT - RIGHT) / most if most else 0
    y = top + TITLE
    for title, line in rows:
        found = line.estimate
        end, low, high = (LEFT + value * scale for value in (found.median, found.low, found.high))
        kind = "ours" if line.program == OURS else "peer"
        label = textwrap.wrap(title, LABEL)
        parts += [
            *(
                f'<text x="{LEFT - 8}" y="{y + 14 + LINE * index}" text-anchor="end">{escape(text)}</text>'
                for index, text in enumerate(label)
            ),
            f'<rect class="{kind}" x="{LEFT}" y="{y + 3}" width="{max(end - LEFT, 1):.1f}" height="{ROW - 6}"/>',
            f'<line class="span" x1="{low:.1f}" x2="{high:.1f}" y1="{y + 10}" y2="{y + 10}"/>',
            f'<text x="{high + 6:.1f}" y="{y + 14}">{number(found.median)}</text>',
        ]
        y += ROW + LINE * (len(label) - 1)
    return parts, y - top
