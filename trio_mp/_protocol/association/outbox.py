"""What a node has to say to a peer, and who is told when it may not have arrived: the queue, the monitors, the fence.

This is rule 3 of `association.py`, which builds upon it and says why.

    CLEAR ── the connection in use ends, the queue is full, no connection in time ──> LOST ── fire() ──> FIRING
    CLEAR ── what is queued does not fit the connection that is taken up ──> FIRING ── fired() ──> CLEAR
    FIRING ── what is sent meanwhile fills the queue, or all is given up ──> LOST
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

from ..._errors import LocalProtocolError
from ..._reason import Reason, transport_error
from .. import requests
from ..wire.framing import FRAME_TARGET
from .effects import Effect, Fire, FireDone, Lost, Terms
from .queue import OutgoingQueue

INLINE_SHARE = 8
"""Complete frames of more than this part of the queue's limit are not to wait for the end of the scheduler's pass."""


class Fence(enum.Enum):
    """Where an association is between a loss and its report."""

    CLEAR = "clear"
    LOST = "lost"
    FIRING = "firing"


class Outbox:
    """What waits to be sent to one peer, and the monitors that it is sent under.

    Args:
      peer_id: the peer's node ID.
      queue_limit: how many bytes may be queued before all of it is given up.
      message_limit: the largest message this side sends, in bytes.

    Monitors are opaque, hashable objects: the table says which are to be fired, the caller fires them.
    """

    __slots__ = (
        *("_reason", "fence", "message_limit", "monitors", "peer_id", "queue", "queue_limit", "send_limit"),
        "unfired",
    )

    def __init__(self, peer_id: str, queue_limit: int, message_limit: int) -> None:
        self.peer_id = peer_id
        self.queue_limit = queue_limit
        self.message_limit = message_limit
        # What may be sent: our own limit or, once it is known, the peer's.
        self.send_limit = message_limit
        self.fence = Fence.CLEAR
        self.queue = OutgoingQueue(queue_limit, min(FRAME_TARGET, queue_limit // INLINE_SHARE))
        # Port name -> monitors of it, in the order in which they were set (a dict for its order). While a name is in
        # here its mon1 is in the queue or was written to the connection in use, or all of them are about to fire.
        self.monitors: dict[str, dict[object, None]] = {}
        # What was taken out of the table to be fired, and may not have been: of use only after an error of this side.
        self.unfired: dict[object, None] = {}
        self._reason: Reason = ()

    # Sending -------------------------------------------------------------------------------------------------------

    def send(self, name: str, message: tuple[object, ...]) -> bool:
        """Queue a message for the port of that name.

        Returns:
          True if something was lost by it, and `fire` is due.

        Raises:
          TypeError, ValueError: it cannot travel. Nothing was queued.
        """
        return self.queue.append(name, message, self.send_limit) and self._too_much()

    def _too_much(self) -> bool:
        """The queue may hold too much: more than its limit or, between a loss and its report, anything."""
        if self.fence is Fence.LOST:
            # Rule 3. It was encoded all the same, so that what cannot travel raises whenever it is sent.
            self.queue.drop()
            return False
        if self.queue.size > self.queue_limit:
            self._lose(transport_error(self.peer_id, f"more than {self.queue_limit} bytes were queued for it"))
            return True
        return False

    def monitor(self, name: str, monitor: object) -> bool:
        """Add a monitor of the port of that name; returns as `send` does. The empty name stands for the node."""
        monitors = self.monitors.get(name)
        if monitors is not None:
            monitors[monitor] = None
            return False
        # In this order: if the request cannot travel, there is no monitor either.
        lost = bool(name) and self.send("", requests.start_monitor(name))
        self.monitors[name] = {monitor: None}
        return lost

    def demonitor(self, name: str, monitor: object) -> bool:
        """Take a monitor away again; returns as `send` does. It is no error if it is not there."""
        monitors = self.monitors.get(name)
        if monitors is None or monitor not in monitors:
            return False
        del monitors[monitor]
        if monitors:
            return False
        del self.monitors[name]
        return bool(name) and self.send("", requests.stop_monitor(name))

    def port_died(self, name: str, reason: Reason) -> list[Effect]:
        """The peer says that a port of its own has died (`kil0`)."""
        # In one line, so that no error comes between the table and the effect.
        return [Fire(tuple(self.monitors.pop(name)), reason)] if name and name in self.monitors else []

    # Losses --------------------------------------------------------------------------------------------------------

    def _lose(self, reason: Reason) -> None:
        """Rule 2, up to the firing. A second loss before the first has been told is part of it."""
        self.queue.drop()
        if self.fence is not Fence.LOST:
            self.fence = Fence.LOST
            self.queue.high_water = -1
            self._reason = reason

    def fire(self) -> Fire:
        """Begin to fire: the monitors to be fired now, all of them, before `fired` is called."""
        if self.fence is not Fence.LOST:
            raise LocalProtocolError("nothing was lost")
        self.fence = Fence.FIRING
        self.queue.high_water = self.queue_limit
        self._take(self.monitors)
        return Fire(tuple(self.unfired), self._reason)

    def _take(self, names: Iterable[str]) -> None:
        """Take the monitors of these ports out of the table."""
        for name in tuple(names):
            self.unfired.update(self.monitors.get(name, {}))
            self.monitors.pop(name, None)

    def ruin(self, reason: Reason) -> Lost:
        """All is lost, whatever state an error of this side has left it in. Then `fire` is due."""
        # So that all of it is done, also where the error has come in the middle of it.
        self.fence = Fence.CLEAR
        self._lose(reason)
        messages, size = self.queue.dropped
        self.queue.dropped = (0, 0)
        return Lost(reason, True, messages, size)

    def _adapt(self, terms: Terms) -> list[Effect]:
        """Messages that were queued before it was known what the peer takes, and that it does not take, are lost.

        So is all that was queued for their ports behind them. It is a loss like any other: the fence goes up.
        """
        self.send_limit = min(terms.limit, self.message_limit)
        concerned = self.queue.adapt(terms.framing, self.send_limit)
        if not concerned:
            return []
        if isinstance(concerned, str):
            # Everything is lost, the requests for monitors too.
            first, names = concerned, list(self.monitors)
        else:
            first, names = next(iter(concerned.values())), list(concerned)
        reason = transport_error(self.peer_id, f"a queued message could not be written: {first}")
        self._take(names)
        self.fence = Fence.FIRING
        messages, size = self.queue.dropped
        self.queue.dropped = (0, 0)
        return [Lost(reason, False, messages, size), Fire(tuple(self.unfired), reason), FireDone()]
