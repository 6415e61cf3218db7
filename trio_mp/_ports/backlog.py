"""Messages that wait in one port: bounded in number and, for those of other nodes, in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain
from sys import getsizeof

_NUMBERS = {int, float, bool, type(None)}
_NUMBER = getsizeof(2**64)
"""What each number counts for, in bytes: as much as the largest that travels takes."""


def memory_of(message: Iterable[object]) -> int:
    """About how many bytes of memory a received message takes. It has no cycles, and holds plain values only.

    A message may take many times as much memory as it had bytes on its way: an empty list is one byte there, 56 here.
    """
    size = getsizeof(message)
    level: Iterable[object] = message
    while True:
        values = [*level]
        kinds = set(map(type, values))
        # Numbers are counted alike, because asking each one for its size would take as long as all the rest.
        size += _NUMBER * len(values) if kinds <= _NUMBERS else sum(map(getsizeof, values))
        level = chain.from_iterable([value for value in values if type(value) is list]) if list in kinds else ()
        if dict in kinds:
            tables = [value for value in values if type(value) is dict]
            level = chain(level, chain.from_iterable(tables), *[table.values() for table in tables])
        elif list not in kinds:
            return size


class _Received:
    """A message of another node while it waits, how many bytes of memory it takes, and who is told of its refusal."""

    __slots__ = ("message", "size", "source")

    def __init__(self, message: tuple[object, ...], size: int, source: object) -> None:
        self.message = message
        self.size = size
        self.source = source


class Backlog:
    """Messages that wait, the oldest first.

    Args:
      limit: how many may wait.
      size_limit: how many bytes of memory those may take that were received from other nodes.
    """

    __slots__ = ("_limit", "_messages", "_size", "_size_limit")

    def __init__(self, limit: int, size_limit: int) -> None:
        self._limit = limit
        self._size_limit = size_limit
        # Messages of this node are kept as they are, without `_Received`, for speed. They are not measured, because
        # their objects belong to the sender as well.
        self._messages: deque[tuple[object, ...] | _Received] = deque()
        self._size = 0

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def size(self) -> int:
        """How many bytes of memory those messages take that were received from other nodes."""
        return self._size

    def append(self, message: tuple[object, ...], received: object) -> str:
        """Add a message; returns why there is no room for it, in which case it is not added, or an empty text.

        Args:
          message: the message.
          received: False for one of this node; else True, or who is told if it is refused. `pop` gives it back.
        """
        if len(self._messages) >= self._limit:
            return f"{self._limit} messages were waiting"
        if not received:
            self._messages.append(message)
            return ""
        size = memory_of(message)
        if self._size + size > self._size_limit:
            return f"messages of {self._size} bytes were waiting, and the next one has {size}"
        self._size += size
        self._messages.append(_Received(message, size, received))
        return ""

    def pop(self, index: int = 0) -> tuple[tuple[object, ...], object]:
        """Take a message away; returns it, and what was said of who sent it. Raises `IndexError`."""
        message = self._messages[index]
        del self._messages[index]
        if isinstance(message, _Received):
            self._size -= message.size
            return message.message, message.source
        return message, False

    def pop_first(self) -> tuple[object, ...] | None:
        """Take the oldest message away and return it; None if no message waits."""
        try:
            message = self._messages.popleft()
        except IndexError:
            return None
        if isinstance(message, _Received):
            self._size -= message.size
            return message.message
        return message

    def __iter__(self) -> Iterator[tuple[object, ...]]:
        for message in self._messages:
            yield message.message if isinstance(message, _Received) else message
