"""`trio-mp bench`, from its options to the exit status."""

from __future__ import annotations

import argparse
import contextlib
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from ..sockets import check_unix_sockets
from ..text import Screen
from .catalogue import GROUPS, QUICK_SCALE, Workload, WorkloadGroup
from .results import BenchResults, make_results, read_results, write_results
from .runner import OURS, Cell, own_command, run_cell
from .schedule import BenchOutcome, run_all
from .screen import draw_changes, draw_results

FULL_MINUTES, QUICK_MINUTES = 19.0, 1.7
"""How long the benchmark may take, in minutes. It leaves out rounds to end in time."""

_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What the command line says.

    Attributes:
      quick: whether to do a tenth of the work, in fewer rounds.
      json: the file to keep the results in.
      compare: the file with the results of an earlier benchmark.
      only: run workloads whose key, or whose group's key, begins with one of these; all if it is empty.
      minutes: how long the benchmark may take.
      scale: multiplies all counts, as `quick` does too.
    """

    quick: bool = False
    json: Path | None = None
    compare: Path | None = None
    only: tuple[str, ...] = ()
    minutes: float | None = None
    scale: float = 1.0

    @property
    def seconds(self) -> float:
        """How long the benchmark may take, in seconds."""
        return 60 * (self.minutes or (QUICK_MINUTES if self.quick else FULL_MINUTES))


@dataclass(frozen=True, slots=True)
class Rivals:
    """Other programs that run the same workloads, as peers.

    Attributes:
      cells_of: gives the cells that the peers run in a group, with these options.
      versions: the versions of the peers that are run.
      skipped: the peers that cannot be run, and why.
    """

    cells_of: Callable[[WorkloadGroup, BenchOptions], list[Cell]] = lambda _group, _options: []
    versions: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `trio-mp bench` to a parser."""
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, under two minutes: a check")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep all figures there")
    parser.add_argument(
        "--compare", type=_record, metavar="FILE", help="say what has changed beyond the noise since that run"
    )
    parser.add_argument(
        "--only",
        type=_key,
        action="append",
        default=[],
        metavar="KEY",
        help="only what begins so: local, one_way/tcp, round_trip/tcp/call, …; may be repeated",
    )


def _record(text: str) -> Path:
    path = Path(text)
    try:
        read_results(path)
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return path


def _key(text: str) -> str:
    if not any(_chosen(group, workload, (text,)) for group in GROUPS for workload in group.workloads):
        known = ", ".join(group.key for group in GROUPS)
        raise argparse.ArgumentTypeError(f"expected how a workload's key begins, got {text!r}; there are {known}")
    return text


def options_of(arguments: argparse.Namespace) -> BenchOptions:
    """Make the options of the parsed arguments."""
    return BenchOptions(arguments.quick, arguments.json, arguments.compare, tuple(arguments.only))


def run_parsed(arguments: argparse.Namespace) -> int:
    """Run `trio-mp bench`; returns its exit status."""
    check_unix_sockets("the bench")
    return run_bench(options_of(arguments))[0]


def _chosen(group: WorkloadGroup, workload: Workload, only: tuple[str, ...]) -> bool:
    return not only or any(key.startswith(one) for one in only for key in (group.key, workload.key))


def cells(options: BenchOptions, rivals: Rivals) -> list[Cell]:
    """All cells to run: our own and those of the peers, group by group."""
    scale = options.scale * (QUICK_SCALE if options.quick else 1)
    found: list[Cell] = []
    for group in GROUPS:
        chosen = [workload for workload in group.workloads if _chosen(group, workload, options.only)]
        ours = [
            Cell(
                group.key,
                workload.key,
                OURS,
                own_command(workload.scaled(scale)),
                workload.quick_repeats if options.quick else workload.repeats,
                target=workload.target,
            )
            for workload in chosen
            if workload.quick or not options.quick
        ]
        found += ours
        if ours:
            found += rivals.cells_of(group, options)
    return found


def run_bench(
    options: BenchOptions, rivals: Rivals | None = None, screen: Screen | None = None
) -> tuple[int, BenchResults | None]:
    """Run the benchmark. Returns its exit status, and the results; None if it was interrupted.

    Args:
      options: what the command line says.
      rivals: the peers that run beside us.
      screen: where to print.
    """
    screen = screen or Screen()
    rivals = rivals or Rivals()
    # Read before the new results are written: it may be the same file.
    earlier = read_results(options.compare) if options.compare is not None else None
    for name, why in rivals.skipped.items():
        screen.print(f"Skipped: {name}: {why}")
    try:
        with _ends_in_order():
            outcome = _run(cells(options, rivals), options.seconds, screen)
    except KeyboardInterrupt:
        screen.print("Interrupted; all processes have ended.")
        return _INTERRUPTED, None
    results = make_results(outcome, quick=options.quick, versions=rivals.versions, skipped=rivals.skipped)
    if options.json is not None:
        write_results(results, options.json)
    screen.print(draw_results(results, GROUPS).draw(screen.width))
    if earlier is not None:
        screen.print("\n" + draw_changes(earlier, results, GROUPS).draw(screen.width))
    for name, why in results.failures.items():
        screen.print(f"✗ Failed: {name}: {why}")
    if outcome.cut:
        screen.print(f"There was no time for {outcome.cut} more runs.")
    return (1 if any(program == OURS for _, program in outcome.failures) else 0), results


def _run(wanted: Sequence[Cell], seconds: float, screen: Screen) -> BenchOutcome:
    total, done = sum(cell.repeats for cell in wanted), 0

    def before(cell: Cell) -> None:
        screen.say(f"{done} of {total} runs: {cell.name} ({cell.program})")

    def after(count: int) -> None:
        nonlocal done
        done += count

    try:
        return run_all(wanted, seconds, run_cell, before=before, after=after)
    finally:
        screen.say("")


@contextlib.contextmanager
def _ends_in_order() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end a run as Ctrl-C does, so that no process is left behind."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
