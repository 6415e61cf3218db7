"""The dispatcher: every message of a node goes to its port through here.

Local messages wait in one queue, which keeps their order. It is drained, run to completion, by one task of the node,
the pump, or by the reader of a connection when it has dispatched what it read: at most `PASS_MESSAGES` messages or
`PASS_SECONDS`, then others get their turn (two handlers that answer each other would starve Trio for ever). Messages
from a connection are dispatched by its reader, without a task switch.

The death of ports, and the firing of monitors, go through the same queue: see `keeper.py`.
"""

from __future__ import annotations

import inspect
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import trio

from .._ids import join_port
from .._reason import exception_reason, mailbox_full, unhandled_message
from .backlog import Backlog
from .context import Running, running_variable
from .lifecycle import Job, Lifecycle, RemoteWriter, Target
from .port import Port, rearm, state_of
from .port_state import PortState

if TYPE_CHECKING:
    from .._node.node import Node

Message: TypeAlias = tuple[Any, ...]
Serve: TypeAlias = Callable[[Message], None]

PASS_MESSAGES = 1000
PASS_SECONDS = 0.005

WRONG_THREAD = "a node belongs to the thread that runs Trio: from others use trio.from_thread.run_sync(node.send, …)"

_CLOCK_STRIDE = 8  # the clock is looked at after the first message and every 8: it costs a tenth of a dispatch

log = logging.getLogger("trio_mp.port")


class Dispatcher(Lifecycle):
    """The ports of a node, and what is on its way to them.

    Args:
      node_id: the node ID.
      mailbox_limit: how many messages may wait in one port.
      mailbox_size_limit: how many bytes of memory those may take that come from other nodes.
      shutdown_timeout: how long the tasks of a dead port may take to unwind before its monitors fire, in seconds.
      raise_unmonitored: whether a death that nobody monitors crashes the node.
      stall: after how many seconds of one pass the port that took so long is logged by name.
      clock: a monotonic clock, in seconds, for fairness only.
    """

    def __init__(
        self,
        node_id: str,
        public: Node,
        *,
        mailbox_limit: int,
        mailbox_size_limit: int,
        stall: float,
        shutdown_timeout: float,
        raise_unmonitored: bool,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(shutdown_timeout=shutdown_timeout, raise_unmonitored=raise_unmonitored)
        self.id = node_id
        self.public = public
        self._mailbox_limits = (mailbox_limit, mailbox_size_limit)
        self._stall = stall
        self._stride = _CLOCK_STRIDE
        self.clock = clock
        self.queue: deque[tuple[Any, tuple[Any, ...]]] = deque()
        self.dirty: list[RemoteWriter] = []
        # The pump, while it has nothing to do; public for the short cut in `Node.send`.
        self.parked: trio.lowlevel.Task | None = None
        # The same, while it need not be woken.
        self._held: trio.lowlevel.Task | None = None
        self._flushed_early = False
        # How often a pass took so long that it was logged.
        self.stalls = 0
        self._quiet = trio.lowlevel.ParkingLot()

    def new_backlog(self) -> Backlog:
        """A place where messages of one port wait."""
        return Backlog(*self._mailbox_limits)

    # The queue -----------------------------------------------------------------------------------------------------

    def enqueue(self, target: Target, message: tuple[Any, ...]) -> None:
        """Put a message for a local port, or a job, behind what waits."""
        if self.parked is not None:
            self.wake()
        self.queue.append((target, message))

    def call_next(self, function: Callable[..., None], *arguments: Any) -> None:
        """Run work of the runtime as soon as a dispatcher gets to it, before what waits."""
        self.queue.appendleft((Job(function), arguments))
        self.wake()

    def wake(self) -> None:
        """See to it that the pump runs. Raises `RuntimeError` in a thread that does not run Trio."""
        if self.parked is not None:
            try:
                trio.lowlevel.reschedule(self.parked)
            except RuntimeError:
                raise RuntimeError(WRONG_THREAD) from None
            self.parked = None

    def hold_pump(self) -> None:
        """Let the pump sleep, whatever there is to do: the caller does it, by `run_pass`, before others run.

        To wake a task for each answer that a handler sends would be a tenth of a round trip.
        """
        if self.parked is not None:
            self._held, self.parked = self.parked, None

    def release_pump(self) -> None:
        """From now on it is woken again; also at once, if there is something to do."""
        if self._held is not None:
            self.parked, self._held = self._held, None
        if self.queue or self.dirty:
            self.wake()

    def mark_dirty(self, peer: RemoteWriter) -> None:
        """Have a peer flushed at the end of this scheduler pass."""
        self.dirty.append(peer)
        if self.parked is not None:
            self.wake()

    def flush_early(self) -> None:
        """Flush now what else the pump would flush in the next pass, for a task that is about to wait for the answer.

        Once for each pass of the pump: what other tasks send may go out together.
        """
        if not self._flushed_early:
            self._flushed_early = True
            for peer in self.dirty:
                peer.flush_dirty()

    @trio.lowlevel.enable_ki_protection
    async def pump(self) -> None:
        """Dispatch local messages and flush peers, for as long as the node lives."""
        task = trio.lowlevel.current_task()
        running = Running(self.public, None, task)
        running_variable.set(running)

        def abort(_: object) -> trio.lowlevel.Abort:
            self.parked = self._held = None
            return trio.lowlevel.Abort.SUCCEEDED

        while True:
            self.run_pass(running)
            if self.queue or self.dirty:
                await trio.lowlevel.checkpoint()
            else:
                self._quiet.unpark_all()
                self.parked = task
                await trio.lowlevel.wait_task_rescheduled(abort)

    @trio.lowlevel.enable_ki_protection
    def run_pass(self, running: Running) -> None:
        """Dispatch what waits, within the limits of one pass, then flush. The rest is left to the pump."""
        self._flushed_early = False
        if self.queue:
            self._drain(running)
        while self.dirty:
            dirty, self.dirty = self.dirty, []
            for peer in dirty:
                peer.flush_dirty()
        self.release_pump()

    async def wait_quiet(self) -> None:
        """Wait until every port is dead and unwound and nothing is queued. A checkpoint."""
        await trio.lowlevel.checkpoint()
        while self.ports or self.unwinding or self.queue:
            await self._quiet.park()

    def finish(self, running: Running) -> None:
        """Dispatch all that is left, when no task of the node runs any more. What that sends goes nowhere."""
        errors: list[Exception] = []
        while self.queue:
            try:
                self._drain(running)
            except Exception as error:  # noqa: BLE001 - the rest is to be told first
                errors.append(error)
        self.dirty.clear()
        if errors:
            raise ExceptionGroup("while the node was closing", errors)

    def _drain(self, running: Running) -> None:
        queue, clock, stride = self.queue, self.clock, self._stride
        latest: list[Target | None] = [None] * stride
        end = clock() + PASS_SECONDS
        left, step = PASS_MESSAGES, 1
        while left and queue:
            for place in range(min(step, len(queue))):
                port, message = queue.popleft()
                latest[place] = port
                tags = port._tags
                if tags is not None:
                    try:
                        handler = tags.get(message[0])
                    except Exception:  # noqa: BLE001 - empty, unhashable, or with a __hash__ or __eq__ that raises
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
                        self.die(port, exception_reason(error), error)
                    else:
                        if result is not None:
                            self._handle_result(port, result)
            if clock() > end:
                break
            left -= step
            step = min(stride, left)
        running.port = None
        if clock() > end + self._stall:
            self._report_stall(clock() - end, [str(port) for port in latest if isinstance(port, Port)])

    @trio.lowlevel.enable_ki_protection
    def dispatch_batch(
        self, running: Running, batch: list[Message], start: int, serve: Serve, ended: Sequence[object] = ()
    ) -> int:
        """Dispatch messages from a connection, within the limits of one pass; some at a time, because clocks cost.

        Args:
          running: the reader's.
          batch, start: messages, each beginning with the name of its port; where to begin.
          serve: takes messages to the node port.
          ended: not empty once the connection has ended. Then the rest of the batch is dropped.

        Returns:
          Where to go on after other tasks have had their turn; the length of the batch if it is done.
        """
        ports, clock, stride = self.ports, self.clock, self._stride
        end = clock() + PASS_SECONDS
        done, step, stop = start, 1, min(len(batch), start + PASS_MESSAGES)
        while done < stop:
            for message in batch[done : done + step]:
                if ended:
                    stop = 0
                    break
                port = ports.get(message[0]) if message else None
                if port is None:
                    # The codec has seen to it that a message is empty, a keep-alive, or begins with a str.
                    if message and not message[0]:
                        serve(message[1:])
                    # Any other is dead: port names are never used twice, and whoever monitors it has been told.
                    continue
                tags = port._tags
                if tags is not None:
                    try:
                        handler = tags.get(message[1])
                    except Exception:  # noqa: BLE001 - empty, unhashable, or a tag of the program's whose __eq__ raises
                        handler = None
                    arguments = message[2:]
                else:
                    # A mailbox must know that they are not of this node.
                    handler = port._default if port._state is None or port._state.mailbox is None else None
                    arguments = message[1:]
                if handler is None:
                    self.deliver(running, port, message[1:], True)
                else:
                    running.port = port
                    try:
                        result = handler(*arguments)
                    except Exception as error:  # noqa: BLE001 - whatever it is, it is the port that dies
                        self.die(port, exception_reason(error), error)
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

    def _report_stall(self, seconds: float, ports: list[str]) -> None:
        """A pass took so long that the node's heartbeats stopped: say whose handler it was, as far as is known."""
        names = list(dict.fromkeys(ports))
        who = "a callback of a monitor" if not names else f"a handler of {names[0]}"
        if len(names) > 1:
            who = f"a handler of one of {', '.join(names)}"
        self.stalls += 1
        # From now on the clock is looked at after each message, so that it is known which.
        self._stride = 1
        log.warning(
            "%s computed for %.1f s, and nothing else of this program ran meanwhile, heartbeats included:"
            " use trio.to_thread, or a node of its own",
            *(who, seconds),
        )

    def deliver(self, running: Running, port: Target, message: tuple[Any, ...], received: bool = False) -> None:
        """Hand a message, perhaps received from another node, to a port in whatever state, or do a job."""
        if isinstance(port, Job):
            running.port = None
            try:
                port.function(*message)
            except Exception as error:  # noqa: BLE001 - not of the connection whose reader may have come to it
                self.crash(error)
            return
        state = state_of(port)
        if not state.alive:
            return
        if state.busy:
            if state.pending is None:
                state.pending = self.new_backlog()
            full = state.pending.append(message, received)
            if full:
                self.die_loudly(port, mailbox_full(full))
            return
        running.port = port
        result = self._handle(port, state, message, received)
        if result is not None:
            self._handle_result(port, result)

    def hold(self, port: Port) -> None:
        """Let messages for a port wait until `release`."""
        state_of(port).busy = True
        rearm(port)

    def release(self, port: Port) -> None:
        """Let a port that was held handle its messages, first those that have come meanwhile."""
        state = state_of(port)
        pending, state.pending, state.busy = state.pending, None, False
        rearm(port)
        running = running_variable.get()
        assert running is not None
        while pending:
            self.deliver(running, port, *pending.pop())

    def _handle(self, port: Port, state: PortState, message: tuple[Any, ...], received: bool) -> object:
        """Hand a message to a port that is not busy; the result of its handler."""
        # Comparing and printing what is in a message runs the program's code as well.
        try:
            found = state.handlers.find(message)
            if found is not None:
                handler, arguments = found
                return handler(*arguments)
            if state.mailbox is None:
                self.die_loudly(port, unhandled_message(f"{message[0]!r:.80}" if message else "nothing"))
            else:
                state.mailbox.put(*message, received=received)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the port that dies
            self.die(port, exception_reason(error), error)
        return None

    def _handle_result(self, port: Port, result: object) -> None:
        """What a handler returned: if it is a coroutine the handler was async, and the port is busy until it ends."""
        if not inspect.iscoroutine(result):
            if inspect.isgenerator(result) or inspect.isasyncgen(result):
                error = TypeError("a handler with a `yield` in it has not run at all: take the yield out")
                self.die(port, exception_reason(error), error)
            return
        state = state_of(port)
        if not state.alive:
            # It killed its own port, or was never to run.
            result.close()
            return
        state.busy = True
        rearm(port)
        self.start_task(port, self._finish_handler, (port, state, result))

    @trio.lowlevel.enable_ki_protection
    def _handle_next(self, port: Port, state: PortState, pending: Backlog) -> object:
        return self._handle(port, state, *pending.pop())

    async def _finish_handler(self, port: Port, state: PortState, running: Coroutine[Any, Any, object]) -> None:
        """Run an async handler, then handle what came meanwhile."""
        try:
            await running
            end = self.clock() + PASS_SECONDS
            while state.alive and state.pending:
                result = self._handle_next(port, state, state.pending)
                if inspect.iscoroutine(result):
                    await result
                elif result is not None:
                    self._handle_result(port, result)
                if self.clock() > end:
                    await trio.lowlevel.checkpoint()
                    end = self.clock() + PASS_SECONDS
        finally:
            state.busy = False
            rearm(port)
