"""A process that does one run, whatever becomes of it."""

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
    """A run gave no figure; the text says why."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Something that is run again and again.

    Attributes:
      group: the key of its group.
      name: the key of the workload; for a peer, of its group.
      program: whose it is.
      command: prints a figure, as JSON.
      repeats: how often, at most.
      environment: on top of that of this process.
      folder: where it is run; here if it is None.
      target: whether a target depends on it: what there is time for is done for it first.
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
    """The command that does one of our own tasks."""
    return (sys.executable, "-P", "-m", "trio_mp.cli.bench.worker", msgspec.json.encode(task).decode())


def run_cell(cell: Cell, timeout: float = TIMEOUT) -> Figure:
    """Run it once, and kill all that it has started as soon as there is a figure.

    Raises:
      FailedRun: it ended without one, or took longer than this, in seconds.
    """
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        # A session of its own: one signal reaches whatever it has started, and Ctrl-C is for the command alone.
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
            raise FailedRun(f"it took too long: {said}" if said else "it took too long") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process.stdout.close()
        if line is None:
            raise FailedRun(_last_words(errors) or "it said nothing")
    try:
        return msgspec.json.decode(line, type=Figure)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise FailedRun(f"it said what is no figure: {line.decode(errors='replace').strip():.200}") from None


def _last_words(errors: IO[str]) -> str:
    errors.seek(0)
    words = [text.strip(" |+-") for text in errors.read().splitlines()]
    return next((text for text in reversed(words) if text), "")


def _read_figure(output: IO[bytes], end: float) -> bytes | None:
    """The first line that can be a figure. Others may hold the pipe open, so its end is not awaited."""
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
