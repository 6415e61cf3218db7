"""One call, for the task that waits for it: of a port here, of a port elsewhere, and in the form of before."""

from __future__ import annotations

from typing import Any

import trio

from .._errors import CallError, PortDied
from .._ids import PortReference
from .._peers.peer import Peer
from .._ports.calls import ArrivedCall, CallMessage
from .._ports.monitor import Monitor
from .._ports.port import new_port, state_of
from .._ports.run_queue import Job
from .._protocol import requests
from .._protocol.calls import TicketTable, seconds_left
from .._protocol.wire.values import plain_value
from .._reason import Reason, no_such_port, text_of, type_name_of
from .._runtime import Runtime


class OutgoingCall:
    """One call, for the task that waits for it.

    Args:
      runtime: the node that calls.
      port: which port is called.
      message: what it gets, without the reply port.

    Attributes:
      target: the ID of the port.
      over: set when it is known how it has ended.
      reply: the reply.
      error: what is to be raised instead; None if there is a reply.
    """

    def __init__(self, runtime: Runtime, port: str | PortReference, message: tuple[object, ...]) -> None:
        self._runtime = runtime
        self._port = port
        self.target = str.__str__(port.port if isinstance(port, PortReference) else port)
        self._message = message
        self.over = trio.Event()
        self.reply: tuple[Any, ...] = ()
        self.error: Exception | None = None
        self._reply_port = new_port(runtime.lifecycle, runtime.next_name(), self._take_reply)
        # Somebody may kill it. No monitor: it is set and taken away for every call, and costs as much as the message.
        self._reply_state = state_of(self._reply_port)
        self._reply_state.unwound.append(self._reply_port_died)

    def begin(self, name: str, deadline: float) -> None:
        """Send the message to the port of this name; with who is told of the loss of it, or of the port's death.

        Raises:
          what `Node.send` raises.
        """
        raise NotImplementedError

    def end(self) -> None:
        """Nobody waits for it any more."""
        # It refers to the port, and the port to it: not garbage for the collector, but gone now.
        self._reply_state.unwound.clear()
        self._runtime.lifecycle.retire(self._reply_port)

    def _take_reply(self, *elements: object) -> None:
        if not self.over.is_set():
            self.reply = elements
            self.over.set()

    def settle(self, error: Exception) -> None:
        """It has failed, unless it was over."""
        if not self.over.is_set():
            self.error = error
            self.over.set()

    def _reply_port_died(self) -> None:
        error = PortDied(str.__str__(self._reply_port), self._reply_state.reason)
        error.__cause__ = self._reply_state.error
        self.settle(error)

    def _died(self, *reason: object) -> None:
        """The monitor of the port has fired."""
        error = PortDied(self.target, reason, maybe_delivered=self._may_be_delivered(reason))
        error.__cause__ = self._runtime.lifecycle.cause
        self.settle(error)

    def _may_be_delivered(self, reason: Reason) -> bool:
        return reason != no_such_port(self.target)


class PlainCall(OutgoingCall):
    """A call as a message with a reply port, and a monitor of the port: of node ports, and of older peers."""

    def begin(self, name: str, deadline: float) -> None:
        """See `OutgoingCall.begin`."""
        # First the monitor, so that the promise covers the message.
        self._monitor = self._runtime.monitor(self._port, self._died, self._runtime.owner())
        self._runtime.send(self.target, (*self._message, self._reply_port))

    def end(self) -> None:
        """See `OutgoingCall.end`."""
        super().end()
        monitor = getattr(self, "_monitor", None)
        if monitor is not None:
            monitor.cancel()


class LocalCall(OutgoingCall):
    """A call of a port of this node. It is what becomes of the call, too: see `calls.Answers`.

    Args:
      runtime, port, message: see `OutgoingCall`.
      deliver: the job that hands a message to a port.
    """

    def __init__(
        self, runtime: Runtime, port: str | PortReference, message: tuple[object, ...], deliver: Job
    ) -> None:
        super().__init__(runtime, port, message)
        self._deliver = deliver
        self._call: ArrivedCall | None = None
        self._monitor: Monitor | None = None

    def begin(self, name: str, deadline: float) -> None:
        """See `OutgoingCall.begin`."""
        runtime = self._runtime
        self._monitor = runtime.monitor(self._port, self._died, runtime.owner())
        self._call = ArrivedCall(runtime.id, self._reply_port.name, deadline, self)
        port = runtime.lifecycle.ports.get(name)
        if port is not None:
            message = CallMessage.of(self._call, (*self._message, self._reply_port))
            runtime.dispatcher.queue.enqueue(self._deliver, (port, message))

    def end(self) -> None:
        """See `OutgoingCall.end`."""
        super().end()
        if self._monitor is not None:
            self._monitor.cancel()
        if self._call is not None:
            self._call.call_off()

    def _may_be_delivered(self, reason: Reason) -> bool:
        return self._call is not None and self._call.was_begun

    def replied(self, call: ArrivedCall, value: object) -> None:
        """See `Answers.replied`."""
        # Behind the messages that the handler has sent before.
        self._runtime.dispatcher.queue.enqueue(Job(self._take_reply), (value,))

    def failed(self, call: ArrivedCall, error: Exception) -> None:
        """See `Answers.failed`."""
        answer = CallError(type_name_of(error), text_of(error))
        answer.__cause__ = error
        self._runtime.dispatcher.queue.enqueue(Job(self._settle_job), (answer,))

    def refused(self, call: ArrivedCall, text: str) -> None:
        """See `Answers.refused`."""
        answer = CallError("bad_message", text, maybe_delivered=False)
        self._runtime.dispatcher.queue.enqueue(Job(self._settle_job), (answer,))

    def expired(self, call: ArrivedCall) -> None:
        """See `Answers.expired`."""
        answer = CallError("expired", "the time of the call was up", maybe_delivered=call.was_begun)
        self._runtime.dispatcher.queue.enqueue(Job(self._settle_job), (answer,))

    def ended(self, call: ArrivedCall) -> None:
        """See `Answers.ended`."""

    def _settle_job(self, error: Exception) -> None:
        self.settle(error)


class RemoteCall(OutgoingCall):
    """A call of a port of another node, by the word.

    Args:
      runtime, port, message: see `OutgoingCall`.
      peer: the node of the port.
      awaited: the table that it stands in until it is over.

    Attributes:
      peer: the node of the port.
    """

    def __init__(
        self,
        runtime: Runtime,
        port: str | PortReference,
        message: tuple[object, ...],
        peer: Peer,
        awaited: TicketTable[RemoteCall],
    ) -> None:
        super().__init__(runtime, port, message)
        self.peer = peer
        self._awaited = awaited
        self._ticket = self._reply_port.name
        # Whether the other node knows of no call with this ticket any more, or has never known.
        self._is_forgotten = True
        # The number of the message in the queue.
        self._number = 0
        self._plain: PlainCall | None = None
        self._monitor: Monitor | None = None

    def begin(self, name: str, deadline: float) -> None:
        """See `OutgoingCall.begin`."""
        self._runtime.check_open()
        peer, ticket = self.peer, self._ticket
        # First the monitor, so that the promise covers the message. It needs no owner: with its port, this task ends.
        monitor = Monitor(self._runtime, self.target, self._died, None, (peer, ticket))
        seconds = seconds_left(deadline, trio.current_time())
        self._awaited.admit(ticket, self)
        peer.outbox.expect(ticket, monitor)
        peer.send("", requests.call(name, ticket, seconds, self._message))
        self._number = peer.queue.appended
        self._is_forgotten = False
        if not peer.is_up():
            # What is sent is a snapshot: this may be said again, in the other form.
            self._message = tuple([plain_value(value, "message") for value in self._message])

    def end(self) -> None:
        """See `OutgoingCall.end`."""
        super().end()
        self._leave()
        if self._monitor is not None:
            self._monitor.cancel()
        if not self._is_forgotten and not self._runtime.closed:
            self._is_forgotten = True
            self.peer.send("", requests.call_off(self._ticket))

    def _leave(self) -> None:
        self._awaited.end(self._ticket)
        self.peer.outbox.forget(self._ticket)

    def _died(self, *reason: object) -> None:
        # Whatever was lost, the other node forgets the call with the connection, and nothing more is said of it.
        self._is_forgotten = True
        super()._died(*reason)

    def _may_be_delivered(self, reason: Reason) -> bool:
        if self._monitor is not None:
            return super()._may_be_delivered(reason)
        return self._number <= self.peer.outbox.begun

    def answered(self, reply: tuple[object, ...]) -> None:
        """The other node has answered, and knows no more of the call."""
        self._is_forgotten = True
        self._take_reply(*reply)

    def answered_by(self, error: Exception) -> None:
        """The other node has answered by an error, and knows no more of the call."""
        self._is_forgotten = True
        self.settle(error)

    def fall_back(self) -> None:
        """The other node does not understand the word: say it again as a message, with a monitor of the port."""
        self._is_forgotten = True
        self._leave()
        if not self.over.is_set():
            self._monitor = self._runtime.monitor(self.target, self._died, None)
            self._runtime.send(self.target, (*self._message, self._reply_port))
