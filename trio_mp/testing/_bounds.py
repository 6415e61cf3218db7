"""How long a monitor may take to fire, for each cause."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from .._services.database import GRACE


class Cause(enum.Enum):
    """Why a monitor has to fire. The value is a text for people."""

    DIED_HERE = "its port has died on the same node"
    DIED = "its port has died on a connected node"
    CLOSED = "the connection was closed by the other node's end"
    SILENT = "the other node has fallen silent"
    UNREACHABLE = "its port is dead, or its node gone, and there was no connection"


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds that follow from the settings of the nodes; of several nodes, take the largest of each.

    A bound is counted from the cause, or from the end of the network's last disturbance if that was later.

    - `DIED_HERE`, at once: the notice goes through the dispatcher's queue, which is drained without waiting.
    - `DIED`, `latency`: the notice travels behind what is queued for that connection. It counts from the end of the
      port's tasks, for which the port's node waits at most its `shutdown_timeout`.
    - `CLOSED`, `latency`: the end of the connection travels behind what was sent before it.
    - `SILENT`, between 3 and 3.5 heartbeats after the last byte, which may arrive up to `latency` later. A node looks
      for silence twice in each heartbeat, and acts when two looks in a row find it: the first sees 2.5 heartbeats or
      more, the second 3 or more. So the node acts at its first look beyond 3 heartbeats, at most half a one later.
    - `UNREACHABLE`, `connect_timeout`: queued messages wait at most so long for a connection; less for a node that has
      left the network. If a connection comes up in that time and then falls silent, it takes 3.5 heartbeats more. This
      bound is the longest, and is the one that holds after a disturbance.

    Attributes:
      heartbeat, connect_timeout: the settings, in seconds.
      latency: how long queued messages may take to travel when nothing is wrong, in seconds.
      grace: how long the database keeps entries of a node that may have moved, in seconds.
    """

    heartbeat: float = 5.0
    connect_timeout: float = 30.0
    latency: float = 5.0
    grace: float = GRACE

    def of(self, cause: Cause) -> float:
        """How many seconds after this cause a monitor has fired at the latest."""
        if cause is Cause.DIED_HERE:
            return 0.0
        if cause is Cause.SILENT:
            return 3.5 * self.heartbeat + self.latency
        if cause is Cause.UNREACHABLE:
            return self.longest
        return self.latency

    @property
    def memory(self) -> float:
        """After how many seconds a lost connection or a dead node has left no trace in the database."""
        return self.of(Cause.SILENT) + self.grace

    @property
    def forgotten(self) -> float:
        """After how many seconds nobody believes what a member has said of others, once it is dead or cut off.

        That is twice the grace and one heartbeat after its last connection has ended, which may be noticed late.
        """
        return self.of(Cause.SILENT) + 2 * self.grace + self.heartbeat

    @property
    def longest(self) -> float:
        """The bound that holds for every cause, counted from the moment when the network came to rest."""
        return self.connect_timeout + 3.5 * self.heartbeat + self.latency
