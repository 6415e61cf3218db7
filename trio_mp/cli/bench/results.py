"""The results of a benchmark: the figures of all its runs, kept as JSON."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import time
from pathlib import Path

import msgspec

from .analysis import Estimate, estimate, ratio
from .runner import OURS
from .schedule import BenchOutcome

FORMAT = 1


class Measurement(msgspec.Struct):
    """The figures of all runs of one workload by one program.

    Attributes:
      group, name, program: what was measured; see `Cell`.
      unit: the unit of the figures.
      values: the figures, by the number of the round. The numbers are text, as keys in JSON are.
      extra: the medians of other figures of the same runs.
    """

    group: str
    name: str
    program: str
    unit: str
    values: dict[str, float]
    extra: dict[str, float] = {}

    @property
    def rounds(self) -> dict[int, float]:
        """The figures by the number of the round."""
        return {int(number): value for number, value in self.values.items()}

    @property
    def estimate(self) -> Estimate:
        """The median of the figures, with its interval."""
        return estimate(list(self.values.values()))


class BenchResults(msgspec.Struct):
    """All figures of a benchmark, and the machine that they were measured on.

    Attributes:
      date: when it ended, in UTC.
      machine: the machine, and the versions of the programs.
      quick: whether the runs were small ones. Their figures check that all works; they are no measurement.
      lines: the figures of each workload by each program.
      failures: the workloads that gave no figure, and why.
      skipped: the peers that could not be run, and why.
      version: the version of this format.
    """

    date: str
    machine: dict[str, str]
    quick: bool
    lines: list[Measurement]
    failures: dict[str, str] = {}
    skipped: dict[str, str] = {}
    version: int = FORMAT

    def line(self, name: str, program: str = OURS) -> Measurement | None:
        """The figures of a program for the key of a workload; for a peer, for the key of a group."""
        return next((line for line in self.lines if (line.name, line.program) == (name, program)), None)

    def ratio(self, name: str, other_name: str, program: str = OURS) -> Estimate | None:
        """Our figure divided by that of another workload or program, from pairs of the same round."""
        ours, theirs = self.line(name), self.line(other_name, program)
        return ratio(ours.rounds, theirs.rounds) if ours is not None and theirs is not None else None


def make_results(
    outcome: BenchOutcome, *, quick: bool, versions: dict[str, str], skipped: dict[str, str]
) -> BenchResults:
    """Make the results out of all runs.

    Args:
      outcome: the figures and failures of all runs.
      quick: see `BenchResults`.
      versions: the versions of the peers.
      skipped: see `BenchResults`.
    """
    lines: dict[tuple[str, str], Measurement] = {}
    extras: dict[tuple[str, str], dict[str, list[float]]] = {}
    for run in outcome.runs:
        cell, figure = run.cell, run.figure
        key = cell.name, cell.program
        line = lines.setdefault(key, Measurement(cell.group, cell.name, cell.program, figure.unit, {}))
        line.values[str(run.number)] = figure.value
        for name, value in figure.extra.items():
            extras.setdefault(key, {}).setdefault(name, []).append(value)
    for key, found in extras.items():
        lines[key].extra = {name: estimate(values).median for name, values in found.items()}
    failures = {f"{name} ({program})": why for (name, program), why in outcome.failures.items()}
    date = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
    return BenchResults(date, machine() | versions, quick, list(lines.values()), failures, skipped)


def machine() -> dict[str, str]:
    """Describe this machine, and the versions of what our figures depend on."""
    versions = {name: importlib.metadata.version(name) for name in ("trio_mp", "trio", "msgspec")}
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return {
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "processor": _processor(),
        "CPUs": str(os.cpu_count() or "unknown"),
        "Python": python,
        **versions,
    }


def _processor() -> str:
    if sys.platform == "linux":
        try:
            lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        if names:
            return names[0]
    return platform.processor() or "unknown"


def write_results(results: BenchResults, path: Path) -> None:
    """Write the results into a file, as JSON. Raises OSError if the file cannot be written."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")


def read_results(path: Path) -> BenchResults:
    """Read the results that `write_results` has written.

    Raises:
      OSError: the file cannot be read.
      ValueError: the file does not hold results of this format, or a line of them has no figures.
    """
    try:
        results = msgspec.json.decode(path.read_bytes(), type=BenchResults)
    except msgspec.DecodeError as error:
        raise ValueError(f"expected the results of a benchmark in {path}, got what does not decode: {error}") from None
    if results.version != FORMAT:
        raise ValueError(f"expected results of format {FORMAT} in {path}, got format {results.version}; measure again")
    empty = [f"{line.name} ({line.program})" for line in results.lines if not line.values]
    if empty:
        raise ValueError(f"expected figures for every line in {path}, got none for {', '.join(empty)}; measure again")
    return results
