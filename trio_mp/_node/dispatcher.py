"""The dispatcher: every message of a node goes to its port through here.

Local messages wait in one queue, which keeps their order. It is drained, run to completion, by one task of the node,
the pump, or by the reader of a connection when it has dispatched what it read: at most `PASS_MESSAGES` messages or
`PASS_SECONDS`, then others get their turn (two handlers that answer each other would starve Trio for ever). Messages
from a connection are dispatched by its reader, without a task switch.

A port's death, and the firing of monitors, go through the same queue, so they keep their order with messages.
"""

from __future__ import annotations

import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import trio

from .._errors import PortDied, RemoteProtocolError
from .._ids import join_port, split_port
from .._reason import Reason, exception_reason, is_normal, mailbox_full, no_such_port, unhandled_message
from .context import Frame, frame_variable
from .monitor import Monitor
from .port import Port, PortHost, PortState

if TYPE_CHECKING:
    from .._api import Node

PASS_MESSAGES = 1000
PASS_SECONDS = 0.005

_CLOCK_STRIDE = 7  # the clock is looked at every 8 messages: it costs a tenth of a dispatch

log = logging.getLogger("trio_mp.port")


class Job:
    """Work of the runtime that keeps its place among the messages; stands where a port would."""

    __slots__ = ("function",)
    tags = None
    default = None

    def __init__(self, function: Callable[..., None]) -> None:
        self.function = function


class RemoteMonitor:
    """The monitor that a peer has on one of our ports."""

    __slots__ = ("name", "peer")

    def __init__(self, peer: RemoteWatcher, name: str) -> None:
        self.peer = peer
        self.name = name


class RemoteWatcher(Protocol):
    """A peer, as far as the dispatcher knows it."""

    def tell_death(self, name: str, reason: Reason) -> None:
        """Say that a port that the peer monitors has died."""

    def flush(self) -> None:
        """Write what is queued, as far as it goes without blocking."""


Target: TypeAlias = Port | Job


class Dispatcher(PortHost):
    """The ports of a node, and what is on its way to them.

    Args:
      node_id: the node ID.
      mailbox_limit: how many messages may wait in one port.
      shutdown_timeout: how long the tasks of a dead port may take to unwind before its monitors fire, in seconds.
      raise_unmonitored: whether a death that nobody monitors crashes the node.
      clock: a monotonic clock, in seconds, for fairness only.
    """

    def __init__(
        self,
        node_id: str,
        public: Node,
        *,
        mailbox_limit: int,
        shutdown_timeout: float,
        raise_unmonitored: bool,
        clock: Callable[[], float],
    ) -> None:
        self.id = node_id
        self.public = public
        self.ports: dict[str, Port] = {}
        # Dead, but their tasks have not unwound, so their monitors have not fired.
        self.unwinding: dict[str, Port] = {}
        self.mailbox_limit = mailbox_limit
        self.shutdown_timeout = shutdown_timeout
        self.raise_unmonitored = raise_unmonitored
        self.clock = clock
        self.queue: deque[tuple[Any, tuple[Any, ...]]] = deque()
        self.dirty: list[RemoteWatcher] = []
        # Above zero while monitors are being fired: nothing may be written until all of them have.
        self.firing = 0
        self.nursery: trio.Nursery | None = None
        # The pump, while it has nothing to do; public for the short cut in `Node.send`.
        self.parked: trio.lowlevel.Task | None = None
        self._quiet = trio.lowlevel.ParkingLot()
        self._kill_job = Job(self.kill_now)

    # The queue -----------------------------------------------------------------------------------------------------

    def enqueue(self, target: Target, message: tuple[Any, ...]) -> None:
        """Put a message for a local port, or a job, behind what waits."""
        self.queue.append((target, message))
        if self.parked is not None:
            self.wake()

    def call_next(self, function: Callable[..., None], *arguments: Any) -> None:
        """Run work of the runtime as soon as a dispatcher gets to it, before what waits."""
        self.queue.appendleft((Job(function), arguments))
        self.wake()

    def wake(self) -> None:
        """See to it that the pump runs."""
        if self.parked is not None:
            parked, self.parked = self.parked, None
            trio.lowlevel.reschedule(parked)

    def mark_dirty(self, peer: RemoteWatcher) -> None:
        """Have a peer flushed at the end of this scheduler pass."""
        self.dirty.append(peer)
        if self.parked is not None:
            self.wake()

    @trio.lowlevel.enable_ki_protection
    async def pump(self) -> None:
        """Dispatch local messages and flush peers, for as long as the node lives."""
        task = trio.lowlevel.current_task()
        frame = Frame(self, None, task)
        frame_variable.set(frame)

        def abort(_: object) -> trio.lowlevel.Abort:
            self.parked = None
            return trio.lowlevel.Abort.SUCCEEDED

        while True:
            self.run_pass(frame)
            if self.queue or self.dirty:
                await trio.lowlevel.checkpoint()
            else:
                self._quiet.unpark_all()
                self.parked = task
                await trio.lowlevel.wait_task_rescheduled(abort)

    @trio.lowlevel.enable_ki_protection
    def run_pass(self, frame: Frame) -> None:
        """Dispatch what waits, within the limits of one pass, then flush. The rest is left to the pump."""
        if self.queue:
            self._drain(frame)
        while self.dirty:
            dirty, self.dirty = self.dirty, []
            for peer in dirty:
                peer.flush()
        if self.queue:
            self.wake()

    async def wait_quiet(self) -> None:
        """Wait until every port is dead and unwound and nothing is queued. A checkpoint."""
        await trio.lowlevel.checkpoint()
        while self.ports or self.unwinding or self.queue:
            await self._quiet.park()

    def finish(self, frame: Frame) -> None:
        """Dispatch all that is left, when no task of the node runs any more. What that sends goes nowhere."""
        errors: list[Exception] = []
        while self.queue:
            try:
                self._drain(frame)
            except Exception as error:  # noqa: BLE001 - the rest is to be told first
                errors.append(error)
        self.dirty.clear()
        if errors:
            raise ExceptionGroup("while the node was closing", errors)

    def _drain(self, frame: Frame) -> None:
        queue, clock = self.queue, self.clock
        end = clock() + PASS_SECONDS
        for count in range(PASS_MESSAGES):
            if not queue:
                break
            port, message = queue.popleft()
            tags = port.tags
            if tags is not None:
                try:
                    handler = tags.get(message[0])
                except (IndexError, TypeError):
                    handler = None
                arguments = message[1:]
            else:
                handler = port.default
                arguments = message
            if handler is None:
                self.deliver(frame, port, message)
            else:
                frame.port = port
                try:
                    result = handler(*arguments)
                except Exception as error:  # noqa: BLE001 - whatever it is, it is the port that dies
                    self.die(port, exception_reason(error), error)
                else:
                    if result is not None:
                        self._handle_result(port, result)
            if not count & _CLOCK_STRIDE and clock() > end:
                break
        frame.port = None

    @trio.lowlevel.enable_ki_protection
    def dispatch_batch(
        self,
        frame: Frame,
        batch: list[tuple[Any, ...]],
        start: int,
        serve: Callable[[tuple[Any, ...]], None],
    ) -> int:
        """Dispatch messages from a connection, within the limits of one pass.

        Args:
          frame: the reader's.
          batch: messages, each beginning with the name of its port.
          start: where to begin in it.
          serve: takes messages to the node port.

        Returns:
          Where to go on after other tasks have had their turn; the length of the batch if it is done.
        """
        ports, clock = self.ports, self.clock
        end = clock() + PASS_SECONDS
        stop = min(len(batch), start + PASS_MESSAGES)
        for index in range(start, stop):
            message = batch[index]
            try:
                port = ports.get(message[0])
            except (IndexError, TypeError):
                raise RemoteProtocolError(f"a message that is not for a port: {message!r:.80}") from None
            if port is None:
                if message[0] == "":
                    serve(message[1:])
                # Any other is dead: port names are never used twice, and whoever monitors it has been told.
                continue
            tags = port.tags
            if tags is not None:
                try:
                    handler = tags.get(message[1])
                except (IndexError, TypeError):
                    handler = None
                arguments = message[2:]
            else:
                handler = port.default
                arguments = message[1:]
            if handler is None:
                self.deliver(frame, port, message[1:])
            else:
                frame.port = port
                try:
                    result = handler(*arguments)
                except Exception as error:  # noqa: BLE001 - whatever it is, it is the port that dies
                    self.die(port, exception_reason(error), error)
                else:
                    if result is not None:
                        self._handle_result(port, result)
            if not index & _CLOCK_STRIDE and clock() > end:
                stop = index + 1
                break
        frame.port = None
        return stop

    def deliver(self, frame: Frame, port: Target, message: tuple[Any, ...]) -> None:
        """Hand a message to a port in whatever state, or do a job."""
        if isinstance(port, Job):
            frame.port = None
            port.function(*message)
            return
        state = port.state
        if not state.alive:
            return
        if state.busy:
            if state.pending is None:
                state.pending = deque()
            if len(state.pending) >= self.mailbox_limit:
                self._die_loudly(port, mailbox_full(self.mailbox_limit))
            else:
                state.pending.append(message)
            return
        frame.port = port
        result = self._handle(port, state, message)
        if result is not None:
            self._handle_result(port, result)

    def _handle(self, port: Port, state: PortState, message: tuple[Any, ...]) -> object:
        """Hand a message to a port that is not busy; the result of its handler."""
        found = state.handlers.find(message)
        if found is not None:
            handler, skip = found
            try:
                return handler(*message[skip:])
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the port that dies
                self.die(port, exception_reason(error), error)
        elif state.mailbox is None:
            self._die_loudly(port, unhandled_message(f"{message[0]!r:.80}" if message else "nothing"))
        elif not state.mailbox.put(message):
            self._die_loudly(port, mailbox_full(self.mailbox_limit))
        return None

    def _handle_result(self, port: Port, result: object) -> None:
        """What a handler returned: if it is a coroutine the handler was async, and the port is busy until it ends."""
        if not inspect.iscoroutine(result):
            return
        state = port.state
        if not state.alive:
            # It killed its own port, or was never to run.
            result.close()
            return
        state.busy = True
        port.rearm()
        self.start_task(port, self._finish_handler, (port, state, result))

    async def _finish_handler(self, port: Port, state: PortState, running: Coroutine[Any, Any, object]) -> None:
        """Run an async handler, then handle what came meanwhile."""
        try:
            await running
            end = self.clock() + PASS_SECONDS
            while state.alive and state.pending:
                result = self._handle(port, state, state.pending.popleft())
                if inspect.iscoroutine(result):
                    await result
                if self.clock() > end:
                    await trio.lowlevel.checkpoint()
                    end = self.clock() + PASS_SECONDS
        finally:
            state.busy = False
            port.rearm()

    # Tasks of ports ------------------------------------------------------------------------------------------------

    def start_task(self, port: Port, async_function: Callable[..., Awaitable[object]], arguments: tuple[Any, ...]) -> None:
        """See `PortHost.start_task`."""
        if self.nursery is None:
            raise trio.ClosedResourceError("the node is closed")
        name = f"{port}: {getattr(async_function, '__qualname__', async_function)}"
        self.nursery.start_soon(self._run_task, port, async_function, arguments, name=name)
        port.state.tasks += 1

    @trio.lowlevel.disable_ki_protection
    async def _run_task(
        self, port: Port, async_function: Callable[..., Awaitable[object]], arguments: tuple[Any, ...]
    ) -> None:
        state = port.state
        frame_variable.set(Frame(self, port, None))
        scope = trio.CancelScope()
        state.scopes.add(scope)
        if not state.alive:
            scope.cancel()
        try:
            with scope:
                await async_function(*arguments)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the port that dies
            if state.alive:
                self.die(port, exception_reason(error), error)
            else:
                log.error("%s: a task failed while it was unwinding", port, exc_info=error)
        finally:
            state.scopes.discard(scope)
            state.tasks -= 1
            if not state.alive and not state.tasks:
                self._unwound(port, state)

    # Death ---------------------------------------------------------------------------------------------------------

    def kill(self, port: str, reason: Reason) -> None:
        """See `PortHost.kill`; for local ports."""
        self.enqueue(self._kill_job, (split_port(port)[1], reason))

    def kill_now(self, name: str, reason: Reason) -> None:
        """Kill a local port, if it is alive."""
        port = self.ports.get(name)
        if port is not None:
            self.die(port, reason)

    def _die_loudly(self, port: Port, reason: Reason) -> None:
        """A death that is a mistake in the program, and has no exception of its own."""
        self.die(port, reason, PortDied(port, reason))

    def die(self, port: Port, reason: Reason, error: Exception | None = None) -> None:
        """See `PortHost.die`. It stops receiving now; its monitors fire when its tasks have unwound."""
        if self.ports.get(port.name) is not port:
            if error is not None:
                log.error("%s: a handler failed after the port had died", port, exc_info=error)
            return
        del self.ports[port.name]
        state = port.state
        state.alive = False
        state.reason = reason
        state.error = error
        state.pending = None
        state.handlers = type(state.handlers)()
        port.rearm()
        if state.mailbox is not None:
            state.mailbox.die(PortDied(port, reason))
        for monitor in tuple(state.owned):
            monitor.cancel()
        for scope in tuple(state.scopes):
            scope.cancel()
        self.unwinding[port.name] = port
        if not state.tasks:
            self._unwound(port, state)
        elif self.nursery is not None:
            state.unwinding = trio.CancelScope()
            self.nursery.start_soon(self._await_unwinding, port, state)

    async def _await_unwinding(self, port: Port, state: PortState) -> None:
        """Give up on tasks that do not unwind."""
        assert state.unwinding is not None
        with state.unwinding:
            await trio.sleep(self.shutdown_timeout)
            log.warning(
                "%s died %g s ago and %d of its tasks have not ended; its monitors fire now",
                *(port, self.shutdown_timeout, state.tasks),
            )
            self._unwound(port, state)

    def _unwound(self, port: Port, state: PortState) -> None:
        """The tasks of a dead port have ended: its monitors are to fire."""
        if self.unwinding.get(port.name) is not port:
            return
        if state.unwinding is not None:
            state.unwinding.cancel()
        self.enqueue(Job(self._fire_death), (port, state))

    def _fire_death(self, port: Port, state: PortState) -> None:
        del self.unwinding[port.name]
        monitors, state.monitors = tuple(state.monitors), {}
        if not monitors and not is_normal(state.reason) and state.error is not None:
            error, state.error = state.error, None
            if self.raise_unmonitored:
                raise error
            log.error("%s died and nobody monitors it", port, exc_info=error)
        # The notices to other nodes are queued before any callback can send there.
        for monitor in monitors:
            if isinstance(monitor, RemoteMonitor):
                monitor.peer.tell_death(monitor.name, state.reason)
        self.fire([monitor for monitor in monitors if isinstance(monitor, Monitor)], state.reason)

    # Monitors ------------------------------------------------------------------------------------------------------

    def add_local_monitor(self, name: str, monitor: Monitor | RemoteMonitor) -> None:
        """Add a monitor of a local port; if there is none of that name it fires at once, but not before this returns."""
        port = self.ports.get(name) or self.unwinding.get(name)
        if port is not None:
            port.state.monitors[monitor] = None
        else:
            self.enqueue(Job(self._fire_missing), (monitor, no_such_port(join_port(self.id, name))))

    def _fire_missing(self, monitor: Monitor | RemoteMonitor, reason: Reason) -> None:
        if isinstance(monitor, Monitor):
            self.fire([monitor], reason)
        else:
            monitor.peer.tell_death(monitor.name, reason)

    def remove_local_monitor(self, name: str, monitor: Monitor | RemoteMonitor) -> None:
        """Take a monitor of a local port away; no error if it is not there."""
        port = self.ports.get(name) or self.unwinding.get(name)
        if port is not None:
            port.state.monitors.pop(monitor, None)

    def fire(self, monitors: list[Monitor], reason: Reason) -> None:
        """Fire monitors: first every reason is set, then the callbacks run, then anything may be written again.

        Must be called by a task that dispatches. A callback that raises kills the port that set its monitor; outside
        a port it crashes the node, after the other callbacks have run.
        """
        frame = frame_variable.get()
        assert frame is not None
        before = frame.port
        crashes: list[Exception] = []
        self.firing += 1
        for monitor in monitors:
            monitor.begin_firing(reason)
        for monitor in monitors:
            callback = monitor.take_callback()
            owner = monitor.owner
            if isinstance(owner, Port):
                owner.state.owned.discard(monitor)
            if callback is None:
                continue
            frame.port = owner
            try:
                result = callback(*reason)
                if inspect.iscoroutine(result):
                    result.close()
                    raise TypeError(f"a monitor's callback must be sync, not {callback!r}")
            except Exception as error:  # noqa: BLE001 - sorted out below
                if isinstance(owner, Port):
                    self.die(owner, exception_reason(error), error)
                else:
                    crashes.append(error)
        self.firing -= 1
        frame.port = before
        if crashes:
            raise crashes[0] if len(crashes) == 1 else ExceptionGroup("callbacks of monitors failed", crashes)
