"""One call, for the task that waits for it: of a port here, of a port elsewhere, and in the form of before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import trio

from .._errors import CallError, PortDied
from .._ids import PortReference
from .._peers.peer import Peer
from .._ports.calls import FOREVER, ArrivedCall, CallMessage
from .._ports.monitor import CallMonitor, Monitor
from .._ports.port import state_of
from .._ports.reply_port import ReplyPort
from .._ports.run_queue import Job
from .._protocol import requests
from .._protocol.calls import seconds_left
from .._protocol.wire.values import plain_message, plain_value
from .._reason import Reason, no_such_port, text_of, type_name_of
from .._runtime import Runtime


class OutgoingCall:
    """One call, for the task that waits for it.

    Args:
      runtime: the node that calls.
      target: the ID of the port that is called.
      message: what it gets, without the reply port.

    Attributes:
      is_over: whether it is known how it has ended.
      answer: the reply.
      error: what is to be raised instead; None if there is a reply.
      target: see above.
      task: the task that waits for it, while it does. Without an event, which takes longer to make than the call.
    """

    # No slots: one kind of call is a second thing as well, and two classes with slots have no common subclass.

    def __init__(self, runtime: Runtime, target: str, message: tuple[object, ...]) -> None:
        self._runtime = runtime
        self.target = target
        self._message = message
        self.is_over = False
        self.answer: tuple[Any, ...] = ()
        self.error: Exception | None = None
        self.task: trio.lowlevel.Task | None = None
        self._reply_port: ReplyPort | None = None

    def start(self, name: str, deadline: float) -> None:
        """Send the message to the port of this name; with who is told of the loss of it, or of the port's death.

        Raises:
          what `Node.send` raises.
        """
        raise NotImplementedError

    def stop(self) -> None:
        """Nobody waits for it any more."""
        reply_port, self._reply_port = self._reply_port, None
        if reply_port is not None:
            self._runtime.lifecycle.retire(reply_port)

    def stop_waiting(self, _: object) -> trio.lowlevel.Abort:
        """The task that waits is cancelled."""
        self.task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def take_reply(self, *elements: object) -> None:
        """See `ReplyTaker.take_reply`."""
        if not self.is_over:
            self.answer = elements
            self._finish()

    def settle(self, error: Exception) -> None:
        """It has failed, unless it was over."""
        if not self.is_over:
            self.error = error
            self._finish()

    def _finish(self) -> None:
        self.is_over = True
        task, self.task = self.task, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    def reply_port_died(self, reason: Reason, error: Exception | None) -> None:
        """See `ReplyTaker.reply_port_died`."""
        if not self.is_over and self._reply_port is not None:
            death = PortDied(str.__str__(self._reply_port), reason)
            death.__cause__ = error
            self.settle(death)

    def _died(self, *reason: object) -> None:
        """The monitor of the port has fired."""
        error = PortDied(self.target, reason, maybe_delivered=self._may_be_delivered(reason))
        error.__cause__ = self._runtime.lifecycle.cause
        self.settle(error)

    def _may_be_delivered(self, reason: Reason) -> bool:
        return reason != no_such_port(self.target)


class PlainCall(OutgoingCall):
    """A call as a message with a reply port, and a monitor of the port: of node ports, and of older peers.

    Args:
      runtime, target, message: see `OutgoingCall`.
      port: what is monitored: the port, or what follows it from life to life.
    """

    _monitor: Monitor | None = None

    def __init__(self, runtime: Runtime, target: str, message: tuple[object, ...], port: str | PortReference) -> None:
        super().__init__(runtime, target, message)
        self._port = port

    def start(self, name: str, deadline: float) -> None:
        """See `OutgoingCall.start`."""
        runtime = self._runtime
        port = self._reply_port = ReplyPort.of(self, runtime.lifecycle, runtime.next_name())
        # First the monitor, so that the promise covers the message.
        self._monitor = runtime.monitor(self._port, self._died, None)
        runtime.send(self.target, (*self._message, port))

    def stop(self) -> None:
        """See `OutgoingCall.stop`."""
        super().stop()
        if self._monitor is not None:
            self._monitor.cancel()


class LocalCall(ArrivedCall, OutgoingCall):
    """A call of a port of this node: both what waits for the answer, and what arrives at the port.

    Args:
      runtime, target, message: see `OutgoingCall`.
      deliver: the job that hands a message to a port.
      settle: the job that ends a call.
    """

    _monitor: Monitor | None = None
    _monitors: dict[Any, None] | None = None

    def __init__(self, runtime: Runtime, target: str, message: tuple[object, ...], deliver: Job, settle: Job) -> None:
        OutgoingCall.__init__(self, runtime, target, message)
        self._deliver = deliver
        self._settle = settle

    def start(self, name: str, deadline: float) -> None:
        """See `OutgoingCall.start`."""
        runtime = self._runtime
        runtime.check_new()
        ArrivedCall.__init__(self, runtime.id, deadline)
        lifecycle = runtime.lifecycle
        # It needs no owner: if the port dies whose task waits here, that task is cancelled.
        monitor = self._monitor = CallMonitor(runtime, self.target, self._died, None, (None, name))
        port = lifecycle.ports.get(name)
        if port is None:
            # It is dead; its monitors have fired, or are going to.
            lifecycle.add_local_monitor(name, monitor)
            return
        self._monitors = state_of(port).monitors
        self._monitors[monitor] = None
        message = CallMessage(self._message)
        message.call = self
        runtime.dispatcher.queue.enqueue(self._deliver, (port, message))

    def stop(self) -> None:
        """See `OutgoingCall.stop`."""
        monitor = self._monitor
        if monitor is None:
            return
        if self._monitors is None or monitor not in self._monitors:
            monitor.cancel()
        else:
            # As `cancel` does. It knows neither the port nor its state, and takes as long to find them as all of this.
            del self._monitors[monitor]
            monitor._retire()
        if self._reply_port is not None:
            self._runtime.routes.pop(self._reply_port, None)
            OutgoingCall.stop(self)
        self.call_off()

    def _may_be_delivered(self, reason: Reason) -> bool:
        return self.was_begun

    def reply_port(self) -> str:
        """See `ArrivedCall.reply_port`."""
        runtime = self._runtime
        name = runtime.late_name()
        port = self._reply_port = ReplyPort.of(self, runtime.lifecycle, name)
        # Whoever answers sends there once: to parse the ID for that would cost as much as to send.
        runtime.routes[port] = (None, name)
        return port

    def tell_reply(self, value: object) -> None:
        """See `ArrivedCall.tell_reply`."""
        queue = self._runtime.dispatcher.queue
        if queue.items:
            # Behind the messages that the handler has sent before.
            queue.enqueue(self._settle, (self, (value,), None))
        else:
            self.take_reply(value)

    def tell_failure(self, error: Exception) -> None:
        """See `ArrivedCall.tell_failure`."""
        answer = CallError(type_name_of(error), text_of(error))
        answer.__cause__ = error
        self._runtime.dispatcher.queue.enqueue(self._settle, (self, (), answer))

    def tell_refusal(self, text: str) -> None:
        """See `ArrivedCall.tell_refusal`."""
        answer = CallError("bad_message", text, maybe_delivered=False)
        self._runtime.dispatcher.queue.enqueue(self._settle, (self, (), answer))

    def tell_expired(self) -> None:
        """See `ArrivedCall.tell_expired`."""
        answer = CallError("expired", "the time of the call was up", maybe_delivered=self.was_begun)
        self._runtime.dispatcher.queue.enqueue(self._settle, (self, (), answer))

    def forget(self) -> None:
        """See `ArrivedCall.forget`."""


class RemoteCall(OutgoingCall):
    """A call of a port of another node, by the word.

    Args:
      runtime, target, message: see `OutgoingCall`.
      peer: the node of the port.
      waiting: those that wait for a connection, and may have to be said in another form.

    Attributes:
      peer: the node of the port.
      word: what that node has to understand.
    """

    word: str = requests.CALL

    # What the other node is told. Not a method, which would be one call more.
    _write: Callable[..., tuple[object, ...]] = staticmethod(requests.call)

    def __init__(
        self,
        runtime: Runtime,
        target: str,
        message: tuple[object, ...],
        peer: Peer,
        waiting: dict[RemoteCall, None],
    ) -> None:
        super().__init__(runtime, target, message)
        self.peer = peer
        self._waiting = waiting
        self._ticket = ""
        # Whether the other node knows of no call with this ticket any more, or has never known.
        self._is_forgotten = True
        # The number of the message in the queue.
        self._number = 0
        self._monitor: Monitor | None = None

    def start(self, name: str, deadline: float) -> None:
        """See `OutgoingCall.start`."""
        runtime, peer = self._runtime, self.peer
        ticket = self._ticket = runtime.next_name()
        self._reply_port = ReplyPort.of(self, runtime.lifecycle, ticket)
        seconds = None if deadline == FOREVER else seconds_left(deadline, trio.current_time())
        # First the monitor, so that the promise covers the message. It needs no owner: if the port dies whose task
        # waits here, that task is cancelled.
        peer.outbox.expect(ticket, Monitor(runtime, self.target, self._died, None, (peer, ticket)))
        try:
            peer.send("", self._write(name, ticket, seconds, self._message))
        except (TypeError, ValueError):
            # To name the place in what the program has sent, and not in the request.
            plain_message(self._message, thorough=True)
            raise
        self._number = peer.queue.appended
        self._is_forgotten = False
        if not peer.is_up():
            # What is sent is a snapshot: this may be said again, in the other form.
            self._message = tuple([plain_value(value, "message") for value in self._message])
            self._waiting[self] = None

    def stop(self) -> None:
        """See `OutgoingCall.stop`."""
        super().stop()
        self._leave()
        if self._monitor is not None:
            self._monitor.cancel()
        if not self._is_forgotten and not self._runtime.closed:
            self._is_forgotten = True
            self.peer.call_off(self._ticket)

    def _leave(self) -> None:
        self._waiting.pop(self, None)
        self.peer.outbox.forget(self._ticket)

    def _died(self, *reason: object) -> None:
        # Whatever was lost, the other node forgets the call with the connection, and nothing more is said of it.
        self._is_forgotten = True
        super()._died(*reason)

    def _may_be_delivered(self, reason: Reason) -> bool:
        if self._monitor is not None:
            return super()._may_be_delivered(reason)
        return self._number <= self.peer.outbox.begun

    def answered(self, value: object) -> None:
        """The other node has answered, and knows no more of the call."""
        self._is_forgotten = True
        self.take_reply(value)

    def answered_by(self, error: Exception) -> None:
        """The other node has answered by an error, and knows no more of the call."""
        self._is_forgotten = True
        self.settle(error)

    def fall_back(self) -> None:
        """The other node does not understand the word: say it again as a message, with a monitor of the port."""
        self._is_forgotten = True
        self._leave()
        if not self.is_over:
            self._monitor = self._runtime.monitor(self.target, self._died, None)
            self._runtime.send(self.target, (*self._message, self._reply_port))


class InspectingCall(RemoteCall):
    """A question to the inspection service of another node.

    Args:
      runtime, peer, waiting: see `RemoteCall`.
      question, arguments: what is asked.
    """

    word = requests.INSPECT

    def __init__(
        self,
        runtime: Runtime,
        peer: Peer,
        question: str,
        arguments: dict[str, object],
        waiting: dict[RemoteCall, None],
    ) -> None:
        super().__init__(runtime, peer.id, (arguments,), peer, waiting)
        self._question = question
        self._write = self._write_question

    def _write_question(
        self, _: str, ticket: str, seconds: float | None, message: tuple[object, ...]
    ) -> tuple[object, ...]:
        (arguments,) = message
        return requests.inspect(ticket, seconds, self._question, cast("dict[str, object]", arguments))

    def fall_back(self) -> None:
        """See `RemoteCall.fall_back`. There is no other form: the question fails."""
        self._is_forgotten = True
        self.settle(not_understood(self.peer))


def not_understood(peer: Peer) -> CallError:
    """The error of a question to a node of before there was the word."""
    provider = peer.current.info.provider if peer.current is not None and peer.current.info is not None else ""
    return CallError(
        "not_understood",
        f"{peer.id} does not know the word `inspect`{f': it runs {provider:.100}' if provider else ''};"
        " it needs a newer version of trio_mp",
        maybe_delivered=False,
    )
