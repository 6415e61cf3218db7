"""Credit: how many items, and how many bytes of items, one end of a channel may send before the other has taken some.

Each direction of a channel has two machines: `Credit` at the end that sends, `Debt` at the end that receives. They
speak by three words, which arrive in order: an item, so many items are given back, and "a task waits for credit".

    the credit of the sender  +  items on their way  +  items that wait  +  items taken, not given back
                              +  credit on its way   =  the buffer, at every moment

The receiver gives back in batches of half the buffer. That is enough for the number of items: where the receiver has
taken all, it keeps back less than the whole buffer. An item of many bytes may need what is kept back. So a sender that
lacks bytes says that it waits, and from then on the receiver gives back each item as soon as it is taken.
"""

from __future__ import annotations

from collections import deque
from itertools import chain
from typing import Any

from .._errors import RemoteProtocolError
from .wire.limits import MAXIMUM_DEPTH, MAXIMUM_VALUES

ENTRY = 64
"""What a number counts for, and each value and key in a list or dict beside its text, in bytes: about its memory."""

_TEXTS = frozenset({bytes, str})
_NUMBERS = frozenset({int, float, bool, type(None)})
_CONTAINERS = frozenset({list, tuple, dict})


def size_of(item: object) -> int:
    """How many bytes of credit an item costs, on both sides alike. Only the text of what cannot travel is looked at.

    Bytes and text count for their length. All else counts for `ENTRY`, and so does each value and key in it.
    """
    kind = type(item)
    if kind in _TEXTS:
        return len(item)  # type: ignore[arg-type]
    if kind in _NUMBERS:
        return ENTRY
    if kind not in _CONTAINERS:
        return len(item) if isinstance(item, str) else ENTRY
    return ENTRY + _size_within(item)


def _size_within(container: object) -> int:
    """The size of what a list, tuple or dict holds. It ends, whatever refers to whatever: too much cannot travel."""
    size = values = 0
    level: list[object] = [container]
    for _ in range(MAXIMUM_DEPTH):
        tables = [value for value in level if type(value) is dict]
        values += sum(map(len, level)) + sum(map(len, tables))  # type: ignore[arg-type]
        if not level or values > MAXIMUM_VALUES:
            break
        parts: list[Any] = [*tables, *[table.values() for table in tables]]
        parts += [value for value in level if type(value) is not dict]
        items = [*chain.from_iterable(parts)]
        size += sum([len(value) for value in items if isinstance(value, str | bytes)])
        level = [value for value in items if type(value) in _CONTAINERS]
    return size + ENTRY * values


class Credit:
    """What one end may still send.

    Args:
      items: how many items may be with the other end, or on their way, at a time.
      size: how many bytes they may have together; one item alone may have more.

    Attributes:
      items, size: how much of that is left. The size is below 0 while one item that is larger is on its way.
    """

    __slots__ = ("_sizes", "items", "size")

    def __init__(self, items: int, size: int) -> None:
        self.items = items
        self.size = size
        # What each item has cost that was not given back: the other end gives back items, and needs no other number.
        self._sizes: deque[int] = deque()

    @property
    def used(self) -> int:
        """How many items were sent and not given back."""
        return len(self._sizes)

    @property
    def used_size(self) -> int:
        """How many bytes they have."""
        return sum(self._sizes)

    def take(self, size: int) -> bool:
        """Take the credit for an item of this size, if it may be sent now; returns whether it may."""
        if self.items <= 0 or (size > self.size and self._sizes):
            return False
        self.items -= 1
        self.size -= size
        self._sizes.append(size)
        return True

    def refund(self) -> None:
        """Take back what the latest item has cost, because it could not be sent."""
        self.items += 1
        self.size += self._sizes.pop()

    def give(self, items: int) -> None:
        """Take back so many items, the oldest. Raises `RemoteProtocolError` if not so many were sent."""
        if not 1 <= items <= len(self._sizes):
            raise RemoteProtocolError(f"credit: expected at most {len(self._sizes)} items given back, got {items}")
        self.items += items
        for _ in range(items):
            self.size += self._sizes.popleft()


class Debt:
    """What one end has received, and has not given back.

    Args:
      items, size: as of the `Credit` at the other end.

    Attributes:
      waiting, waiting_size: how many items have arrived and were not taken, and how many bytes they have.
    """

    __slots__ = ("_awaited", "_batch", "_items", "_owed", "_owed_size", "_size", "waiting", "waiting_size")

    def __init__(self, items: int, size: int) -> None:
        self._items = items
        self._size = size
        self._batch = max(1, items // 2)
        self._awaited = False
        self.waiting = self.waiting_size = 0
        # Of what was taken: how much was not given back.
        self._owed = self._owed_size = 0

    def arrived(self, size: int) -> None:
        """Account for an item that has arrived. Raises `RemoteProtocolError` if it was not covered by credit."""
        with_us = self.waiting + self._owed
        size_with_us = self.waiting_size + self._owed_size
        if with_us >= self._items or (with_us and size_with_us + size > self._size):
            raise RemoteProtocolError(
                f"credit: expected at most {self._items} items and {self._size} bytes before some were given back,"
                f" got an item of {size} bytes after {with_us} of {size_with_us}"
            )
        self.waiting += 1
        self.waiting_size += size
        # What has waited has been sent, or was called off.
        self._awaited = False

    def taken(self, size: int) -> int:
        """Account for an item that the program has taken; returns how many items are to be given back now, or 0."""
        self.waiting -= 1
        self.waiting_size -= size
        self._owed += 1
        self._owed_size += size
        if self._owed >= self._batch or self._awaited or self._owed_size * 2 >= self._size:
            return self._give_back()
        return 0

    def awaited(self) -> int:
        """Account for a sender that waits because of bytes; returns how many items are to be given back now, or 0."""
        self._awaited = True
        return self._give_back()

    def _give_back(self) -> int:
        items, self._owed, self._owed_size = self._owed, 0, 0
        return items
