"""The calls of a peer to ports of this node, from their arrival to the answer."""

from __future__ import annotations

import traceback
from typing import Protocol

import trio

from .._ids import join_port
from .._ports.boundary import LocalPorts, RemoteMonitor
from .._ports.calls import ArrivedCall, CallMessage
from .._ports.context import Running
from .._protocol import requests
from .._protocol.association.association import Association
from .._protocol.calls import TicketFate, TicketTable, deadline_of
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


class Callers:
    """The calls that a peer has in flight on this node. They end with the connection in use. See `calls.Answers`, too.

    Args:
      peer: who calls.
      dispatcher: the ports of this node.
      limit: how many calls it may have in flight.
      tracebacks: whether it is told where exceptions were raised.
    """

    def __init__(self, peer: CallingPeer, dispatcher: LocalPorts, limit: int, *, tracebacks: bool) -> None:
        self._peer = peer
        self.fail = peer.fail
        self._dispatcher = dispatcher
        self._limit = limit
        self._tracebacks = tracebacks
        self._calls: TicketTable[tuple[ArrivedCall, RemoteMonitor, str]] = TicketTable(limit)

    def __len__(self) -> int:
        return len(self._calls)

    def begin(self, request: requests.Call, running: Running, failure: Reason | None) -> bool:
        """Hand a call to its port; returns False if a call with its ticket is in flight, in which case nothing is done.

        Args:
          request: the call.
          running: that of the task that has read it.
          failure: why the port could not be spawned, if that is why it is missing.
        """
        name, ticket = request.name, request.ticket
        call = ArrivedCall(self._peer.id, ticket, deadline_of(request.seconds, trio.current_time()), self)
        watcher = RemoteMonitor(self, ticket)
        match self._calls.admit(ticket, (call, watcher, name)):
            case TicketFate.TWICE:
                return False
            case TicketFate.TOO_MANY:
                text = f"{self._peer.id} has {self._limit} calls in flight to {self._dispatcher.id}, the limit"
                self._peer.send("", requests.call_failed(ticket, False, "busy", text, ""))
                return True
        self._peer.association.watched.add(ticket)
        if failure is not None:
            self.tell_death(ticket, failure)
            return True
        self._dispatcher.lifecycle.add_local_monitor(name, watcher)
        port = self._dispatcher.ports.get(name)
        if port is not None:
            # As a handler without `reply=True` gets it, and a mailbox.
            message = (*request.message, join_port(self._peer.id, ticket))
            self._dispatcher.deliver(running, port, CallMessage.of(call, message), True)
        return True

    def call_off(self, ticket: str) -> None:
        """The peer does not wait for the answer to a call any longer, or has it."""
        found = self._calls.find(ticket)
        if found is not None:
            found[0].call_off()

    def end_all(self) -> None:
        """The connection has ended by which they came: nobody waits for them, and their answers go nowhere."""
        for call, watcher, name in self._calls.calls():
            self._forget(call.ticket)
            self._dispatcher.lifecycle.remove_local_monitor(name, watcher)
            call.call_off()

    def _forget(self, ticket: str) -> bool:
        """Take a call out of the table; whether it was there."""
        self._peer.association.watched.discard(ticket)
        return self._calls.end(ticket) is not None

    # What becomes of them ------------------------------------------------------------------------------------------

    def replied(self, call: ArrivedCall, value: object) -> None:
        """See `Answers.replied`."""
        if self._calls.find(call.ticket) is None:
            return
        try:
            self._peer.send("", requests.reply(call.ticket, value))
        except (TypeError, ValueError):
            # The place as the handler counts.
            plain_value(value, "reply", room=2)
            raise

    def failed(self, call: ArrivedCall, error: Exception) -> None:
        """See `Answers.failed`."""
        trace = _traceback_of(error) if self._tracebacks else ""
        self._fail(call, type_name_of(error), text_of(error), trace)

    def refused(self, call: ArrivedCall, text: str) -> None:
        """See `Answers.refused`."""
        if self._calls.find(call.ticket) is not None:
            self._peer.send("", requests.call_failed(call.ticket, False, "bad_message", text, ""))

    def expired(self, call: ArrivedCall) -> None:
        """See `Answers.expired`."""
        self._fail(call, "expired", "the time of the call was up", "")

    def _fail(self, call: ArrivedCall, type_name: str, text: str, trace: str) -> None:
        if self._calls.find(call.ticket) is not None:
            self._peer.send("", requests.call_failed(call.ticket, call.was_begun, type_name, text, trace))

    def ended(self, call: ArrivedCall) -> None:
        """See `Answers.ended`."""
        found = self._calls.find(call.ticket)
        if found is not None and found[0] is call:
            self._forget(call.ticket)
            self._dispatcher.lifecycle.remove_local_monitor(found[2], found[1])

    @survives
    def tell_death(self, name: str, reason: Reason) -> None:
        """See `RemoteWatcher.tell_death`; the name is the ticket of a call."""
        found = self._calls.find(name)
        if found is None:
            return
        begun = found[0].was_begun
        self._forget(name)
        found[0].close()
        try:
            self._peer.send("", requests.call_died(name, begun, reason))
        except (TypeError, ValueError) as error:
            self._peer.send("", requests.call_died(name, begun, reason_lost(error)))


def _traceback_of(error: Exception) -> str:
    """The traceback of an exception that a handler has raised, without the frame of this package."""
    trace = error.__traceback__.tb_next if error.__traceback__ is not None else None
    try:
        text = "".join(traceback.format_exception(type(error), error, trace)).rstrip()
    except Exception:  # noqa: BLE001 - it prints the program's objects
        text = type(error).__name__
    return text[-_LONGEST_TRACEBACK:].encode("utf-8", "backslashreplace").decode("utf-8")
