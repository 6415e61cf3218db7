"""Running workloads in processes of their own, and what they report."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
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
    """Run a command that prints one JSON line with `value` and `unit`, and take it.

    What it has started (a daemon, a second node) may keep its output open, so its end is not waited for: when the
    figure is there, the whole group is killed.
    """
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=output, stderr=errors, start_new_session=True)
        try:
            line = _await_figure(process, output.fileno())
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if line is None:
            errors.seek(0)
            raise RuntimeError(f"{' '.join(command)} printed no figure\n{errors.read()[-2000:]}")
    figure = json.loads(line)
    value, unit = float(figure.pop("value")), str(figure.pop("unit"))
    extra = {key: item for key, item in figure.items() if key not in {"workload", "program", "peer"}}
    return Result(workload, program, value, unit, extra)


def _await_figure(process: subprocess.Popen[bytes], output: int) -> str | None:
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        over = process.poll() is not None
        text = os.pread(output, 1 << 20, 0).decode()
        for line in text.splitlines(keepends=True):
            if line.startswith("{") and line.endswith("\n"):
                return line
        if over:
            break
        time.sleep(0.05)
    return None


def own(module: str, *arguments: str) -> list[str]:
    """The command that runs one of our workloads."""
    return [sys.executable, "-m", f"benchmarks.{module}", *arguments]


def machine() -> str:
    """The machine in a few words, for beside the figures."""
    return f"{os.cpu_count()} CPUs, {sys.platform}, CPython {sys.version.split()[0]}"
