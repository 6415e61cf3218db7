"""What a watch of the shared database gives its reader: changes, one at a time, and never too many of them.

A change costs what it touches, however large its table is. A reader that looks at `Change.table` pays for a copy of the
table, then and there; for one that does not, nobody copies it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import trio

from .._protocol.database.records import Difference, Table, difference

WATCH_LIMIT = 1000
"""How many changed keys may wait for the reader of a watch."""

_SHORT = 32
"""How many changed keys a history of a small table may hold: a copy for each of them would cost more."""


class _History:
    """What a table was at first, and each change of it since: enough to make it again as it was after any of them.

    A reader may look at a change in another thread while the next ones come here. So what was appended never changes,
    and only the table of now does; see `after`. Values are shared, because nobody in this package changes any.

    Args:
      table: the table at first. From now on it belongs to the history, which changes it.
    """

    __slots__ = ("_changes", "_first", "_keys", "_now")

    def __init__(self, table: Table) -> None:
        self._first = dict(table)
        self._now: Table | None = table
        self._changes: list[Difference] = []
        self._keys = 0

    @property
    def now(self) -> Table:
        """The table after all changes. It is not to be changed."""
        assert self._now is not None, "a later history has this table"
        return self._now

    def append(self, change: Difference) -> _Moment:
        """Add a change; returns where its table can be had."""
        table = self.now
        # The change goes first, then the table. So a thread that copies the table in `after` sees by the number of
        # changes whether the table was being changed meanwhile.
        self._changes.append(change)
        self._keys += _size(change)
        table.update(change.added)
        table.update(change.changed)
        for key in change.deleted:
            del table[key]
        return _Moment(self, len(self._changes), change)

    def renewed(self) -> _History:
        """The history to append to from now on: another one, if the changes of this one hold more keys than its table.

        It costs a copy of the table, but only once for as many changed keys as the table has. Changes given before keep
        the history of before, for as long as their reader keeps them.
        """
        if self._keys <= max(len(self._first), _SHORT):
            return self
        table, self._now = self.now, None
        return _History(table)

    def after(self, changes: int) -> Table:
        """A copy of the table as it was after so many changes, which shares nothing with this one."""
        now = self._now
        if now is not None and changes == len(self._changes):
            table = dict(now)
            if now is self._now and changes == len(self._changes):
                return copy_table(table)
            # Another change has come while this thread has copied.
        table = dict(self._first)
        for change in self._changes[:changes]:
            table.update(change.added)
            table.update(change.changed)
            for key in change.deleted:
                del table[key]
        return copy_table(table)


class _Moment(NamedTuple):
    """Where the table of a change can be had: after so many changes of a history, of which this is the last."""

    history: _History
    changes: int
    difference: Difference


class _Late:
    """The base of `Change`, which makes the table of a change when a reader looks at it for the first time."""

    __slots__ = ("_moment",)

    _moment: _Moment

    if not TYPE_CHECKING:
        # Python comes here only as long as `table` has not been set.
        def __getattr__(self, name: str) -> object:
            if name != "table":
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
            history, changes, _ = self._moment
            table = history.after(changes)
            object.__setattr__(self, "table", table)
            # The history is not needed any more, and may be large.
            object.__delattr__(self, "_moment")
            return table


@dataclass(frozen=True, slots=True)
class Change(_Late):
    """One change of a family, as `Database.watch` gives it.

    Attributes:
      table: the whole family after the change; the reader's own copy, which is made when it is looked at first.
      added, changed, deleted: the keys that are new, those that have another value, and those that are gone.
      resynchronised: whether the reader was too slow, and this is all that it has missed, in one.
    """

    table: dict[str, Any]
    added: tuple[str, ...]
    changed: tuple[str, ...]
    deleted: tuple[str, ...]
    resynchronised: bool = False


def entries_of(change: Change) -> dict[str, Any]:
    """The added and changed entries of a change that a watch has just given. They are not to be changed."""
    return {**change._moment.difference.added, **change._moment.difference.changed}


class FamilyWatch(AsyncIterator[Change]):
    """The changes of one family, for one reader.

    Args:
      read: returns the table as it is now; None as long as this node does not know it.
      check_open: raises `trio.ClosedResourceError` if the node is closed.
      news: a parking lot that is woken for each change; one of its own by default.
    """

    def __init__(
        self,
        read: Callable[[], Table | None],
        check_open: Callable[[], None],
        news: trio.lowlevel.ParkingLot | None = None,
    ) -> None:
        self._read = read
        self._check_open = check_open
        self._closed = False
        # The table as the reader has it; None before the first change.
        self._history: _History | None = None
        self._waiting: deque[Difference] = deque()
        self._keys = 0
        self._missed = False
        # Not `or`: an empty parking lot counts as false.
        self._news = trio.lowlevel.ParkingLot() if news is None else news
        self._reading = False

    async def __anext__(self) -> Change:
        """Wait for the next change. A checkpoint. Cancelled, no change is lost.

        Raises:
          trio.ClosedResourceError: the node is closed, or the block of the watch was left.
          trio.BusyResourceError: another task is waiting here.
        """
        if self._reading:
            raise trio.BusyResourceError("another task waits for the changes of this watch")
        self._reading = True
        try:
            await trio.lowlevel.checkpoint()
            while True:
                change = self.take()
                if change is not None:
                    return change
                await self._news.park()
        finally:
            self._reading = False

    def take(self) -> Change | None:
        """Take the next change, if there is one. Raises `trio.ClosedResourceError` as iterating does."""
        self._check()
        return self._next()

    def put(self, change: Difference) -> None:
        """Let a change of the table wait for the reader. Too many of them become one, made when the reader comes."""
        if self._history is None or self._missed:
            # The reader will take the whole table, with this change in it.
            return
        self._keys += _size(change)
        if self._waiting and self._keys > WATCH_LIMIT:
            self._waiting.clear()
            self._keys, self._missed = 0, True
        else:
            self._waiting.append(change)
        self.wake()

    def wake(self) -> None:
        """Wake the reader, because there may be a change for it, or the node or the watch was closed."""
        self._news.unpark_all()

    def close(self) -> None:
        """End the watch, because its block is left."""
        self._closed = True
        self._waiting.clear()
        self.wake()

    def _check(self) -> None:
        self._check_open()
        if self._closed:
            raise trio.ClosedResourceError("the block of this watch was left")

    def _next(self) -> Change | None:
        if self._history is None or self._missed:
            table = self._read()
            if table is None:
                return None
            self._history = self._history or _History({})
            missed, self._missed = self._missed, False
            return self._give(self._history, difference(self._history.now, table), resynchronised=missed)
        if not self._waiting:
            return None
        change = self._waiting.popleft()
        self._keys -= _size(change)
        return self._give(self._history, change, resynchronised=False)

    def _give(self, history: _History, found: Difference, *, resynchronised: bool) -> Change:
        moment = history.append(found)
        self._history = history.renewed()
        change = Change({}, tuple(found.added), tuple(found.changed), found.deleted, resynchronised)
        # It is frozen for its readers; and it has no table until one of them looks at it.
        object.__delattr__(change, "table")
        object.__setattr__(change, "_moment", moment)
        return change


def _size(change: Difference) -> int:
    return len(change.added) + len(change.changed) + len(change.deleted)


def copy_table(table: Mapping[str, object]) -> Table:
    """A copy that shares nothing that can be changed: what the program does to it is its own business."""
    return {key: copy_value(value) for key, value in table.items()}


def copy_value(value: Any) -> object:
    """A copy of one value, for the same reason."""
    if type(value) is list:
        return [copy_value(item) for item in value]
    if type(value) is dict:
        return {key: copy_value(item) for key, item in value.items()}
    return value
