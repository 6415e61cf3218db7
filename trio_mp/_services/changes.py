"""What a watch of the shared database gives its reader: changes, one at a time, and never too many of them."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import trio

from .._protocol.database.records import Difference, Table, difference, update

WATCH_LIMIT = 1000
"""How many changed keys may wait for the reader of a watch."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a family, as `Database.watch` gives it.

    Attributes:
      table: the whole family after the change; the reader's own copy.
      added, changed, deleted: the keys that are new, those that have another value, and those that are gone.
      resynchronised: whether the reader was too slow, and this is all that it has missed, in one.
    """

    table: dict[str, Any]
    added: tuple[str, ...]
    changed: tuple[str, ...]
    deleted: tuple[str, ...]
    resynchronised: bool = False


class Watch(AsyncIterator[Change]):
    """The changes of one family, for one reader.

    Args:
      read: the table as it is now, or None as long as it is not known.
      check_open: raises if the node is closed.
    """

    def __init__(self, read: Callable[[], Table | None], check_open: Callable[[], None]) -> None:
        self._read = read
        self._check_open = check_open
        self._closed = False
        # What the reader has been given; None before the first time.
        self._table: Table | None = None
        self._waiting: deque[Difference] = deque()
        self._keys = 0
        self._missed = False
        self._news = trio.lowlevel.ParkingLot()
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
                self._check()
                change = self._next()
                if change is not None:
                    return change
                await self._news.park()
        finally:
            self._reading = False

    def put(self, change: Difference) -> None:
        """The table, which was known, has changed."""
        if self._table is None or self._missed:
            # The reader takes it with the whole.
            return
        self._keys += _size(change)
        if self._waiting and self._keys > WATCH_LIMIT:
            self._waiting.clear()
            self._keys, self._missed = 0, True
        else:
            self._waiting.append(change)
        self.wake()

    def wake(self) -> None:
        """There is something to look at."""
        self._news.unpark_all()

    def close(self) -> None:
        """The block is left."""
        self._closed = True
        self._waiting.clear()
        self.wake()

    def _check(self) -> None:
        self._check_open()
        if self._closed:
            raise trio.ClosedResourceError("the block of this watch was left")

    def _next(self) -> Change | None:
        if self._table is None or self._missed:
            table = self._read()
            if table is None:
                return None
            before, missed = self._table or {}, self._missed
            self._table, self._missed = copy_table(table), False
            return self._change(difference(before, self._table), resynchronised=missed)
        if not self._waiting:
            return None
        change = self._waiting.popleft()
        self._keys -= _size(change)
        entries = copy_table({**change.added, **change.changed})
        return self._change(update(self._table, entries, change.deleted), resynchronised=False)

    def _change(self, change: Difference, *, resynchronised: bool) -> Change:
        assert self._table is not None
        # What the reader does with one change is not to be seen in the next one.
        table = copy_table(self._table)
        return Change(table, tuple(change.added), tuple(change.changed), change.deleted, resynchronised)


def _size(change: Difference) -> int:
    return len(change.added) + len(change.changed) + len(change.deleted)


def copy_table(table: Mapping[str, object]) -> Table:
    """A copy that shares nothing that can be changed: what the program does to it is its own business."""
    return {key: _copy(value) for key, value in table.items()}


def _copy(value: Any) -> object:
    if type(value) is list:
        return [_copy(item) for item in value]
    if type(value) is dict:
        return {key: _copy(item) for key, item in value.items()}
    return value
