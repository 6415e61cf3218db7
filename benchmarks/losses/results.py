"""What all runs have shown, and the file that keeps it."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import msgspec

from benchmarks.losses.runner import Run


class Case(msgspec.Struct, frozen=True):
    """All runs of one way to use a system, with one fault."""

    system: str
    kind: str
    title: str
    fault: str
    runs: tuple[Run, ...]


class LossResults(msgspec.Struct, frozen=True):
    """All cases of one run of the program.

    Attributes:
      date: when it was, in UTC.
      machine: what it ran on, and the versions of the systems.
      skipped: the systems that were not there, and why.
      count, rate, busy: see `Plan`.
      cases: in the order of the table.
    """

    date: str
    machine: dict[str, str]
    skipped: dict[str, str]
    count: int
    rate: int
    busy: float
    cases: tuple[Case, ...]

    def of(self, fault: str) -> list[Case]:
        """Return the cases of one fault."""
        return [case for case in self.cases if case.fault == fault]


def describe_machine() -> dict[str, str]:
    """Say what machine this is."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    system = f"{platform.system()} {platform.release()}, {platform.machine()}"
    return {"system": system, "CPUs": str(os.cpu_count()), "Python": python}


def read_losses(path: Path) -> LossResults:
    """Read the file. Raises `msgspec.ValidationError` for another file."""
    return msgspec.json.decode(path.read_bytes(), type=LossResults)


def write_losses(path: Path, results: LossResults) -> None:
    """Write the file, for people to read, too."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
