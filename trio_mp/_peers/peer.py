"""A peer node at run time: its association, the connections with it, and what waits for either.

The association decides; this does what it says, in the order in which it says it.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, cast

import trio

from .._events import fields
from .._ids import join_port
from .._ports.boundary import LocalPorts
from .._ports.monitor import Monitor
from .._protocol import requests
from .._protocol.association import effects
from .._protocol.association.association import Association
from .._protocol.association.outbox import INLINE_SHARE, Fence
from .._protocol.handshake.handshake import Step
from .._reason import Reason, describe, identifier_of
from .._settings.settings import Settings
from .callers import Callers
from .deadline import Deadline
from .idleness import Idleness
from .observers import Observers
from .own_errors import explain, survives, tell_all
from .peer_connection import PeerConnection
from .refusals import Refusals
from .traffic import FAILED, GIVEN_UP, PARTED, Traffic
from .watchers import Watchers

log = logging.getLogger("trio_mp.connection")

MEMORY = 300.0
"""How long something is kept about a node with which nothing binds us any more, in seconds."""

_TICKETS = 500
"""How many calls one message calls off: a message of less than 64 KiB, which each node takes."""


class Peer:
    """What a node keeps about another.

    Args:
      dispatcher: the runtime's dispatcher.
      settings: the node's.
      node_id: the other node's ID.
      observers: are told when a connection is in use, when none is any more, and when one is wanted.
      why_missing: says why there may be no connection with a node, for people.

    Attributes:
      association: what was decided, what is queued, who monitors what.
      connections: those known to belong to it, by ID.
      current: the one in use.
      has_parted: whether the latest connection has parted: each side has read the last word of the other.
      drains: whether the peer has said that it drains, on the connection in use.
      outbox, queue: those of the association.
      watchers: our ports that it monitors.
      callers: its calls of our ports.
      calling: how many calls of its ports are in flight.
      refusals: its messages that our ports have refused.
      traffic: what has gone over all connections with it that were in use.
      up_since: since when the connection in use is that, by Trio's clock.
      up: a parking lot, woken when a connection is in use and may be written to, and when what waited was dropped.
    """

    def __init__(
        self,
        dispatcher: LocalPorts,
        settings: Settings,
        node_id: str,
        observers: Observers,
        why_missing: Callable[[str], str],
    ) -> None:
        self.id = node_id
        self._observers = observers
        self._why_missing = why_missing
        self.association = Association(
            dispatcher.id,
            node_id,
            queue_limit=settings.queue_limit,
            message_limit=settings.message_limit,
            wants_names=lambda: dispatcher.losses.wanted,
        )
        self.connections: dict[str, PeerConnection] = {}
        self.current: PeerConnection | None = None
        self.is_tool = False
        self.traffic = Traffic()
        self.up_since = 0.0
        self.calling = 0
        self.has_parted = self.drains = False
        self.up = trio.lowlevel.ParkingLot()
        # How many ports that it has spawned on this node have not unwound.
        self.spawned = 0
        self.used_at = trio.current_time()
        self._dispatcher = dispatcher
        self._settings = settings
        self.outbox = self.association.outbox
        self.queue = self.outbox.queue
        self.queue.tell_next()
        # The tickets of our calls that are over, and of which the peer may still know.
        self._over: list[str] = []
        # Whether this is flushed at the end of the pass. While it is not, the queue tells of the next message.
        self._dirty = self._failing = False
        # Whether the connection in use has ended, and the observers do not know it yet.
        self._is_untold = False
        self._failures = 0
        self._inline_size = settings.queue_limit // INLINE_SHARE
        self._flushed = trio.lowlevel.ParkingLot()
        self._missing = Deadline(dispatcher, self._give_up, self.fail)
        self._probe = Deadline(dispatcher, self._probe_failed, self.fail)
        self.watchers = Watchers(self, dispatcher, settings.monitor_limit)
        self.callers = Callers(self, dispatcher, settings.call_limit, tracebacks=settings.share_logs)
        self.refusals = Refusals(self, dispatcher)
        self._idleness = Idleness(settings.idle_timeout, settings.handshake_timeout / 2)

    def is_up(self) -> bool:
        """Whether there is a connection in use."""
        return self.current is not None

    @survives
    def is_forgotten(self, now: float) -> bool:
        """Whether nothing has bound the two nodes for so long that nothing of it need be kept."""
        association = self.association
        bound = self.connections or association.wants_connection or self.outbox.fence is not Fence.CLEAR
        if bound or self.spawned or self._idleness.kept:
            self.used_at = now
        return now - self.used_at > MEMORY

    def understands(self, word: str) -> bool:
        """Whether the peer has said that it understands this word; yes, as long as there is no connection to ask."""
        info = self.current.info if self.current is not None else None
        return info is None or word in info.words

    def spawned_port_gone(self) -> None:
        """Count a port less that the peer has spawned here: it is dead, and has unwound."""
        self.spawned -= 1

    # Sending -------------------------------------------------------------------------------------------------------

    def send(self, name: str, message: tuple[object, ...]) -> None:
        """Queue a message for a port there. Raises as `Outbox.send` does. `Node.send` does the same in line."""
        try:
            if self.queue.append(name, message, self.outbox.send_limit):
                self.queued()
        except (TypeError, ValueError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is
            self.fail(error)

    def queued(self) -> None:
        """See to a queue whose `append` has said that there is something to do: to have it flushed, to drop it."""
        self.touch()
        if not self.queue.is_much:
            return
        if self.outbox.overflows():
            self.act(self.association.take_loss)
        elif self.queue.closed_size > self._inline_size and not self._dispatcher.lifecycle.firing:
            self.flush()

    def monitor(self, name: str, monitor: Monitor) -> None:
        """Monitor a port there; the empty name stands for the node."""
        self._after(self.outbox.monitor, name, monitor)

    def demonitor(self, name: str, monitor: Monitor) -> None:
        """Stop monitoring a port there."""
        self._after(self.outbox.demonitor, name, monitor)

    def _after(self, ask: Callable[[str, object], bool], name: str, monitor: Monitor) -> None:
        try:
            lost = ask(name, monitor)
        except (TypeError, ValueError):
            raise
        except Exception as error:
            self.fail(error)
            raise
        if lost:
            self.act(self.association.take_loss)
        self.touch()

    def call_off(self, ticket: str) -> None:
        """Tell the peer, at the end of this pass, that nobody waits for the answer to our call of this ticket."""
        self._over.append(ticket)
        self.touch()

    def _tell_over(self) -> None:
        tickets, self._over = self._over, []
        # Else the calls were lost, and the peer knows of none.
        if self.current is not None or self.queue.size:
            for start in range(0, len(tickets), _TICKETS):
                self.send("", requests.call_off(tuple(tickets[start : start + _TICKETS])))

    def touch(self) -> None:
        """Have the queue flushed, or a connection looked for, at the end of this pass."""
        if not self._dirty:
            self._dirty = True
            self._dispatcher.queue.mark_dirty(self)

    @trio.lowlevel.enable_ki_protection
    def flush(self) -> None:
        """Write what is queued, as far as it goes without blocking, or see to it that a connection is waited for."""
        self._dirty = True
        self.flush_dirty()

    def write(self) -> None:
        """Write what is queued, as `flush` does, unless monitors are being fired: then later."""
        if self._dirty and not self._dispatcher.lifecycle.firing:
            self.flush()

    @trio.lowlevel.enable_ki_protection
    def flush_dirty(self) -> None:
        """Flush at the end of a pass, unless that was done since."""
        try:
            if not self._dirty:
                return
            if self._over:
                self._tell_over()
            self._dirty = False
            self.queue.tell_next()
            if self.current is not None:
                self.current.writer.flush()
            elif self.association.wants_connection:
                self._wait_for_connection()
        except Exception as error:  # noqa: BLE001 - whatever it is
            self.fail(error)

    async def wait_flushed(self) -> None:
        """See `Node.flush`."""
        queue, losses, target = self.queue, self.queue.losses, self.queue.appended
        # Looked at before the checkpoint: in it the loss may be reported, and be over.
        lost = self.outbox.fence is Fence.LOST
        self.flush()
        await trio.lowlevel.checkpoint()
        if lost:
            raise trio.BrokenResourceError(f"messages for {self.id} were dropped")
        while queue.losses == losses:
            if queue.written >= target:
                return
            await self._flushed.park()
        raise trio.BrokenResourceError(f"messages for {self.id} were dropped before they could be written")

    # Connections ---------------------------------------------------------------------------------------------------

    def _wait_for_connection(self) -> None:
        if self._missing.begin(self._settings.connect_timeout):
            for tell in self._observers.wanted:
                tell(self.id)

    def _give_up(self) -> None:
        """No connection has come in time."""
        if self.association.wants_connection:
            why = self._why_missing(self.id)
            text = f"no connection within {self._settings.connect_timeout:g} s"
            self.act(self.association.lose, f"{text} ({why})" if why else text)

    def answered(self) -> None:
        """The peer has answered a ping on the connection in use."""
        if self._probe.cancel():
            self.act(self.association.probe_answered)

    def _probe_failed(self) -> None:
        self.act(self.association.probe_failed)

    # Parting -------------------------------------------------------------------------------------------------------

    def keep(self, reason: str) -> None:
        """Keep an idle connection with the peer, until `release` was called as often for this reason."""
        self._idleness.keep(reason)

    def release(self, reason: str) -> None:
        """Take back one `keep` for this reason."""
        self._idleness.release(reason)

    def ask_to_part(self) -> bool:
        """Ask the peer to end the connection, if nothing depends on it here; whether it was asked.

        The answer comes later: `Observers.down` hear of it if it agrees, `up` is woken if it does not.
        """
        if not (self._is_idle() and self._idleness.may_ask):
            return False
        self._idleness.asked(trio.current_time())
        self.act(self.association.ask)
        return True

    def beat(self, now: float) -> None:
        """Twice in each heartbeat: ask to part, if the connection has been idle for long."""
        association, connection = self.association, self.current
        if connection is None:
            return
        if association.is_asked:
            if self._idleness.is_overdue(now):
                log.info(
                    "%s: the peer does not say whether it needs the connection, which stays in use",
                    self.id,
                    extra=fields("parting", self._dispatcher.id, peer=self.id),
                )
                self._go_on()
        elif self._idleness.is_due(now, (self.queue.appended, connection.reader.batches), idle=self._is_idle()):
            self.ask_to_part()

    def _is_idle(self) -> bool:
        return self.association.is_idle and self._is_willing()

    def _is_willing(self) -> bool:
        return self.current is not None and self.current.writer.at_rest and not self._idleness.kept

    def parting_word(self, word: str) -> None:
        """The peer asks to part, or has answered: see `requests.Parting`."""
        if word == "idle":
            self.act(self.association.idle_received, willing=self._is_willing())
        elif word == "bye":
            self.act(self.association.bye_received)
        else:
            self._idleness.begin(trio.current_time())
            self._go_on()
            # It has answered, if it was probed as well.
            self.answered()

    def draining_word(self, word: str) -> None:
        """The peer drains, or has heard that this node does: see `requests.Draining`."""
        if word != requests.DRAINING:
            tell_all(self._observers.heard, self.id)
            return
        # Behind all that is queued: so nothing that was sent before this can arrive behind the answer.
        self.send("", requests.SAY_HEARD)
        if not self.drains:
            self.drains = True
            log.info(
                "%s drains: it is about to end", self.id, extra=fields("draining", self._dispatcher.id, peer=self.id)
            )
            tell_all(self._observers.draining, self.id)

    def _go_on(self) -> None:
        self.association.busy_received()
        self.touch()
        self.up.unpark_all()

    @survives
    def connection_ended(self, connection_id: str, why: str) -> None:
        """Do what follows from the end of a connection with the peer."""
        self.connections.pop(connection_id, None)
        self.execute(self.association.closed(connection_id, why))

    @survives
    def act(self, decide: Callable[..., list[effects.Effect]], *arguments: Any, **named: Any) -> None:
        """Have the association decide something, and do what it says."""
        self.execute(decide(*arguments, **named))

    def execute(self, decided: Iterable[effects.Effect]) -> None:
        """Do what the association says, depth first: `effects.py` says why. An error in it is a loss."""
        left, failures = deque(decided), self._failures
        try:
            while left and self._failures == failures:
                self._do(left[0])
                left.popleft()
        except Exception as error:  # noqa: BLE001 - whatever it is
            self.fail(error)
        for effect in left:
            # All has been given up meanwhile, but monitors that were taken out of their table have to fire.
            if isinstance(effect, effects.Fire):
                self.outbox.unfired.update(dict.fromkeys(effect.monitors))
        self.touch()

    def _do(self, effect: effects.Effect) -> None:
        match effect:
            case effects.Choose(connection):
                linked = self.connections[connection]
                # Else what it has said meanwhile ends it; its reader is about to say so.
                if linked.session.handshake.step is Step.DECISION:
                    linked.session.link()
                    linked.expect_answer(self._settings.handshake_timeout / 2)
                    # It is not in use, and its reader may be waiting: nobody else would.
                    linked.flush()
            case effects.Accept(connection) | effects.NodeUp(connection) if connection not in self.connections:
                # What an effect before had others send was too much for the queue, and this was ended with it.
                pass
            case effects.Accept(connection):
                self.connections[connection].session.accept()
            # A connection is told of its end before it leaves the table. After an error in between, `fail` finds it
            # there; outside the table it would go on.
            case effects.Refuse(connection, why):
                self.connections[connection].finish(why)
                self.connections.pop(connection, None)
            case effects.Close(connection, why):
                closing = self.connections.get(connection)
                if closing is not None:
                    closing.close(why)
                    self.connections.pop(connection, None)
            case effects.Probe():
                # Half of what the side that chose the other connection waits for our `ok`. It begins first: the ping
                # may be one too many for the queue, and end the connection, and the probe with it.
                self._probe.begin(self._settings.handshake_timeout / 4)
                if self.association.may_write:
                    # Else it has been asked something already, which it has to answer.
                    self.send("", requests.ping())
            case effects.NodeUp(connection):
                self._went_up(self.connections[connection])
            case effects.Say(connection, word):
                self.connections[connection].say(word)
            case effects.HalfClose(connection):
                self.has_parted = True
                self.connections[connection].finish("nothing depended on the connection")
            case effects.NodeDown(_, why):
                self._went_down(why, PARTED)
                self._tell_down()
            case effects.Dropped():
                self._lost(effect)
            case effects.Unwatch():
                self.watchers.end_all()
                self.callers.end_all()
            case effects.FireDue():
                self._dispatcher.queue.call_next(self._fire_loss)
            case effects.Fire(monitors, reason):
                self._dispatcher.lifecycle.fire(cast("list[Monitor]", list(monitors)), reason)
            case effects.FireDone():
                self.execute(self.association.fired())

    def fail(self, error: Exception) -> None:
        """Give up all that there is between the two nodes: an error of this program has come out of the work for it."""
        if self._failing:
            # Before the monitors could fire: what then keeps the promise is the end of the node.
            self._dispatcher.lifecycle.crash(error)
            return
        self._failing = True
        self._failures += 1
        why = explain(error)
        loss = self.association.give_up(why)
        self._dispatcher.queue.call_next(self._fire_loss)  # first of all, so that they fire whatever comes now
        for connection in tuple(self.connections.values()):
            connection.close(why)
        self.connections.clear()
        self.watchers.end_all()
        self.callers.end_all()
        self._dirty = False
        self.queue.tell_next()
        self._lost(loss, FAILED)
        log.error(
            "%s: %s, so all that waits for this peer is given up",
            self.id,
            why,
            exc_info=error,
            extra=fields("own_error", self._dispatcher.id, peer=self.id),
        )

    @survives
    def _fire_loss(self) -> None:
        """Fire what a loss made due; until then the association drops what is sent.

        Observers hear of the loss behind the last monitor, and before another connection may be taken up. Nothing that
        a monitor's callback can do depends on what they know: it asks for `current`, which is None since the loss, and
        what a service wants sent to a peer without a connection is not sent. A callback cannot read the database,
        because all that reads it is async, and a task that the callback wakes runs later. So no monitor waits until
        the records of a node are dropped, which may be thousands.
        """
        if self.outbox.fence is not Fence.LOST:
            return
        fire = self.outbox.fire()
        # What was sent between the loss and now.
        messages, size = self.outbox.take_dropped()
        if messages:
            text = "%s: %d more messages (%d bytes) were dropped before the monitors fired"
            self._tell_dropped(fire.reason, messages, logging.WARNING, text, self.id, messages, size)
        self._dispatcher.lifecycle.fire(cast("list[Monitor]", list(fire.monitors)), fire.reason)
        self._tell_down()
        decided = self.association.fired()
        self._failing = False
        self.execute(decided)

    def _went_up(self, connection: PeerConnection) -> None:
        self.current = connection
        self.has_parted = self.drains = False
        self.is_tool = connection.info is not None and connection.info.tool
        connection.writer.write_queue_of(self.association, self._flushed)
        self.up_since = trio.current_time()
        self._idleness.connected(self.up_since)
        self._missing.cancel()
        log.info(
            "%s is up, by way of %s",
            self.id,
            connection.address,
            extra=fields("connection_up", self._dispatcher.id, peer=self.id),
        )
        self._dispatcher.instruments.tell("connection_up", self.id, connection.address)
        connection.opened()
        self.traffic.connections += 1
        self.up.unpark_all()
        for tell in self._observers.up:
            tell(self.id)

    def _lost(self, loss: effects.Dropped, cause: str = "") -> None:
        self._missing.cancel()
        what = describe(loss.reason)
        if loss.messages:
            # What was queued behind the end of the stream could not arrive, and whom it was for knows of the end.
            level = logging.DEBUG if self.current is not None and self.current.writer.said_all else logging.WARNING
            text = "%s: %d messages (%d bytes) were dropped: %s"
            self._tell_dropped(loss.reason, loss.messages, level, text, self.id, loss.messages, loss.size, what)
        if loss.was_up:
            self._went_down(what, cause)
        self._flushed.unpark_all()
        self.up.unpark_all()  # who waits to have the queue flushed need not wait any longer

    def _tell_dropped(self, reason: Reason, dropped: int, level: int, text: str, *arguments: object) -> None:
        """Tell of messages that were dropped: the log, and the program if it wants to know, behind the monitors."""
        log.log(
            level,
            text,
            *arguments,
            extra=fields("dropped", self._dispatcher.id, peer=self.id, reason=identifier_of(reason)),
        )
        self.traffic.lost += dropped
        self._dispatcher.losses.count(self.id, dropped, identifier_of(reason))
        for (name, certain), (count, size) in self.queue.take_lost().items():
            port = join_port(self.id, name) if name else self.id
            self._dispatcher.losses.note(port, count, size, reason, certain=certain)

    def _went_down(self, why: str, cause: str) -> None:
        if self.current is not None:
            cause = cause or self.current.cause or GIVEN_UP
            self.traffic.broken.add(cause)
            self._is_untold = True
            self.current.writer.leave_queue()
            self.current = None
        self._probe.cancel()
        self.refusals.end_all()
        extra = fields("connection_down", self._dispatcher.id, peer=self.id, reason=cause)
        log.info("%s is down: %s", self.id, why, extra=extra)
        self._dispatcher.instruments.tell("connection_down", self.id, cause)

    def _tell_down(self) -> None:
        """Tell the observers that no connection is in use any more, unless they know it."""
        if self._is_untold:
            tell_all(self._observers.down, self.id)
            # Behind the telling: after an error in between it is done again.
            self._is_untold = False
