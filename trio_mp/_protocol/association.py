"""No silent holes: what a node keeps about a peer across connections, and the rules that keep the promise.

The promise: messages for a port arrive in order, each at most once; once a monitor is in place, a message that does
not arrive makes the monitor fire; and after the first lost message nothing sent later arrives until it has fired.

The rules that give it:

1. At most one connection is *in use*. Everything that is sent goes through one queue into it, in order, so within a
   connection there is nothing to prove: it is a byte stream.
2. A connection that was in use is never gone back to. When it ends, on either side and for whatever cause, the side
   that notices closes it, drops what is queued, takes the whole table of monitors, and fires it.
3. **The fence.** From that moment until all those monitors have fired, nothing goes out and no other connection is
   taken. What is sent before the firing begins is dropped too (the monitors are about to say so); what callbacks
   send while it runs is queued for the time after.
4. **One side decides.** Two live nodes can have several connections. The node with the greater ID chooses one and
   says `link`; it writes nothing more until the other has said `ok`. The other side, on `link`, first ends what it
   had in use (rules 2 and 3), closes every other connection with that node, and only then says `ok`. So both take
   connections up in the same order, and none can be taken up twice.
5. A side that lost a connection says which in its next greeting (`lost=`), so that the side that decides does not
   hold on to the dead half of it; but a stale claim names another connection and is not believed.

Without rule 4 a later message overtakes an earlier one through a second connection; without firing when a connection
is replaced, a message lost in it is lost in silence. `tests/explorer` checks both by enumeration.

    CLEAR ── the connection in use ends, the queue is full, no connection in time ──> LOST ── fire() ──> FIRING
    CLEAR ── what is queued does not fit the connection that is taken up ──> FIRING ── fired() ──> CLEAR
    FIRING ── what is sent meanwhile fills the queue, or all is given up ──> LOST

Nothing here blocks, reads a clock or does I/O: events come in as calls, what is to be done goes out as effects.
"""

from __future__ import annotations

import enum

from .._errors import LocalProtocolError, RemoteProtocolError
from .._reason import Reason, transport_error
from .effects import Accept, Close, Effect, Fire, FireDone, FireDue, Link, Lost, NodeUp, Probe, Refuse, Terms, Unwatch
from .queue import OutgoingQueue


class Fence(enum.Enum):
    """Where an association is between a loss and its report."""

    CLEAR = "clear"
    LOST = "lost"
    FIRING = "firing"


class Stage(enum.Enum):
    """How far one connection has come."""

    GREETED = "greeted"
    AUTHENTICATED = "authenticated"
    CHOSEN = "chosen"
    IN_USE = "in use"


class Association:
    """The state of one pair of nodes, on one side.

    Args:
      local_id, peer_id: the node IDs; they differ.
      queue_limit: how many bytes may be queued before the connection is given up.
      message_limit: the largest message this side sends, in bytes.

    Monitors are opaque, hashable objects: the table says which are to be fired, the caller fires them.
    """

    __slots__ = (
        "_candidates",
        "_connections",
        "_current",
        "_next",
        "_reason",
        "_terms",
        "decides",
        "fence",
        "last_ended",
        "local_id",
        "message_limit",
        "monitors",
        "peer_id",
        "queue",
        "queue_limit",
        "send_limit",
        "watched",
    )

    def __init__(self, local_id: str, peer_id: str, *, queue_limit: int, message_limit: int) -> None:
        if local_id == peer_id:
            raise LocalProtocolError(f"a node has no association with itself: {local_id}")
        self.local_id = local_id
        self.peer_id = peer_id
        self.queue_limit = queue_limit
        self.message_limit = message_limit
        # What may be sent: our own limit or, once it is known, the peer's.
        self.send_limit = message_limit
        self.decides = local_id.encode() > peer_id.encode()
        self.fence = Fence.CLEAR
        self.queue = OutgoingQueue()
        # Port name -> monitors of it, in the order in which they were set (a dict for its order). While a name is in
        # here its mon1 is in the queue or was written to the connection in use, or all of them are about to fire.
        self.monitors: dict[str, dict[object, None]] = {}
        # Names of our ports that the peer monitors over the connection in use.
        self.watched: set[str] = set()
        self.last_ended = ""
        self._reason: Reason = ()
        self._connections: dict[str, Stage] = {}
        self._terms: dict[str, Terms] = {}
        # The connection chosen or in use, and the one to be taken up when the fence is clear again.
        self._current: str | None = None
        self._next: str | None = None
        # Connections of another incarnation that wait for the probe of the current one.
        self._candidates: list[str] = []

    # What the caller may ask ---------------------------------------------------------------------------------------

    @property
    def in_use(self) -> str | None:
        """The ID of the connection in use, if there is one."""
        current = self._current
        return current if current is not None and self._connections[current] is Stage.IN_USE else None

    @property
    def incarnation(self) -> str:
        """The incarnation of the peer at the other end of the connection chosen or in use, or an empty string."""
        return self._terms[self._current].incarnation if self._current is not None else ""

    @property
    def wants_connection(self) -> bool:
        """Whether something waits for a connection."""
        return self.in_use is None and (self.queue.size > 0 or bool(self.monitors))

    @property
    def may_write(self) -> bool:
        """Whether what is queued may be written to the connection in use."""
        return self.fence is Fence.CLEAR and self.in_use is not None

    # Sending -------------------------------------------------------------------------------------------------------

    def send(self, name: str, message: tuple[object, ...]) -> bool:
        """Queue a message for the port of that name.

        Returns:
          True if something was lost by it, and `fire` is due.

        Raises:
          TypeError, ValueError: it cannot travel. Nothing was queued.
        """
        queue = self.queue
        queue.append(name, message, self.send_limit)
        if self.fence is Fence.LOST:
            # Rule 3. It was encoded all the same, so that what cannot travel raises whenever it is sent.
            queue.drop()
            return False
        if queue.size > self.queue_limit:
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
        lost = bool(name) and self.send("", ("mon1", name))
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
        return bool(name) and self.send("", ("mon0", name))

    def port_died(self, name: str, reason: Reason) -> list[Effect]:
        """The peer says that a port of its own has died (`kil0`)."""
        monitors = self.monitors.pop(name, None) if name else None
        return [Fire(tuple(monitors), reason)] if monitors else []

    # What became of connections ------------------------------------------------------------------------------------

    def greeted(self, connection: str) -> None:
        """A connection whose other side claims to be the peer."""
        self._connections[connection] = Stage.GREETED

    def authenticated(self, connection: str, lost: str, terms: Terms) -> list[Effect]:
        """Both sides of a connection have proven themselves.

        Args:
          connection: its ID.
          lost: which connection the peer says has ended there.
          terms: what is known of the peer.
        """
        self._connections[connection] = Stage.AUTHENTICATED
        self._terms[connection] = terms
        if not self.decides:
            return []
        current = self._current
        if current is None:
            if self._next is not None:
                return self._refuse(connection, "already connecting")
            return self._take_up(connection)
        if lost == current:
            return self._replace(connection, "the other side lost the connection")
        if terms.incarnation != self.incarnation:
            return self._probe_first(connection)
        return self._refuse(connection, "already connected")

    def link_received(self, connection: str) -> list[Effect]:
        """The peer, which decides, has chosen this connection."""
        if self.decides or self._connections.get(connection) is not Stage.AUTHENTICATED:
            raise RemoteProtocolError("an unexpected 'link'")
        if self._current is not None and self._terms[connection].incarnation != self.incarnation:
            return self._probe_first(connection)
        return self._replace(connection, "the other side chose another connection")

    def ok_received(self, connection: str) -> list[Effect]:
        """The peer has taken up the connection that we chose."""
        if self._connections.get(connection) is not Stage.CHOSEN:
            raise RemoteProtocolError("an unexpected 'ok'")
        self._connections[connection] = Stage.IN_USE
        return [NodeUp(connection)]

    def choice_expired(self, connection: str) -> list[Effect]:
        """The time in which the chosen connection had to be answered with `ok` is over."""
        if self._connections.get(connection) is not Stage.CHOSEN:
            return []
        return self._end(connection, "it did not take up the connection in time")

    def probe_answered(self) -> list[Effect]:
        """The peer at the other end of the connection in use is alive: another incarnation is another node."""
        candidates, self._candidates = self._candidates, []
        return [effect for connection in candidates for effect in self._refuse(connection, "node ID in use")]

    def probe_failed(self) -> list[Effect]:
        """The connection in use did not answer: the other incarnation takes its place."""
        if self._current is None or not self._candidates:
            return []
        return self._end(self._current, "it does not answer, and another run of it has connected")

    def closed(self, connection: str, why: str) -> list[Effect]:
        """A connection is gone, or was refused by the peer. It is no error if it is not known any more."""
        if connection not in self._connections:
            return []
        if connection == self._current:
            return self._end(connection, why)
        self._forget(connection)
        return []

    # Losses --------------------------------------------------------------------------------------------------------

    def lose(self, why: str) -> list[Effect]:
        """Give up what is queued and whatever connection there is: no connection came in time, or the node closes."""
        self._lose(transport_error(self.peer_id, why))
        return self.take_loss()

    def take_loss(self) -> list[Effect]:
        """What is to be done after `send` has said that something was lost, before `fire`."""
        messages, size = self.queue.dropped
        self.queue.dropped = (0, 0)
        effects: list[Effect] = []
        was_up = self.in_use is not None
        if self._current is not None:
            effects.append(Close(self._current, str(self._reason[-1])))
            if was_up:
                self.last_ended = self._current
            self._forget(self._current)
            self._current = None
            effects += self._first_candidate()
        effects.append(Lost(self._reason, was_up, messages, size))
        if self.watched:
            # Sorted, because the order of a set differs from run to run.
            effects.append(Unwatch(tuple(sorted(self.watched))))
            self.watched.clear()
        return [*effects, FireDue()]

    def fire(self) -> Fire:
        """Begin to fire: the monitors to be fired now, all of them, before `fired` is called."""
        if self.fence is not Fence.LOST:
            raise LocalProtocolError("nothing was lost")
        self.fence = Fence.FIRING
        monitors = tuple(monitor for table in self.monitors.values() for monitor in table)
        self.monitors = {}
        return Fire(monitors, self._reason)

    def fired(self) -> list[Effect]:
        """All of them have fired: the fence is clear, and a connection that waited for it is taken up."""
        if self.fence is not Fence.FIRING:
            # What the callbacks sent was too much for the queue: another round is due.
            return []
        self.fence = Fence.CLEAR
        self._reason = ()
        if self._next is None:
            return []
        connection, self._next = self._next, None
        return self._take_up(connection)

    # The rules -----------------------------------------------------------------------------------------------------

    def _lose(self, reason: Reason) -> None:
        """Rule 2, up to the firing. A second loss before the first has been told is part of it."""
        self.queue.drop()
        if self.fence is not Fence.LOST:
            self.fence = Fence.LOST
            self._reason = reason

    def _end(self, connection: str, why: str) -> list[Effect]:
        """The current connection ends."""
        if self._connections[connection] is Stage.CHOSEN:
            # Nothing was written to it and nothing read from it, so nothing is lost and what is queued can wait for
            # the next one. What the other side wrote, after its `ok`, is lost there, and it will notice.
            self._current = None
            self._forget(connection)
            return [Close(connection, why)]
        return self.lose(why)

    def _replace(self, connection: str, why: str) -> list[Effect]:
        """End the current connection, if there is one; then, behind the fence, take this one up."""
        # Another incarnation that waits for a probe has its answer: the one that we know has just spoken.
        effects = self.probe_answered()
        if self._next is not None:
            effects.append(Close(self._next, "another connection was chosen"))
            self._forget(self._next)
        if self._current is not None:
            effects += self._end(self._current, why)
        return effects + self._take_up(connection)

    def _take_up(self, connection: str) -> list[Effect]:
        """Choose a connection (if we decide) or adopt it (if the peer has), unless the fence is up: then later."""
        losses = self._adapt(connection) if self.fence is Fence.CLEAR else []
        if self.fence is not Fence.CLEAR:
            self._next = connection
            return losses
        self._current = connection
        if self.decides:
            self._connections[connection] = Stage.CHOSEN
            return [Link(connection)]
        self._connections[connection] = Stage.IN_USE
        # Rule 4: any other connection might have been chosen before this one, and its `link` be on its way still.
        others = [other for other in self._connections if other != connection]
        for other in others:
            self._forget(other)
        closings = [Close(other, "another connection was chosen") for other in others]
        return [*closings, Accept(connection), NodeUp(connection)]

    def _probe_first(self, connection: str) -> list[Effect]:
        """Another incarnation wants the place of the one in use."""
        assert self._current is not None
        self._candidates.append(connection)
        if self._connections[self._current] is not Stage.IN_USE:
            # Chosen only: nothing depends on it yet, and whoever is there has its chance to answer.
            return self._refuse(self._candidates.pop(), "already connecting")
        return [Probe(self._current)]

    def _first_candidate(self) -> list[Effect]:
        """The connection in use has ended: what waited for its probe need not wait for that."""
        if not self._candidates:
            return []
        self._next, *others = self._candidates
        self._candidates = []
        return [effect for other in others for effect in self._refuse(other, "already connecting")]

    def _refuse(self, connection: str, why: str) -> list[Effect]:
        self._forget(connection)
        return [Refuse(connection, why)]

    def _forget(self, connection: str) -> None:
        del self._connections[connection]
        self._terms.pop(connection, None)
        if connection == self._next:
            self._next = None
        if connection in self._candidates:
            self._candidates.remove(connection)

    def _adapt(self, connection: str) -> list[Effect]:
        """Messages that were queued before it was known what the peer takes, and that it does not take, are lost.

        So is all that was queued for their ports behind them. It is a loss like any other: the fence goes up.
        """
        terms = self._terms[connection]
        self.send_limit = min(terms.limit, self.message_limit)
        concerned = self.queue.adapt(terms.framing, self.send_limit)
        if not concerned:
            return []
        first, *_ = concerned.values()
        reason = transport_error(self.peer_id, f"a queued message could not be written: {first}")
        monitors = tuple(monitor for name in concerned for monitor in self.monitors.pop(name, ()))
        self.fence = Fence.FIRING
        messages, size = self.queue.dropped
        self.queue.dropped = (0, 0)
        return [Lost(reason, False, messages, size), Fire(monitors, reason), FireDone()]
