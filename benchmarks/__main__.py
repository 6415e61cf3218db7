"""Run every workload, interleaved with the same work done by peers, and say whether the targets hold.

    python -m benchmarks [--quick] [--json FILE] [--chart FILE] [--compare FILE] [--only KEY]

The workloads are those of `trio-mp bench`, in `trio_mp/cli/bench`. Peers that are not installed are named and left out.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.chart import draw_chart
from benchmarks.rivals import find_peers
from benchmarks.targets import draw_targets
from trio_mp.cli.bench.main import add_arguments, options_of, run_bench
from trio_mp.cli.text import Screen


def main() -> int:
    """Read the arguments, and run the benchmarks. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure trio_mp, beside its peers.")
    add_arguments(parser)
    parser.add_argument("--chart", type=Path, metavar="FILE", help="draw a chart there, as SVG")
    arguments = parser.parse_args()
    screen = Screen()
    status, results = run_bench(options_of(arguments), find_peers(), screen)
    if results is not None:
        screen.print("\n" + draw_targets(results).draw(screen.width))
        if arguments.chart is not None:
            arguments.chart.write_text(draw_chart(results), encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
