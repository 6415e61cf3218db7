"""The driver of one supervisor: tells the rules what has happened, and does what they say."""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from itertools import islice, takewhile

import trio

from .._errors import PortDied
from .._events import fields
from .._ports.context import running_variable
from .._ports.port import Port, state_of
from .._ports.port_state import Supervising
from .._protocol.supervision import Action, Ended, Start, State, Stop, Supervision, Wait
from .._reason import Reason, describe, exception_reason, identifier_of, is_expected
from .._runtime import Runtime
from .._services.database import Database
from .._services.effect_queue import EffectQueue
from .arguments import ChildSettings, SupervisorSettings
from .child import Child, Kind, Turn
from .errors import SupervisorFailed
from .reference import ChildRef

log = logging.getLogger("trio_mp.supervisor")

_around: ContextVar[Supervising | None] = ContextVar("trio_mp_supervisor", default=None)


class Driver:
    """Runs the children of one supervisor. See `Supervising` for the methods that the node and outer supervisors call.

    Each start is a task in the nursery of the supervisor's block, shielded: the rules alone end it. So an outer
    cancellation stops the children one after the other, as any other cause does.

    Args:
      runtime, database: the node's.
      settings: what the program has said.

    Attributes:
      label: the supervisor's name in logs and errors.
      parent: the supervisor around this one, if there is one.
      scope: the cancel scope of the block's body.
      nursery: the nursery of the block; set when the block is entered.
      restarts: how many restarts there were, of all children.
      closed: whether the supervisor ends because the node ends.
    """

    nursery: trio.Nursery

    def __init__(self, runtime: Runtime, database: Database, settings: SupervisorSettings) -> None:
        runtime.check_open()
        if runtime.closing:
            raise trio.ClosedResourceError(f"node {runtime.id} is closing")
        self.runtime = runtime
        self.settings = settings
        self.parent = _around.get()
        self.scope = trio.CancelScope()
        self.restarts = 0
        self.closed = False
        self._owner: Port | None = runtime.owner()
        self.label = f"supervisor {settings.name or f'of {self._owner or runtime.id}'}"
        self._database = database
        self._rules = Supervision(
            settings.strategy,
            limit=settings.limit,
            within=settings.within,
            first_delay=settings.backoff.first,
            last_delay=settings.backoff.last,
            auto_shutdown=settings.auto_shutdown,
        )
        self._children: dict[str, Child] = {}
        self._numbers: dict[str, int] = {}
        self._latest_epoch = 0
        # When each child has died of late, and of which exception, the latest last. `SupervisorFailed` holds these
        # exceptions.
        self._errors: dict[str, tuple[float, Exception]] = {}
        self._actions = EffectQueue(self._do)
        # The cancel scopes of tasks that wait for a back-off, by the time at which it ends.
        self._timers: dict[float, trio.CancelScope] = {}
        self._ended = trio.Event()
        self._cancelled = False
        self._failed: tuple[str, ...] = ()
        self._changed = trio.lowlevel.ParkingLot()
        self._task_ended = trio.lowlevel.ParkingLot()

    # The block -----------------------------------------------------------------------------------------------------

    def enter(self, nursery: trio.Nursery) -> None:
        """Note that the block is entered; starts run in this nursery. From now on somebody must await `wait_ended`."""
        self.nursery = nursery
        self.runtime.supervisors[self] = None
        if self._owner is not None:
            state = state_of(self._owner)
            state.owned[self] = None
            state.supervisors = state.supervisors or {}
            state.supervisors[self] = None
        _around.set(self)
        if self.runtime.standing.draining.is_set():
            self.stop_restarting()

    def leave(self) -> None:
        """Note that the block is left: supervisors that are opened from now on are not inside this one."""
        _around.set(self.parent)

    @trio.lowlevel.enable_ki_protection
    def end(self) -> None:
        """Begin to stop all children, because the block has been left. Does nothing if they are being stopped."""
        if self._ended.is_set():
            return
        self._feed(self._rules.end(trio.current_time()))

    @trio.lowlevel.enable_ki_protection
    def cancel(self) -> None:
        """See `Supervising.cancel`. Cancels the block; supervisors opened in the block end before this one."""
        self._cancelled = True
        self.scope.cancel()
        inner = [each for each in self.runtime.supervisors if isinstance(each, Driver) and each.is_in_block_of(self)]
        for each in inner:
            each.cancel()
        if not inner:
            self.end()

    def is_in_block_of(self, other: Driver) -> bool:
        """Whether this supervisor was opened in the block of the other one, and not in a child of it."""
        return self.parent is other and self._owner is other._owner

    def close(self) -> None:
        """See `Supervising.close`."""
        self.closed = True
        if self._owner is not None and self._owner.alive and self.runtime.ending is not None:
            # By a kill in the port's queue, so that messages that were sent before arrive. The death cancels this.
            self.runtime.lifecycle.kill(self._owner.name, self.runtime.ending)
        else:
            self.cancel()

    @trio.lowlevel.enable_ki_protection
    def freeze(self) -> None:
        """See `Supervising.freeze`."""
        self._feed(self._rules.freeze(trio.current_time()))

    @trio.lowlevel.enable_ki_protection
    def stop_restarting(self) -> None:
        """See `Supervising.stop_restarting`."""
        self._feed(self._rules.stop_restarting(trio.current_time()))

    def drain_ended(self) -> None:
        """See `Supervising.drain_ended`."""
        self._changed.unpark_all()

    async def wait_ended(self) -> None:
        """See `Supervising.wait_ended`."""
        await self._ended.wait()

    async def wait_tasks(self) -> None:
        """Wait until no task of the supervisor runs any more: no start, and no back-off. Not always a checkpoint."""
        while self.nursery.child_tasks:
            await self._task_ended.park()

    @property
    def ending(self) -> bool:
        """Whether no child can be added any more."""
        return self._rules.ending

    def take_failure(self) -> SupervisorFailed | None:
        """Return why the supervisor has given up, as an exception; None if it has not."""
        if not self._failed:
            return None
        errors = {key: error for key, (_, error) in self._errors.items()}
        # Do not keep them: tracebacks keep frames alive.
        self._errors.clear()
        within, limit = self.settings.within, self.settings.limit
        names = ", ".join(self._failed)
        failure = SupervisorFailed(
            f"{self.label} has given up: more than {limit} restarts within {within:g} s, of {names}",
            [errors[key] for key in self._failed if key in errors],
        )
        failure.children = self._failed
        return failure

    # Children ------------------------------------------------------------------------------------------------------

    @property
    def references(self) -> tuple[ChildRef, ...]:
        """References to all children, in their order."""
        return tuple([child.reference for child in self._children.values()])

    def look(self, limit: int) -> tuple[list[tuple[Child, str]], int]:
        """The first children, each with what it does, a word of `State`; and how many children there are in all."""
        states = self._rules.children
        found = [
            (child, states[key].state.value) for key, child in islice(self._children.items(), limit) if key in states
        ]
        return found, len(self._children)

    @property
    def owner(self) -> Port | None:
        """The port whose task has opened the supervisor, if one has."""
        return self._owner

    async def add(self, kind: Kind, name: str, settings: ChildSettings) -> ChildRef:
        """Add a child behind all others, and wait until its first life has started.

        A checkpoint. Cancelled, it stops the child and takes it out first.

        Args:
          kind: begins the lives of the child.
          name: the name of the child. If another child has had it, a number is appended.
          settings: what the program has said about the child.

        Raises:
          trio.ClosedResourceError: the supervisor is ending, or has ended before the child had started; or another
            task has stopped the child before.
          PortDied: the caller is a task of a dead port, and has not unwound yet.
          RuntimeError: the caller's thread does not run the node.
          whatever the start raises.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        child = self._insert(kind, name, settings)
        try:
            await child.settled.wait()
        except BaseException:
            await self._withdraw(child)
            if child.failure is not None:
                log.warning(
                    "%s: %s failed while its start was cancelled",
                    self.label,
                    name,
                    exc_info=child.failure,
                    extra=fields("start_failed", self.runtime.id),
                )
            raise
        failure, child.failure = child.failure or child.refusal, None
        if failure is not None:
            raise failure
        return child.reference

    @trio.lowlevel.enable_ki_protection
    def _insert(self, kind: Kind, name: str, settings: ChildSettings) -> Child:
        self.runtime.check_open()
        if self._rules.ending or self._rules.frozen:
            raise trio.ClosedResourceError(f"{self.label} is ending, so {name} cannot be started")
        key = self._next_key(name)
        child = Child(key, kind, settings, ChildRef(key, self, self.label, self.runtime.fire_early))
        self._children[key] = child
        self._feed(self._rules.add(key, settings.restart, trio.current_time(), significant=settings.significant))
        return child

    def _next_key(self, name: str) -> str:
        """Return a name that no child of this supervisor has had, so that logs tell the children apart."""
        number = self._numbers[name] = self._numbers.get(name, 0) + 1
        key = name if number == 1 else f"{name}-{number}"
        return key if key not in self._children else self._next_key(name)

    async def _withdraw(self, child: Child) -> None:
        """Stop a child and take it out; wait for that, shielded. It takes no longer than the child may take to stop."""
        with trio.CancelScope(shield=True):
            self._feed(self._rules.remove(child.key, trio.current_time()), child.key)
            await child.gone.wait()

    async def remove(self, reference: ChildRef) -> None:
        """Stop a child and take it out; wait until that is done. A checkpoint. Cancelled, the child stops all the same.

        Raises:
          ValueError: the child belongs to another supervisor.
          RuntimeError: the caller's thread does not run the node.
        """
        self.runtime.check_thread()
        if reference._supervisor is not self:
            raise ValueError(f"stop(): expected a child of {self.label}, got {reference!r}, which is another's")
        await trio.lowlevel.checkpoint_if_cancelled()
        child = self._children.get(reference.name)
        if child is None:
            await trio.lowlevel.cancel_shielded_checkpoint()
            return
        self._feed(self._rules.remove(child.key, trio.current_time()), child.key)
        await child.gone.wait()

    async def wait(self) -> None:
        """Wait until all children have ended for good. A checkpoint. Cancelled, it changes nothing."""
        await trio.lowlevel.checkpoint()
        while self._holds():
            await self._changed.park()

    def _holds(self) -> bool:
        """Whether `wait` waits on."""
        if self._rules.misses_permanent and self.runtime.standing.drains:
            # A program that waits for permanent children would leave its block, and with it what still drains.
            return True
        return any(child.wanted or child.state is not State.DOWN for child in self._rules.children.values())

    # What the rules say --------------------------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    def _feed(self, actions: list[Action], key: str = "") -> None:
        """Do the actions that the rules have answered to an event; `key` is the child of the event, if it has one."""
        if self._ended.is_set():
            # `abandon` has ended it. The rules do not know, and would have a start that has failed tried again.
            return
        try:
            self._actions.execute(actions)
        except BaseException:
            self.abandon()
            raise
        if not self._rules.ending:
            self._drop_errors(trio.current_time() - self.settings.within)
        if self._rules.ending:
            # Before children are forgotten: a task in the block that waits for a start is cancelled, and does not raise
            # the failure of that start as well.
            self.scope.cancel()
        if key in self._children and key not in self._rules.children:
            # Mostly only this child is to be forgotten. Then no table of thousands of children is walked.
            self._forget(self._children.pop(key))
        if len(self._children) != len(self._rules.children):
            for other in [each for each in self._children if each not in self._rules.children]:
                self._forget(self._children.pop(other))
        self._changed.unpark_all()

    def _do(self, action: Action) -> None:
        match action:
            case Start(key, restarts, delay):
                child = self._children[key]
                if child.settled.is_set():
                    # It has been up.
                    self._note_restart(child, restarts, delay)
                child.scope = trio.CancelScope(shield=True)
                child.turn = Turn()
                child.context.run(self._start_soon, child, child.turn, child.scope)
            case Stop(key):
                child = self._children[key]
                assert child.turn is not None
                if child.turn.life is None:
                    assert child.scope is not None
                    child.scope.cancel()
                else:
                    self._stop(child, child.turn)
            case Wait(until):
                if until not in self._timers:
                    # Here and not in the task: before the task runs, the rules may ask for the same time again, or all
                    # may end.
                    scope = self._timers[until] = trio.CancelScope(shield=True)
                    self.nursery.start_soon(self._run, self._wake, until, scope, name=f"{self.label}: back-off")
            case Ended(failed):
                self._end(failed)

    def _start_soon(self, child: Child, turn: Turn, scope: trio.CancelScope) -> None:
        self.nursery.start_soon(self._run, self._begin, child, turn, scope, name=f"{self.label}: {child.key}")

    @trio.lowlevel.enable_ki_protection
    async def _run(self, work: Callable[..., Awaitable[None]], *args: object) -> None:
        """Do the work of a task of the supervisor, and wake whoever waits for the end of its tasks."""
        try:
            await work(*args)
        finally:
            self._task_ended.unpark_all()

    def _note_restart(self, child: Child, restarts: int, delay: float) -> None:
        self.restarts += 1
        self.runtime.restarts += 1
        child.reference.restarts += 1
        log.warning(
            "%s: %s is started again after %.3g s, its restart number %d (%d of at most %d within %g s): %s",
            *(self.label, child.key, delay, child.reference.restarts, restarts, self.settings.limit),
            *(self.settings.within, describe(child.reference.reason)),
            extra=fields("restart", self.runtime.id, reason=identifier_of(child.reference.reason)),
        )

    def _stop(self, child: Child, turn: Turn) -> None:
        life = turn.life
        assert life is not None
        limit = life.shutdown_timeout if child.settings.shutdown is None else child.settings.shutdown
        life.stop(None if limit == math.inf else limit)

    @trio.lowlevel.enable_ki_protection
    def abandon(self) -> None:
        """End at once, so that nobody waits for an action that will not be done. See also `Supervising.abandon`.

        After an error in this package, or when a simulation has crashed the node.
        """
        for child in self._children.values():
            if child.scope is not None:
                child.scope.cancel()
            self._forget(child)
        self._end(())

    def _end(self, failed: tuple[str, ...]) -> None:
        self._failed = failed
        for scope in self._timers.values():
            scope.cancel()
        self.runtime.supervisors.pop(self, None)
        if self._owner is not None:
            state = state_of(self._owner)
            state.owned.pop(self, None)
            if state.supervisors is not None:
                state.supervisors.pop(self, None)
        self._ended.set()
        if isinstance(self.parent, Driver) and self.parent._cancelled and self.is_in_block_of(self.parent):
            # The parent's end has waited for this one's.
            self.parent.cancel()

    def _drop_errors(self, before: float) -> None:
        for key in list(takewhile(lambda key: self._errors[key][0] < before, self._errors)):
            del self._errors[key]

    def _keep_error(self, child: Child, error: Exception) -> None:
        self._errors.pop(child.key, None)
        self._errors[child.key] = trio.current_time(), error

    def _forget(self, child: Child) -> None:
        """Wake all that wait for a child that was taken out."""
        if not child.settled.is_set():
            ended = self._rules.ending or self._ended.is_set()
            why = f" has ended before {child.key} had" if ended else f": {child.key} was stopped before it had"
            child.refusal = trio.ClosedResourceError(f"{self.label}{why} started")
        if not self._rules.ending:
            self._errors.pop(child.key, None)
        child.reference._leave()
        child.settled.set()
        child.gone.set()

    async def _wake(self, until: float, scope: trio.CancelScope) -> None:
        with scope:
            await trio.sleep_until(until)
        del self._timers[until]
        self._feed(self._rules.woken(trio.current_time()))

    # One life ------------------------------------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    async def _begin(self, child: Child, turn: Turn, scope: trio.CancelScope) -> None:
        """Start one life, in a task of its own."""
        # The code that has begun this task may belong to a port, but the task does not. The child is inside this
        # supervisor.
        running_variable.set(None)
        _around.set(self)
        failure: Exception | None = None
        try:
            with scope:
                turn.epoch = await self._next_epoch(child)
                turn.life = await child.kind.begin(turn.epoch, End(self, child, turn))
        except Exception as error:  # noqa: BLE001 - any exception means that the start has failed
            failure = error
        except BaseException:
            # For example a SystemExit of a function of the program. It leaves by the block, and no other code takes it.
            self.end()
            self._failed_start(child, None)
            raise
        child.scope = None
        if turn.life is None:
            self._failed_start(child, failure)
            return
        if scope.cancel_called:
            # The life has started although its start was cancelled.
            self._stop(child, turn)
        else:
            self._started(child, turn)
        if turn.loss is not None:
            self._leave_life(child, turn, turn.loss)
        if turn.end is not None and turn.life is not None:
            self._take_end(child, turn, *turn.end)

    async def _next_epoch(self, child: Child) -> int:
        source, name = self.settings.epochs, self.settings.name
        if source is None:
            epochs = self.runtime.epochs
            latest = epochs.get(name, 0) if name is not None else self._latest_epoch
            epoch = max(latest + 1, int(self.runtime.environment.wall_clock() * 1_000_000))
            self._latest_epoch = epoch
            if name is not None:
                epochs[name] = epoch
            return epoch
        given = source()
        epoch = await given if inspect.isawaitable(given) else given
        if isinstance(epoch, bool) or not isinstance(epoch, int):
            raise TypeError(f"{self.label}: epochs: expected an int, got {epoch!r}")
        if epoch <= child.reference.epoch:
            raise ValueError(
                f"{self.label}: epochs: expected more than {child.reference.epoch}, the last of {child.key},"
                f" got {epoch}"
            )
        return epoch

    def _started(self, child: Child, turn: Turn) -> None:
        life = turn.life
        assert life is not None
        child.reference._begin(life.port, life.value, turn.epoch)
        if child.settings.listed is not None:
            family, key = child.settings.listed
            self._database._set_owned(family, key, str(life.port), turn.owned)
        child.settled.set()
        self._feed(self._rules.started(child.key, trio.current_time()), child.key)

    def _failed_start(self, child: Child, failure: Exception | None) -> None:
        rules_child = self._rules.children[child.key]
        if failure is not None:
            if rules_child.new and rules_child.state is State.STARTING:
                child.failure = failure
            else:
                log.warning(
                    "%s: a start of %s failed",
                    self.label,
                    child.key,
                    exc_info=failure,
                    extra=fields("start_failed", self.runtime.id),
                )
            child.reference.reason = exception_reason(failure)
            self._keep_error(child, failure)
        self._feed(self._rules.failed(child.key, trio.current_time(), self.runtime.environment.jitter()), child.key)

    def lost_life(self, child: Child, turn: Turn, reason: Reason) -> None:
        """See `EndOfLife.lost`."""
        if turn.end is None and turn.loss is None:
            turn.loss = reason
            if turn.life is not None:
                self._leave_life(child, turn, reason)

    def ended_life(self, child: Child, turn: Turn, reason: Reason, error: Exception | None) -> None:
        """See `Kind.begin`."""
        if turn.end is None:
            turn.end = reason, error
            if turn.life is not None:
                self._take_end(child, turn, reason, error)

    @trio.lowlevel.enable_ki_protection
    def _take_end(self, child: Child, turn: Turn, reason: Reason, error: Exception | None) -> None:
        life = turn.life
        assert life is not None
        child.turn, turn.life = None, None
        self._leave_life(child, turn, reason)
        now = trio.current_time()
        expected = is_expected(reason)
        if self._rules.children[child.key].state is State.UP:
            self._keep_error(child, error if error is not None else PortDied(str(life.port), reason))
            level = logging.INFO if expected else logging.WARNING
            log.log(
                level,
                "%s: %s died: %s",
                self.label,
                child.key,
                describe(reason),
                exc_info=error,
                extra=fields("child_died", self.runtime.id, reason=identifier_of(reason)),
            )
        jitter = self.runtime.environment.jitter()
        self._feed(self._rules.died(child.key, now, jitter, normal=expected, again=turn.again), child.key)

    @trio.lowlevel.enable_ki_protection
    def _leave_life(self, child: Child, turn: Turn, reason: Reason) -> None:
        """Have references and the database mean this life no longer, because it has ended or is being ended."""
        for each in tuple(turn.owned):
            each.cancel()
        child.reference._end(reason)


class End:
    """See `EndOfLife`.

    Args:
      driver: the supervisor's.
      child, turn: the child, and its life.
    """

    __slots__ = ("_child", "_driver", "_turn")

    def __init__(self, driver: Driver, child: Child, turn: Turn) -> None:
        self._driver = driver
        self._child = child
        self._turn = turn

    def lost(self, reason: Reason) -> None:
        """See `EndOfLife.lost`."""
        self._driver.lost_life(self._child, self._turn, reason)

    def asks_again(self) -> None:
        """See `EndOfLife.asks_again`."""
        self._turn.again = True

    def __call__(self, reason: Reason, error: Exception | None, /) -> None:
        """See `EndOfLife`."""
        self._driver.ended_life(self._child, self._turn, reason, error)
