"""Which values a program may send, whatever the framing: looked at where they are sent.

A value that cannot travel raises there, and the text gives its place in the message. `codec.check_received` looks at
the values that come.
"""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import NoReturn

from ..._ids import PortID, PortReference
from .limits import MAXIMUM_DEPTH

SCALARS = frozenset({str, int, float, bool, bytes, type(None)})
"""The types of values that hold no others."""

LARGEST_INT = 2**64 - 1
SMALLEST_INT = -(2**63)

_all_scalars = SCALARS.issuperset


def plain_message(message: tuple[object, ...], *, thorough: bool = False, what: str = "message") -> tuple[object, ...]:
    """The message with each `Port` in it as the plain string that travels; itself where nothing had to change.

    Args:
      message: what is to travel.
      thorough: whether texts and ints are looked at too; the encoder refuses those that cannot travel anyhow.
      what: how an error calls it.

    Raises:
      TypeError, ValueError: a value cannot travel; the text gives its place, such as `message[2]["when"]`.
    """
    return tuple([_plain(value, (what, index), 1, thorough) for index, value in enumerate(message)])


def plain_value(value: object, what: str, *, room: int = 1) -> object:
    """One value as it would arrive, with nothing in it that is shared with the original.

    Args:
      value: what is to travel.
      what: how an error calls it.
      room: how deep inside a message it is going to be.

    Raises:
      TypeError, ValueError: it cannot travel; the text gives the place, such as `value["when"]`.
    """
    return _plain(value, (what,), room, True)


def _plain(value: object, place: tuple[object, ...], depth: int, thorough: bool) -> object:
    kind = type(value)
    if kind in SCALARS:
        if thorough:
            _check_scalar(value, place)
        return value
    if kind is list or kind is tuple:
        _check_depth(depth, place)
        items: Sequence[object] = value  # type: ignore[assignment]
        if not thorough and _all_scalars(map(type, items)):
            return items
        return [_plain(item, (*place, index), depth + 1, thorough) for index, item in enumerate(items)]
    if kind is dict:
        _check_depth(depth, place)
        table: dict[object, object] = value  # type: ignore[assignment]
        return {
            _key(key, place, thorough): _plain(item, (*place, key), depth + 1, thorough) for key, item in table.items()
        }
    if isinstance(value, PortID):
        return str.__str__(value)
    return _refuse(value, place)


def _key(key: object, place: tuple[object, ...], thorough: bool) -> str:
    if type(key) is str:
        if thorough:
            _check_scalar(key, (*place, key))
        return key
    if isinstance(key, PortID):
        return str.__str__(key)
    raise TypeError(f"{where(place)}: expected keys of type str in a dict that travels, got {type(key).__name__}")


def _check_scalar(value: object, place: tuple[object, ...]) -> None:
    if type(value) is int and not SMALLEST_INT <= value <= LARGEST_INT:
        raise ValueError(f"{where(place)}: expected an int of at most 64 bits, got one of {value.bit_length()}")
    if type(value) is str:
        try:
            value.encode()
        except UnicodeEncodeError:
            what = f"expected text that has a UTF-8 encoding, got {value[:40]!r}, with a lone surrogate"
            raise ValueError(f"{where(place)}: {what}") from None


def _check_depth(depth: int, place: tuple[object, ...]) -> None:
    if depth > MAXIMUM_DEPTH:
        raise ValueError(f"{where(place[:4])}…: expected lists and dicts at most {MAXIMUM_DEPTH} deep, got deeper ones")


def _refuse(value: object, place: tuple[object, ...]) -> NoReturn:
    if isinstance(value, PortReference):
        raise TypeError(
            f"{where(place)} is {value!r}, which follows a port from life to life on its own node alone:"
            " send ref.port, the port of its present life, or a name in the database"
        )
    if isinstance(value, tuple):
        raise TypeError(
            f"{where(place)}: expected a plain tuple, got a {type(value).__name__}, which would arrive as a list:"
            " send tuple(…) of it"
        )
    raise TypeError(
        f"{where(place)}: expected what travels (str, int, float, bool, None, bytes, list, tuple, dict with str keys,"
        f" and Port), got a value of type {type(value).__name__}"
    )


def where(place: tuple[object, ...]) -> str:
    """A place in a message as one would write it, such as `message[2]["when"]`."""
    return str(place[0]) + "".join(f"[{_step(step)}]" for step in place[1:])


def _step(step: object) -> str:
    # As one would write it, but for a key's lone surrogates, with which the text could not be printed.
    return f'"{step[:40]}"'.encode("utf-8", "backslashreplace").decode() if isinstance(step, str) else str(step)


_EXCERPT = 200


class _Excerpt(reprlib.Repr):
    """Prints the beginning of each value. `reprlib` itself would print all of a `bytes`, to cut it then."""

    def repr_bytes(self, value: bytes, _level: int) -> str:
        return repr(value[:_EXCERPT])


_excerpt = _Excerpt()
_excerpt.maxstring = _excerpt.maxother = _excerpt.maxlong = _EXCERPT
_excerpt.maxtuple = _excerpt.maxlist = _excerpt.maxdict = 20


def excerpt(message: tuple[object, ...]) -> str:
    """The beginning of a message that was received, for people; however large it is, it takes little time."""
    return _excerpt.repr(message)[:_EXCERPT]
