"""How long it may take until a monitor fires, for each cause."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from .._services.database import GRACE


class Cause(enum.Enum):
    """Why a monitor has to fire; the text is for people."""

    DIED_HERE = "its port has died on the same node"
    DIED = "its port has died on a connected node"
    CLOSED = "the connection was closed by the other node's end"
    SILENT = "the other node has fallen silent"
    UNREACHABLE = "its port is dead, or its node gone, and there was no connection"


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds that follow from the settings of the nodes; of several nodes, take the largest of each.

    They are counted from the cause, or from the end of the last disturbance of the network if that was later.

    - `DIED_HERE`, at once: the notice goes through the dispatcher's queue, which is drained without waiting.
    - `DIED`, `latency`: the notice travels behind what is queued for that connection. It counts from the end of the
      port's tasks, for which the port's node waits at most its `shutdown_timeout`.
    - `CLOSED`, `latency`: the end of the connection travels behind what was sent before it.
    - `SILENT`, between 3 and 3.5 heartbeats after the last byte, which may arrive up to `latency` later. The silence is
      judged twice in each heartbeat, and at two such looks in a row: the first sees 2.5 heartbeats or more, the second
      3 or more. So the looks that matter are the first beyond 3 heartbeats, at most half a one later.
    - `UNREACHABLE`, `connect_timeout`: so long what is queued waits for a connection at most, less for a node that has
      gone from the network. If one comes up in that time, and then falls silent, 3.5 heartbeats more; this is the
      longest of all, and is what holds after a disturbance.

    Attributes:
      heartbeat, connect_timeout: the settings, in seconds.
      latency: how long what is queued may take to travel when nothing is wrong, in seconds.
      grace: for how long the database keeps what may have moved, in seconds.
    """

    heartbeat: float = 5.0
    connect_timeout: float = 30.0
    latency: float = 5.0
    grace: float = GRACE

    def of(self, cause: Cause) -> float:
        """After how many seconds a monitor has fired at the latest."""
        if cause is Cause.DIED_HERE:
            return 0.0
        if cause is Cause.SILENT:
            return 3.5 * self.heartbeat + self.latency
        if cause is Cause.UNREACHABLE:
            return self.longest
        return self.latency

    @property
    def memory(self) -> float:
        """After how many seconds a lost connection, or a dead node, has no traces in the database."""
        return self.of(Cause.SILENT) + self.grace

    @property
    def forgotten(self) -> float:
        """After how many seconds nobody believes any more what a member has said of others that is dead, or cut off.

        Twice the grace and one heartbeat after its last connection has ended, which may be noticed late.
        """
        return self.of(Cause.SILENT) + 2 * self.grace + self.heartbeat

    @property
    def longest(self) -> float:
        """The bound that holds for every cause, counted from when the network has come to rest."""
        return self.connect_timeout + 3.5 * self.heartbeat + self.latency
