"""No silent holes: what a node keeps about a peer across connections, and the rules that keep the promise.

The promise: messages for a port arrive in order, each at most once. Once a monitor of the port is in place, a message
that does not arrive makes the monitor fire. After the first lost message, nothing that was sent later arrives until the
monitor has fired.

The rules that give it:

1. At most one connection is *in use*. Everything that a node sends to the peer goes through one queue into that
   connection, in order. Within a connection there is nothing to prove, because it is a byte stream.
2. A connection that was in use is never used again once it has ended. When it ends, on either side and for whatever
   cause, the side that notices it closes the connection, drops what is queued, takes the whole table of monitors, and
   fires them.
3. **The fence.** From that moment until all those monitors have fired, nothing goes out and no other connection is
   taken up. What the program sends before the firing begins is dropped as well, because the monitors are about to say
   so. What callbacks send while the monitors fire is queued, and goes out behind the fence.
4. **One side decides.** Two nodes that live can have several connections. The node with the greater ID chooses one of
   them, says `link` on it, and writes nothing more until the other node has said `ok`. The other node, when it reads
   `link`, first ends the connection that it had in use (rules 2 and 3), closes every other connection with that node,
   and only then says `ok`. So both nodes take connections up in the same order, and neither takes one up twice.
5. A side that has lost a connection names it in its next greeting (`lost=`), so that the side that decides does not
   hold on to the other end of it. An old claim names another connection, and is not believed.
6. **Parting.** A connection that nothing depends on is closed by agreement. A side that has nothing queued and no
   monitor may say `idle`, its *last word*, and writes nothing behind it. What its program sends meanwhile waits in the
   queue. The other side answers `bye`, which is its last word, if nothing is queued and monitored there either.
   Otherwise it answers `busy`, and the connection goes on. If both sides have said `idle`, neither answers. A side that
   knows both last words half-closes the connection, and is done with it when it has read its end. So each side has read
   all that the other one wrote. Whatever else ends a connection after a side's last word is no loss for that side: no
   monitor covered what it wrote before, and it has written nothing since. Its queue, and the monitors that were set
   since, wait for the next connection. A side that is not answered in time goes on as if it had read `busy`. A `bye`
   that comes after that is a loss.

Without rule 4 a later message could overtake an earlier one through a second connection. If monitors did not fire when
a connection is replaced, a message lost in it would be lost in silence. `tests/explorer` checks all rules by
enumeration.

    AUTHENTICATED ── taken up by the side that decides ──> CHOSEN ── `ok` ──> IN USE
    AUTHENTICATED ── `link` ──> IN USE
    IN USE ── ask() ──> ASKED ── `busy`, or no answer ──> IN USE
    IN USE ── `idle`, answered by `bye` ──> PARTED
    ASKED ── `idle`, `bye` ──> PARTED

`outbox.py` keeps what is queued and monitored, and the fence; this module decides to which connection that goes.
Nothing here blocks, reads a clock or does I/O: events come in as calls, and what is to be done goes out as effects.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

from ..._errors import LocalProtocolError, RemoteProtocolError
from ..._reason import transport_error
from .. import requests
from ..transitions import Row, TransitionTable
from .effects import (
    Accept,
    Choose,
    Close,
    Dropped,
    Effect,
    Fire,
    FireDue,
    HalfClose,
    NodeDown,
    NodeUp,
    Probe,
    Refuse,
    Say,
    Terms,
    Unwatch,
)
from .outbox import Fence, Outbox


class Stage(enum.Enum):
    """How far one connection has come. The association keeps nothing of a connection that is new or gone."""

    NEW = "new"
    GREETED = "greeted"
    AUTHENTICATED = "authenticated"
    CHOSEN = "chosen"
    IN_USE = "in use"
    ASKED = "asked"
    PARTED = "parted"
    GONE = "gone"


class StageEvent(enum.Enum):
    """What happens to a connection."""

    GREETED = "greeted"
    AUTHENTICATED = "authenticated"
    TAKEN_UP = "taken up"
    OK = "`ok`"
    ASK = "this side asks"
    AGREE = "`idle`, answered by `bye`"
    IDLE = "`idle`"
    BYE = "`bye`"
    BUSY = "`busy`, or no answer"
    ENDED = "ended"
    LOSS = "a loss"


def the_fence_is_clear(association: Association) -> bool:
    """Whether the monitors of the last loss have fired: rule 3."""
    return association.outbox.fence is Fence.CLEAR


def this_side_decides(association: Association) -> bool:
    """Whether this side has the greater node ID: rule 4."""
    return association.decides


def the_other_side_decides(association: Association) -> bool:
    """Whether the peer has the greater node ID: rule 4."""
    return not association.decides


def this_side_is_free(association: Association) -> bool:
    """Whether nothing is queued and monitored on this side: rule 6."""
    return association.is_free


def nobody_needs_it(association: Association) -> bool:
    """Whether nothing is queued and monitored on this side, and the peer monitors nothing on it: rule 6."""
    return association.is_idle


STAGES: TransitionTable[Stage, StageEvent, Association] = TransitionTable(
    Row(Stage.NEW, StageEvent.GREETED, Stage.GREETED),
    Row(Stage.GREETED, StageEvent.AUTHENTICATED, Stage.AUTHENTICATED),
    # Rule 4. The side that decides writes `link`, and waits for `ok`; the other side writes `ok`.
    Row(Stage.AUTHENTICATED, StageEvent.TAKEN_UP, Stage.CHOSEN, the_fence_is_clear, this_side_decides),
    Row(Stage.AUTHENTICATED, StageEvent.TAKEN_UP, Stage.IN_USE, the_fence_is_clear, the_other_side_decides),
    Row(Stage.CHOSEN, StageEvent.OK, Stage.IN_USE),
    # Rule 6.
    Row(Stage.IN_USE, StageEvent.ASK, Stage.ASKED, nobody_needs_it),
    Row(Stage.IN_USE, StageEvent.AGREE, Stage.PARTED, this_side_is_free),
    Row(Stage.ASKED, StageEvent.IDLE, Stage.PARTED),
    Row(Stage.ASKED, StageEvent.BYE, Stage.PARTED),
    Row(Stage.ASKED, StageEvent.BUSY, Stage.IN_USE),
    # Nothing is lost with a connection that was never in use, nor with one after this side's last word. Rule 2: there
    # is no such row for one in use, whose end is a loss.
    Row(Stage.GREETED, StageEvent.ENDED, Stage.GONE),
    Row(Stage.AUTHENTICATED, StageEvent.ENDED, Stage.GONE),
    Row(Stage.CHOSEN, StageEvent.ENDED, Stage.GONE),
    Row(Stage.ASKED, StageEvent.ENDED, Stage.GONE),
    Row(Stage.PARTED, StageEvent.ENDED, Stage.GONE),
    # A loss ends what was chosen or in use, however far it has come: the queue was too full, or all is given up.
    Row(Stage.CHOSEN, StageEvent.LOSS, Stage.GONE),
    Row(Stage.IN_USE, StageEvent.LOSS, Stage.GONE),
    Row(Stage.ASKED, StageEvent.LOSS, Stage.GONE),
    Row(Stage.PARTED, StageEvent.LOSS, Stage.GONE),
)


class Association:
    """The state of one pair of nodes, on one side.

    Args:
      local_id, peer_id: the node IDs; they differ.
      queue_limit: how many bytes may be queued before the connection is given up.
      message_limit: the largest message this side sends, in bytes.
      wants_names: whether it is to be known for which ports messages are lost.

    Attributes:
      outbox: what is queued and monitored, and the fence; the caller sends and monitors there.
      decides: whether this side chooses the connection: it has the greater node ID.
      watched: the names of the ports here that the peer monitors over the connection in use.
      last_ended: the ID of the last connection in use that has ended here, for the next greeting; may be empty.
    """

    __slots__ = (
        *("_candidates", "_connections", "_current", "_next", "_terms"),
        *("decides", "last_ended", "local_id", "outbox", "peer_id", "watched"),
    )

    def __init__(
        self,
        local_id: str,
        peer_id: str,
        *,
        queue_limit: int,
        message_limit: int,
        wants_names: Callable[[], bool] = lambda: False,
    ) -> None:
        if local_id == peer_id:
            raise LocalProtocolError(f"expected two nodes, got {local_id} twice: a node has no association with itself")
        self.outbox = Outbox(peer_id, queue_limit, message_limit, wants_names)
        self.local_id = local_id
        self.peer_id = peer_id
        self.decides = local_id.encode() > peer_id.encode()
        self.watched: set[str] = set()
        self.last_ended = ""
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
        """The ID of the connection in use, if there is one, up to its very end."""
        current = self._current
        return current if current is not None and self._connections[current] is not Stage.CHOSEN else None

    @property
    def incarnation(self) -> str:
        """The incarnation of the peer at the other end of the connection chosen or in use, or an empty string."""
        return self._terms[self._current].incarnation if self._current is not None else ""

    @property
    def wants_connection(self) -> bool:
        """Whether something waits for a connection."""
        return self.in_use is None and (self.outbox.queue.size > 0 or bool(self.outbox.monitors))

    @property
    def may_write(self) -> bool:
        """Whether what is queued may be written to the connection in use."""
        current = self._current
        in_use = current is not None and self._connections[current] is Stage.IN_USE
        return in_use and self.outbox.fence is Fence.CLEAR

    @property
    def has_to_write(self) -> bool:
        """Whether something is queued, and may be written to the connection in use."""
        return self.may_write and self.outbox.queue.size > 0

    @property
    def is_idle(self) -> bool:
        """Whether nothing depends on the connection in use, here or, as far as is known here, on the other side."""
        return self.is_free and not self.watched

    @property
    def is_asked(self) -> bool:
        """Whether this side has asked to part, and waits for the answer."""
        return self._stage is Stage.ASKED

    @property
    def is_free(self) -> bool:
        """Whether nothing depends on the connection in use on this side."""
        return self.may_write and not (self.outbox.queue.size or self.outbox.monitors or self._candidates)

    @property
    def _stage(self) -> Stage | None:
        return self._connections[self._current] if self._current is not None else None

    # What became of connections ------------------------------------------------------------------------------------

    def greeted(self, connection: str) -> None:
        """Note a connection whose other side claims to be the peer."""
        self._move(connection, StageEvent.GREETED)

    def authenticated(self, connection: str, lost: str, terms: Terms) -> list[Effect]:
        """Note that both sides of a connection have proven themselves. The side that decides may choose it now.

        Args:
          connection: its ID.
          lost: which connection the peer says has ended there.
          terms: what is known of the peer.
        """
        if self._move(connection, StageEvent.AUTHENTICATED) is None:
            stage = self._stage_of(connection)
            raise LocalProtocolError(f"expected a connection that is greeted, got one that is {stage}")
        self._terms[connection] = terms
        if not self.decides:
            return []
        # Which newcomer is chosen is code, and not a table as `STAGES` is. A row of that names one connection, its
        # stage, and its next one. Here two connections and a claim of the peer are compared, and what is done is mostly
        # done to the other one: it is replaced, or probed, and the newcomer only waits. The order matters, too: the
        # first answer counts. In a table, where one row at most applies, each would repeat the opposite of all guards
        # before it, and name a method in the place of a state. It would be this sequence with more words.
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
        """Take up a connection that the peer, which decides, has chosen. Raises `RemoteProtocolError`."""
        if self.decides or self._connections.get(connection) is not Stage.AUTHENTICATED:
            expected = "expected 'link' once, from the side that decides, when both sides have proven themselves"
            raise RemoteProtocolError(f"{expected}, got 'link' on a connection that is {self._stage_of(connection)}")
        if self._current is not None and self._terms[connection].incarnation != self.incarnation:
            return self._probe_first(connection)
        return self._replace(connection, "the other side chose another connection")

    def ok_received(self, connection: str) -> list[Effect]:
        """Note that the peer has taken up the connection that this side chose. Raises `RemoteProtocolError`."""
        if self._move(connection, StageEvent.OK) is None:
            expected = "expected 'ok' once, as the answer to 'link'"
            raise RemoteProtocolError(f"{expected}, got 'ok' on a connection that is {self._stage_of(connection)}")
        return [NodeUp(connection)]

    def choice_expired(self, connection: str) -> list[Effect]:
        """End the chosen connection if the peer has not answered it with `ok`, because the time for that is over."""
        if self._connections.get(connection) is not Stage.CHOSEN:
            return []
        return self._end(connection, "the peer did not take up the connection in time")

    def probe_answered(self) -> list[Effect]:
        """Refuse the connections of another incarnation, because the peer of the connection in use is alive."""
        candidates, self._candidates = self._candidates, []
        return [effect for connection in candidates for effect in self._refuse(connection, "node ID in use")]

    def probe_failed(self) -> list[Effect]:
        """End the connection in use, which does not answer, so that another incarnation takes its place."""
        if self._current is None or not self._candidates:
            return []
        return self._end(self._current, "the peer does not answer, and another run of its node has connected")

    def closed(self, connection: str, why: str) -> list[Effect]:
        """Note that a connection has ended, or that the peer has refused it. An unknown connection is no error."""
        if connection not in self._connections:
            return []
        if connection == self._current:
            return self._end(connection, why)
        self._move(connection, StageEvent.ENDED)
        return []

    # Parting -------------------------------------------------------------------------------------------------------

    def ask(self) -> list[Effect]:
        """Ask the peer to part, because this side does not need the connection any more. Nothing unless `is_idle`."""
        current = self._current
        if current is None or self._move(current, StageEvent.ASK) is None:
            return []
        return [Say(current, "idle")]

    def idle_received(self, *, willing: bool) -> list[Effect]:
        """Answer the peer, which has asked to part by its last word on the connection in use.

        Args:
          willing: whether the caller can do without the connection, and has handed on all that was queued for it.
        """
        current = self._current
        if current is None or self._stage is Stage.PARTED:
            return []
        if self._move(current, StageEvent.IDLE) is not None:
            return [HalfClose(current)]
        # Monitors of the peer here do not count: it would not have asked if it needed them.
        if willing and self._move(current, StageEvent.AGREE) is not None:
            return [Say(current, "bye"), HalfClose(current)]
        return self.take_loss() if self.outbox.send("", requests.BUSY) else []

    def bye_received(self) -> list[Effect]:
        """Half-close the connection in use, because the peer agrees to part by its last word."""
        current = self._current
        if current is None or self._stage is Stage.PARTED:
            return []
        if self._move(current, StageEvent.BYE) is not None:
            return [HalfClose(current)]
        return self._end(current, "the peer agreed to part too late, or was not asked")

    def busy_received(self) -> None:
        """Go on: the peer does not want to part, or has not answered in time and the caller waits no longer."""
        if self._current is not None:
            self._move(self._current, StageEvent.BUSY)

    # Losses --------------------------------------------------------------------------------------------------------

    def lose(self, why: str) -> list[Effect]:
        """Give up what is queued and any connection, because none came in time, or because the node closes."""
        self.outbox.lose(transport_error(self.peer_id, why))
        return self.take_loss()

    def presume_gone(self, why: str) -> list[Effect]:
        """Give up what waits for a peer that seems to have gone, unless a connection is there or on its way."""
        return self.lose(why) if self.wants_connection and not self._connections else []

    def take_loss(self) -> list[Effect]:
        """Return what is to be done after `Outbox.send` has said that something was lost, before `Outbox.fire`."""
        reason, (messages, size) = self.outbox.reason, self.outbox.take_dropped()
        effects: list[Effect] = []
        was_up = self.in_use is not None
        if self._current is not None:
            effects.append(Close(self._current, str(reason[-1])))
            if was_up:
                self.last_ended = self._current
            self._move(self._current, StageEvent.LOSS)
            self._current = None
            effects += self._first_candidate()
        effects.append(Dropped(reason, was_up, messages, size))
        return [*effects, *self._unwatch(), FireDue()]

    def message_lost(self, name: str, why: str) -> list[Effect]:
        """Fire the monitors of one port, because a message for it, taken from the program earlier, cannot be queued.

        The loss concerns this port alone. Nothing for the port may be queued between the failure and this call.
        """
        monitors = self.outbox.monitors.pop(name, None)
        if not monitors:
            return []
        fire = Fire(tuple(monitors), transport_error(self.peer_id, why))
        # As when the last of them is taken back: the peer need not watch the port any longer.
        return [fire, *(self.take_loss() if name and self.outbox.send("", requests.stop_monitor(name)) else [])]

    def give_up(self, why: str) -> Dropped:
        """Lose everything after an error of this side. The caller closes all connections, and fires the monitors."""
        self.last_ended = self._current or self.last_ended
        self._connections, self._terms, self._candidates, self._current, self._next = {}, {}, [], None, None
        self.watched.clear()
        return self.outbox.ruin(transport_error(self.peer_id, why))

    def fired(self) -> list[Effect]:
        """Lift the fence, because all monitors have fired; a connection that has waited for that is taken up."""
        return self._take_up_next() if self.outbox.fired() and self._next is not None else []

    # The rules -----------------------------------------------------------------------------------------------------

    def _end(self, connection: str, why: str) -> list[Effect]:
        """End the current connection."""
        was_up = self.in_use is not None
        if self._move(connection, StageEvent.ENDED) is None:
            # Rule 2.
            return self.lose(why)
        self._current = None
        if not was_up:
            # Nothing was written to it and nothing read from it, so nothing is lost and what is queued can wait for
            # the next one. What the other side wrote, after its `ok`, is lost there, and it will notice.
            return [Close(connection, why)]
        # Rule 6. The other side may hold on to it all the same, so it is claimed as any other.
        self.last_ended = connection
        effects: list[Effect] = [Close(connection, why), NodeDown(connection, why), *self._unwatch()]
        effects += self._first_candidate()
        if self._next is not None:
            effects += self._take_up_next()
        return effects

    def _unwatch(self) -> list[Effect]:
        """End the monitors of the peer, because they end with the connection."""
        # Sorted, because the order of a set differs from run to run.
        names = tuple(sorted(self.watched))
        self.watched.clear()
        return [Unwatch(names)] if names else []

    def _replace(self, connection: str, why: str) -> list[Effect]:
        """End the current connection, if there is one. Then take this one up, behind the fence."""
        # Another incarnation that waits for a probe has its answer: the one that we know has just spoken.
        effects = self.probe_answered()
        if self._next is not None:
            effects.append(Close(self._next, "another connection was chosen"))
            self._move(self._next, StageEvent.ENDED)
        if self._current is not None:
            effects += self._end(self._current, why)
        return effects + self._take_up(connection)

    def _take_up(self, connection: str) -> list[Effect]:
        """Choose a connection if this side decides, or accept the peer's choice; behind the fence in any case."""
        losses = self.outbox.adapt(self._terms[connection]) if self.outbox.fence is Fence.CLEAR else []
        if self._move(connection, StageEvent.TAKEN_UP) is None:
            self._next = connection
            return losses
        self._current = connection
        if self.decides:
            return [Choose(connection)]
        # Rule 4: any other connection might have been chosen before this one, and its `link` be on its way still.
        others = [other for other in self._connections if other != connection]
        for other in others:
            self._move(other, StageEvent.ENDED)
        closings = [Close(other, "another connection was chosen") for other in others]
        return [*closings, Accept(connection), NodeUp(connection)]

    def _take_up_next(self) -> list[Effect]:
        connection, self._next = self._next, None
        assert connection is not None
        return self._take_up(connection)

    def _probe_first(self, connection: str) -> list[Effect]:
        """Probe the connection in use, because another incarnation wants its place."""
        assert self._current is not None
        self._candidates.append(connection)
        if self._stage is Stage.CHOSEN:
            # Chosen only: nothing depends on it yet, and whoever is there has its chance to answer.
            return self._refuse(self._candidates.pop(), "already connecting")
        return [Probe(self._current)]

    def _first_candidate(self) -> list[Effect]:
        """Let the first connection that waited for a probe be the next one: the connection in use has ended."""
        if not self._candidates:
            return []
        self._next, *others = self._candidates
        self._candidates = []
        return [effect for other in others for effect in self._refuse(other, "already connecting")]

    def _refuse(self, connection: str, why: str) -> list[Effect]:
        self._move(connection, StageEvent.ENDED)
        return [Refuse(connection, why)]

    # Stages --------------------------------------------------------------------------------------------------------

    def _stage_of(self, connection: str) -> str:
        return self._connections.get(connection, Stage.NEW).value

    def _move(self, connection: str, event: StageEvent) -> Stage | None:
        """Move a connection on to the stage that follows, and return that stage; None if the table has none."""
        after = STAGES.after(self._connections.get(connection, Stage.NEW), event, self)
        if after is Stage.GONE:
            self._forget(connection)
        elif after is not None:
            self._connections[connection] = after
        return after

    def _forget(self, connection: str) -> None:
        del self._connections[connection]
        self._terms.pop(connection, None)
        if connection == self._next:
            self._next = None
        if connection in self._candidates:
            self._candidates.remove(connection)
