"""One run of a workload, and its figure."""

from __future__ import annotations

import logging
import statistics
import sys
from typing import Literal

import msgspec

TEXT = "hello"
"""With a tag and a number, the small message that all workloads send."""

SECRET = "not a secret: a benchmark"  # noqa: S105 - it protects nothing
TIMEOUT = 120
"""Seconds after which a run is given up."""

WARM = 10
"""One in so many of the round trips is not counted: the first."""


class WrongResult(Exception):
    """What was measured is not true: something was missing, or out of order."""


class Task(msgspec.Struct, frozen=True, omit_defaults=True):
    """What to measure. Peers get the same as JSON.

    Attributes:
      name: of the workload.
      count: how much work.
      kind: which of its variants.
      transport: between processes.
      encrypted: whether the connection is.
      batch: messages sent in one pass of the scheduler.
      peers: processes at the other side.
      size: bytes of payload in a message.
      busy: whether a sibling task computes meanwhile.
      busy_poll: the setting of that name, of all nodes: seconds.
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
      value, unit: the figure.
      extra: other figures of the same run.
    """

    value: float
    unit: str
    extra: dict[str, float] = {}


def report(figure: Figure) -> None:
    """Print a figure, as the process that measured it."""
    sys.stdout.write(msgspec.json.encode(figure).decode() + "\n")
    sys.stdout.flush()


def log_faults() -> None:
    """Print what a node logs, except that the program computed for long: here that is the work.

    It would be the last that a process has said, in the place of why it failed.
    """
    logging.basicConfig(format="%(message)s")
    for handler in logging.root.handlers:
        handler.addFilter(tells_of_fault)


def tells_of_fault(results: logging.LogRecord) -> bool:
    """Whether something is wrong: anything but that nothing else of this program ran for a while."""
    return " of this program ran " not in str(results.msg)


def expect(condition: bool, what: str) -> None:
    """Raise `WrongResult` if something is not so."""
    if not condition:
        raise WrongResult(what)


def summary(nanoseconds: list[int]) -> Figure:
    """The median of round trips in microseconds, without the first ones, and the 99th percentile."""
    ordered = sorted(nanoseconds[len(nanoseconds) // WARM :])
    percentile = ordered[len(ordered) * 99 // 100] / 1e3
    return Figure(statistics.median(ordered) / 1e3, "µs", {"p99": percentile})
