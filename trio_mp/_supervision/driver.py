"""The driver of one supervisor: tells the rules what has happened, and does what they say."""

from __future__ import annotations

import inspect
import logging
import math
from contextvars import ContextVar
from itertools import takewhile

import trio

from .._errors import PortDied
from .._ports.context import running_variable
from .._ports.port import Port, state_of
from .._ports.port_state import Supervising
from .._protocol.supervision import Action, Ended, Start, State, Stop, Supervision, Wait
from .._reason import Reason, describe, exception_reason, is_expected
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
    """Runs the children of one supervisor. See `Supervising` for what is around it sees of it.

    Each start is a task in the nursery of the supervisor's block, shielded: the rules alone end it. So an outer
    cancellation stops the children one after the other, as everything else does.

    Args:
      runtime, database: the node's.
      settings: what the program has said.

    Attributes:
      label: what logs and errors call the supervisor.
      parent: the supervisor around it, if there is one.
      scope: that of the body of the block.
      nursery: that of the block; set when the block is entered.
      restarts: how many restarts there were, of all children.
      closed: whether it ends because the node does.
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
        # When each child has died of late, and of what, the latest last: what the supervisor is left with if that was
        # too often.
        self._errors: dict[str, tuple[float, Exception]] = {}
        self._actions = EffectQueue(self._do)
        # The scopes of tasks that wait, by the time for which they do.
        self._timers: dict[float, trio.CancelScope] = {}
        self._ended = trio.Event()
        self._cancelled = False
        self._failed: tuple[str, ...] = ()
        self._changed = trio.lowlevel.ParkingLot()

    # The block -----------------------------------------------------------------------------------------------------

    def enter(self, nursery: trio.Nursery) -> None:
        """The block is entered; starts run in this nursery. From now on `wait_ended` must be waited for."""
        self.nursery = nursery
        self.runtime.supervisors[self] = None
        if self._owner is not None:
            state = state_of(self._owner)
            state.owned[self] = None
            state.supervisors = state.supervisors or {}
            state.supervisors[self] = None
        _around.set(self)

    def leave(self) -> None:
        """The block is left: this supervisor is around nothing any more."""
        _around.set(self.parent)

    @trio.lowlevel.enable_ki_protection
    def end(self) -> None:
        """Begin to stop all children: the block has been left. Does nothing if they are being stopped."""
        self._feed(self._rules.end(trio.current_time()))

    @trio.lowlevel.enable_ki_protection
    def cancel(self) -> None:
        """See `Supervising.cancel`. The block is left, and what is opened in it ends before this does."""
        self._cancelled = True
        self.scope.cancel()
        inner = [each for each in self.runtime.supervisors if isinstance(each, Driver) and each.is_in_block_of(self)]
        for each in inner:
            each.cancel()
        if not inner:
            self.end()

    def is_in_block_of(self, other: Driver) -> bool:
        """Whether this was opened in the block of another one, and not in a child of it."""
        return self.parent is other and self._owner is other._owner

    def close(self) -> None:
        """See `Supervising.close`."""
        self.closed = True
        if self._owner is not None and self._owner.alive and self.runtime.ending is not None:
            # In its turn: what was sent there before arrives. Its death cancels this.
            self.runtime.lifecycle.kill(self._owner.name, self.runtime.ending)
        else:
            self.cancel()

    @trio.lowlevel.enable_ki_protection
    def freeze(self) -> None:
        """See `Supervising.freeze`."""
        self._feed(self._rules.freeze(trio.current_time()))

    async def wait_ended(self) -> None:
        """See `Supervising.wait_ended`."""
        await self._ended.wait()

    @property
    def ending(self) -> bool:
        """Whether no child can be added any more."""
        return self._rules.ending

    def take_failure(self) -> SupervisorFailed | None:
        """Why it has given up, as an exception; None if it has not."""
        if not self._failed:
            return None
        errors = {key: error for key, (_, error) in self._errors.items()}
        # Not kept: tracebacks keep frames alive.
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
        """Those of all children, in their order."""
        return tuple([child.reference for child in self._children.values()])

    async def add(self, kind: Kind, name: str, settings: ChildSettings) -> ChildRef:
        """Add a child behind all others, and wait until its first life has started.

        A checkpoint. Cancelled, the child is stopped and taken out first.

        Args:
          kind: how its lives are begun.
          name: what it is called, if no other child is called that; else a number is appended.
          settings: what the program has said about it.

        Raises:
          trio.ClosedResourceError: the supervisor is ending, or has ended before the child had started.
          PortDied: a task of a dead port calls this, which has not unwound yet.
          RuntimeError: this is called in a thread that does not run the node.
          whatever the start raises.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        child = self._insert(kind, name, settings)
        try:
            await child.settled.wait()
        except BaseException:
            await self._withdraw(child)
            if child.failure is not None:
                log.warning("%s: %s failed while its start was cancelled", self.label, name, exc_info=child.failure)
            raise
        failure, child.failure = child.failure, None
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
        """A name that no child of this supervisor has had, so that logs tell them apart."""
        number = self._numbers[name] = self._numbers.get(name, 0) + 1
        key = name if number == 1 else f"{name}-{number}"
        return key if key not in self._children else self._next_key(name)

    async def _withdraw(self, child: Child) -> None:
        """Stop a child and take it out; wait for that, whoever is cancelled. It takes no longer than the child may."""
        with trio.CancelScope(shield=True):
            self._feed(self._rules.remove(child.key, trio.current_time()), child.key)
            await child.gone.wait()

    async def remove(self, reference: ChildRef) -> None:
        """Stop a child and take it out; wait until that is done. A checkpoint. Cancelled, it is stopped all the same.

        Raises:
          ValueError: it is the child of another supervisor.
          RuntimeError: this is called in a thread that does not run the node.
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
        """Wait until no child runs, and none will without being added. A checkpoint. Cancelled, it changes nothing."""
        await trio.lowlevel.checkpoint()
        while any(child.wanted or child.state is not State.DOWN for child in self._rules.children.values()):
            await self._changed.park()

    # What the rules say --------------------------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    def _feed(self, actions: list[Action], key: str = "") -> None:
        """Do what is to be done after something has happened, to the child of this name if it was to one of them."""
        try:
            self._actions.execute(actions)
        except BaseException:
            self._abandon()
            raise
        if not self._rules.ending:
            self._drop_errors(trio.current_time() - self.settings.within)
        if self._rules.ending:
            # First: a task in the block that waits for a start is cancelled. It does not fail as well.
            self.scope.cancel()
        if key in self._children and key not in self._rules.children:
            # Mostly it is this one alone, so that a supervisor may have thousands.
            self._forget(self._children.pop(key))
        if len(self._children) != len(self._rules.children):
            for other in [each for each in self._children if each not in self._rules.children]:
                self._forget(self._children.pop(other))
        self._changed.unpark_all()

    def _do(self, action: Action) -> None:
        match action:
            case Start(key, restarts, delay):
                child = self._children[key]
                if restarts:
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
                    # Here and not in the task: the same may be asked for again, or all may end, before that runs.
                    scope = self._timers[until] = trio.CancelScope(shield=True)
                    self.nursery.start_soon(self._wake, until, scope, name=f"{self.label}: back-off")
            case Ended(failed):
                self._end(failed)

    def _start_soon(self, child: Child, turn: Turn, scope: trio.CancelScope) -> None:
        self.nursery.start_soon(self._begin, child, turn, scope, name=f"{self.label}: {child.key}")

    def _note_restart(self, child: Child, restarts: int, delay: float) -> None:
        self.restarts += 1
        child.reference.restarts += 1
        log.warning(
            "%s: %s is started again after %.3g s, its restart number %d (%d of at most %d within %g s): %s",
            *(self.label, child.key, delay, child.reference.restarts, restarts, self.settings.limit),
            *(self.settings.within, describe(child.reference.reason)),
        )

    def _stop(self, child: Child, turn: Turn) -> None:
        life = turn.life
        assert life is not None
        limit = life.shutdown_timeout if child.settings.shutdown is None else child.settings.shutdown
        life.stop(None if limit == math.inf else limit)

    def _abandon(self) -> None:
        """An error in this package: nobody is to wait for what will not be done."""
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
            # It has waited for this.
            self.parent.cancel()

    def _drop_errors(self, before: float) -> None:
        for key in list(takewhile(lambda key: self._errors[key][0] < before, self._errors)):
            del self._errors[key]

    def _keep_error(self, child: Child, error: Exception) -> None:
        self._errors.pop(child.key, None)
        self._errors[child.key] = trio.current_time(), error

    def _forget(self, child: Child) -> None:
        """A child was taken out."""
        if child.failure is None and not child.settled.is_set():
            child.failure = trio.ClosedResourceError(f"{self.label} has ended before {child.key} had started")
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
        """The task of a start."""
        # It may have been begun by code of a port, but is none; the child is in this supervisor, not around it.
        running_variable.set(None)
        _around.set(self)
        failure: Exception | None = None
        try:
            with scope:
                turn.epoch = await self._next_epoch(child)
                turn.life = await child.kind.begin(turn.epoch, End(self, child, turn))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the start that has failed
            failure = error
        except BaseException:
            # SystemExit, say, of a function that the program has given. It leaves by the block; nothing waits for it.
            self.end()
            self._failed_start(child, None)
            raise
        child.scope = None
        if turn.life is None:
            self._failed_start(child, failure)
            return
        if scope.cancel_called:
            # It was there before it knew that it should not be.
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
            self._database.set_owned(family, key, str(life.port), turn.owned)
        child.settled.set()
        self._feed(self._rules.started(child.key, trio.current_time()), child.key)

    def _failed_start(self, child: Child, failure: Exception | None) -> None:
        rules_child = self._rules.children[child.key]
        if failure is not None:
            if rules_child.new and rules_child.state is State.STARTING:
                child.failure = failure
            else:
                log.warning("%s: a start of %s failed", self.label, child.key, exc_info=failure)
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
            log.log(level, "%s: %s died: %s", self.label, child.key, describe(reason), exc_info=error)
        self._feed(self._rules.died(child.key, now, self.runtime.environment.jitter(), normal=expected), child.key)

    @trio.lowlevel.enable_ki_protection
    def _leave_life(self, child: Child, turn: Turn, reason: Reason) -> None:
        """Neither references nor the database mean this life any longer: it has ended, or is being ended."""
        for each in tuple(turn.owned):
            each.cancel()
        child.reference._end(reason)


class End:
    """See `EndOfLife`.

    Args:
      driver: that of the supervisor.
      child, turn: which life of which child it is.
    """

    __slots__ = ("_child", "_driver", "_turn")

    def __init__(self, driver: Driver, child: Child, turn: Turn) -> None:
        self._driver = driver
        self._child = child
        self._turn = turn

    def lost(self, reason: Reason) -> None:
        """See `EndOfLife.lost`."""
        self._driver.lost_life(self._child, self._turn, reason)

    def __call__(self, reason: Reason, error: Exception | None, /) -> None:
        """See `EndOfLife`."""
        self._driver.ended_life(self._child, self._turn, reason, error)
