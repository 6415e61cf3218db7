"""The calls of a peer to ports of this node, from their arrival to the answer."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Protocol

import trio

from .._ids import join_port
from .._ports.boundary import LocalPorts, RemoteMonitor
from .._ports.calls import FOREVER, ArrivedCall, CallMessage
from .._ports.context import Running
from .._protocol import requests
from .._protocol.association.association import Association
from .._protocol.calls import BUSY, TicketFate, TicketTable, deadline_of
from .._protocol.wire.values import plain_value
from .._reason import Reason, reason_lost, text_of, type_name_of
from .own_errors import Survivor, survives

_LONGEST_TRACEBACK = 20_000
"""How much of a traceback travels, in characters: its end, where the exception is."""


class CallingPeer(Survivor, Protocol):
    """A peer that calls ports; see `Peer`."""

    id: str
    association: Association

    def send(self, name: str, message: tuple[object, ...]) -> None:
        """Queue a message for a port there."""
        ...


class CallOfPeer(ArrivedCall):
    """A call of a peer to a port of this node.

    Args:
      callers: the calls of that peer.
      ticket: what the peer knows the call by: the name of its reply port.
      name: the name of the port that is called.
      deadline: see `CurrentCall`.

    Attributes:
      is_watched: whether `Callers` hears of the death of the port for it.
    """

    __slots__ = ("_callers", "is_watched", "name", "ticket")

    def __init__(self, callers: Callers, ticket: str, name: str, deadline: float) -> None:
        super().__init__(callers.peer_id, deadline)
        self._callers = callers
        self.ticket = ticket
        self.name = name
        self.is_watched = False

    def reply_port(self) -> str:
        """See `ArrivedCall.reply_port`."""
        return join_port(self.caller, self.ticket)

    def tell_reply(self, value: object) -> None:
        """See `ArrivedCall.tell_reply`."""
        self._callers.tell_reply(self, value)

    def tell_failure(self, error: Exception) -> None:
        """See `ArrivedCall.tell_failure`."""
        self._callers.tell_failure(self, error)

    def tell_refusal(self, text: str) -> None:
        """See `ArrivedCall.tell_refusal`."""
        self._callers.tell_refusal(self, text)

    def tell_expired(self) -> None:
        """See `ArrivedCall.tell_expired`."""
        self._callers.tell_expired(self)

    def forget(self) -> None:
        """See `ArrivedCall.forget`."""
        self._callers.forget(self)

    def answer_by_error(self, type_name: str, text: str) -> None:
        """Answer by an error that is no exception of a handler; see `CallError` for the two."""
        self._callers.tell_error(self, type_name, text)
        self.close()
        self.forget()


class Callers:
    """The calls that a peer has in flight on this node. They end with the connection in use.

    Args:
      peer: who calls.
      dispatcher: the ports of this node.
      limit: how many calls it may have in flight.
      tracebacks: whether it is told where exceptions were raised.
    """

    def __init__(self, peer: CallingPeer, dispatcher: LocalPorts, limit: int, *, tracebacks: bool) -> None:
        self._peer = peer
        self.peer_id = peer.id
        self.fail = peer.fail
        self._dispatcher = dispatcher
        self._limit = limit
        self._tracebacks = tracebacks
        self._calls: TicketTable[CallOfPeer] = TicketTable(limit)
        # Those whose handler has not answered at once, by the name of the port and the ticket, with what hears of the
        # death of the port: one for all of them, because to set it and take it away costs as much as a message.
        self._watched: dict[str, tuple[RemoteMonitor, dict[str, CallOfPeer]]] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def in_flight(self) -> list[CallOfPeer]:
        """The calls that are not answered, the oldest first. The name of a question to the node itself is empty."""
        return self._calls.calls()

    def begin(self, request: requests.Call, running: Running, failure_of: Callable[[str], Reason | None]) -> bool:
        """Hand a call to its port; returns False if a call with its ticket is in flight, in which case nothing is done.

        Args:
          request: the call.
          running: that of the task that has read it.
          failure_of: says why the port of a name could not be spawned, if that is why it is missing.
        """
        name, ticket, seconds = request.name, request.ticket, request.seconds
        deadline = FOREVER if seconds is None else deadline_of(seconds, trio.current_time())
        call = CallOfPeer(self, ticket, name, deadline)
        # As in `begin_question`. A method for both would be one call more for each call.
        fate = self._calls.admit(ticket, call)
        if fate is not TicketFate.ADMITTED:
            if fate is TicketFate.TOO_MANY:
                self._tell_busy(ticket)
            return fate is TicketFate.TOO_MANY
        # It needs the connection.
        self._peer.association.watched.add(ticket)
        port = self._dispatcher.ports.get(name)
        if port is not None:
            message = CallMessage(request.message)
            message.call = call
            self._dispatcher.deliver_call(running, port, message, True)
            # What the port has died of now is told in a later job: whoever watches it from here on hears of it.
            if self._calls.find(ticket) is call:
                self._watch(call)
            return True
        failure = failure_of(name)
        if failure is not None:
            self._tell_death(call, failure)
        else:
            self._watch(call)
        return True

    def begin_question(self, ticket: str, seconds: float | None) -> tuple[CallOfPeer, TicketFate]:
        """Take up a call of the node itself, and of no port: whoever serves it answers it, or lets it fail.

        Args:
          ticket, seconds: as in the request.

        Returns:
          The call, and whether it is in flight. If it is one too many, the peer was told so.
        """
        deadline = FOREVER if seconds is None else deadline_of(seconds, trio.current_time())
        call = CallOfPeer(self, ticket, "", deadline)
        fate = self._calls.admit(ticket, call)
        if fate is TicketFate.ADMITTED:
            # It needs the connection.
            self._peer.association.watched.add(ticket)
        elif fate is TicketFate.TOO_MANY:
            self._tell_busy(ticket)
        return call, fate

    def _tell_busy(self, ticket: str) -> None:
        text = f"{self.peer_id} has {self._limit} calls in flight to {self._dispatcher.id}, the limit"
        self._peer.send("", requests.call_failed(ticket, False, BUSY, text, ""))

    def call_off(self, ticket: str) -> None:
        """The peer does not wait for the answer to a call any longer, or has it."""
        call = self._calls.find(ticket)
        if call is not None:
            call.call_off()

    def end_all(self) -> None:
        """The connection has ended by which they came: nobody waits for them, and their answers go nowhere."""
        for call in self._calls.calls():
            self.forget(call)
            call.call_off()

    def _watch(self, call: CallOfPeer) -> None:
        """Hear of the death of the port that is called."""
        call.is_watched = True
        watched = self._watched.get(call.name)
        if watched is None:
            watched = self._watched[call.name] = RemoteMonitor(self, call.name), {}
            self._dispatcher.lifecycle.add_local_monitor(call.name, watched[0])
        watched[1][call.ticket] = call

    def forget(self, call: CallOfPeer) -> None:
        """See `ArrivedCall.forget`. It is no error if it was forgotten before."""
        if not self._calls.end(call.ticket, call):
            return
        self._peer.association.watched.discard(call.ticket)
        if call.is_watched:
            monitor, calls = self._watched[call.name]
            del calls[call.ticket]
            if not calls:
                del self._watched[call.name]
                self._dispatcher.lifecycle.remove_local_monitor(call.name, monitor)

    # What becomes of them ------------------------------------------------------------------------------------------

    def tell_reply(self, call: CallOfPeer, value: object) -> None:
        """See `ArrivedCall.tell_reply`."""
        if self._calls.find(call.ticket) is not call:
            return
        try:
            self._peer.send("", requests.reply(call.ticket, value))
        except (TypeError, ValueError):
            # The place as the handler counts.
            plain_value(value, "reply", room=2)
            raise

    def tell_failure(self, call: CallOfPeer, error: Exception) -> None:
        """See `ArrivedCall.tell_failure`."""
        trace = _traceback_of(error) if self._tracebacks else ""
        self._fail(call, type_name_of(error), text_of(error), trace)

    def tell_refusal(self, call: CallOfPeer, text: str) -> None:
        """See `ArrivedCall.tell_refusal`."""
        if self._calls.find(call.ticket) is call:
            self._peer.send("", requests.call_failed(call.ticket, False, "bad_message", text, ""))

    def tell_expired(self, call: CallOfPeer) -> None:
        """See `ArrivedCall.tell_expired`."""
        self._fail(call, "expired", "the time of the call was up", "")

    def tell_error(self, call: CallOfPeer, type_name: str, text: str) -> None:
        """See `CallOfPeer.answer_by_error`."""
        self._fail(call, type_name, text, "")

    def _fail(self, call: CallOfPeer, type_name: str, text: str, trace: str) -> None:
        if self._calls.find(call.ticket) is call:
            self._peer.send("", requests.call_failed(call.ticket, call.was_begun, type_name, text, trace))

    @survives
    def tell_death(self, name: str, reason: Reason) -> None:
        """See `RemoteWatcher.tell_death`."""
        _, calls = self._watched.get(name, (None, {}))
        for call in tuple(calls.values()):
            self._tell_death(call, reason)

    def _tell_death(self, call: CallOfPeer, reason: Reason) -> None:
        begun = call.was_begun
        self.forget(call)
        call.close()
        try:
            self._peer.send("", requests.call_died(call.ticket, begun, reason))
        except (TypeError, ValueError) as error:
            self._peer.send("", requests.call_died(call.ticket, begun, reason_lost(error)))


def _traceback_of(error: Exception) -> str:
    """The traceback of an exception that a handler has raised, without the frame of this package."""
    trace = error.__traceback__.tb_next if error.__traceback__ is not None else None
    try:
        text = "".join(traceback.format_exception(type(error), error, trace)).rstrip()
    except Exception:  # noqa: BLE001 - it prints the program's objects
        text = type(error).__name__
    return text[-_LONGEST_TRACEBACK:].encode("utf-8", "backslashreplace").decode("utf-8")
