"""What a supervisor does when its children start, fail and end: OTP's strategies, as one machine without I/O.

Children are ordered as they were added. The caller says what has happened, and gets the actions to do. The table
`CHILD` holds the states of a child and the transitions between them. An event that crosses with a stop decides nothing:
a child that dies while it is being stopped has stopped, and a start that succeeds then does not count. So the rules
look only at two marks of a child, which say what is to be true: `wanted`, it is to run; `doomed`, its present life is
to end first.

1. A child that dies is wanted again if it is permanent, or transient and its death was abnormal. Each restart that
   fails counts as a death. A child whose *first* start fails is taken out, and the caller that added it is told.
2. Then the strategy dooms others: none (one_for_one), all (one_for_all), those behind it (rest_for_one). Those that
   are not temporary are wanted again, also one that had ended normally (OTP does the same). Temporary ones are taken
   out.
3. More than `limit` such deaths within `within` seconds are too many: the supervisor gives up, dooms all, wants none.
4. If the strategy ties children together, and at the end in any case, the last of the doomed is stopped first, and the
   one before it when that is down. No child is started before all doomed ones are down. Then the first wanted child is
   started, and the next one when it is up. With one_for_one no child waits for another.
5. The first restart of a child is made at once, later ones after a delay that doubles, up to its maximum, with jitter:
   a factor between a half and one. When a child dies that was up for longer than `within`, the delays begin anew.
6. A frozen supervisor starts no child any more, and every death is for good, because what is around the supervisor is
   about to end, and will end it. Children that run go on until then. One that restarts nothing, because its node
   drains, takes every death for good as well, but starts what is added.
7. A significant child that ends by itself for good can end the supervisor (`auto_shutdown`): any of them, or the last.
8. A child that asks to be started again when it ends is wanted again, unless it is temporary, and its death does not
   count towards the limit. The delays of rule 5 grow all the same: so a child that does nothing else is no busy loop.

After J. Armstrong's OTP, module `supervisor`, of which `test_supervision_otp.py` has recorded answers. There the
supervisor waits for each start and stop; here deaths that come meanwhile change what is to be true at once. The delay
is not OTP's.

Nothing here blocks or reads a clock: time comes in as an argument, in seconds of any clock that never goes back.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from .._errors import LocalProtocolError
from .transitions import Row, TransitionTable


class Strategy(enum.Enum):
    """Which children are restarted when one of them is."""

    ONE_FOR_ONE = "one_for_one"
    ONE_FOR_ALL = "one_for_all"
    REST_FOR_ONE = "rest_for_one"


class Restart(enum.Enum):
    """When a child is started again: always, after an abnormal death, never."""

    PERMANENT = "permanent"
    TRANSIENT = "transient"
    TEMPORARY = "temporary"


class AutoShutdown(enum.Enum):
    """Whether the supervisor ends with its significant children: never, with any of them, with the last of them."""

    NEVER = "never"
    ANY_SIGNIFICANT = "any_significant"
    ALL_SIGNIFICANT = "all_significant"


class State(enum.Enum):
    """Whether a child runs."""

    DOWN = "down"
    STARTING = "starting"
    UP = "up"
    STOPPING = "stopping"


class ChildEvent(enum.Enum):
    """What happens to a child: what is done with it, then what is said of it."""

    START = "`Start`"
    STOP = "`Stop`"
    STARTED = "`started`"
    FAILED = "`failed`"
    DIED = "`died`"
    STOPPED = "`stopped`"


@dataclass(frozen=True, slots=True)
class Start:
    """Start this child, then say `started` or `failed`.

    Attributes:
      child: its name.
      restarts: how many restarts of the supervisor's count towards its limit now; 0 if this is no restart.
      delay: for how long this restart has waited, in seconds.
    """

    child: str
    restarts: int = 0
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop this child, or its start, and say `stopped` when nothing of it runs any more."""

    child: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Say `woken` at this time, whatever happens before. A later `Wait` does not replace it."""

    until: float


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing runs any more, and nothing will.

    Attributes:
      failed: the children whose restarts were too many, the latest last; empty if that is not why it has ended.
    """

    failed: tuple[str, ...]


Action: TypeAlias = Start | Stop | Wait | Ended


@dataclass(slots=True)
class Child:
    """One child.

    Attributes:
      name: what it is called.
      restart: when it is started again.
      significant: whether the supervisor may end with it.
      state: whether it runs.
      wanted: whether it is to run.
      doomed: whether its present life is to end before anything else is done with it.
      leaving: whether it is taken out when it is down.
      new: whether it has never been up.
      restarts: how often it was restarted since it was last up for long.
      delay: for how long its next start waits, in seconds, and until when.
      up_at: since when it is up.
    """

    name: str
    restart: Restart
    significant: bool
    state: State = State.DOWN
    wanted: bool = True
    doomed: bool = False
    leaving: bool = False
    new: bool = True
    restarts: int = 0
    delay: float = 0.0
    due_at: float = 0.0
    up_at: float = 0.0


CHILD: TransitionTable[State, ChildEvent, Child] = TransitionTable(
    Row(State.DOWN, ChildEvent.START, State.STARTING),
    Row(State.STARTING, ChildEvent.STARTED, State.UP),
    Row(State.STARTING, ChildEvent.FAILED, State.DOWN),
    Row(State.STARTING, ChildEvent.STOP, State.STOPPING),
    Row(State.UP, ChildEvent.DIED, State.DOWN),
    Row(State.UP, ChildEvent.STOP, State.STOPPING),
    Row(State.STOPPING, ChildEvent.STOPPED, State.DOWN),
    # What has crossed with the stop.
    Row(State.STOPPING, ChildEvent.STARTED, State.STOPPING),
    Row(State.STOPPING, ChildEvent.FAILED, State.DOWN),
    Row(State.STOPPING, ChildEvent.DIED, State.DOWN),
)


class Supervision:
    """The rules of one supervisor.

    Args:
      strategy, auto_shutdown: see there.
      limit, within: more than `limit` restarts within `within` seconds are too many; OTP's intensity and period.
      first_delay, last_delay: how long the second restart of a child waits, and how long one waits at most, in seconds.

    Attributes:
      children: by name, in their order.
      ending: whether all is to end.
      frozen: whether nothing is started any more.
      restarts_nothing: whether no child that has been up is started any more.
      misses_permanent: whether a permanent child is down that would be started again if anything were.
      ended: whether all has.

    Raises:
      ValueError: a number is out of range.

    Every method returns what is to be done, in order. Those that say what has happened to a child raise
    `LocalProtocolError` for what cannot happen in its state, and for a child that is not there: it was taken out when
    it was down.
    """

    __slots__ = (
        *("_doomed", "_failed", "_recent", "_stale", "_unsettled"),
        *("auto_shutdown", "children", "ended", "ending", "first_delay", "frozen", "last_delay"),
        *("limit", "misses_permanent", "restarts_nothing", "strategy", "within"),
    )

    def __init__(
        self,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        *,
        limit: int = 1,
        within: float = 5.0,
        first_delay: float = 0.0,
        last_delay: float = 0.0,
        auto_shutdown: AutoShutdown = AutoShutdown.NEVER,
    ) -> None:
        if limit < 0:
            raise ValueError(f"limit: expected a number of restarts, 0 or more, got {limit}")
        if not within > 0:
            raise ValueError(f"within: expected seconds, more than 0, got {within}")
        if not 0 <= first_delay <= last_delay:
            raise ValueError(f"backoff: expected 0 <= first <= last, in seconds, got {first_delay} and {last_delay}")
        self.strategy = strategy
        self.limit = limit
        self.within = within
        self.first_delay = first_delay
        self.last_delay = last_delay
        self.auto_shutdown = auto_shutdown
        self.children: dict[str, Child] = {}
        self.ending = False
        self.ended = False
        self.frozen = self.restarts_nothing = self.misses_permanent = False
        self._failed: tuple[str, ...] = ()
        # When, and for whom, of the restarts that count.
        self._recent: deque[tuple[float, str]] = deque()
        # Of children that are tied together, in their order: those that are doomed, and those that are wanted and not
        # up for good. What is done next to a thousand children must not take a look at all of them each time.
        self._doomed: dict[str, Child] = {}
        self._unsettled: dict[str, Child] = {}
        # Whether something else has changed than that a child was added, is up, or is down as it was to be.
        self._stale = False

    # What the program wants ----------------------------------------------------------------------------------------

    def add(self, name: str, restart: Restart, now: float, *, significant: bool = False) -> list[Action]:
        """Start a child behind all others.

        Raises:
          LocalProtocolError: there is one of that name, or the supervisor is ending.
          ValueError: it is significant and permanent, which would mean nothing; or significant without `auto_shutdown`.
        """
        if self.ending:
            raise LocalProtocolError("the supervisor is ending")
        if name in self.children:
            raise LocalProtocolError(f"there is a child called {name}")
        if significant and restart is Restart.PERMANENT:
            raise ValueError(f"{name}: expected transient or temporary, because it is significant, got permanent")
        if significant and self.auto_shutdown is AutoShutdown.NEVER:
            raise ValueError(f"{name}: a significant child means nothing without auto_shutdown")
        child = self.children[name] = self._unsettled[name] = Child(name, restart, significant)
        return self._next(now, child)

    def remove(self, name: str, now: float) -> list[Action]:
        """Stop a child and take it out. Does nothing if it is not there."""
        child = self.children.get(name)
        if child is not None:
            child.wanted, child.leaving, child.doomed = False, True, child.state is not State.DOWN
            self._stale = True
            self._tidy(child)
        return self._next(now, child)

    def end(self, now: float) -> list[Action]:
        """Stop everything."""
        self._end(())
        return self._next(now)

    def freeze(self, now: float) -> list[Action]:
        """Start nothing any more."""
        self.frozen = True
        return self._next(now)

    def stop_restarting(self, now: float) -> list[Action]:
        """Start no child again that has been up; restarts that wait are called off. Children that run go on."""
        self.restarts_nothing = self._stale = True
        for child in tuple(self.children.values()):
            if not child.wanted:
                continue
            if child.doomed and child.state is not State.STOPPING:
                # It runs, and was to be stopped for the sake of a restart.
                child.doomed = False
            elif not child.new and child.state in (State.DOWN, State.STOPPING):
                self._call_off(child)
        return self._next(now)

    # What has happened ---------------------------------------------------------------------------------------------

    def started(self, name: str, now: float) -> list[Action]:
        """A start has succeeded."""
        child = self._child(name)
        if self._move(child, ChildEvent.STARTED) is State.STARTING:
            child.up_at, child.new = now, False
            if not child.doomed:
                self._unsettled.pop(name, None)
        return self._next(now, child)

    def failed(self, name: str, now: float, jitter: float) -> list[Action]:
        """A start has failed. `jitter` is a random number from 0 to 1."""
        child = self._child(name)
        stopping = self._move(child, ChildEvent.FAILED) is State.STOPPING
        if child.new and not stopping:
            child.wanted, child.leaving = False, True
            self._stale = True
        if stopping or child.new or child.doomed:
            self._down(child)
        else:
            self._restart(child, now, jitter)
        return self._next(now, child)

    def died(self, name: str, now: float, jitter: float, *, normal: bool, again: bool = False) -> list[Action]:
        """A child has ended by itself, normally or not. `jitter` is a random number from 0 to 1.

        If it asks to be started again, `again`, rule 8 says what follows.
        """
        child = self._child(name)
        stopping = self._move(child, ChildEvent.DIED) is State.STOPPING
        if now - child.up_at > self.within:
            child.restarts = 0
        if stopping or child.doomed:
            # It was stopped, or its turn to be stopped had not come: it was to be started again, or to leave, anyway.
            self._down(child)
        elif again and child.restart is not Restart.TEMPORARY:
            self._restart(child, now, jitter, counts=False)
        elif child.restart is Restart.PERMANENT or (child.restart is Restart.TRANSIENT and not normal):
            self._restart(child, now, jitter)
        else:
            child.wanted, child.leaving = False, child.restart is Restart.TEMPORARY
            self._stale = True
            self._tidy(child)
            self._ended_for_good(child)
        return self._next(now, child)

    def stopped(self, name: str, now: float) -> list[Action]:
        """A child that was to be stopped is gone, however it ended."""
        child = self._child(name)
        self._move(child, ChildEvent.STOPPED)
        self._down(child)
        return self._next(now, child)

    def woken(self, now: float) -> list[Action]:
        """The time of a `Wait` has come."""
        return self._next(now)

    # The rules -----------------------------------------------------------------------------------------------------

    def _child(self, name: str) -> Child:
        child = self.children.get(name)
        if child is None:
            raise LocalProtocolError(f"there is no child called {name}")
        return child

    def _move(self, child: Child, event: ChildEvent) -> State:
        """Something happens to a child: have it go on to the state that follows; returns the one that it leaves."""
        before, after = child.state, CHILD.after(child.state, event, child)
        if after is None:
            expected = CHILD.expected(before)
            raise LocalProtocolError(f"{child.name} is {before.value}: expected {expected}, got {event.value}")
        child.state = after
        return before

    def _restart(self, child: Child, now: float, jitter: float, *, counts: bool = True) -> None:
        """Rules 1, 2, 3, 5, 6 and 8: a child is down that is to run."""
        self._stale = True
        if self.frozen or self.restarts_nothing:
            self._call_off(child)
            return
        if counts:
            self._recent.append((now, child.name))
        while self._recent and now - self._recent[0][0] > self.within:
            self._recent.popleft()
        if len(self._recent) > self.limit:
            latest_first = dict.fromkeys(name for _, name in reversed(self._recent))
            self._end(tuple(reversed(latest_first)))
            return
        delay = min(self.last_delay, self.first_delay * 2.0 ** min(child.restarts - 1, 60)) if child.restarts else 0.0
        child.restarts += 1
        child.delay = delay * (1 - jitter / 2)
        child.due_at = now + child.delay
        for other in self._tied_to(child):
            if other.restart is Restart.TEMPORARY and not other.new:
                other.wanted, other.leaving = False, True
            elif not other.leaving:
                other.wanted = True
            other.doomed = other.state is not State.DOWN
            self._tidy(other)

    def _call_off(self, child: Child) -> None:
        """Rule 6: a child is down that would be started again."""
        child.wanted, child.leaving = False, True
        self.misses_permanent |= child.restart is Restart.PERMANENT
        self._tidy(child)

    def _tied_to(self, child: Child) -> list[Child]:
        """The others that are restarted with a child."""
        if self.strategy is Strategy.ONE_FOR_ONE:
            return []
        children = list(self.children.values())
        if self.strategy is Strategy.REST_FOR_ONE:
            children = children[children.index(child) :]
        return [other for other in children if other is not child]

    def _ended_for_good(self, child: Child) -> None:
        """Rule 7."""
        if not child.significant:
            return
        left = any(other.significant and other.wanted for other in self.children.values())
        if self.auto_shutdown is AutoShutdown.ANY_SIGNIFICANT or not left:
            self._end(())

    def _end(self, failed: tuple[str, ...]) -> None:
        self.ending = self._stale = True
        self._failed = self._failed or failed
        for child in tuple(self.children.values()):
            child.wanted, child.leaving, child.doomed = False, True, child.state is not State.DOWN
            self._tidy(child)

    def _down(self, child: Child) -> None:
        child.doomed = False
        self._doomed.pop(child.name, None)
        self._tidy(child)

    def _tidy(self, child: Child) -> None:
        if child.leaving and child.state is State.DOWN:
            del self.children[child.name]
            self._unsettled.pop(child.name, None)

    # What is to be done --------------------------------------------------------------------------------------------

    def _next(self, now: float, affected: Child | None = None) -> list[Action]:
        """Rule 4.

        Args:
          affected: the child that something has happened to; None for all. No other need be looked at where children
            are not tied together, so that a supervisor may have thousands of such.
        """
        if self.ended:
            return []
        tied = self.ending or self.strategy is not Strategy.ONE_FOR_ONE
        children: Collection[Child] = self.children.values()
        last_first: Iterable[Child] = reversed(self.children.values())
        if tied:
            self._look_at_all()
            children, last_first = self._unsettled.values(), reversed(self._doomed.values())
        elif affected is not None:
            children = last_first = [affected] if affected.name in self.children else []
        actions = self._stops(last_first, tied)
        if not (tied and self._doomed) and not self.frozen:
            actions += self._starts(children, now, tied)
        if self.ending and not self.children:
            self.ended = True
            actions.append(Ended(self._failed))
        return actions

    def _look_at_all(self) -> None:
        """Find the doomed and the unsettled, if that may be others than those that are known."""
        if self._stale:
            self._stale = False
            self._doomed = {name: child for name, child in self.children.items() if child.doomed}
            self._unsettled = {
                name: child
                for name, child in self.children.items()
                if child.wanted and (child.doomed or child.state is not State.UP)
            }

    def _stops(self, last_first: Iterable[Child], tied: bool) -> list[Action]:
        actions: list[Action] = []
        for child in last_first:
            if child.doomed:
                if child.state is not State.STOPPING:
                    self._move(child, ChildEvent.STOP)
                    actions.append(Stop(child.name))
                if tied:
                    break
        return actions

    def _starts(self, children: Iterable[Child], now: float, tied: bool) -> list[Action]:
        actions: list[Action] = []
        for child in children:
            if not child.wanted or child.state is State.UP:
                continue
            if child.state is State.DOWN:
                if child.due_at > now:
                    actions.append(Wait(child.due_at))
                else:
                    self._move(child, ChildEvent.START)
                    actions.append(Start(child.name, 0 if child.new else len(self._recent), child.delay))
            if tied:
                break
        return actions
