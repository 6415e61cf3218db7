"""The dispatcher: every message of a node goes to its port through here.

Local messages wait in the run queue. One task of the node, the pump, drains it, and so does the reader of a connection
when it has dispatched what it read. A pass handles at most `PASS_MESSAGES` messages, or takes `PASS_SECONDS`. Then
other tasks have their turn: two handlers that answer each other would starve Trio for ever. The reader of a connection
dispatches its messages itself, without a task switch.

Kills and the firing of monitors are jobs in the same queue: see `lifecycle.py`.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, cast

import trio

from .._events import fields
from .._ids import join_port
from .._reason import exception_reason, mailbox_full, unhandled_message
from .backlog import Backlog
from .blocked import Lately
from .boundary import Message, MessageSource, Serve
from .calls import Answering, ArrivedCall, CallMessage
from .context import Running, running_variable
from .handlers import BadMessage
from .lifecycle import Lifecycle
from .port import Port, rearm, state_of
from .port_state import PortState
from .run_queue import Job, RunQueue, Target

PASS_MESSAGES = 1000
PASS_SECONDS = 0.005

_CLOCK_STRIDE = 8
"""A pass looks at the clock after its first message, and then after so many: that costs a tenth of a dispatch."""

log = logging.getLogger("trio_mp.port")


class Dispatcher:
    """Hands the messages of a node to their ports, in passes. See `boundary.LocalPorts` for what other rooms use.

    Args:
      queue: the messages and jobs that wait.
      lifecycle: the ports of the node.
      stall: how many seconds one pass may take; after a longer one a warning names the port that took so long.
      lately: says where the loop stood meanwhile, if the watchdog has seen it.

    Attributes:
      id: the node ID.
      ports: the ports that are alive, by name; the lifecycle owns this table.
      losses: who is told of messages that were dropped.
      instruments: who watches this node.
      stalls: how many passes took so long that they were logged.
      expired: how many calls were not begun, because nobody waited for them any more.
      tell_expired: is called with the port and the message of each; for a simulation.
      taken: how many messages and jobs of this node the passes have taken from the queue.
      jobs: how many of them were jobs.
    """

    def __init__(self, queue: RunQueue, lifecycle: Lifecycle, *, stall: float, lately: Lately) -> None:
        self.queue = queue
        self.lifecycle = lifecycle
        self.id = lifecycle.id
        self.ports = lifecycle.ports
        self.losses = lifecycle.losses
        self.instruments = lifecycle.instruments
        self.stalls = 0
        self.expired = self.taken = self.jobs = 0
        self.tell_expired: Callable[[Port, tuple[Any, ...]], None] = _ignore
        self._items = queue.items
        self._clock = lifecycle.clock
        self._stall = stall
        self._lately = lately
        self._stride = _CLOCK_STRIDE
        self._quiet = trio.lowlevel.ParkingLot()

    # Passes --------------------------------------------------------------------------------------------------------

    def enter(self) -> Running:
        """See `LocalPorts.enter`."""
        running = Running(self.lifecycle.public, None, trio.lowlevel.current_task())
        running_variable.set(running)
        return running

    @trio.lowlevel.enable_ki_protection
    async def pump(self) -> None:
        """Dispatch local messages and flush peers until `RunQueue.end_pump`, whatever goes wrong in the node.

        No cancellation reaches this task: a port that unwinds waits for what the pump dispatches.
        """
        queue, running = self.queue, self.enter()
        while not queue.ended:
            try:
                self.run_pass(running)
            except BaseException as error:  # noqa: BLE001 - it ends the node, but not this task
                self.lifecycle.crash(error)
            if queue.items or queue.writers:
                await trio.lowlevel.cancel_shielded_checkpoint()
            else:
                self._quiet.unpark_all()
                queue.parked = running.task
                await trio.lowlevel.wait_task_rescheduled(_refuse_cancellation)

    @trio.lowlevel.enable_ki_protection
    def run_pass(self, running: Running) -> None:
        """See `LocalPorts.run_pass`."""
        if self._items:
            if self.instruments.messages:
                self._drain_watched(running)
            else:
                self._drain(running)
        self.queue.flush()
        self.queue.release_pump()

    async def wait_quiet(self) -> None:
        """Wait until every port is dead and unwound and nothing is queued. A checkpoint."""
        await trio.lowlevel.checkpoint()
        while self.ports or self.lifecycle.unwinding or self._items:
            await self._quiet.park()

    def finish(self, running: Running) -> None:
        """Dispatch all that is left, when no task of the node runs any more. What handlers send to peers is dropped."""
        errors: list[Exception] = []
        while self._items:
            try:
                self._drain(running)
            except Exception as error:  # noqa: BLE001 - raised below, when the rest was told
                errors.append(error)
        self.queue.writers.clear()
        if errors:
            raise ExceptionGroup("while the node was closing", errors)

    def _drain_watched(self, running: Running) -> None:
        """Dispatch as `_drain` does, and tell the instruments of each message before the port gets it."""
        end = self._clock() + PASS_SECONDS
        for _ in range(PASS_MESSAGES):
            port, message = self._items[0]
            if isinstance(port, Port) and port.alive:
                self.instruments.tell("message_received", str.__str__(port), message)
            self._drain(running, 1)
            if not self._items or self._clock() > end:
                break

    def _drain(self, running: Running, most: int = PASS_MESSAGES) -> None:
        queue, clock, stride = self._items, self._clock, self._stride
        latest: list[Target | None] = [None] * stride
        end = clock() + PASS_SECONDS
        left, step, taken = most, 1, 0
        while left and queue:
            count = min(step, len(queue))
            taken += count
            for place in range(count):
                port, message = queue.popleft()
                latest[place] = port
                port._received += 1
                tags = port._tags
                if tags is not None:
                    # Not by `get`, whose call takes as long as the count above. Mostly the tag is there.
                    try:
                        handler = tags[message[0]]
                    except Exception:  # noqa: BLE001 - not there, empty, unhashable, or with a __hash__ or __eq__ that raises
                        handler = None
                    arguments = message[1:]
                else:
                    handler = port._default
                    arguments = message
                if handler is None:
                    self.deliver(running, port, message)
                else:
                    running.port = port
                    try:
                        result = handler(*arguments)
                    except Exception as error:  # noqa: BLE001 - whatever it is, it is the port that dies
                        self.lifecycle.die(port, exception_reason(error), error)
                    else:
                        if result is not None:
                            self._handle_result(port, result)
            if clock() > end:
                break
            left -= step
            step = min(stride, left)
        running.port = None
        self.taken += taken
        if clock() > end + self._stall:
            self._report_stall(clock() - end, [str(port) for port in latest if isinstance(port, Port)])

    @trio.lowlevel.enable_ki_protection
    def dispatch_batch(
        self, running: Running, batch: list[Message], start: int, serve: Serve, ended: Sequence[object] = ()
    ) -> int:
        """See `LocalPorts.dispatch_batch`."""
        dispatch = self._dispatch_watched if self.instruments.messages else self._dispatch
        return dispatch(running, batch, start, serve, ended)

    def _dispatch(
        self,
        running: Running,
        batch: list[Message],
        start: int,
        serve: Serve,
        ended: Sequence[object],
        most: int = PASS_MESSAGES,
    ) -> int:
        if self.queue.parked is not None:
            self.queue.hold_pump()
        ports, clock, stride = self.ports, self._clock, self._stride
        end = clock() + PASS_SECONDS
        done, step, stop = start, 1, min(len(batch), start + most)
        while done < stop:
            for message in batch[done : done + step]:
                if ended:
                    stop = 0
                    break
                port = ports.get(message[0]) if message else None
                if port is None:
                    # The codec lets pass two kinds of messages: empty ones, which keep a connection alive, and those
                    # that begin with a str, the name of a port. The name of the node port is empty.
                    if message and not message[0]:
                        serve(message[1:])
                    elif message:
                        # The port is dead, and those who monitor it have been told: no name is given twice.
                        self.losses.note_dead(message[0])
                    continue
                port._received += 1
                tags = port._tags
                if tags is not None:
                    try:
                        handler = tags[message[1]]
                    except Exception:  # noqa: BLE001 - not there, empty, unhashable, or a tag whose __eq__ raises
                        handler = None
                    arguments = message[2:]
                else:
                    # A mailbox must count what other nodes have sent, so `deliver` hands that over, which says so.
                    handler = port._default if port._state is None or port._state.mailbox is None else None
                    arguments = message[1:]
                if handler is None:
                    self.deliver(running, port, message[1:], True)
                else:
                    running.port = port
                    try:
                        result = handler(*arguments)
                    except Exception as error:  # noqa: BLE001 - whatever it is, it is the port that dies
                        self.lifecycle.die(port, exception_reason(error), error)
                    else:
                        if result is not None:
                            self._handle_result(port, result)
            done += step
            if clock() > end:
                break
            step = min(stride, stop - done)
        running.port = None
        if clock() > end + self._stall:
            latest = batch[max(start, done - stride) : done]
            self._report_stall(clock() - end, [join_port(self.id, str(message[0])) for message in latest if message])
        return done

    def _dispatch_watched(
        self, running: Running, batch: list[Message], start: int, serve: Serve, ended: Sequence[object]
    ) -> int:
        """Dispatch as `dispatch_batch` does, and tell the instruments of each message before the port gets it."""
        end, done = self._clock() + PASS_SECONDS, start
        while done < len(batch):
            port = self.ports.get(batch[done][0]) if batch[done] and not ended else None
            if port is not None:
                self.instruments.tell("message_received", str.__str__(port), batch[done][1:])
            done = self._dispatch(running, batch, done, serve, ended, 1)
            if done >= start + PASS_MESSAGES or self._clock() > end:
                break
        return done

    def _report_stall(self, seconds: float, ports: list[str]) -> None:
        """Log that a pass took so long that heartbeats stopped, and whose handler it was, as far as that is known."""
        names = list(dict.fromkeys(ports))
        who = "a callback of a monitor" if not names else f"a handler of {names[0]}"
        if len(names) > 1:
            who = f"a handler of one of {', '.join(names)}"
        self.stalls += 1
        blocked = self._lately(seconds)
        place = f" ({blocked.place})" if blocked is not None and blocked.place else ""
        # From now on the clock is looked at after each message, so that the next line can name one port.
        self._stride = 1
        log.warning(
            "%s computed for %.1f s%s, and nothing else of this program ran meanwhile, heartbeats included:"
            " use trio.to_thread, or a node of its own",
            *(who, seconds, place),
            extra=fields("stalled", self.id),
        )

    def deliver(self, running: Running, port: Target, message: tuple[Any, ...], received: object = False) -> None:
        """See `LocalPorts.deliver`. A job may stand in the place of a port; it is run."""
        if isinstance(port, Job):
            self.jobs += 1
            running.port = None
            try:
                port.function(*message)
            except Exception as error:  # noqa: BLE001 - a reader may run this pass: its connection is not at fault
                self.lifecycle.crash(error)
            return
        state = state_of(port)
        if not state.alive:
            self.losses.note_dead(port.name)
            return
        if received is True and running.source is not None:
            received = running.source
        if state.busy:
            if state.pending is None:
                state.pending = self.lifecycle.new_backlog()
            full = state.pending.append(message, received)
            if full:
                self.lifecycle.die_of_overflow(port, mailbox_full(full))
            return
        running.port = port
        result = self._handle(port, state, message, received)
        if result is not None:
            self._handle_result(port, result)

    def deliver_call(self, running: Running, port: Port, message: CallMessage, received: bool = False) -> None:
        """See `LocalPorts.deliver_call`."""
        # The short way, as in the loops above: the port is alive and idle, and its handlers are in the port itself.
        port._received += 1
        if self.instruments.messages:
            self.instruments.tell("message_received", str.__str__(port), message)
        handler = None
        tags = port._tags
        if tags is not None:
            try:
                handler = tags.get(message[0])
            except Exception:  # noqa: BLE001 - empty, unhashable, or with a __hash__ or __eq__ that raises
                handler = None
        if handler is None:
            self.deliver(running, port, message, received)
            return
        call = message.call
        if not call.begin():
            self._drop_call(port, message)
            return
        running.port = port
        try:
            if isinstance(handler, Answering):
                result = handler.answer(call, running, message[1:])
                if result is not None:
                    result = self._go_on(port, handler, call, result)
            else:
                result = handler(*message[1:], call.hand_on())
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the port that dies
            self.lifecycle.die(port, exception_reason(error), error)
        else:
            if result is not None:
                self._handle_result(port, result)

    def _drop_call(self, port: Port, message: CallMessage) -> None:
        """Count a call that was not begun."""
        self.expired += 1
        self.tell_expired(port, message)

    def hold(self, port: Port) -> None:
        """Let the messages for a port wait until `release` is called."""
        state_of(port).busy = True
        self.lifecycle.busy[port] = None
        rearm(port)

    def release(self, port: Port) -> None:
        """Let a port that was held handle its messages, first those that have come meanwhile."""
        state = state_of(port)
        pending, state.pending, state.busy = state.pending, None, False
        self.lifecycle.busy.pop(port, None)
        rearm(port)
        running = running_variable.get()
        assert running is not None
        while pending:
            self.deliver(running, port, *pending.pop())

    def _handle(self, port: Port, state: PortState, message: tuple[Any, ...], received: object) -> object:
        """Hand a message to a port that is not busy; returns the result of the handler."""
        arrived = message
        # All of this is in one `try`: comparing and printing what is in a message runs the program's code as well.
        try:
            if type(message) is CallMessage:
                if not message.call.begin():
                    self._drop_call(port, message)
                    return None
                if state.tracer is not None:
                    state.tracer(message)
                answering = state.handlers.find_answering(message)
                if answering is not None:
                    handler, arguments = answering
                    running = running_variable.get()
                    assert running is not None
                    return self._go_on(port, handler, message.call, handler.answer(message.call, running, arguments))
                message = (*message, message.call.hand_on())
                found = state.handlers.find_other(message)
            else:
                if state.tracer is not None:
                    state.tracer(message)
                found = state.handlers.find(message)
            if found is not None:
                function, arguments = found
                return function(*arguments)
            if state.mailbox is None:
                self.lifecycle.die_loudly(port, unhandled_message(f"{message[0]!r:.80}" if message else "nothing"))
            else:
                state.mailbox.put(*message, received=bool(received))
        except BadMessage as refusal:
            self._refuse(port, arrived, received, str(refusal))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the port that dies
            self.lifecycle.die(port, exception_reason(error), error)
        return None

    def _refuse(self, port: Port, message: tuple[Any, ...], received: object, text: str) -> None:
        """Tell whoever has sent a message that the port refuses it."""
        if type(message) is CallMessage:
            message.call.refuse(text)
        elif not received:
            self.losses.note_refused(str(port), 1, text)
        elif received is not True:
            cast("MessageSource", received).refused(port.name, text)

    def _go_on(self, port: Port, handler: Answering, call: ArrivedCall, result: object) -> object:
        """What is to be run in a task, of what `Answering.answer` has returned."""
        if not inspect.iscoroutine(result):
            return result
        if not port.alive or self.lifecycle.nursery is None:
            # The handler has killed its own port, or the node is closed: nobody is going to run it.
            result.close()
            return None
        return handler.finish(port, call, result)

    def _handle_result(self, port: Port, result: object) -> None:
        """Look at what a handler returned. A coroutine is run in a task, and the port is busy until it has ended."""
        if not inspect.iscoroutine(result):
            if inspect.isgenerator(result) or inspect.isasyncgen(result):
                error = TypeError("a handler: expected a function without `yield`, got one with it; take it out")
                self.lifecycle.die(port, exception_reason(error), error)
            return
        state = state_of(port)
        if not state.alive:
            # The handler has killed its own port before it returned this coroutine, which is not to run then.
            result.close()
            return
        state.busy = True
        self.lifecycle.busy[port] = None
        rearm(port)
        self.lifecycle.start_task(port, self._finish_handler, (port, state, result))

    @trio.lowlevel.enable_ki_protection
    def _handle_next(self, port: Port, state: PortState, pending: Backlog) -> object:
        return self._handle(port, state, *pending.pop())

    async def _finish_handler(self, port: Port, state: PortState, running: Coroutine[Any, Any, object]) -> None:
        """Run an async handler, then handle what came meanwhile."""
        self.lifecycle.busy[port] = trio.lowlevel.current_task()
        try:
            await running
            end = self._clock() + PASS_SECONDS
            while state.alive and state.pending:
                result = self._handle_next(port, state, state.pending)
                if inspect.iscoroutine(result):
                    await result
                elif result is not None:
                    self._handle_result(port, result)
                if self._clock() > end:
                    await trio.lowlevel.checkpoint()
                    end = self._clock() + PASS_SECONDS
        finally:
            state.busy = False
            self.lifecycle.busy.pop(port, None)
            rearm(port)


def _ignore(_port: Port, _message: tuple[Any, ...]) -> None:
    """Nobody wants to hear of it."""


def _refuse_cancellation(_: object) -> trio.lowlevel.Abort:
    return trio.lowlevel.Abort.FAILED
