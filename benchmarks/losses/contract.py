"""What senders and receivers of all systems share. It needs nothing but the standard library.

They write what they see into files of one folder. Each line is one `write`, so that what was written
before a SIGKILL stays.

- `lives`: the process ID of the receiver, for each of its lives. A life writes it when it can take
  messages.
- `received`: `NUMBER TIME` for each message that a receiver has handled.
- `told`: `NEXT TIME ABOUT BY` for each time that the sender's program was told of a loss, or of
  something that may mean one. NEXT is the number that it sends next. ABOUT is the number that the
  system has named, or 0 if it means all before NEXT.
- `sender`: the process ID of the sender.
- `middle`: made by the receiver when it begins to handle the middle number for the first time.
- `sent`: made by the sender when it has sent all numbers, and has waited for what it can wait for.

TIME is in nanoseconds, of the machine's one clock.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

TIMEOUT = 120
"""Seconds after which a program of a run ends itself."""

TICK = 0.01
"""Seconds between two times that a sender looks which numbers are due."""


@dataclass(frozen=True)
class Plan:
    """What to do.

    Attributes:
      folder: where all files are written.
      kind: the way in which the system is used; its module says which there are.
      count: how many numbers are sent.
      rate: how many a second.
      busy: how long the receiver is busy with the middle number, in seconds.
      port: a free TCP port of 127.0.0.1.
    """

    folder: str
    kind: str = ""
    count: int = 6000
    rate: int = 1000
    busy: float = 0.1
    port: int = 0

    @property
    def middle(self) -> int:
        """The number at which the receiver is busy, and is killed or cut off."""
        return self.count // 2

    def path(self, name: str) -> Path:
        """Return the path of one of the files."""
        return Path(self.folder, name)


def append(path: Path, line: str) -> None:
    """Append one line in one write."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)


class Receiver:
    """What a receiver does with the numbers.

    Args:
      plan: what to do.
      fails: raise an exception at the middle number, in place of a process that is killed there.
    """

    def __init__(self, plan: Plan, *, fails: bool = False) -> None:
        self.plan = plan
        self.fails = fails
        self.descriptor = os.open(plan.path("received"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def ready(self) -> None:
        """Say that this life can take messages."""
        append(self.plan.path("lives"), str(os.getpid()))

    def take(self, number: int) -> None:
        """Handle one number. At the middle one this blocks for a moment, the first time."""
        os.write(self.descriptor, f"{number} {time.time_ns()}\n".encode())
        if number == self.plan.middle:
            try:
                self.plan.path("middle").touch(exist_ok=False)
            except FileExistsError:
                return
            time.sleep(self.plan.busy)
            if self.fails:
                raise RuntimeError("this handler fails at the middle number")

    def last(self) -> int:
        """Return the greatest number that any life has handled, or 0."""
        lines = self.plan.path("received").read_text(encoding="ascii").splitlines()
        return max((int(line.split()[0]) for line in lines), default=0)


class Sender:
    """What a sender knows: which numbers are due, and what it was told.

    Args:
      plan: what to do.

    Attributes:
      next: the number that is sent next.
      finished: whether all is sent.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.next = 1
        self.finished = False
        self.start = 0.0
        append(plan.path("sender"), str(os.getpid()))

    def due(self) -> range:
        """Return the numbers that are due and not sent yet. The first call starts the clock.

        The caller sends them and sets `next`.
        """
        self.start = self.start or time.monotonic()
        until = min(self.plan.count, int((time.monotonic() - self.start) * self.plan.rate))
        return range(self.next, until + 1)

    @property
    def more(self) -> bool:
        """Whether there are numbers left to send."""
        return self.next <= self.plan.count

    def told(self, by: str, about: int = 0) -> None:
        """Note that the program was told of a loss."""
        append(self.plan.path("told"), f"{self.next} {time.time_ns()} {about} {by}")

    def done(self) -> None:
        """Note that all is sent."""
        self.finished = True
        append(self.plan.path("sent"), str(time.time_ns()))


def wait_for_life(plan: Plan, number: int = 1) -> None:
    """Wait until that many lives of the receiver have been ready."""
    path = plan.path("lives")
    while not path.exists() or len(path.read_text(encoding="ascii").splitlines()) < number:
        time.sleep(TICK)
