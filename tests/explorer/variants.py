"""Associations with one rule taken out. The explorer must find a fault in each."""

from __future__ import annotations

from typing import Any

from trio_mp._protocol.association.association import Association, Stage
from trio_mp._protocol.association.effects import Accept, Choose, Close, Effect, Fire, FireDue, HalfClose, NodeUp, Terms
from trio_mp._protocol.association.outbox import Fence, Outbox


def with_outbox(kind: type[Outbox]) -> type[Association]:
    """Return an association class with an outbox of this class, and no other change."""

    class Changed(Association):
        def __init__(self, local_id: str, peer_id: str, *, queue_limit: int, message_limit: int, **rest: Any) -> None:
            super().__init__(local_id, peer_id, queue_limit=queue_limit, message_limit=message_limit, **rest)
            self.outbox = kind(peer_id, queue_limit, message_limit, **rest)

    Changed.__name__ = kind.__name__
    return Changed


class TakesWhatComes(Association):
    """No side decides: each takes up every connection as soon as it has authenticated, and ends no other for it."""

    def authenticated(self, connection: str, lost: str, terms: Terms) -> list[Effect]:
        self._terms[connection] = terms
        self._connections[connection] = Stage.IN_USE
        self._current = connection
        return [NodeUp(connection)]


class WritesBeforeOk(Association):
    """The side that decides does not wait for `ok`.

    The other side then reads what it has not taken up yet: an older `link` can still come in between, and what it is
    asked for, such as to watch a port, is answered behind the fence, where answers are dropped.
    """

    def _take_up(self, connection: str) -> list[Effect]:
        effects = super()._take_up(connection)
        if Choose(connection) in effects:
            self._connections[connection] = Stage.IN_USE
        return effects

    def ok_received(self, connection: str) -> list[Effect]:
        return []


class KeepsTheOthers(Association):
    """The other side does not close the other connections when it takes one up.

    The promise can do without, given the `ok`. But a `link` that was overtaken then costs a connection that is well.
    """

    def _take_up(self, connection: str) -> list[Effect]:
        connections, terms = dict(self._connections), dict(self._terms)
        effects = super()._take_up(connection)
        if Accept(connection) not in effects:
            return effects
        self._connections = connections | self._connections
        self._terms = terms | self._terms
        return [effect for effect in effects if not isinstance(effect, Close)]


class NeitherOkNorClosing(KeepsTheOthers, WritesBeforeOk):
    """An association with both changes."""


class ReplacesInSilence(Association):
    """A connection that is replaced by another one is no loss."""

    def _replace(self, connection: str, why: str) -> list[Effect]:
        effects: list[Effect] = []
        if self._current is not None:
            effects.append(Close(self._current, why))
            self._forget(self._current)
            self._current = None
            self.watched.clear()
        return effects + self._take_up(connection)


class _NeverDrops(Outbox):
    def overflows(self) -> bool:
        return False


class FiresLater(Association):
    """Nothing waits for the monitors to have fired."""

    def __init__(self, local_id: str, peer_id: str, *, queue_limit: int, message_limit: int) -> None:
        super().__init__(local_id, peer_id, queue_limit=queue_limit, message_limit=message_limit)
        self.outbox = _NeverDrops(peer_id, queue_limit, message_limit)

    @property
    def may_write(self) -> bool:
        return self.in_use is not None

    def _take_up(self, connection: str) -> list[Effect]:
        fence, self.outbox.fence = self.outbox.fence, Fence.CLEAR
        try:
            return super()._take_up(connection)
        finally:
            self.outbox.fence = fence


class _KeepsBehindTheFence(Outbox):
    def overflows(self) -> bool:
        return self.fence is not Fence.LOST and super().overflows()


QueuesBehindTheFence = with_outbox(_KeepsBehindTheFence)
"""An association that keeps what is sent between a loss and its report."""


class _KeepsAtALoss(Outbox):
    def lose(self, reason: tuple[object, ...]) -> None:
        queue, self.queue = self.queue, type(self.queue)()  # type: ignore[call-arg]  # a `CountingQueue`
        super().lose(reason)
        self.queue = queue


KeepsTheQueue = with_outbox(_KeepsAtALoss)
"""An association that sends what was queued at a loss over the next connection."""


class ForgetsTheMonitors(Association):
    """A loss takes the monitors, and fires none of them."""

    def take_loss(self) -> list[Effect]:
        self.outbox.monitors = {}
        return super().take_loss()


class _DropsInSilence(Outbox):
    def overflows(self) -> bool:
        if self.queue.size > self.queue_limit:
            self.queue.drop()
        return False


DropsInSilence = with_outbox(_DropsInSilence)
"""An association that drops a full queue, and fires no monitor."""


class BelievesAnyClaim(Association):
    """Any claim that a connection was lost is believed, whichever connection it names."""

    def authenticated(self, connection: str, lost: str, terms: Terms) -> list[Effect]:
        return super().authenticated(connection, (lost and self._current) or "", terms)


class GoesBack(Association):
    """Any `link` is obeyed, even of a connection that has been in use; a connection is not closed when it ends."""

    def take_loss(self) -> list[Effect]:
        connections, terms = dict(self._connections), dict(self._terms)
        effects = super().take_loss()
        for connection in connections.keys() - self._connections.keys():
            self._connections[connection] = Stage.AUTHENTICATED
            self._terms[connection] = terms[connection]
        return [effect for effect in effects if not isinstance(effect, Close)]


class NeverReports(Association):
    """The fence goes up, and the monitors are never fired."""

    def take_loss(self) -> list[Effect]:
        return [effect for effect in super().take_loss() if not isinstance(effect, FireDue)]


class BelievesAgainstTheEvidence(Association):
    """A peer that seems to have gone is given up though a connection with it is going on."""

    def presume_gone(self, why: str) -> list[Effect]:
        return self.lose(why) if self.wants_connection else []


class BelievesInSilence(Association):
    """The queue for a peer that seems to have gone is dropped, and no monitor fires."""

    def presume_gone(self, why: str) -> list[Effect]:
        if self._connections:
            return []
        self.outbox.queue.drop()
        self.outbox.monitors = {}
        return []


class FiresInTheCall(Association):
    """The monitors of a peer that seems to have gone fire at once, and nothing keeps what is sent meanwhile."""

    def presume_gone(self, why: str) -> list[Effect]:
        if self._connections or not self.wants_connection:
            return []
        monitors = tuple(monitor for table in self.outbox.monitors.values() for monitor in table)
        self.outbox.monitors = {}
        return [Fire(monitors, ("transport_error", self.peer_id, why))]


class AgreesToEverything(Association):
    """A side that is asked to part says `bye`, whatever it has queued and monitors."""

    @property
    def is_free(self) -> bool:
        return self.may_write


class AsksUnderMonitors(Association):
    """A side asks to part though it monitors something."""

    @property
    def is_idle(self) -> bool:
        return self.may_write and not self.outbox.queue.size


class WritesAfterItsLastWord(Association):
    """A side that has asked to part goes on writing."""

    @property
    def may_write(self) -> bool:
        return super().may_write or self.is_asked


class DropsWhenParting(Association):
    """Messages that were sent after the last word are dropped with the connection, and no monitor fires."""

    def _end(self, connection: str, why: str) -> list[Effect]:
        if self._stage in {Stage.ASKED, Stage.PARTED}:
            self.outbox.queue.drop()
        return super()._end(connection, why)


class EndsAtItsLastWord(Association):
    """A side closes the connection as soon as it knows both last words, without reading to the end."""

    def idle_received(self, *, willing: bool) -> list[Effect]:
        return self._ended(super().idle_received(willing=willing))

    def bye_received(self) -> list[Effect]:
        return self._ended(super().bye_received())

    def _ended(self, effects: list[Effect]) -> list[Effect]:
        last = effects[-1] if effects else None
        return [*effects[:-1], *self._end(last.connection, "parted")] if isinstance(last, HalfClose) else effects


class ReadsOn(Association):
    """A connection whose sides have parted is not closed when another one takes its place."""

    def _end(self, connection: str, why: str) -> list[Effect]:
        if self._stage not in {Stage.ASKED, Stage.PARTED}:
            return super()._end(connection, why)
        return [effect for effect in super()._end(connection, why) if effect != Close(connection, why)]


class ForgivesALateAnswer(Association):
    """A `bye` that comes after its side has gone on counts like one in time."""

    def bye_received(self) -> list[Effect]:
        if self._current is None:
            return []
        self._connections[self._current] = Stage.PARTED
        return [HalfClose(self._current)]


class HidesThatItParted(Association):
    """The end of a connection after the last word is not claimed in `lost=`."""

    def _end(self, connection: str, why: str) -> list[Effect]:
        before, clean = self.last_ended, self._stage in {Stage.ASKED, Stage.PARTED}
        effects = super()._end(connection, why)
        if clean:
            self.last_ended = before
        return effects


class HoldsOnToTheParted(Association):
    """A side that has said its last word does not believe that the other side has lost the connection."""

    def authenticated(self, connection: str, lost: str, terms: Terms) -> list[Effect]:
        parted = self._stage in {Stage.ASKED, Stage.PARTED}
        return super().authenticated(connection, "" if parted else lost, terms)


class NeverAnswers(Association):
    """A side that does not want to part says nothing."""

    def idle_received(self, *, willing: bool) -> list[Effect]:
        return super().idle_received(willing=willing) if (willing and self.is_free) or self.is_asked else []


class LosesWhenParting(Association):
    """The end of a connection is a loss, even after the last word."""

    def _end(self, connection: str, why: str) -> list[Effect]:
        return super()._end(connection, why) if self._stage is Stage.CHOSEN else self.lose(why)
