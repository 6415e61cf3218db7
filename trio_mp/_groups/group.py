"""One group at run time: what the roster says is done here, and programs call, send and listen here."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Set
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Any, TypeVar, overload

import trio

from .._errors import CallError, PortDied
from .._events import fields
from .._ids import node_of
from .._ports.context import running_variable
from .._ports.monitor import Monitor
from .._ports.port import Port, new_port
from .._protocol.calls import BUSY
from .._protocol.database.entries import read_port
from .._protocol.groups.choice import CHOICES, Choice
from .._protocol.groups.events import EventLog, Joined, MembershipEvent
from .._protocol.groups.roster import (
    AskPlace,
    DropPlace,
    GroupPlace,
    Roster,
    RosterEffect,
    Tell,
    TryLater,
    WatchPlace,
)
from .._protocol.requests import INFO
from .._protocol.wire.values import plain_message
from .._runtime import Runtime
from .._services.calls import UNTYPED, Calls
from .._services.changes import Change, copy_value, entries_of
from .._services.database import Database
from .._services.effect_queue import EffectQueue
from .._services.redialler import RetryDelay

log = logging.getLogger("trio_mp.group")

_FIRST_PAUSE = 0.01
_LONGEST_PAUSE = 1.0
"""How long a call waits before it goes to a third member, and at most to a later one, in seconds, but for chance."""

T = TypeVar("T")

_HEARTBEATS = 3.0
"""For how many heartbeats a connected node may take to answer, before it is taken for one that does not."""


class Group(AsyncIterator[MembershipEvent]):
    """The members of a family of the database, as one: monitored, chosen and called. Made by `Node.open_group`.

    A member is a port that somebody has registered in the family. It has joined when its node has answered behind this
    node's monitor of it. It leaves when the monitor fires or when its entry goes, and may join again: the monitor also
    fires when messages may have been lost. While a member cannot be reached it is tried again and again.

    As an async iterator it gives the events: `Joined` for each member, those of the beginning too, and `Left`. Those of
    one member alternate. A reader that is slow misses pairs of them, but never that a member was lost.

    Attributes:
      family: the name of the family.
      key: the key of the only entry that makes a member, or None if all entries do.
    """

    def __init__(
        self, runtime: Any, calls: Any, database: Database, family: str, watch: int, key: str | None, at_once: float
    ) -> None:
        # `Any` in the signature: type checkers of programs need not read the modules that are not for users.
        self.family: str = family
        self.key: str | None = key
        self._at_once = at_once
        self._runtime: Runtime = runtime
        self._calls: Calls = calls
        self._database = database
        self._roster = Roster(runtime.id, watch)
        self._log = EventLog()
        self._effects: EffectQueue[RosterEffect] = EffectQueue(self._do)
        self._monitors: dict[int, Monitor] = {}
        # By attempt, as the monitors: the port that takes the answer. One for each question, so that no member can
        # answer for another one, and none can end more than its own attempt by killing the port.
        self._questions: dict[int, Port] = {}
        self._clocks: dict[int, trio.CancelScope] = {}
        self._changed = trio.lowlevel.ParkingLot()
        # Calls that any member may have. Apart, because of many that wait for room only one is woken by each end.
        self._queue = trio.lowlevel.ParkingLot()
        self._news = trio.lowlevel.ParkingLot()
        self._reading = False
        self._following = trio.CancelScope()
        self._ended: trio.Event | None = None
        self._closed = False
        self._has_complained = False

    def __repr__(self) -> str:
        return f"<Group {self.family}: {len(self)} members{' (closed)' if self._closed else ''}>"

    def __len__(self) -> int:
        return sum(1 for _ in self._roster.joined)

    @property
    def members(self) -> dict[str, Any]:
        """The ports that have joined and have not left, each with what it was registered with now. The caller's own."""
        return {place.port: copy_value(place.value) for place in self._roster.joined}

    # What programs do ----------------------------------------------------------------------------------------------

    async def wait(self, count: int = 1) -> None:
        """Wait until so many members have joined; at once if they have. A checkpoint. Cancelled, it changes nothing.

        More than the group monitors never join.

        Raises:
          TypeError, ValueError: the count is no number that can be reached.
          trio.ClosedResourceError: the block of the group was left, or the node is closed.
        """
        if isinstance(count, bool) or not isinstance(count, int):
            raise TypeError(f"wait(): expected a number of members, got {count!r}")
        if not 0 < count <= self._roster.limit:
            raise ValueError(
                f"wait(): expected from 1 to {self._roster.limit} members, which the group monitors, got {count};"
                " give open_group() a greater `watch`"
            )
        await trio.lowlevel.checkpoint()
        self._check()
        while len(self) < count:
            await self._park(self._changed)

    def pick(self, *, by: Choice = "round_robin") -> str:
        """The ID of the port of a member that has joined. Not a checkpoint.

        Args:
          by: `"round_robin"`: the one that was picked or called the longest ago; `"least_busy"`: the one with the
            fewest calls of this group that are not answered.

        Raises:
          LookupError: none has joined; `wait` waits for one.
          ValueError: the rule is unknown.
          trio.ClosedResourceError: the block of the group was left, or the node is closed.
        """
        self._check()
        _check_choice(by, None)
        place = self._roster.choose(by, leaving=self._runtime.leaving)
        if place is None:
            raise LookupError(f"no member of the group {self.family} has joined; await its wait() first")
        self._roster.begin_use(place)
        self._execute(self._roster.end_use(place))
        return place.port

    @overload
    async def call(
        self, *message: Any, by: Choice = "round_robin", key: str | None = None, again: bool = False
    ) -> tuple[Any, ...]: ...
    @overload
    async def call(
        self, *message: Any, reply: type[T], by: Choice = "round_robin", key: str | None = None, again: bool = False
    ) -> T: ...
    @overload
    async def call(
        self, *message: Any, reply: Any, by: Choice = "round_robin", key: str | None = None, again: bool = False
    ) -> Any: ...
    async def call(
        self,
        *message: Any,
        reply: Any = UNTYPED,
        by: Choice = "round_robin",
        key: str | None = None,
        again: bool = False,
    ) -> Any:
        """Call a member, as `Node.call` does. Waits while none has joined.

        With `at_once`, it waits as well while all members have so many calls of this group; with a `key`, while the
        member of that key has.

        Another member is called when it is proven that the first one never got the message: it had died before, the
        connection was lost before the message was written, or as many calls of this node were in flight on the
        member's node as may be (`busy`). While that holds for the nodes of all members, or for the member of the key,
        it is tried again after a pause of up to a second.

        A checkpoint. Cancelled, the call is called off, as for `Node.call`.

        Args:
          message: what to send; as for `Node.call`.
          reply: the type of the reply; as for `Node.call`.
          by: which member: `"round_robin"` or `"least_busy"`, as for `pick`.
          key: all calls of one key go to the same member, as long as that can be reached, from all nodes that know the
            same members: rendezvous hashing over the keys of the entries, those that this group does not monitor yet
            among them. It is placement and not ownership: while members come or go two nodes may choose differently.
          again: whether to call another member also when this one may have got the message, and has died, or may have
            lost messages, without an answer. The message is then handled *at least once*, perhaps twice or by a member
            that has not died; and one that kills whoever handles it kills one member after the other. Give the call a
            time limit.

        Returns:
          The one element of the reply, if `reply` was given; else the whole reply, as a tuple.

        Raises:
          PortDied: the member died first, or messages to it may have been lost, and `again` was not given.
          CallError: the member answered by an error, as for `Node.call`; no other member is called, but for `busy`.
          TypeError, ValueError: a key and a rule were given, or a rule that is unknown; or the message cannot travel.
          trio.ClosedResourceError: the block of the group was left, or the node is closed.
        """
        _check_choice(by, key)
        self._check()
        failures, pause = 0, None
        # The nodes that had no room, since all had none.
        full: set[str] = set()
        while True:
            if failures > 1:
                # Else many calls that kill one new member after the other, by its full mailbox, would leave no time to
                # anybody. The second member is called at once.
                pause = pause or RetryDelay(self._runtime.environment.jitter, _LONGEST_PAUSE, _FIRST_PAUSE)
                await trio.sleep(pause.next())
            place = await self._find(by, key, full)
            if place.node_id in full:
                full.clear()
            self._roster.begin_use(place)
            try:
                return await self._call_member(place.port, message, reply)
            except PortDied as error:
                # Of another port: the caller's own has died, or the reply port.
                if error.port != place.port or (error.maybe_delivered and not again):
                    raise
                log.debug(
                    "%s: a call goes to another member: %s",
                    self.family,
                    error,
                    extra=fields("member", self._runtime.id),
                )
                failures += 1
            except CallError as error:
                # All others are answers. A handler may raise what has the same name: then the member has got it.
                if error.type_name != BUSY or error.maybe_delivered:
                    raise
                log.debug(
                    "%s: a call goes to another node: %s",
                    self.family,
                    error,
                    extra=fields("member", self._runtime.id, peer=place.node_id),
                )
                full.add(place.node_id)
                failures += 1
            finally:
                self._execute(self._roster.end_use(place))
                if self._at_once != math.inf and place.has_joined():
                    # There is room for one. Who is woken for nothing loses its turn.
                    self._queue.unpark()
                    self._changed.unpark_all()

    @trio.lowlevel.enable_ki_protection
    def send(self, *message: Any) -> int:
        """Send a message to all members that are known now: publish and subscribe. Not a checkpoint.

        Those that this group does not monitor get it too. No order is kept with messages to others, and nothing is kept
        for members that come later. Of a member for which the group says `Left`, the message may not have arrived; of
        one that it does not monitor, nobody is told.

        Returns:
          The number of members it was sent to.

        Raises:
          TypeError, ValueError: the message cannot travel, and was sent to none; or it is too large for some members,
            and was sent to the others.
          trio.ClosedResourceError: the block of the group was left, or the node is closed.
        """
        self._check()
        message = plain_message(message, thorough=True)
        count, failure = 0, None
        for place in tuple(self._roster.known):
            try:
                self._runtime.send(place.port, message)
                count += 1
            except (TypeError, ValueError) as error:
                failure = error
        if failure is not None:
            raise failure
        return count

    async def __anext__(self) -> MembershipEvent:
        """Wait for the next event. A checkpoint. Cancelled, no event is lost.

        Raises:
          trio.ClosedResourceError: the block of the group was left, or the node is closed.
          trio.BusyResourceError: another task is waiting here.
        """
        if self._reading:
            raise trio.BusyResourceError(f"another task waits for the events of the group {self.family}")
        self._reading = True
        try:
            await trio.lowlevel.checkpoint()
            while True:
                self._check()
                event = self._log.take()
                if event is not None:
                    return event
                await self._news.park()
        finally:
            self._reading = False

    # How a call is made --------------------------------------------------------------------------------------------

    async def _call_member(self, port: str, message: tuple[Any, ...], reply: Any) -> Any:
        """The one place where a member is called."""
        return await self._calls.call(port, message, reply)

    async def _find(self, by: Choice, key: str | None, full: Set[str]) -> GroupPlace:
        """A member that has joined and has room; waits for one. A checkpoint only if it waits.

        Without a key, one on a full node is returned only if there is no other one. One on a node that drains, whose
        entry is about to go, is returned only if there are no others, busy or not.
        """
        while True:
            leaving = self._runtime.leaving
            if key is None:
                place = self._roster.choose(by, self._at_once, full, leaving)
                if place is not None:
                    return place
                await self._park(self._queue)
                continue
            place = self._roster.choose_by_key(key, leaving)
            if place is None:
                await self._park(self._changed)
            elif place.has_joined():
                if place.busy < self._at_once:
                    return place
                await self._park(self._changed)
            else:
                # Only a key chooses one that is not monitored: it is, from now on.
                self._execute(self._roster.want(place))
                try:
                    while place.may_join():
                        await self._park(self._changed)
                    if place.has_joined() and place.busy < self._at_once:
                        return place
                finally:
                    self._execute(self._roster.unwant(place))

    async def _park(self, where: trio.lowlevel.ParkingLot) -> None:
        await where.park()
        self._check()

    def _wake(self) -> None:
        """Members may have come: wake who waits for that, and as many calls as there is room for, the oldest."""
        self._changed.unpark_all()
        if self._queue:
            self._queue.unpark(count=sum(max(0, self._at_once - place.busy) for place in self._roster.joined))

    def _check(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError(f"the group {self.family} is closed: its block was left, or its node closed")
        self._runtime.check_open()

    # Life ----------------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        """Begin to follow the family."""
        self._runtime.check_open()
        self._ended = trio.Event()
        self._runtime.lifecycle.start_system_task(self._follow)

    async def _follow(self) -> None:
        assert self._ended is not None
        try:
            with self._following, suppress(trio.ClosedResourceError):
                async with self._database.watch(self.family) as changes:
                    async for change in changes:
                        self._take(change)
        finally:
            self._close()
            self._ended.set()

    @trio.lowlevel.enable_ki_protection
    def _take(self, change: Change) -> None:
        entries: dict[str, tuple[str, object]] = {}
        gone = [key for key in change.deleted if self._is_wanted(key)]
        for key, value in entries_of(change).items():
            if not self._is_wanted(key):
                continue
            found = read_port(key, value)
            if found is not None:
                entries[key] = found
                continue
            gone.append(key)
            if not self._has_complained:
                # Once: other nodes may have set anything there, and any number of it.
                self._has_complained = True
                log.warning(
                    "the key %.200r of the family %s names no port, and is no member",
                    key,
                    self.family,
                    extra=fields("family", self._runtime.id),
                )
        self._execute(self._roster.update(entries, gone))
        self._wake()

    def _is_wanted(self, key: str) -> bool:
        return self.key is None or key == self.key

    @trio.lowlevel.enable_ki_protection
    def _close(self) -> None:
        """Take all monitors away, and wake all who wait. Not a checkpoint."""
        if self._closed:
            return
        self._closed = True
        self._following.cancel()
        for monitor in self._monitors.values():
            monitor.cancel()
        for port in self._questions.values():
            self._runtime.lifecycle.retire(port)
        for scope in self._clocks.values():
            scope.cancel()
        self._monitors.clear()
        self._questions.clear()
        self._clocks.clear()
        self._changed.unpark_all()
        self._queue.unpark_all()
        self._news.unpark_all()

    # What the roster says ------------------------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    def _execute(self, effects: list[RosterEffect]) -> None:
        if not effects or self._closed:
            return
        # A task of a port that has died may have ended a call: what follows is the group's business, not that port's.
        token = running_variable.set(None)
        try:
            self._effects.execute(effects)
        finally:
            running_variable.reset(token)
        self._wake()

    def _do(self, effect: RosterEffect) -> None:
        match effect:
            case WatchPlace(attempt, port):
                self._watch(attempt, port)
            case AskPlace(attempt, port):
                self._ask(attempt, port)
            case DropPlace(attempt):
                self._forget(attempt)
            case TryLater(attempt, seconds):
                self._start_clock(attempt, seconds * (0.5 + self._runtime.environment.jitter()), self._due)
            case Tell(event):
                log.debug("%s: %s", self.family, event, extra=fields("member", self._runtime.id))
                # The value is the reader's own.
                self._log.add(replace(event, value=copy_value(event.value)) if isinstance(event, Joined) else event)
                self._news.unpark_all()

    def _watch(self, attempt: int, port: str) -> None:
        def lost(*reason: object) -> None:
            self._forget(attempt)
            self._execute(self._roster.lost(attempt, reason))

        try:
            self._monitors[attempt] = self._runtime.monitor(port, lost, None)
        except (RuntimeError, trio.ClosedResourceError) as error:
            # Without a network somebody has registered another node's port; or this node is about to close.
            self._effects.execute(self._roster.lost(attempt, ("not_monitored", str(error))))
            return
        self._ask(attempt, port)

    def _ask(self, attempt: int, port: str) -> None:
        """Ask the node of the port something that every node answers."""
        settings = self._runtime.settings
        try:
            question = new_port(self._runtime.lifecycle, self._runtime.next_name(), lambda *_: self._answered(attempt))
        except trio.ClosedResourceError:
            # This node closes, and the group with it.
            return
        self._questions[attempt] = question
        self._runtime.send(node_of(port), (INFO, question))
        self._start_clock(attempt, settings.connect_timeout + _HEARTBEATS * settings.heartbeat, self._unanswered)

    def _answered(self, attempt: int) -> None:
        self._stop_asking(attempt)
        self._execute(self._roster.answered(attempt))

    def _unanswered(self, attempt: int) -> None:
        self._execute(self._roster.unanswered(attempt))

    def _due(self, attempt: int) -> None:
        self._execute(self._roster.due(attempt))

    def _forget(self, attempt: int) -> None:
        self._stop_asking(attempt)
        monitor = self._monitors.pop(attempt, None)
        if monitor is not None:
            monitor.cancel()

    def _start_clock(self, attempt: int, seconds: float, then: Any) -> None:
        self._stop_clock(attempt)
        scope = self._clocks[attempt] = trio.CancelScope()
        self._runtime.lifecycle.start_system_task(self._run_clock, scope, seconds, then, attempt)

    def _stop_asking(self, attempt: int) -> None:
        self._stop_clock(attempt)
        question = self._questions.pop(attempt, None)
        if question is not None:
            self._runtime.lifecycle.retire(question)

    def _stop_clock(self, attempt: int) -> None:
        scope = self._clocks.pop(attempt, None)
        if scope is not None:
            scope.cancel()

    async def _run_clock(self, scope: trio.CancelScope, seconds: float, then: Any, attempt: int) -> None:
        with scope:
            await trio.sleep(seconds)
            if self._clocks.get(attempt) is scope:
                del self._clocks[attempt]
                then(attempt)


class GroupBlock:
    """`async with node.open_group(…) as group`; see `Node.open_group`.

    A class, and no decorated generator, so that an interrupt cannot come between two lines of it.

    Args:
      runtime, calls, database: the node's.
      family, watch, key, at_once: what the program has said.
    """

    def __init__(
        self,
        runtime: Runtime,
        calls: Calls,
        database: Database,
        family: str,
        watch: int,
        key: str | None,
        at_once: float,
    ) -> None:
        self._runtime = runtime
        self._calls = calls
        self._database = database
        self._family = family
        self._watch = watch
        self._key = key
        self._at_once = at_once
        self._group: Group | None = None

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> Group:
        if self._group is not None:
            raise RuntimeError("a group is opened once: call open_group() for each block")
        await trio.lowlevel.checkpoint()
        self._group = Group(
            self._runtime, self._calls, self._database, self._family, self._watch, self._key, self._at_once
        )
        self._group._open()
        return self._group

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        group = self._group
        assert group is not None
        group._close()
        if group._ended is not None and self._runtime.lifecycle.nursery is not None:
            with trio.CancelScope(shield=True):
                await group._ended.wait()
        else:
            await trio.lowlevel.checkpoint()


def check_group(family: object, watch: object, key: object, at_once: object) -> tuple[str, int, str | None, float]:
    """The arguments of `Node.open_group`. Raises `TypeError` or `ValueError`."""
    if not isinstance(family, str):
        raise TypeError(f"open_group(): expected the name of a family of the database, got {family!r}")
    if isinstance(watch, bool) or not isinstance(watch, int):
        raise TypeError(f"open_group(): watch: expected how many members to monitor, got {watch!r}")
    if watch < 1:
        raise ValueError(f"open_group(): watch: expected a number of members from 1, got {watch!r}")
    if key is not None and not isinstance(key, str):
        raise TypeError(f"open_group(): key: expected the key of an entry, got {key!r}")
    if at_once is not None and (isinstance(at_once, bool) or not isinstance(at_once, int)):
        raise TypeError(f"open_group(): at_once: expected how many calls a member may have, got {at_once!r}")
    if at_once is not None and at_once < 1:
        raise ValueError(f"open_group(): at_once: expected a number of calls from 1, got {at_once!r}")
    return family, watch, key, math.inf if at_once is None else at_once


def _check_choice(by: object, key: object) -> None:
    if by not in CHOICES:
        raise ValueError(f"by: expected one of {', '.join(CHOICES)}, got {by!r}")
    if key is not None and not isinstance(key, str):
        raise TypeError(f"key: expected a str, got {key!r}")
    if key is not None and by != CHOICES[0]:
        raise ValueError(f"call(): expected a key or a rule, got both: key={key!r}, by={by!r}")
