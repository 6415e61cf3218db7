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
_FIXED: dict[type, int] = dict.fromkeys((int, float, bool, type(None)), ENTRY)
_CONTAINERS = frozenset({list, tuple, dict})

_FEW = 32
"""A list or dict of at most so many values is looked at one by one: to walk its levels would cost more."""


def size_of(item: object) -> int:
    """How many bytes of credit an item costs, on both sides alike. Only the text of what cannot travel is looked at.

    Bytes and text count for their length. All else counts for `ENTRY`, and so does each value and key in it.
    """
    # The hot path: both sides do this for each item.
    kind = type(item)
    fixed = _FIXED.get(kind)
    if fixed is not None:
        return fixed
    if kind in _TEXTS:
        return len(item)  # type: ignore[arg-type]
    if kind not in _CONTAINERS:
        return len(item) if isinstance(item, str) else ENTRY
    size = _size_of_few(item) if len(item) <= _FEW else None  # type: ignore[arg-type]
    return ENTRY + (_size_within(item) if size is None else size)


def _size_of_few(container: Any) -> int | None:
    """The size of what a short list, tuple or dict holds; None if some of that is not text or a number itself."""
    size = ENTRY * len(container)
    if type(container) is dict:
        for key in container:
            if type(key) is not str:
                return None
            size += ENTRY + len(key)
        container = container.values()
    for value in container:
        kind = type(value)
        if kind in _TEXTS:
            size += len(value)
        elif kind not in _FIXED:
            return None
    return size


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

    def covers(self, size: int) -> bool:
        """Whether `take` would take the credit for an item of this size."""
        return self.items > 0 and (size <= self.size or not self._sizes)

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
        oldest = self._sizes.popleft
        self.size += sum([oldest() for _ in range(items)])


class Debt:
    """What one end has received, and has not given back.

    Args:
      items, size: as of the `Credit` at the other end.

    Attributes:
      held, held_size: how many items were received and not given back, and how many bytes they have.
    """

    __slots__ = ("_batch", "_enough", "_enough_size", "_items", "_owed", "_owed_size", "_size", "held", "held_size")

    def __init__(self, items: int, size: int) -> None:
        self._items = items
        self._size = size
        self._batch = max(1, items // 2)
        # What is given back at once: so many items, or 1 while a sender waits for bytes; or at least so many bytes.
        self._enough = self._batch
        self._enough_size = (size + 1) // 2
        # What waits is the difference of what is held and what was taken of that. Counted by itself, each item would
        # have to be moved from the one to the other.
        self.held = self.held_size = 0
        self._owed = self._owed_size = 0

    @property
    def waiting(self) -> int:
        """How many items have arrived and were not taken."""
        return self.held - self._owed

    @property
    def waiting_size(self) -> int:
        """How many bytes they have."""
        return self.held_size - self._owed_size

    def arrived(self, size: int) -> None:
        """Account for an item that has arrived. Raises `RemoteProtocolError` if it was not covered by credit."""
        held = self.held + 1
        held_size = self.held_size + size
        if held > self._items or (held_size > self._size and held > 1):
            raise RemoteProtocolError(
                f"credit: expected at most {self._items} items and {self._size} bytes before some were given back,"
                f" got an item of {size} bytes after {self.held} of {self.held_size}"
            )
        self.held = held
        self.held_size = held_size
        # What has waited has been sent, or was called off.
        self._enough = self._batch

    def taken(self, size: int) -> int:
        """Account for an item that the program has taken; returns how many items are to be given back now, or 0."""
        owed = self._owed = self._owed + 1
        owed_size = self._owed_size = self._owed_size + size
        if owed >= self._enough or owed_size >= self._enough_size:
            return self._give_back()
        return 0

    def awaited(self) -> int:
        """Account for a sender that waits because of bytes; returns how many items are to be given back now, or 0."""
        self._enough = 1
        return self._give_back()

    def _give_back(self) -> int:
        items = self._owed
        self.held -= items
        self.held_size -= self._owed_size
        self._owed = self._owed_size = 0
        return items
