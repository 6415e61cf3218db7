"""What may be an entry of the shared database: a family, a key and a value, which travel in one piece."""

from __future__ import annotations

from ..._ids import PortID, split_port
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


def is_port_id(text: object) -> bool:
    """Whether a value is the ID of a port, and of no node port."""
    try:
        return isinstance(text, str) and split_port(text)[1] != ""
    except ValueError:
        return False


def named_entry(port: str, value: object) -> list[object]:
    """The value of an entry that names a port by a key of the program's; `read_port` reads it."""
    return [port, value]


def read_port(key: str, value: object) -> tuple[str, object] | None:
    """The port that an entry is about, and what is said of the port; None if the entry is about no port.

    An entry whose key is a port ID is about that port. Else its value says which: the port and what is said of it, as
    `named_entry` writes it, or the port alone, as supervisors write it for their children.
    """
    if is_port_id(key):
        return key, value
    if isinstance(value, str) and is_port_id(value):
        return value, None
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and is_port_id(value[0]):
        return value[0], value[1]
    return None
