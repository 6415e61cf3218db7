"""The handlers of a port, and the patterns that say which of them gets a message."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from types import FunctionType, MethodType
from typing import Any, Final, TypeAlias

from .calls import Answering

Handler: TypeAlias = Callable[..., Any]
Pattern: TypeAlias = tuple[object, ...]


_NOT_SYNC = inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR


class _Any:
    """The type of `ANY`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "ANY"


ANY: Final = _Any()
"""In a pattern: matches any element, which the handler is then called with, before the rest of the message."""


def matches(pattern: Pattern, message: Sequence[object]) -> bool:
    """Whether a message begins with a pattern. Elements are compared with `==`."""
    if len(pattern) > len(message):
        return False
    return all(wanted is ANY or wanted == found for wanted, found in zip(pattern, message, strict=False))


def _precedence(pattern: Pattern) -> tuple[int, tuple[bool, ...]]:
    """The sort key of a pattern: the longest comes first; of the same length, an exact element comes before ANY."""
    return -len(pattern), tuple(element is ANY for element in pattern)


def is_sync_function(action: object) -> bool:
    """Whether something can be called, and is neither an async function nor one with `yield`."""
    function = action.__func__ if isinstance(action, MethodType) else action
    if type(function) is FunctionType and not hasattr(function, "_is_coroutine_mark"):
        # What `inspect` finds out, which takes half as long as to set a whole monitor.
        return not function.__code__.co_flags & _NOT_SYNC
    return callable(action) and not (
        inspect.iscoroutinefunction(action) or inspect.isgeneratorfunction(action) or inspect.isasyncgenfunction(action)
    )


class BadMessage(Exception):
    """A port refuses a message: no handler takes it, or the handler takes another number of elements."""


class HandlerTable:
    """The handlers of one port.

    Args:
      tags, default: the handlers that the port has already.

    Attributes:
      tags: the handlers whose pattern is one exact, hashable element, by that element. Most are; a dict finds them in
        a time that does not grow with their number.
      default: the handler of messages that no other one takes; None if there is none.
      patterns: all other patterns, in their order of precedence, each with its handler and the places of `ANY` in it.
      answers: whether a handler was ever added whose result is the reply to a call.
    """

    __slots__ = ("answers", "default", "patterns", "tags")

    def __init__(self, tags: dict[object, Handler] | None = None, default: Handler | None = None) -> None:
        self.tags: dict[object, Handler] = {} if tags is None else tags
        self.default: Handler | None = default
        self.patterns: list[tuple[Pattern, Handler, tuple[int, ...]]] = []
        self.answers: bool = isinstance(default, Answering) or (
            bool(tags) and any(isinstance(one, Answering) for one in self.tags.values())
        )

    def __bool__(self) -> bool:
        return bool(self.tags or self.patterns or self.default is not None)

    def add(self, pattern: Pattern, handler: Handler) -> None:
        """Add a handler. It replaces the handler of the same pattern, if there is one."""
        self.answers = self.answers or isinstance(handler, Answering)
        if not pattern:
            self.default = handler
        elif is_tag(pattern):
            self.tags[pattern[0]] = handler
        else:
            self.patterns = [entry for entry in self.patterns if not _same(entry[0], pattern)]
            anys = tuple(index for index, element in enumerate(pattern) if element is ANY)
            self.patterns.append((pattern, handler, anys))
            self.patterns.sort(key=lambda entry: _precedence(entry[0]))

    def get(self, pattern: Pattern) -> Handler | None:
        """The handler of exactly this pattern, or None."""
        if not pattern:
            return self.default
        if is_tag(pattern):
            return self.tags.get(pattern[0])
        return next((handler for other, handler, _ in self.patterns if _same(other, pattern)), None)

    def remove(self, pattern: Pattern) -> bool:
        """Take the handler of exactly this pattern away; returns whether there was one."""
        if self.get(pattern) is None:
            return False
        if not pattern:
            self.default = None
        elif is_tag(pattern):
            del self.tags[pattern[0]]
        else:
            self.patterns = [entry for entry in self.patterns if not _same(entry[0], pattern)]
        return True

    def find_answering(self, message: tuple[object, ...]) -> tuple[Answering, tuple[object, ...]] | None:
        """The handler that answers a call, and what it is called with; None if another one, or none, is to get it.

        Args:
          message: that of the call, without the reply port, which such a handler does not get.
        """
        found = self.find(message) if self.answers else None
        return (found[0], found[1]) if found is not None and isinstance(found[0], Answering) else None

    def find_other(self, message: tuple[object, ...]) -> tuple[Handler, tuple[object, ...]] | None:
        """The handler of the message of a call, with its reply port, if no `find_answering` finds one."""
        found = self.find(message)
        # Found with the reply port as a part of its pattern, which it is not for this handler.
        return None if found is not None and isinstance(found[0], Answering) else found

    def find(self, message: tuple[object, ...]) -> tuple[Handler, tuple[object, ...]] | None:
        """The handler for a message, and what it is called with; None if there is none.

        A handler is called with the elements that matched `ANY`, in order, and with the rest of the message.
        """
        # Longer patterns go before tags, and tags before patterns of one element such as `ANY`.
        for pattern, handler, anys in self.patterns:
            if len(pattern) == 1:
                break
            if matches(pattern, message):
                length = len(pattern)
                return handler, _arguments(length, anys, message) if anys else message[length:]
        if message:
            tag = message[0]
            try:
                handler_of_tag = self.tags.get(tag)
            except TypeError:
                handler_of_tag = None
            if handler_of_tag is not None:
                return handler_of_tag, message[1:]
            for pattern, handler, anys in self.patterns:
                if len(pattern) == 1 and matches(pattern, message):
                    return handler, _arguments(1, anys, message)
        return (self.default, message) if self.default is not None else None


class RefusingTable(HandlerTable):
    """The handlers of a port that refuses bad messages: looking for a handler raises `BadMessage` then.

    How many arguments a handler takes is asked once, when it is added.

    Attributes:
      takes_rest: whether the port has a mailbox, which takes what no handler does.
    """

    __slots__ = ("_room", "takes_rest")

    def __init__(self) -> None:
        super().__init__()
        self.takes_rest = False
        # By the identity of a handler: how many arguments it takes, at least and at most. The handler is in the table.
        self._room: dict[int, tuple[int, float]] = {}

    def add(self, pattern: Pattern, handler: Handler) -> None:
        """See `HandlerTable.add`."""
        room = room_for_arguments(handler)
        self.remove(pattern)
        super().add(pattern, handler)
        self._room[id(handler)] = room

    def remove(self, pattern: Pattern) -> bool:
        """See `HandlerTable.remove`."""
        handler = self.get(pattern)
        removed = super().remove(pattern)
        left = [self.default, *self.tags.values(), *[one for _, one, _ in self.patterns]]
        if handler is not None and not any(one is handler for one in left):
            del self._room[id(handler)]
        return removed

    def find(self, message: tuple[object, ...]) -> tuple[Handler, tuple[object, ...]] | None:
        """See `HandlerTable.find`. Raises `BadMessage`."""
        return self._checked(message, super().find(message))

    def find_answering(self, message: tuple[object, ...]) -> tuple[Answering, tuple[object, ...]] | None:
        """See `HandlerTable.find_answering`. Raises `BadMessage`."""
        found = super().find(message) if self.answers else None
        if found is None or not isinstance(found[0], Answering):
            return None
        self._checked(message, found)
        return found[0], found[1]

    def find_other(self, message: tuple[object, ...]) -> tuple[Handler, tuple[object, ...]] | None:
        """See `HandlerTable.find_other`. Raises `BadMessage`."""
        found = super().find(message)
        return self._checked(message, None if found is not None and isinstance(found[0], Answering) else found)

    def _checked(
        self, message: tuple[object, ...], found: tuple[Handler, tuple[object, ...]] | None
    ) -> tuple[Handler, tuple[object, ...]] | None:
        if found is None:
            if self.takes_rest:
                return None
            raise BadMessage(f"no handler takes {_beginning(message)}")
        least, most = self._room[id(found[0])]
        if not least <= len(found[1]) <= most:
            wanted = f"{least}" if least == most else f"{least} or more" if most == math.inf else f"{least} to {most}"
            expected = f"the handler of {_beginning(message)}: expected {wanted} elements"
            raise BadMessage(f"{expected}, got {len(found[1])}")
        return found


def _beginning(message: tuple[object, ...]) -> str:
    return f"a message that begins with {message[0]!r:.80}" if message else "an empty message"


def room_for_arguments(function: Callable[..., object]) -> tuple[int, float]:
    """How many positional arguments a function takes, at least and at most; any number, where nobody can say."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 0, math.inf
    positional = [one for one in parameters if one.kind in {one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD}]
    rest = any(one.kind is one.VAR_POSITIONAL for one in parameters)
    return sum(one.default is one.empty for one in positional), math.inf if rest else len(positional)


def _arguments(length: int, anys: tuple[int, ...], message: tuple[object, ...]) -> tuple[object, ...]:
    """What the handler of a pattern of this length, with `ANY` in these places, is called with."""
    return (*[message[index] for index in anys], *message[length:])


def is_tag(pattern: Pattern) -> bool:
    """Whether a pattern is one exact, hashable element."""
    if len(pattern) != 1 or pattern[0] is ANY:
        return False
    try:
        hash(pattern[0])
    except TypeError:
        return False
    return True


def _same(one: Pattern, other: Pattern) -> bool:
    """Whether two patterns are the same. `ANY` equals only itself here, whatever the `==` of other objects says."""
    if len(one) != len(other):
        return False
    return all((a is ANY) == (b is ANY) and (a is ANY or a == b) for a, b in zip(one, other, strict=True))
