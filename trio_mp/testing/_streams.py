"""What the oracle remembers: the monitors, and what each run of a node has sent to each port."""

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
        """Whether the monitor can still fire."""
        ...


class KnownMonitor:
    """A monitor, as the oracle keeps it.

    Attributes:
      run: the run that has set it.
      monitor: the monitor.
      begun, ended: whether its callback has been called, and has returned.
      due: the time since which it has to fire, and the cause; None if it does not.
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
        """Whether the monitor's reason is set, so that the sender could know of the loss."""
        return self.monitor.reason is not None

    @property
    def silent(self) -> bool:
        """Whether the monitor is active and has no reason: it says that nothing was lost."""
        return self.monitor.active and self.monitor.reason is None


class Stream:
    """What one run of a node sends to one port.

    Attributes:
      sent: for each message its epoch, the monitors then in place, and its time. An epoch ends when one fires.
      losses: for each message how often the sender's node had lost what it had queued; None if that is not known.
      last: the number of the last message that was delivered.
      delivered: how many messages were delivered.
      dropped: the numbers of calls that were not begun, because their callers did not wait for them any longer.
      monitors: the monitors in place.
    """

    __slots__ = ("delivered", "dropped", "epoch", "last", "losses", "monitors", "sent")

    def __init__(self) -> None:
        self.sent: list[tuple[int, tuple[KnownMonitor, ...], float]] = []
        self.losses: list[int | None] = []
        self.last = -1
        self.delivered = 0
        self.dropped: set[int] = set()
        self.epoch = 0
        self.monitors: list[KnownMonitor] = []

    def settle(self) -> None:
        """Drop the monitors that have fired or were cancelled. One that has fired ends the epoch."""
        if any(not known.monitor.active for known in self.monitors):
            if any(known.fired for known in self.monitors):
                self.epoch += 1
            self.monitors = [known for known in self.monitors if known.silent]
