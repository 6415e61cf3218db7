"""Runs a workload once in a process of its own, and ends that process in any case."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO

import msgspec

from .task import TIMEOUT, Figure, Task

OURS = "trio_mp"


class FailedRun(Exception):
    """A run printed no figure; the text says why."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One workload of one program, which is run again and again.

    Attributes:
      group: the key of its group.
      name: the key of the workload; for a peer, of its group.
      program: the name of the program.
      command: the command line; the process prints a figure, as JSON.
      repeats: how often it is run at most.
      environment: variables that are set in addition to those of this process.
      folder: the working directory; that of this process if it is None.
      target: whether a target depends on it. When time is short, such cells are run first.
    """

    group: str
    name: str
    program: str
    command: tuple[str, ...]
    repeats: int
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: str | None = None
    target: bool = False


def own_command(task: Task) -> tuple[str, ...]:
    """The command line that runs one of our own tasks."""
    return (sys.executable, "-P", "-m", "trio_mp.cli.bench.worker", msgspec.json.encode(task).decode())


def run_cell(cell: Cell, timeout: float = TIMEOUT) -> Figure:
    """Run a cell once, and kill all its processes as soon as it has printed a figure.

    Args:
      cell: what to run.
      timeout: how long the run may take, in seconds.

    Raises:
      FailedRun: the run ended without a figure, or took longer than `timeout`.
    """
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        # In a session of its own: one signal reaches all its processes, and Ctrl-C reaches the command alone.
        process = subprocess.Popen(  # noqa: S603 - a command of ours
            cell.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, **cell.environment},
            cwd=cell.folder,
            start_new_session=True,
        )
        assert process.stdout is not None
        try:
            line = _read_figure(process.stdout, time.monotonic() + timeout)
        except TimeoutError:
            said = _last_words(errors)
            raise FailedRun(f"it took over {timeout:g} s: {said}" if said else f"it took over {timeout:g} s") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process.stdout.close()
        if line is None:
            raise FailedRun(_last_words(errors) or "it ended without a figure, and said nothing")
    try:
        return msgspec.json.decode(line, type=Figure)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise FailedRun(f"expected a figure as JSON, got {line.decode(errors='replace').strip():.200}") from None


def _last_words(errors: IO[str]) -> str:
    errors.seek(0)
    words = [text.strip(" |+-") for text in errors.read().splitlines()]
    return next((text for text in reversed(words) if text), "")


def _read_figure(output: IO[bytes], end: float) -> bytes | None:
    """Read the first line that can be a figure. Do not wait for the pipe's end: other processes may hold it open."""
    data = b""
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        while selector.select(max(0.0, end - time.monotonic())):
            more = os.read(output.fileno(), 65536)
            data += more
            for line in data.splitlines(keepends=True):
                if line.startswith(b"{") and line.endswith(b"\n"):
                    return line
            if not more:
                return None
    raise TimeoutError
