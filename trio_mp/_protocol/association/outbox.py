"""What a node has to say to a peer, and who is told when it may not have arrived: the queue, the monitors, the fence.

An association has one outbox for the peer, whichever connection is in use. The outbox makes all transitions of the
fence, which is rule 3 of `association.py`. The association decides to which connection the queue goes.

    CLEAR ── the connection in use ends, the queue is full, no connection in time ──> LOST ── fire() ──> FIRING
    CLEAR ── what is queued does not fit the connection that is taken up ──> FIRING ── fired() ──> CLEAR
    FIRING ── what is sent meanwhile fills the queue, or all is given up ──> LOST
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable

from ..._errors import LocalProtocolError
from ..._reason import Reason, transport_error
from ..requests import start_monitor, stop_monitor
from ..transitions import Row, TransitionTable
from ..wire.framing import FRAME_TARGET
from .effects import Dropped, Effect, Fire, FireDone, Terms
from .queue import OutgoingQueue

INLINE_SHARE = 8
"""Complete frames of more than this part of the queue's limit are not to wait for the end of the scheduler's pass."""


class Fence(enum.Enum):
    """The state of an association between a loss and its report."""

    CLEAR = "clear"
    LOST = "lost"
    FIRING = "firing"


class FenceEvent(enum.Enum):
    """What happens to the fence."""

    LOSS = "a loss"
    MISFIT = "what is queued does not fit the connection that is taken up"
    FIRE = "`fire` is called"
    FIRED = "the monitors have fired"


FENCE: TransitionTable[Fence, FenceEvent, Outbox] = TransitionTable(
    Row(Fence.CLEAR, FenceEvent.LOSS, Fence.LOST),
    # The monitors of what does not fit fire at once: no connection has ended, and the program is not in a call.
    Row(Fence.CLEAR, FenceEvent.MISFIT, Fence.FIRING),
    Row(Fence.LOST, FenceEvent.FIRE, Fence.FIRING),
    # What callbacks send is too much for the queue: another round is due. (A loss before `fire` is part of the first.)
    Row(Fence.FIRING, FenceEvent.LOSS, Fence.LOST),
    Row(Fence.FIRING, FenceEvent.FIRED, Fence.CLEAR),
)


class Outbox:
    """What waits to be sent to one peer, and the monitors that it is sent under.

    Args:
      peer_id: the peer's node ID.
      queue_limit: how many bytes may be queued before all of it is given up.
      message_limit: the largest message this side sends, in bytes.
      wants_names: whether it is to be known for which ports messages are lost.

    Attributes:
      fence: where the outbox is between a loss and its report.
      queue: the encoded messages.
      monitors: for the name of each port the monitors of it, in the order in which they were set.
      unfired: the monitors that were taken out of the table to be fired, and may not have fired yet.
      send_limit: the largest message that may be sent now, in bytes: our own limit or, once it is known, the peer's.
      reason: why messages were lost, from the loss until its monitors have fired.
      begun: how many messages had perhaps been written at the latest loss, of all that were ever queued: the others
        were certainly not delivered.

    Monitors are opaque, hashable objects: the table says which are to be fired, the caller fires them.
    """

    __slots__ = (
        *("begun", "fence", "message_limit", "monitors", "peer_id", "queue", "queue_limit", "reason", "send_limit"),
        "unfired",
    )

    def __init__(
        self, peer_id: str, queue_limit: int, message_limit: int, wants_names: Callable[[], bool] = lambda: False
    ) -> None:
        self.peer_id = peer_id
        self.queue_limit = queue_limit
        self.message_limit = message_limit
        self.send_limit = message_limit
        self.fence = Fence.CLEAR
        self.queue = OutgoingQueue(queue_limit, min(FRAME_TARGET, queue_limit // INLINE_SHARE), wants_names)
        # The inner dict is a set that keeps its order. While a name is in here its mon1 is in the queue or was written
        # to the connection in use, or all of them are about to fire.
        self.monitors: dict[str, dict[object, None]] = {}
        # Of use only after an error of this side, which may have come before they fired.
        self.unfired: dict[object, None] = {}
        self.reason: Reason = ()
        self.begun = 0

    # Sending -------------------------------------------------------------------------------------------------------

    def send(self, name: str, message: tuple[object, ...]) -> bool:
        """Queue a message for the port of that name.

        Returns:
          True if something was lost by it, and `fire` is due.

        Raises:
          TypeError, ValueError: it cannot travel. Nothing was queued.
        """
        return self.queue.append(name, message, self.send_limit) and self.overflows()

    def overflows(self) -> bool:
        """Look whether the queue holds too much: more than its limit or, between a loss and its report, anything.

        Call this when `OutgoingQueue.append` has said that it may.

        Returns:
          True if something was lost by it, and `fire` is due.
        """
        if self.fence is Fence.LOST:
            # Rule 3. It was encoded all the same, so that what cannot travel raises whenever it is sent.
            self.queue.drop()
            return False
        if self.queue.size > self.queue_limit:
            self.lose(transport_error(self.peer_id, f"more than {self.queue_limit} bytes were queued for the peer"))
            return True
        return False

    def monitor(self, name: str, monitor: object) -> bool:
        """Add a monitor of the port of that name; returns as `send` does. The empty name stands for the node."""
        monitors = self.monitors.get(name)
        if monitors is not None:
            monitors[monitor] = None
            return False
        # In this order: if the request cannot travel, there is no monitor either. In the place of `send`, whose call
        # would cost as much as the request.
        lost = bool(name) and self.queue.append("", start_monitor(name), self.send_limit) and self.overflows()
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
        return bool(name) and self.queue.append("", stop_monitor(name), self.send_limit) and self.overflows()

    def expect(self, ticket: str, monitor: object) -> None:
        """Have a monitor fire when the answer to the call of this ticket may have been lost, as those of ports do.

        The other side is told nothing: it answers. Call this before the call is sent, and `forget` when it has ended.
        """
        self.monitors[ticket] = {monitor: None}

    def forget(self, ticket: str) -> None:
        """Note that the call of this ticket has ended. It is no error if it had ended before."""
        self.monitors.pop(ticket, None)

    def port_died(self, name: str, reason: Reason) -> list[Effect]:
        """Fire the monitors of a port of the peer, which says that the port has died (`kil0`)."""
        # In one line, so that no error comes between the table and the effect.
        return [Fire(tuple(self.monitors.pop(name)), reason)] if name and name in self.monitors else []

    # Losses --------------------------------------------------------------------------------------------------------

    def lose(self, reason: Reason) -> None:
        """Drop the queue and put the fence up: rule 2. Then `fire` is due.

        A second loss before the first has been told is part of it: the monitors get the first reason.
        """
        begun = self.queue.begun
        self.queue.drop()
        if self._move(FenceEvent.LOSS):
            self.begun = begun
            self.queue.high_water = -1
            self.reason = reason

    def fire(self) -> Fire:
        """Begin to fire; return the monitors to be fired. The caller fires all of them before it calls `fired`."""
        if not self._move(FenceEvent.FIRE):
            raise LocalProtocolError(f"expected a loss before `fire`, got a fence that is {self.fence.value}")
        self.queue.high_water = self.queue_limit
        self._take(self.monitors)
        return Fire(tuple(self.unfired), self.reason)

    def fired(self) -> bool:
        """Lift the fence, because all monitors that were to be fired have fired.

        Returns:
          False if the fence stays: what the callbacks sent was too much for the queue, and another round is due.
        """
        self.unfired = {}
        if not self._move(FenceEvent.FIRED):
            return False
        self.reason = ()
        return True

    def _move(self, event: FenceEvent) -> bool:
        """Move the fence on to the state that follows. Returns False if there is none."""
        after = FENCE.after(self.fence, event, self)
        if after is None:
            return False
        self.fence = after
        return True

    def take_dropped(self) -> tuple[int, int]:
        """Return how many messages, of how many bytes, were dropped since the last call."""
        dropped, self.queue.dropped = self.queue.dropped, (0, 0)
        return dropped

    def _take(self, names: Iterable[str]) -> None:
        """Take the monitors of these ports out of the table."""
        for name in tuple(names):
            self.unfired.update(self.monitors.get(name, {}))
            self.monitors.pop(name, None)

    def ruin(self, reason: Reason) -> Dropped:
        """Lose all, whatever state an error of this side has left it in. Then `fire` is due."""
        # Past the table: whatever was begun when the error came, all of a loss is to be done.
        self.fence = Fence.CLEAR
        self.lose(reason)
        return Dropped(reason, True, *self.take_dropped())

    def adapt(self, terms: Terms) -> list[Effect]:
        """Make what is queued fit the peer, now that it is known what the peer takes.

        A message that the peer does not take is lost, and so is all that was queued for its port behind it. That is a
        loss like any other: the fence goes up.
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
        self._move(FenceEvent.MISFIT)
        return [Dropped(reason, False, *self.take_dropped()), Fire(tuple(self.unfired), reason), FireDone()]
