"""One run of a workload: what the process is told, and the figure that it prints."""

from __future__ import annotations

import logging
import statistics
import sys
from typing import Literal

import msgspec

TEXT = "hello"
"""The text in the small message of all workloads; a tag and a number come before it."""

SECRET = "not a secret: a benchmark"  # noqa: S105 - it protects nothing

TIMEOUT = 120
"""How long a run may take, in seconds."""

WARM = 10
"""The first tenth of all round trips warms up, and is not counted."""


class WrongResult(Exception):
    """A workload did not do what it claims to measure: messages were missing, or out of order."""


class Task(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a run measures. Peers get the same, as JSON.

    Attributes:
      name: the name of the workload.
      count: how much work: how many messages, ports, nodes, as the workload says.
      kind: the variant of the workload.
      transport: the transport between processes.
      encrypted: whether connections are encrypted.
      batch: how many messages are sent in one pass of the scheduler.
      peers: how many processes there are at the other side.
      size: the payload of a message, in bytes.
      busy: whether a sibling task computes meanwhile.
      busy_poll: the setting `busy_poll` of all nodes, in seconds.
    """

    name: str
    count: int
    kind: str = ""
    transport: Literal["tcp", "unix"] = "tcp"
    encrypted: bool = False
    batch: int = 100
    peers: int = 1
    size: int = 0
    busy: bool = False
    busy_poll: float = 0.0


class Figure(msgspec.Struct, frozen=True):
    """What one run has measured.

    Attributes:
      value, unit: the figure, and its unit.
      extra: other figures of the same run, by name.
    """

    value: float
    unit: str
    extra: dict[str, float] = {}


def report(figure: Figure) -> None:
    """Print a figure on the standard output, for the process that has started this one."""
    sys.stdout.write(msgspec.json.encode(figure).decode() + "\n")
    sys.stdout.flush()


def log_faults() -> None:
    """Print what nodes log, except the warning that the program ran for long without a checkpoint: a workload does.

    The last line that a process prints is shown when it fails. The warning would stand there instead of the cause.
    """
    logging.basicConfig(format="%(message)s")
    for handler in logging.root.handlers:
        handler.addFilter(tells_of_fault)


def tells_of_fault(record: logging.LogRecord) -> bool:
    """Whether a log record tells of a fault: all do, but the warning that one task ran for long."""
    return " of this program ran " not in str(record.msg)


def expect(condition: bool, what: str) -> None:
    """Raise `WrongResult`, with the text `what`, unless a condition holds."""
    if not condition:
        raise WrongResult(what)


def summary(nanoseconds: list[int]) -> Figure:
    """The median and the 99th percentile of round trips, in microseconds, without the first tenth."""
    ordered = sorted(nanoseconds[len(nanoseconds) // WARM :])
    percentile = ordered[len(ordered) * 99 // 100] / 1e3
    return Figure(statistics.median(ordered) / 1e3, "µs", {"p99": percentile})
