"""Run every workload, interleaved with the same work done by peers, and print medians and ratios.

    python -m benchmarks [--repeats N] [--quick] [--peers FOLDER] [--json FILE]

A folder of peers holds scripts that do the same work and print one JSON line with `value` and `unit`; those that it
lacks, or whose program is not installed, are named and left out. The figures of one run belong together: a shared
machine is never twice the same.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.harness import Result, machine, own, run


@dataclass(frozen=True, slots=True)
class Workload:
    """One line of the table.

    Attributes:
      name: what is measured.
      command: ours; `{count}` is replaced.
      count: how much work.
      peer: a script in the folder of peers that does the same, and the program that it needs.
      higher_is_better: what a good ratio is.
    """

    name: str
    command: tuple[str, ...]
    count: int
    peer: tuple[str, ...] = ()
    higher_is_better: bool = True


WORKLOADS = (
    Workload(
        "local one-way, sync handler", ("local", "one_way", "{count}"), 1_000_000, ("escript", "erlang_l1.escript")
    ),
    Workload(
        "remote one-way, small, sync handler, TCP",
        ("remote", "one_way", "{count}", "tcp", "plain"),
        500_000,
        ("escript", "erlang_r1.escript"),
    ),
    Workload("the same over a Unix socket", ("remote", "one_way", "{count}", "unix", "plain"), 500_000),
    Workload("the same, encrypted", ("remote", "one_way", "{count}", "unix", "tls"), 500_000),
    Workload("byte stream over a Unix socket", ("streams", "{count}", "unix", "plain", "1"), 1024),
    Workload("the same, encrypted", ("streams", "{count}", "unix", "tls", "1"), 1024),
    Workload(
        "round trip, handler to handler, TCP",
        ("remote", "round_trip", "{count}", "tcp", "plain"),
        10_000,
        ("escript", "erlang_r2.escript"),
        higher_is_better=False,
    ),
    Workload(
        "round trip by node.call, TCP",
        ("remote", "call", "{count}", "tcp", "plain"),
        5_000,
        ("escript", "erlang_r2.escript"),
        higher_is_better=False,
    ),
    Workload("idle port", ("local", "idle", "{count}"), 100_000, higher_is_better=False),
    Workload(
        "SIGKILL to monitor, TCP",
        ("remote", "sigkill", "{count}", "tcp", "plain"),
        5,
        (sys.executable, "raw_f1.py"),
        higher_is_better=False,
    ),
)


def peer_command(workload: Workload, folder: Path | None, count: int) -> list[str] | None:
    """The command of the peer, if it can be run."""
    if folder is None or not workload.peer:
        return None
    program, script = workload.peer
    if shutil.which(program) is None or not (folder / script).exists():
        return None
    return [program, str(folder / script), str(count)]


def measure(repeats: int, quick: bool, folder: Path | None, console: Console) -> list[Result]:
    """Run everything, ours and the peer's in turn."""
    results: list[Result] = []
    with Progress(console=console) as progress:
        task = progress.add_task("", total=len(WORKLOADS) * repeats)
        for workload in WORKLOADS:
            progress.update(task, description=workload.name)
            count = max(workload.count // 10, 1) if quick else workload.count
            ours = own(*(part.format(count=count) for part in workload.command))
            peer = peer_command(workload, folder, count)
            for _ in range(repeats):
                results.append(run(ours, workload.name, "trio_mp"))
                if peer is not None:
                    results.append(run(peer, workload.name, Path(peer[1]).stem))
                progress.advance(task)
    return results


def table(results: list[Result]) -> Table:
    """Medians with their range, and the ratio to the peer."""
    shown = Table(title=machine())
    for heading in ("workload", "trio_mp", "peer", "peer's", "ratio"):
        shown.add_column(heading)
    for workload in WORKLOADS:
        ours = [result for result in results if (result.workload, result.program) == (workload.name, "trio_mp")]
        peers = [result for result in results if result.workload == workload.name and result.program != "trio_mp"]
        ratio = f"{_median(ours) / _median(peers):.2f}" if peers else ""
        better = " (more is better)" if workload.higher_is_better else " (less is better)"
        shown.add_row(
            workload.name,
            _spread(ours),
            peers[0].program if peers else "",
            _spread(peers) if peers else "",
            ratio + better if peers else "",
        )
    return shown


def _median(results: list[Result]) -> float:
    return statistics.median(result.value for result in results)


def _spread(results: list[Result]) -> str:
    values = [result.value for result in results]
    digits = 0 if _median(results) >= 100 else 1
    low, high = f"{min(values):,.{digits}f}", f"{max(values):,.{digits}f}"
    return f"{_median(results):,.{digits}f} {results[0].unit} ({low} to {high})"


def main() -> None:
    """Read the arguments, and do it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure trio_mp, beside its peers.")
    parser.add_argument("--repeats", type=int, default=5, help="how often each workload is run (5)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    parser.add_argument("--peers", type=Path, help="a folder with scripts of peers")
    parser.add_argument("--json", type=Path, help="a file to write all figures to")
    arguments = parser.parse_args()
    console = Console()
    results = measure(arguments.repeats, arguments.quick, arguments.peers, console)
    console.print(table(results))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n")


if __name__ == "__main__":
    main()
