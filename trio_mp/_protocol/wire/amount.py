"""How much a message holds, before it is encoded or after it has been decoded; `limits.py` says how much it may."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import NoReturn

from .limits import MAXIMUM_CONTAINERS, MAXIMUM_ENTRIES, MAXIMUM_VALUES
from .values import where

_CONTAINERS = frozenset({list, tuple, dict})


def check_amount(message: tuple[object, ...]) -> None:
    """Raise for a message that holds more than the limits allow. Only what can be encoded may be handed over.

    Raises:
      ValueError: it holds too many lists and dicts, too many values, or a dict too many entries; the text gives the
        place where it is too much.
    """
    containers = values = 0
    level: list[object] = [message]
    while True:
        containers += len(level)
        tables = [value for value in level if type(value) is dict]
        values += sum(map(len, level)) + sum(map(len, tables))  # type: ignore[arg-type]
        entries = max(map(len, tables), default=0)
        if containers > MAXIMUM_CONTAINERS or values > MAXIMUM_VALUES or entries > MAXIMUM_ENTRIES:
            _refuse_amount(message)
        parts: list[Iterable[object]] = [table.values() for table in tables]
        parts += [value for value in level if type(value) is not dict]  # type: ignore[misc]
        # Nearly everything that is large ends with this look at the speed of C.
        if _CONTAINERS.isdisjoint(map(type, chain.from_iterable(parts))):
            return
        level = [value for value in chain.from_iterable(parts) if type(value) in _CONTAINERS]


def holds_at_most(message: tuple[object, ...], values: int, size: int) -> bool:
    """Whether a message that was received has at most so many values, keys included, and so many bytes of text.

    It is found out in a time that depends on these numbers, and not on the message.
    """
    level: list[object] = [message]
    while level:
        tables = [value for value in level if type(value) is dict]
        values -= sum(map(len, level)) + sum(map(len, tables))  # type: ignore[arg-type]
        if values < 0:
            return False
        parts: list[Iterable[object]] = [*tables, *[table.values() for table in tables]]
        parts += [value for value in level if type(value) is not dict]  # type: ignore[misc]
        items = [*chain.from_iterable(parts)]
        size -= sum([len(item) for item in items if type(item) is str or type(item) is bytes])
        level = [item for item in items if type(item) in _CONTAINERS]
    return size >= 0


def _refuse_amount(message: tuple[object, ...]) -> NoReturn:
    """Say where in a message that holds too much it becomes too much, in the order in which it is encoded."""
    containers = values = 0
    left: list[tuple[object, tuple[object, ...]]] = [(message, ("message",))]
    while True:
        value, place = left.pop()
        containers += 1
        items: Iterable[tuple[object, object]]
        if type(value) is dict:
            items, count = value.items(), 2 * len(value)
        else:
            sequence: Sequence[object] = value  # type: ignore[assignment]
            items, count = enumerate(sequence), len(sequence)
        values += count
        if type(value) is dict and count > 2 * MAXIMUM_ENTRIES:
            what = f"expected at most {MAXIMUM_ENTRIES} entries in a dict that travels, got {count // 2}"
        elif containers > MAXIMUM_CONTAINERS:
            what = f"expected at most {MAXIMUM_CONTAINERS} lists and dicts in a message that travels, got more"
        elif values > MAXIMUM_VALUES:
            what = f"expected at most {MAXIMUM_VALUES} values, keys included, in a message that travels, got more"
        else:
            inside = [(item, (*place, step)) for step, item in items if type(item) in _CONTAINERS]
            left += reversed(inside)
            continue
        raise ValueError(f"{where(place)}: {what}; send it in several messages, or as bytes")
