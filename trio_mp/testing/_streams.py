"""What the oracle remembers: monitors, and what one run of a node has sent to one port."""

from __future__ import annotations

from typing import Protocol

from .._reason import Reason
from ._bounds import Cause


class MonitorLike(Protocol):
    """What the oracle looks at in a `trio_mp.Monitor`.

    Attributes:
      port: the ID of the port that is monitored.
      reason: why it fired; None before.
    """

    port: str
    reason: Reason | None

    @property
    def active(self) -> bool:
        """Whether it can still fire."""
        ...


class KnownMonitor:
    """A monitor, as the oracle keeps it.

    Attributes:
      run: who set it.
      monitor: the monitor.
      begun, ended: whether its callback has been called, and has returned.
      due: since when, and why, it has to fire.
    """

    __slots__ = ("begun", "due", "ended", "monitor", "run")

    def __init__(self, run: str, monitor: MonitorLike) -> None:
        self.run = run
        self.monitor = monitor
        self.begun = False
        self.ended = False
        self.due: tuple[float, Cause] | None = None

    @property
    def fired(self) -> bool:
        """Whether the sender could know: its reason is set."""
        return self.monitor.reason is not None

    @property
    def silent(self) -> bool:
        """Whether it is in place and says that nothing was lost."""
        return self.monitor.active and self.monitor.reason is None


class Stream:
    """What one run of a node sends to one port.

    Attributes:
      sent: for each message the epoch, the monitors that were in place, and when. An epoch ends when they fire.
      last: the number of the last message that was delivered.
      delivered: how many were.
      monitors: the monitors in place.
    """

    __slots__ = ("delivered", "epoch", "last", "monitors", "sent")

    def __init__(self) -> None:
        self.sent: list[tuple[int, tuple[KnownMonitor, ...], float]] = []
        self.last = -1
        self.delivered = 0
        self.epoch = 0
        self.monitors: list[KnownMonitor] = []

    def settle(self) -> None:
        """See which of the monitors have fired or were cancelled; the former end the epoch."""
        if any(not known.monitor.active for known in self.monitors):
            if any(known.fired for known in self.monitors):
                self.epoch += 1
            self.monitors = [known for known in self.monitors if known.silent]
