"""The lifecycle of ports: their tasks, their death, and who is told of it.

A port that dies stops receiving at once, and its tasks are cancelled; its monitors fire when those have unwound. Both
the kill and the firing go through the run queue, so they keep their order with messages.
"""

from __future__ import annotations

import inspect
import logging
import traceback
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

import trio

from .._errors import PortDied
from .._events import fields
from .._ids import join_port
from .._reason import NORMAL, Reason, exception_reason, identifier_of, is_normal, no_such_port, node_closed
from .backlog import Backlog
from .boundary import RemoteMonitor
from .context import Running, running_variable
from .instruments import Instruments
from .losses import Losses
from .monitor import CallMonitor, Monitor
from .port import Port, PortLifecycle, queued_in, rearm, state_of
from .port_state import Gravestone, PortState
from .reply_port import ReplyPort
from .run_queue import Job, RunQueue
from .tally import Tally

if TYPE_CHECKING:
    # For type checkers only: the room of `Node` is above this one, and nothing here calls it.
    from .._node.node import Node

_AT_ONCE = 32
"""How many ports without a state die, or are forgotten, in one job. Each takes microseconds, and a pass stays short."""

_LONGEST_STACK = 200
"""How many lines of stacks are logged, at most, of tasks that do not end."""

log = logging.getLogger("trio_mp.port")


class Lifecycle(PortLifecycle):
    """The ports of a node, from birth to the firing of their monitors. See `boundary.Deaths` for what other rooms use.

    Args:
      node_id: the node ID.
      public: the node as users see it.
      queue: where kills and firings wait, in order with messages.
      mailbox_limit: how many messages may wait in one port.
      mailbox_size_limit: how many bytes of memory those may take that come from other nodes.
      shutdown_timeout: how long the tasks of a dead port may take to unwind before its monitors fire, in seconds.
      raise_unmonitored: whether a death that nobody monitors crashes the node.
      clock: a monotonic clock, in seconds, for fairness only.

    Attributes:
      ports: the ports that are alive, by name.
      unwinding: ports that are dead, but whose tasks have not unwound, so that their monitors have not fired.
      lingering: how many dead ports have tasks that have not ended, and one more when the node is closed. While it is
        not 0, each send looks whether such a task calls it, or the node is closed, and refuses.
      firing: how many firings are going on, one in another. Above zero nothing may be written to other nodes.
      cause: the exception that has killed the port whose monitors are being fired; None if it died of no exception,
        or on another node.
      losses: who is told of messages that were dropped.
      instruments: who watches.
      deaths: how many ports have died, by the identifier of the reason. Those that `retire` forgets are not counted.
      monitored: how many monitors there are on ports of this node, of programs and of other nodes; without calls.
      busy: the ports whose async handler runs, each with the task that runs it; None until that has begun, and for
        ports that are not initialised yet.
      mailboxes: the live ports that have a mailbox.
      nursery: the nursery around the node's block, where tasks run, and where what crashes the node is raised. None
        before, and when the last task has ended.
      closing: whether the node is closing.
      tell_unfinished: is called with each port that dies while messages wait in it, or while it is at work, of which it
        may have died; with how many messages, and the reason. None if nobody wants to know.
    """

    def __init__(
        self,
        node_id: str,
        public: Node,
        queue: RunQueue,
        *,
        mailbox_limit: int,
        mailbox_size_limit: int,
        shutdown_timeout: float,
        raise_unmonitored: bool,
        clock: Callable[[], float],
    ) -> None:
        self.id = node_id
        self.public = public
        self.clock = clock
        self.ports: dict[str, Port] = {}
        self.unwinding: dict[str, Port] = {}
        self.lingering = 0
        self.firing = 0
        self.cause: Exception | None = None
        self.nursery: trio.Nursery | None = None
        self.closing = False
        self.instruments = Instruments(node_id)
        self.losses = Losses(node_id, queue, self.instruments)
        self.deaths = Tally()
        self.monitored = 0
        # Dicts for their order: simulations are repeated.
        self.busy: dict[Port, trio.lowlevel.Task | None] = {}
        self.mailboxes: dict[Port, None] = {}
        self.tell_unfinished: Callable[[Port, int, Reason], object] | None = None
        # The scopes of all tasks. A dict for its order: simulations are repeated.
        self._scopes: dict[trio.CancelScope, None] = {}
        self._cancelled = self._stopping = False
        self._queue = queue
        self._mailbox_limits = (mailbox_limit, mailbox_size_limit)
        self._shutdown_timeout = shutdown_timeout
        self._raise_unmonitored = raise_unmonitored
        self._kill_job = Job(self.kill_now)
        self._kill_each_job = Job(self._kill_each)
        self._bury_job = Job(self._bury)
        self._fire_death_job = Job(self._fire_death)
        # The gravestone of the latest death: ports that die of one reason, as when a node closes, share one object.
        self._gravestone = Gravestone(())

    def count_waiting(self) -> int:
        """Count the messages that wait in ports: in mailboxes, and for handlers that run.

        The time it takes grows with the number of such ports. To keep count would cost 5 % of each such message.
        """
        boxed = sum([queued_in(port)[0] for port in self.mailboxes])
        return boxed + sum([queued_in(port)[0] for port in self.busy if port not in self.mailboxes])

    def new_backlog(self) -> Backlog:
        """See `PortLifecycle.new_backlog`."""
        return Backlog(*self._mailbox_limits)

    # Tasks ---------------------------------------------------------------------------------------------------------

    # The node's block may be cancelled while something in it, such as a supervisor, needs these tasks to unwind. So
    # each has a shield of its own, and only `cancel_tasks` cancels all.

    def start_task(
        self, port: Port, async_function: Callable[..., Awaitable[object]], arguments: tuple[Any, ...]
    ) -> None:
        """See `PortLifecycle.start_task`."""
        if self.nursery is None:
            raise trio.ClosedResourceError("the node is closed")
        name = f"{port}: {getattr(async_function, '__qualname__', async_function)}"
        self.nursery.start_soon(self._run_task, self._shield(), port, async_function, arguments, name=name)
        state_of(port).tasks += 1

    @trio.lowlevel.disable_ki_protection
    async def _run_task(
        self,
        scope: trio.CancelScope,
        port: Port,
        async_function: Callable[..., Awaitable[object]],
        arguments: tuple[Any, ...],
    ) -> None:
        state = state_of(port)
        running_variable.set(Running(self.public, port, None))
        state.scopes[scope] = trio.lowlevel.current_task()
        if not state.alive:
            scope.cancel()
        try:
            with scope:
                await call_async(async_function, arguments)
        except Exception as error:
            if state.alive:
                self.die(port, exception_reason(error), error)
            elif not _is_own_death(error, port):
                log.error(
                    "%s: a task failed while it was unwinding", port, exc_info=error, extra=fields("failed", self.id)
                )
        finally:
            state.scopes.pop(scope, None)
            state.tasks -= 1
            if not state.alive and not state.tasks:
                self.lingering -= 1
                self._unwound(port, state)
            self._task_ended(scope)

    def start_system_task(self, async_function: Callable[..., Awaitable[object]], *arguments: Any) -> trio.CancelScope:
        """See `Deaths.start_system_task`."""
        if self.nursery is None:
            return trio.CancelScope()
        scope = self._shield()
        self.nursery.start_soon(self._run_system_task, scope, async_function, arguments, name=async_function)
        return scope

    async def _run_system_task(
        self, scope: trio.CancelScope, async_function: Callable[..., Awaitable[object]], arguments: tuple[Any, ...]
    ) -> None:
        # Code of a port may have started this task, which inherits the context of its starter but does not belong to
        # the port.
        running_variable.set(None)
        try:
            with scope:
                await async_function(*arguments)
        except BaseException:
            # This ends the node. What waits for this task in its block may have a shield, and would wait for ever.
            self.cancel_tasks()
            raise
        finally:
            self._task_ended(scope)

    def _shield(self) -> trio.CancelScope:
        """The scope of a task that is about to start."""
        scope = trio.CancelScope(shield=True)
        self._scopes[scope] = None
        if self._cancelled:
            scope.cancel()
        return scope

    @trio.lowlevel.enable_ki_protection
    def _task_ended(self, scope: trio.CancelScope) -> None:
        del self._scopes[scope]
        self._end_pump()

    def cancel_tasks(self) -> None:
        """Cancel all tasks, also those that start from now on."""
        self._cancelled = True
        for scope in tuple(self._scopes):
            scope.cancel()

    def stop(self) -> None:
        """Cancel all tasks, as the node's block has been left. The pump ends behind the last, which may need it."""
        self._stopping = True
        self.cancel_tasks()
        self._end_pump()

    def _end_pump(self) -> None:
        """Let the pump end, if the block has been left and no task is left."""
        if self._stopping and not self._scopes:
            self.nursery = None
            self._queue.end_pump()

    # Death ---------------------------------------------------------------------------------------------------------

    def kill(self, name: str, reason: Reason) -> None:
        """Kill a local port, in order with what was sent to it before."""
        self._queue.enqueue(self._kill_job, (name, reason))

    def kill_all(self, reason: Reason) -> None:
        """Kill all ports that are alive now, in order with what was sent to them before."""
        self._queue.enqueue(self._kill_each_job, (iter(tuple(self.ports)), reason))

    def _kill_each(self, names: Iterator[str], reason: Reason) -> None:
        """Kill ports until there is something that other work has to come between; the rest is the next job."""
        left = _AT_ONCE
        for name in names:
            port = self.ports.get(name)
            if port is None:
                continue
            left -= 1
            if not left or port._state is not None:
                # First: what its death puts before all that waits goes before the other ports, too.
                self._queue.items.appendleft((self._kill_each_job, (names, reason)))
                self.die(port, reason)
                return
            self.die(port, reason)

    def kill_now(self, name: str, reason: Reason) -> None:
        """See `Deaths.kill_now`."""
        port = self.ports.get(name)
        if port is not None:
            self.die(port, reason)

    def die_of_overflow(self, port: Port, reason: Reason) -> None:
        """See `PortLifecycle.die_of_overflow`."""
        self.losses.note_dead(port.name)
        self.die_loudly(port, reason)

    def die_loudly(self, port: Port, reason: Reason) -> None:
        """See `PortLifecycle.die_loudly`."""
        self.die(port, reason, PortDied(port, reason))

    @trio.lowlevel.enable_ki_protection
    def die(self, port: Port, reason: Reason, error: Exception | None = None, *, heard: bool = False) -> None:
        """See `PortLifecycle.die`. It stops receiving now; its monitors fire when its tasks have unwound."""
        name = port.name
        if self.ports.get(name) is not port:
            if error is not None and not _is_own_death(error, port):
                log.error(
                    "%s: a handler failed after the port had died",
                    port,
                    exc_info=error,
                    extra=fields("failed", self.id),
                )
            return
        del self.ports[name]
        self.deaths.add_reason(reason)
        if self.instruments.deaths:
            self.instruments.tell("port_died", str.__str__(port), reason)
        self.unwinding[name] = port
        if isinstance(port, ReplyPort):
            port.taker.reply_port_died(reason, error)
        if port._state is None and error is None:
            self._lay_out(port, reason)
            return
        state = state_of(port)
        state.alive = False
        state.reason = reason
        state.error = error
        state.heard = heard
        if self.tell_unfinished is not None:
            waiting = queued_in(port)[0]
            is_in_hand = state.mailbox is not None and state.mailbox.is_in_hand
            # A handler, or a loop, that has raised has ended by now.
            if waiting or state.busy or is_in_hand or error is not None:
                self.tell_unfinished(port, waiting, reason)
        if state.pending:
            self.losses.note_dead(name, len(state.pending))
        state.pending = None
        state.handlers = type(state.handlers)()
        rearm(port)
        if state.mailbox is not None:
            del self.mailboxes[port]
            quietly = not reason or (self.closing and reason == node_closed(self.id))
            state.mailbox.die(reason, quietly=quietly, cause=_raised(error))
        for owned in tuple(state.owned):
            if isinstance(owned, Monitor) and self._outlives_owner(owned):
                del state.owned[owned]
                owned._owner = None
            else:
                owned.cancel()
        for scope in tuple(state.scopes):
            scope.cancel()
        if not state.tasks or self.nursery is None:
            self._unwound(port, state)
        else:
            self.lingering += 1
            state.unwinding = self.start_system_task(self._await_unwinding, port, state)

    def _lay_out(self, port: Port, reason: Reason) -> None:
        """Let a port die that has handlers and nothing else: a million of these close in seconds."""
        self._set_gravestone(port, reason)
        latest = self._queue.items[-1] if self._queue.items else None
        if latest is not None and latest[0] is self._bury_job and len(latest[1][0]) < _AT_ONCE:
            # Nothing was queued since the latest death, so one job can fire both and keep the order.
            latest[1][0].append(port)
        else:
            self._queue.enqueue(self._bury_job, ([port],))

    def _set_gravestone(self, port: Port, reason: Reason) -> None:
        """Replace the handlers of a dead port by the reason of its death."""
        if self._gravestone.reason is not reason:
            self._gravestone = Gravestone(reason)
        port._state = self._gravestone
        port._tags = port._default = None

    def _bury(self, ports: list[Port]) -> None:
        """Forget ports that had no state when they died. Those that have one now were monitored since: these fire."""
        for number, port in enumerate(ports, 1):
            if isinstance(port._state, PortState):
                if number < len(ports):
                    # First: what a callback puts before all that waits goes before the other ports, too.
                    self._queue.items.appendleft((self._bury_job, (ports[number:],)))
                self._fire_death(port, port._state)
                return
            del self.unwinding[port.name]

    @trio.lowlevel.enable_ki_protection
    def retire(self, port: Port) -> None:
        """Let a port die normally. One that nothing depends on is forgotten now: no job fires monitors that it lacks.

        What was to be called when it has unwound is not called then.
        """
        state = port._state
        if self.ports.get(port.name) is not port:
            return
        if not isinstance(state, PortState):
            del self.ports[port.name]
            self._set_gravestone(port, NORMAL)
        elif state.monitors or state.tasks or state.owned or state.mailbox is not None:
            self.die(port, NORMAL)
        else:
            del self.ports[port.name]
            state.alive = False
            state.handlers = type(state.handlers)()
            rearm(port)

    def _outlives_owner(self, monitor: Monitor) -> bool:
        """Whether a monitor is to fire although the port that has set it dies now.

        A link to a port of another node is, when the port that it watches has died before, or dies with its owner: as
        the ports of a node that closes do, which die one after the other. Else the port over there would never be
        told. The callback of a program is not: it runs in the context of a port that is alive.
        """
        peer, name = cast("tuple[object, str]", monitor._where)
        if not monitor._kills_remotely or peer is not None:
            return False
        return name in self.unwinding or (self.closing and name in self.ports)

    async def _await_unwinding(self, port: Port, state: PortState) -> None:
        """Wait for the tasks of a dead port, and fire its monitors when they take too long. Cancelled if they end."""
        # Each is bounded by the time that its own children have.
        for supervisor in tuple(state.supervisors or ()):
            await supervisor.wait_ended()
        limit = self._shutdown_timeout if state.unwind_limit is None else state.unwind_limit
        await trio.sleep(limit)
        log.warning(
            "%s died %g s ago and %d of its tasks have not ended; its monitors fire now. What runs still,"
            " for a shielded scope or a thread:\n%s",
            *(port, limit, state.tasks, describe_tasks(state.scopes.values())),
            extra=fields("unwinding", self.id),
        )
        self._unwound(port, state)

    def _unwound(self, port: Port, state: PortState) -> None:
        """Queue the firing of a dead port's monitors, because its tasks have ended, or nobody waits for them."""
        if self.unwinding.get(port.name) is not port:
            return
        if state.unwinding is not None:
            state.unwinding.cancel()
        self._queue.enqueue(self._fire_death_job, (port, state))

    def _fire_death(self, port: Port, state: PortState) -> None:
        if self.unwinding.pop(port.name, None) is None:
            # This was queued twice: its last task ended, and the time for that was up, in one pass of the scheduler.
            return
        for callback in state.unwound:
            callback()
        monitors, state.monitors = tuple(state.monitors), {}
        for monitor in monitors:
            if monitor.__class__ is not CallMonitor:
                self.monitored -= 1
        # The exception is not kept, because its traceback would keep frames, and all that they hold, alive.
        error, state.error = state.error, None
        if not is_normal(state.reason) and error is not None:
            if monitors or state.heard:
                # A monitor gets the reason, without a traceback; people find that in the log.
                log.debug(
                    "%s died, and %d monitors are told",
                    port,
                    len(monitors),
                    exc_info=error,
                    extra=fields("port_died", self.id, reason=identifier_of(state.reason)),
                )
            elif self._raise_unmonitored:
                self.crash(error)
                return
            else:
                log.error(
                    "%s died and nobody monitors it",
                    port,
                    exc_info=error,
                    extra=fields("port_died", self.id, reason=identifier_of(state.reason)),
                )
        # The notices to other nodes are queued before any callback can send there.
        for monitor in monitors:
            if isinstance(monitor, RemoteMonitor):
                monitor.watcher.tell_death(monitor.name, state.reason)
        self.fire([monitor for monitor in monitors if isinstance(monitor, Monitor)], state.reason, _raised(error))

    # Monitors ------------------------------------------------------------------------------------------------------

    def find(self, name: str) -> Port | None:
        """The local port of this name, if its monitors have not fired yet: alive, or dead and unwinding."""
        return self.ports.get(name) or self.unwinding.get(name)

    def add_local_monitor(self, name: str, monitor: Monitor | RemoteMonitor) -> None:
        """See `Deaths.add_local_monitor`."""
        port = self.find(name)
        if port is not None:
            self.monitored += 1
            state_of(port).monitors[monitor] = None
        else:
            self._queue.enqueue(Job(self._fire_missing), (monitor, no_such_port(join_port(self.id, name))))

    def _fire_missing(self, monitor: Monitor | RemoteMonitor, reason: Reason) -> None:
        if isinstance(monitor, Monitor):
            self.fire([monitor], reason)
        else:
            monitor.watcher.tell_death(monitor.name, reason)

    def remove_local_monitor(self, name: str, monitor: Monitor | RemoteMonitor) -> None:
        """See `Deaths.remove_local_monitor`."""
        port = self.find(name)
        if port is not None and state_of(port).monitors.pop(monitor, self) is not self:
            self.monitored -= 1

    def fire(self, monitors: list[Monitor], reason: Reason, cause: Exception | None = None) -> None:
        """See `Deaths.fire`. Callbacks find the cause in `cause`."""
        running = running_variable.get()
        task = trio.lowlevel.current_task()
        if running is None or running.task is not task:
            running = Running(self.public, None, task)
            running_variable.set(running)
        # A callback may let another port die, whose monitors fire within this call: hence what was before is kept.
        before, self.cause = (running.port, self.cause), cause
        crashes: list[Exception] = []
        self.firing += 1
        try:
            for monitor in monitors:
                monitor._begin_firing(reason)
            for monitor in monitors:
                crash = self._call_back(running, monitor, reason)
                if crash is not None:
                    crashes.append(crash)
        finally:
            self.firing -= 1
            running.port, self.cause = before
        if crashes:
            several = ExceptionGroup("callbacks of monitors failed", crashes)
            self.crash(crashes[0] if len(crashes) == 1 else several)

    def _call_back(self, running: Running, monitor: Monitor, reason: Reason) -> Exception | None:
        """Call the callback of one monitor; returns the exception that is to crash the node, or None."""
        callback, owner = monitor._take_callback(), monitor._owner
        if isinstance(owner, Port):
            state_of(owner).owned.pop(monitor, None)
        if callback is None:
            return None
        running.port = owner
        try:
            result = callback(*reason)
            if inspect.isgenerator(result) or inspect.isasyncgen(result):
                raise TypeError("monitor(): expected an action without `yield`, got one with it; take it out")
            if inspect.iscoroutine(result):
                result.close()
                raise TypeError(f"monitor(): expected a sync function, got {callback!r}; start a task in one")
        except Exception as error:  # noqa: BLE001 - sorted out below
            if self.closing and isinstance(error, trio.ClosedResourceError):
                # The callback tried to replace the port that died. Programs that supervise need no special case for
                # a node that is closing.
                return None
            if not isinstance(owner, Port):
                return error
            self.die(owner, exception_reason(error), error)
        return None

    def crash(self, error: BaseException) -> None:
        """See `Deaths.crash`. This does not raise: its caller dispatches, catches errors, and has work to finish."""
        if self.nursery is None:
            raise error
        self.nursery.start_soon(_raise, error)


def describe_tasks(tasks: Iterable[trio.lowlevel.Task]) -> str:
    """Where tasks are, and those in their nurseries, as a traceback has it."""
    lines: list[str] = []
    waiting = [*tasks]
    while waiting and len(lines) < _LONGEST_STACK:
        task = waiting.pop(0)
        lines.append(f"task {task.name}, most recent call last:\n")
        lines += traceback.StackSummary.extract(task.iter_await_frames()).format()
        waiting += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return "".join(lines[:_LONGEST_STACK]).rstrip()


def call_async(
    async_function: Callable[..., Awaitable[object]], arguments: tuple[Any, ...], **named: Any
) -> Awaitable[object]:
    """Call a function that a program says is async. Raises `TypeError`, and names it, if it turns out to be none."""
    result: object = async_function(*arguments, **named)
    if not isinstance(result, Awaitable):
        name = getattr(async_function, "__qualname__", async_function)
        raise TypeError(f"expected an async function, got {name}, which returned {type(result).__name__}")
    return result


async def _raise(error: BaseException) -> None:
    raise error


def _raised(error: Exception | None) -> Exception | None:
    """An exception that was raised somewhere, so that it has something to tell."""
    return error if error is not None and error.__traceback__ is not None else None


def _is_own_death(error: BaseException, port: Port) -> bool:
    """Whether all that an exception says is that this port has died: how its tasks are told, and no failure."""
    if isinstance(error, BaseExceptionGroup):
        return all(_is_own_death(part, port) for part in error.exceptions)
    return isinstance(error, PortDied) and error.port == port
