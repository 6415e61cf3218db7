"""What may be an entry of the shared database: a family, a key and a value, which travel in one piece."""

from __future__ import annotations

from ..._ids import PortID
from ..wire import codec
from ..wire.values import plain_value

ENTRY_LIMIT = 32 * 1024
"""The largest entry, in bytes: family, key and value together, encoded. An entry travels in one piece."""

_ROOM = 5  # how deep in a message a value is at the most, with one to spare


def check_text(text: object, what: str) -> str:
    """The name of a family or a key, as it travels. Raises `TypeError` or `ValueError`."""
    if not isinstance(text, str):
        raise TypeError(f"{what}: expected a str, got a {type(text).__name__}")
    plain = plain_value(str.__str__(text) if isinstance(text, PortID) else text, what)
    assert isinstance(plain, str)
    return plain


def check_entry(family: str, key: str, value: object, what: str = "value") -> object:
    """The value of an entry, as it travels.

    Raises:
      TypeError, ValueError: it cannot travel, or the entry is too large.
    """
    value = plain_value(value, what, room=_ROOM)
    size = encoded_size(family, key, value)
    if size > ENTRY_LIMIT:
        raise ValueError(
            f"{what}: expected an entry of at most {ENTRY_LIMIT} bytes, got {size}; the database is for what helps"
            " to find things: send large values in messages"
        )
    return value


def encoded_size(*values: object) -> int:
    """How many bytes these values take in a message."""
    buffer = bytearray()
    codec.append_message(buffer, "", values)
    return len(buffer)
