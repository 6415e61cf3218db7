"""A peer node at run time: its association, the connections with it, and what waits for either.

The association decides; this does what it says, in the order in which it says it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import cast

import trio

from .._protocol.association import Association
from .._protocol.effects import (
    Accept,
    Close,
    Effect,
    Fire,
    FireDone,
    FireDue,
    HalfClose,
    Link,
    Lost,
    NodeDown,
    NodeUp,
    Probe,
    Refuse,
    Say,
    Unwatch,
)
from .._protocol.handshake import Step
from .._protocol.outbox import INLINE_SHARE, Fence
from .._reason import Reason, describe, reason_lost, too_many_monitors
from .dispatcher import Dispatcher
from .idleness import Idleness
from .keeper import RemoteMonitor
from .monitor import Monitor
from .peer_connection import PeerConnection, PeerNetwork
from .settings import Settings

log = logging.getLogger("trio_mp.connection")

MEMORY = 300.0
"""How long something is kept about a node with which nothing binds us any more, in seconds."""


class Peer:
    """What a node keeps about another.

    Args:
      host: the runtime's dispatcher.
      settings: the node's.
      node_id: the other node's ID.
      network: what it is part of.

    Attributes:
      association: what was decided, what is queued, who monitors what.
      connections: those known to belong to it, by ID.
      current: the one in use.
      up, down: parking lots, woken when a connection is in use and may be written to, and when none is any more.
    """

    def __init__(self, host: Dispatcher, settings: Settings, node_id: str, network: PeerNetwork) -> None:
        self.id = node_id
        self._network = network
        self.association = Association(
            host.id, node_id, queue_limit=settings.queue_limit, message_limit=settings.message_limit
        )
        self.connections: dict[str, PeerConnection] = {}
        self.current: PeerConnection | None = None
        self.up = trio.lowlevel.ParkingLot()
        self.down = trio.lowlevel.ParkingLot()
        # How many ports that it has spawned on this node have not unwound.
        self.spawned = 0
        self.used_at = trio.current_time()
        self._host = host
        self._settings = settings
        self._queue = self.association.queue
        self._dirty = False
        self._inline_size = settings.queue_limit // INLINE_SHARE
        self._flushed = trio.lowlevel.ParkingLot()
        self._deadline: trio.CancelScope | None = None
        self._watchers: dict[str, RemoteMonitor] = {}
        self._at_monitor_limit = False
        self._idleness = Idleness(settings.idle_timeout, settings.handshake_timeout / 2)

    def is_up(self) -> bool:
        """Whether there is a connection in use."""
        return self.current is not None

    def is_forgotten(self, now: float) -> bool:
        """Whether nothing has bound the two nodes for so long that nothing of it need be kept."""
        association = self.association
        if self.connections or association.wants_connection or association.fence is not Fence.CLEAR or self.spawned:
            self.used_at = now
        if self._idleness.kept:
            self.used_at = now
        return now - self.used_at > MEMORY

    # Sending -------------------------------------------------------------------------------------------------------

    def send(self, name: str, message: tuple[object, ...]) -> None:
        """Queue a message for a port there. Raises as `Association.send` does."""
        association = self.association
        lost = association.send(name, message)
        if not self._dirty:
            self._dirty = True
            self._host.mark_dirty(self)
        if lost:
            self.execute(association.take_loss())
        elif self._queue.closed_size > self._inline_size and not self._host.firing:
            self.flush()

    def monitor(self, name: str, monitor: Monitor) -> None:
        """Monitor a port there; the empty name stands for the node."""
        self._after(self.association.monitor(name, monitor))

    def demonitor(self, name: str, monitor: Monitor) -> None:
        """Stop monitoring a port there."""
        self._after(self.association.demonitor(name, monitor))

    def _after(self, lost: bool) -> None:
        if lost:
            self.execute(self.association.take_loss())
        self.touch()

    def touch(self) -> None:
        """Have it flushed, or a connection looked for, at the end of this scheduler pass."""
        if not self._dirty:
            self._dirty = True
            self._host.mark_dirty(self)

    def flush_dirty(self) -> None:
        """Do so at the end of a pass, unless it was done since."""
        if self._dirty:
            self.flush()

    @trio.lowlevel.enable_ki_protection
    def flush(self) -> None:
        """Write what is queued, as far as it goes without blocking, or see to it that a connection is waited for."""
        self._dirty = False
        if self.current is not None:
            self.current.flush()
        elif self.association.wants_connection:
            self._wait_for_connection()

    def next_chunk(self, connection: PeerConnection) -> memoryview | None:
        """What is to be written to this connection next."""
        if connection is not self.current or not self._queue.size:
            return None
        return None if self._host.firing or not self.association.may_write else self._queue.next_chunk()

    def progressed(self) -> None:
        """Something was handed to the operating system: whoever waits for that looks again."""
        if self._flushed:
            self._flushed.unpark_all()

    async def wait_flushed(self) -> None:
        """See `Node.flush`."""
        queue, losses, target = self._queue, self._queue.losses, self._queue.appended
        # Looked at before the checkpoint: in it the loss may be reported, and be over.
        lost = self.association.fence is Fence.LOST
        self.flush()
        await trio.lowlevel.checkpoint()
        if lost:
            raise trio.BrokenResourceError(f"messages for {self.id} were dropped")
        while queue.losses == losses:
            unsent = self.current.unsent if self.current is not None else 0
            if queue.written - unsent >= target:
                return
            await self._flushed.park()
        raise trio.BrokenResourceError(f"messages for {self.id} were dropped before they could be written")

    # What the peer has here ------------------------------------------------------------------------------

    def watch(self, name: str) -> None:
        """The peer monitors one of our ports."""
        if name in self._watchers:
            return
        if len(self._watchers) >= self._settings.monitor_limit:
            # It must not wait for a report that never comes: that it is refused is one.
            if not self._at_monitor_limit:
                log.warning("%s: it monitors %d ports here, the limit; more are refused", self.id, len(self._watchers))
            self._at_monitor_limit = True
            self.send("", ("kil0", name, *too_many_monitors(self._settings.monitor_limit)))
        else:
            watcher = self._watchers[name] = RemoteMonitor(self, name)
            self.association.watched.add(name)
            self._host.add_local_monitor(name, watcher)

    def spawned_port_gone(self) -> None:
        """A port that it has spawned here is dead, and has unwound."""
        self.spawned -= 1

    def unwatch(self, name: str) -> None:
        """The peer does not monitor it any more."""
        watcher = self._watchers.pop(name, None)
        if watcher is not None:
            self._at_monitor_limit = False
            self.association.watched.discard(name)
            self._host.remove_local_monitor(name, watcher)

    def tell_death(self, name: str, reason: Reason) -> None:
        """See `RemoteWatcher.tell_death`."""
        if self._watchers.pop(name, None) is None:
            return
        self.association.watched.discard(name)
        try:
            self.send("", ("kil0", name, *reason))
        except (TypeError, ValueError) as error:
            self.send("", ("kil0", name, *reason_lost(error)))

    # Connections ---------------------------------------------------------------------------------------------------

    def _wait_for_connection(self) -> None:
        if self._deadline is None:
            self._deadline = trio.CancelScope()
            self._host.start_system_task(self._give_up_later, self._deadline)
            self._network.on_wanted(self.id)

    async def _give_up_later(self, scope: trio.CancelScope) -> None:
        timeout = self._settings.connect_timeout
        with scope:
            await trio.sleep(timeout)
            self._deadline = None
            if self.association.wants_connection:
                why = self._network.why_missing(self.id)
                text = f"no connection within {timeout:g} s"
                self.execute(self.association.lose(f"{text} ({why})" if why else text))

    # Parting -------------------------------------------------------------------------------------------------------

    def keep(self, reason: str) -> None:
        """Do not let a connection with it end because it is idle, until `release` was called as often."""
        self._idleness.keep(reason)

    def release(self, reason: str) -> None:
        """Take back one `keep` for this reason."""
        self._idleness.release(reason)

    def ask_to_part(self) -> bool:
        """Ask the peer to end the connection, if nothing depends on it here; whether it was asked.

        The answer comes later: `down` is woken if it agrees, `up` if it does not.
        """
        if not (self._is_idle() and self._idleness.may_ask):
            return False
        self._idleness.asked(trio.current_time())
        self.execute(self.association.ask())
        return True

    def beat(self, now: float) -> None:
        """Twice in each heartbeat: ask to part, if the connection has been idle for long."""
        association, connection = self.association, self.current
        if connection is None:
            return
        if association.is_asked:
            if self._idleness.is_overdue(now):
                log.info("%s: it does not answer whether it needs the connection; going on", self.id)
                self._go_on()
        elif self._idleness.is_due(now, (association.queue.appended, connection.batches), idle=self._is_idle()):
            self.ask_to_part()

    def _is_idle(self) -> bool:
        return self.association.is_idle and self._is_willing()

    def _is_willing(self) -> bool:
        return self.current is not None and self.current.at_rest and not self._idleness.kept

    def parting_word(self, word: str) -> None:
        """The peer asks to part, or has answered: see `requests.Parting`."""
        if word == "idle":
            self.execute(self.association.idle_received(willing=self._is_willing()))
        elif word == "bye":
            self.execute(self.association.bye_received())
        else:
            self._idleness.begin(trio.current_time())
            self._go_on()
            # It has answered, if it was probed as well.
            self.answered()

    def _go_on(self) -> None:
        self.association.busy_received()
        self.touch()
        self.up.unpark_all()

    def answered(self) -> None:
        """The peer has answered a ping on the connection in use."""
        if self.current is not None:
            self.current.answered()

    def connection_ended(self, connection_id: str, why: str) -> None:
        """A connection with it is gone."""
        self.connections.pop(connection_id, None)
        self.execute(self.association.closed(connection_id, why))

    def execute(self, effects: Iterable[Effect]) -> None:
        """Do what the association says."""
        for effect in effects:
            match effect:
                case Link(connection):
                    linked = self.connections[connection]
                    if linked.session.handshake.step is not Step.DECISION:
                        # What it has said meanwhile ends it; its reader is about to say so.
                        continue
                    linked.session.link()
                    linked.expect_answer(self._settings.handshake_timeout / 2)
                    # It is not in use, and its reader may be waiting: nobody else would.
                    linked.flush()
                case Accept(connection) | NodeUp(connection) if connection not in self.connections:
                    # What an effect before had others send was too much for the queue, and this was ended with it.
                    continue
                case Accept(connection):
                    self.connections[connection].session.accept()
                case Refuse(connection, why):
                    self.connections.pop(connection).finish(why)
                case Close(connection, why):
                    closing = self.connections.pop(connection, None)
                    if closing is not None:
                        closing.close(why)
                case Probe(connection):
                    # Half of what the side that chose the other connection waits for our `ok`. Looked up first: the
                    # ping may be one too many for the queue, and end the connection.
                    probed = self.connections[connection]
                    if self.association.may_write:
                        # Else it has been asked something already, which it has to answer.
                        self.send("", ("ping",))
                    probed.watch_for_life(self._settings.handshake_timeout / 4)
                case NodeUp(connection):
                    self._went_up(self.connections[connection])
                case Say(connection, word):
                    self.connections[connection].say(word)
                case HalfClose(connection):
                    self.connections[connection].finish("nothing depended on the connection")
                case NodeDown(_, why):
                    self._went_down(why)
                case Lost():
                    self._lost(effect)
                case Unwatch(names):
                    for name in names:
                        self._host.remove_local_monitor(name, self._watchers.pop(name))
                case FireDue():
                    self._host.call_next(self._fire_loss)
                case Fire(monitors, reason):
                    self._host.fire(cast("list[Monitor]", list(monitors)), reason)
                case FireDone():
                    self.execute(self.association.fired())
        self.touch()

    def _fire_loss(self) -> None:
        """Fire what a loss made due; until then the association drops what is sent."""
        if self.association.fence is not Fence.LOST:
            return
        fire = self.association.fire()
        # What was sent between the loss and now.
        messages, size = self.association.queue.dropped
        self.association.queue.dropped = (0, 0)
        if messages:
            log.warning("%s: %d more messages (%d bytes) were dropped with them", self.id, messages, size)
        try:
            self._host.fire(cast("list[Monitor]", list(fire.monitors)), fire.reason)
        finally:
            self.execute(self.association.fired())

    def _went_up(self, connection: PeerConnection) -> None:
        self.current = connection
        self._idleness.connected(trio.current_time())
        self._stop_waiting()
        log.info("%s is up, by way of %s", self.id, connection.address)
        connection.opened()
        self.up.unpark_all()
        self._network.on_up(self.id)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _lost(self, loss: Lost) -> None:
        self._stop_waiting()
        what = describe(loss.reason)
        if loss.messages:
            # What was queued behind the end of the stream could not arrive, and whom it was for knows of the end.
            level = logging.DEBUG if self.current is not None and self.current.said_all else logging.WARNING
            log.log(level, "%s: %d messages (%d bytes) were dropped: %s", self.id, loss.messages, loss.size, what)
        if loss.was_up:
            self._went_down(what)
        self._flushed.unpark_all()
        # Who waits to have the queue flushed need not wait any longer.
        self.up.unpark_all()

    def _went_down(self, why: str) -> None:
        self.current = None
        log.info("%s is down: %s", self.id, why)
        self.down.unpark_all()
        for callback in self._network.on_down:
            callback(self.id)
