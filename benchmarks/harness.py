"""Running workloads in processes of their own, and what they report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass

SMALL = ("ping", 1, "hello")
"""The small message that all workloads send."""

SECRET = "not a secret: a benchmark"
TIMEOUT = 120.0


@dataclass(frozen=True, slots=True)
class Result:
    """One figure of one run."""

    workload: str
    program: str
    value: float
    unit: str
    extra: dict[str, float | str]


def report(workload: str, program: str, value: float, unit: str, **extra: float | str) -> None:
    """Print one figure as a JSON line, as the process that measured it."""
    line = {"workload": workload, "program": program, "value": value, "unit": unit, **extra}
    print(json.dumps(line), flush=True)


def run(command: list[str], workload: str, program: str) -> Result:
    """Run a command that prints one JSON line with `value` and `unit`, and take it."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=TIMEOUT, check=False
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        raise RuntimeError(f"{' '.join(command)} printed no figure\n{done.stdout}{done.stderr}")
    line = json.loads(lines[-1])
    value, unit = float(line.pop("value")), str(line.pop("unit"))
    extra = {key: item for key, item in line.items() if key not in {"workload", "program", "peer"}}
    return Result(workload, program, value, unit, extra)


def own(module: str, *arguments: str) -> list[str]:
    """The command that runs one of our workloads."""
    return [sys.executable, "-m", f"benchmarks.{module}", *arguments]


def machine() -> str:
    """The machine in a few words, for beside the figures."""
    return f"{os.cpu_count()} CPUs, {sys.platform}, CPython {sys.version.split()[0]}"
