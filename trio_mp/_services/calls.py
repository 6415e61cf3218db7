"""Calls: a message, and the reply to it.

    the caller                                      the node of the port
    ──────────────────────────────────────────────  ──────────────────────────────────────────────────────────────
    `call`: the port, a ticket, the seconds left -> hands the message to the port, if it is wanted still
                                                 <- `reply`: what a handler with `reply=True` has returned
                                                 <- or `call_error`, `call_died`: why there is none
                                                 <- or a message to the reply port, whose name is the ticket: the reply
    `call_off`, after such a message, and if it     of any other handler
    waits no longer                              -> forgets the call, and cancels the handler if that wants it

The reply port is there for handlers that send their reply. A peer that does not understand `call` gets the message with
the reply port appended, and a monitor of the port beside it: that is what each call was before there was the word.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import msgspec
import trio

from .._errors import CallError, PortDied
from .._ids import PortReference
from .._peers.peer import Peer
from .._ports.calls import FOREVER, CallMessage
from .._ports.context import running_variable
from .._ports.port import Port
from .._ports.reply_port import ReplyPort
from .._ports.run_queue import Job
from .._protocol import requests
from .._protocol.requests import QUERIES
from .._protocol.wire.values import plain_message
from .._reason import not_running
from .._runtime import Runtime
from .outgoing_calls import InspectingCall, LocalCall, OutgoingCall, PlainCall, RemoteCall, not_understood

WORD = requests.CALL
"""What a peer says in its greeting that it understands."""


class _Untyped:
    """The type of `UNTYPED`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "(no type)"


UNTYPED: Final = _Untyped()
"""In the place of the type of a reply: the reply is to be returned as the tuple that it is."""


class Calls:
    """The calls of a node. See `CallService` for what the node port uses.

    Args:
      runtime: the node.

    Attributes:
      made: how many calls were begun.
      in_flight: how many of them have not ended.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.made = self.in_flight = 0
        self._runtime = runtime
        # Those that wait for a connection with their node. Of the others each is found by its reply port.
        self._waiting: dict[RemoteCall, None] = {}
        self._deliver = Job(self._deliver_here)
        self._settle = Job(_settle)

    async def call(self, port: str | PortReference, message: tuple[object, ...], expected: object = UNTYPED) -> Any:
        """See `Node.call`."""
        if expected is not UNTYPED:
            _check_type(expected)
        runtime = self._runtime
        deadline = trio.current_effective_deadline()
        if deadline != FOREVER and deadline <= trio.current_time():
            # Its time is up before it has begun: nothing is sent.
            await trio.lowlevel.checkpoint_if_cancelled()
        if isinstance(port, PortReference):
            # Of a reference one life, which is that of the monitor and of the message.
            target = str.__str__(port.port)
            if not port.running:
                await trio.lowlevel.checkpoint()
                raise PortDied(target, not_running(target), maybe_delivered=False)
            peer, name = runtime.route(target)
        else:
            # First, because it says what is wrong with what is no port.
            peer, name = runtime.route(port)
            target = str.__str__(port)
        if not name and not (message and isinstance(message[0], str) and message[0] in QUERIES):
            known = ", ".join(sorted(QUERIES))
            raise ValueError(f"call(): expected one of {known} for the node port {port}, got {message[:1]!r}")
        call: OutgoingCall
        if peer is None and name:
            call = LocalCall(runtime, target, message, self._deliver, self._settle)
        elif peer is not None and name and peer.understands(WORD):
            call = RemoteCall(runtime, target, message, peer, self._waiting)
        else:
            if peer is not None:
                # What cannot travel is refused before a monitor is set over there.
                plain_message(message, thorough=True)
            call = PlainCall(runtime, target, message, port)
        self.made += 1
        self.in_flight += 1
        number, instruments = self.made, runtime.lifecycle.instruments
        if instruments.calls:
            instruments.tell("call_begun", number, target)
        if peer is not None:
            peer.calling += 1
        # As `_wait_for`, which would be a coroutine more: that is a part of what a call costs.
        try:
            call.start(name, deadline)
            runtime.dispatcher.queue.flush_early()
            if call.is_over:
                await trio.lowlevel.checkpoint()
            else:
                call.task = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(call.stop_waiting)
        finally:
            self.in_flight -= 1
            if peer is not None:
                peer.calling -= 1
            call.stop()
            if instruments.calls:
                instruments.tell("call_ended", number, _outcome_of(call))
        if call.error is not None:
            error, call.error = call.error, None
            raise error
        return call.answer if expected is UNTYPED else _convert(call.answer, expected)

    async def inspect(self, node_id: str, question: str, arguments: dict[str, object]) -> object:
        """Ask the inspection service of another node; returns its answer. A checkpoint. Cancelled, it is called off.

        Raises:
          CallError: the other node refuses to answer, does not know the word, or has failed.
          PortDied: the question or the answer may have been lost.
          what `Node.send` raises.
        """
        peer, _ = self._runtime.route(node_id)
        assert peer is not None, "a node asks itself without a call"
        if not peer.understands(requests.INSPECT):
            await trio.lowlevel.checkpoint()
            raise not_understood(peer)
        call = InspectingCall(self._runtime, peer, question, arguments, self._waiting)
        (answer,) = await self._wait_for(call, "", trio.current_effective_deadline())
        return answer

    async def _wait_for(self, call: OutgoingCall, name: str, deadline: float) -> tuple[Any, ...]:
        """Begin a call, wait until it has ended, and return its answer; or raise what it has failed with."""
        try:
            call.start(name, deadline)
            self._runtime.dispatcher.queue.flush_early()
            if call.is_over:
                await trio.lowlevel.checkpoint()
            else:
                call.task = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(call.stop_waiting)
        finally:
            call.stop()
        if call.error is not None:
            error, call.error = call.error, None
            raise error
        return call.answer

    def _deliver_here(self, port: Port, message: CallMessage) -> None:
        """Hand the message of a call to a port of this node; behind what was sent to it before."""
        running = running_variable.get()
        assert running is not None
        self._runtime.dispatcher.deliver_call(running, port, message)

    # What other nodes say -------------------------------------------------------------------------------------------

    def _find(self, peer: Peer, ticket: str) -> RemoteCall | None:
        """The call of this ticket, if it is that peer that was called."""
        port = self._runtime.lifecycle.ports.get(ticket)
        call = port.taker if isinstance(port, ReplyPort) else None
        return call if isinstance(call, RemoteCall) and call.peer is peer else None

    def replied(self, peer: Peer, ticket: str, value: object) -> None:
        """See `CallService.replied`."""
        call = self._find(peer, ticket)
        if call is not None:
            call.answered(value)

    def failed(self, peer: Peer, failure: requests.CallFailed) -> None:
        """See `CallService.failed`."""
        call = self._find(peer, failure.ticket)
        if call is not None:
            error = CallError(failure.type_name, failure.text, maybe_delivered=failure.begun)
            if failure.trace:
                error.add_note(f"On {peer.id}:\n{failure.trace}")
            call.answered_by(error)

    def died(self, peer: Peer, death: requests.CallDied) -> None:
        """See `CallService.died`."""
        call = self._find(peer, death.ticket)
        if call is not None:
            call.answered_by(PortDied(call.target, death.reason, maybe_delivered=death.begun))

    def went_up(self, node_id: str) -> None:
        """There is a connection with this node, and it is known now what it understands.

        All calls of it that are not over wait in the queue: a loss has ended those that were written before.
        """
        peer, _ = self._runtime.route(node_id)
        for call in tuple(self._waiting):
            if call.peer is peer and not call.peer.understands(call.word):
                call.fall_back()


def _outcome_of(call: OutgoingCall) -> str:
    """How a call has ended, as `Instrument.call_ended` has it. Not over, it was cancelled, or could not be sent."""
    if not call.is_over:
        return "cancelled"
    if call.error is None:
        return "answered"
    return "died" if isinstance(call.error, PortDied) else "failed"


def _settle(call: OutgoingCall, answer: tuple[object, ...], error: Exception | None) -> None:
    """End a call of a port of this node, behind the messages that its handler has sent before."""
    if error is not None:
        call.settle(error)
    else:
        call.take_reply(*answer)


@lru_cache(maxsize=1000)
def _check_hashable(expected: object) -> None:
    msgspec.msgpack.Decoder(expected)


def _check_type(expected: object) -> None:
    """Check that a reply can be converted to a type. Raises `TypeError`."""
    try:
        hash(expected)
    except TypeError:
        raise TypeError(f"call(): expected a type as reply, got {expected!r}") from None
    _check_hashable(expected)


def _convert(reply: tuple[object, ...], expected: Any) -> Any:
    """The one element of a reply, as that type. Raises `CallError`."""
    if len(reply) != 1:
        raise CallError("bad_reply", f"expected a reply of one element, got one of {len(reply)}")
    try:
        return msgspec.convert(reply[0], expected)
    except msgspec.ValidationError as error:
        raise CallError("bad_reply", f"expected a reply of the type {expected}: {error}") from None
