"""Messages to bytes and back: which values may travel, and MessagePack frames.

A frame is a batch: a 4-byte big-endian length, then one MessagePack array of messages; a message is an array whose
first element is the port's name within its node. Messages are encoded when they are sent, straight into the outgoing
buffer, so that what was sent is a snapshot and a value that cannot travel raises at the call.
"""

from __future__ import annotations

import reprlib
import struct
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import NoReturn, TypeVar

import msgspec

from ..._errors import RemoteProtocolError
from ..._ids import PortID, PortReference
from .limits import (
    MAXIMUM_CONTAINERS,
    MAXIMUM_DEPTH as MAXIMUM_DEPTH,
    MAXIMUM_ENTRIES,
    MAXIMUM_VALUES,
    UNCOUNTED,
    Inspection,
)

FRAME_HEADER = 9
"""Bytes before the messages of a frame: the length (4), an `array32` marker (1) and the number of messages (4)."""

Decoded = TypeVar("Decoded")

_SCALARS = frozenset({str, int, float, bool, bytes, type(None)})
_RECEIVED = _SCALARS | {list, dict}
_CONTAINERS = frozenset({list, tuple, dict})
_all_scalars = _SCALARS.issuperset
_encode_into = msgspec.msgpack.Encoder().encode_into
_HEADER = struct.Struct(">IBI")
_START = struct.Struct(">BI")
_ARRAY32 = 0xDD
LARGEST_INT = 2**64 - 1
SMALLEST_INT = -(2**63)


def append_message(buffer: bytearray, name: str, message: tuple[object, ...]) -> None:
    """Append one encoded message for the port of that name.

    Raises:
      TypeError, ValueError: a value cannot travel; the text gives its place. The buffer is as it was.
    """
    for value in message:
        # A loop, because it costs less than building a set does, for the few values that most messages have.
        if type(value) not in _SCALARS:
            message = plain_message(message)
            break
    start = len(buffer)
    try:
        _encode_into((name, *message), buffer, -1)
    except Exception:
        # A failed encode_into leaves partial bytes, which would corrupt the whole frame.
        del buffer[start:]
        plain_message(message, thorough=True)
        raise


def plain_message(
    message: tuple[object, ...], *, thorough: bool = False, what: str = "message"
) -> tuple[object, ...]:
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


def snapshot(message: tuple[object, ...]) -> tuple[object, ...]:
    """The message as it would arrive. Raises as `append_message` does."""
    frame = open_frame()
    append_message(frame, "", message)
    close_frame(frame, 1)
    return messages_in(frame)[0][1:]


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


def _plain(value: object, place: tuple[object, ...], depth: int, thorough: bool) -> object:
    kind = type(value)
    if kind in _SCALARS:
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


def open_frame() -> bytearray:
    """The start of a frame: room for its header."""
    return bytearray(FRAME_HEADER)


def close_frame(frame: bytearray, count: int) -> None:
    """Write the header of a frame that holds this many messages."""
    _HEADER.pack_into(frame, 0, len(frame) - 4, _ARRAY32, count)


def _no_extensions(code: int, data: memoryview) -> object:
    raise ValueError(f"extension type {code}")


_decode = msgspec.msgpack.Decoder(list[tuple], ext_hook=_no_extensions).decode  # type: ignore[type-arg]
_decode_raw = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode

# Most messages hold nothing but these, and then the decoder itself sees to it, for a sixth less than looking at each
# value afterwards. It refuses all else at the first of it. (bytes and str together it does not take.)
_decode_flat = msgspec.msgpack.Decoder(list[tuple[bool | int | float | str | None, ...]]).decode

# Text that is no UTF-8, for one, is a ValueError.
_UNDECODABLE = (msgspec.DecodeError, ValueError, RecursionError, TypeError, OverflowError)

_MANY = 1024
"""In a frame of fewer bytes it costs more to be refused, in a Python exception, than to look at each value."""

_HARMLESS = 16384
"""A frame of at most so many bytes is decoded first and looked at afterwards: a dict in it whose keys are no text, but
numbers or arrays with the same hash, costs no more than some milliseconds."""

_LARGE_MAPS = (b"\xde", b"\xdf")
"""One of these is in each frame that has a map of more than 15 entries."""


def decode_frame(payload_untrusted: bytes | bytearray | memoryview) -> list[tuple[object, ...]]:
    """The messages of one frame, without its length. The first element of each is a str, the name of a port.

    Raises:
      RemoteProtocolError: anything at all is wrong with it.
    """
    size = len(payload_untrusted)
    if size > UNCOUNTED:
        Inspection().look(payload_untrusted, size)
        return decode_inspected(payload_untrusted)
    if size >= _MANY:
        try:
            messages: list[tuple[object, ...]] = _decode_flat(payload_untrusted)  # type: ignore[assignment]
        except _UNDECODABLE:
            # There is something else in it, or something wrong.
            pass
        else:
            _check_names(messages)
            return messages
    if size > _HARMLESS and _has_large_map(payload_untrusted):
        return _decode_in_parts(payload_untrusted)
    messages = _decode_any(payload_untrusted)
    check_received(messages)
    return messages


def decode_inspected(payload_untrusted: bytes | bytearray | memoryview) -> list[tuple[object, ...]]:
    """The messages of a frame that an `Inspection` has let pass; otherwise as `decode_frame`."""
    messages = _decode_any(payload_untrusted)
    _check_names(messages)
    return messages


def _has_large_map(payload: bytes | bytearray | memoryview) -> bool:
    data = bytes(payload)
    return any(byte in data for byte in _LARGE_MAPS)


def _decode_in_parts(payload: bytes | bytearray | memoryview) -> list[tuple[object, ...]]:
    """Decode no more at once than is harmless, or what an `Inspection` has let pass."""
    raws = _judged(_decode_raw, payload)
    if max(map(len, raws), default=0) <= _HARMLESS // 4:
        # Each costs a sixteenth of what is harmless at most.
        messages = _decode_any(payload)
        check_received(messages)
        return messages
    messages = []
    part: list[msgspec.Raw] = []
    size = 0
    for raw in raws:
        size += len(raw)
        if size > _HARMLESS and part:
            messages += _decode_part(part)
            part, size = [], len(raw)
        part.append(raw)
    return messages + _decode_part(part)


def _decode_part(part: list[msgspec.Raw]) -> list[tuple[object, ...]]:
    data = b"".join([_START.pack(_ARRAY32, len(part)), *part])
    if len(part) == 1 and len(data) > _HARMLESS:
        Inspection().look(data, len(data))
        return decode_inspected(data)
    messages = _decode_any(data)
    check_received(messages)
    return messages


def _decode_any(payload: bytes | bytearray | memoryview) -> list[tuple[object, ...]]:
    return _judged(_decode, payload)


def _judged(decode: Callable[..., Decoded], payload: bytes | bytearray | memoryview) -> Decoded:
    try:
        return decode(payload)
    except _UNDECODABLE as error:
        # It may name a place as deep as the frame nests, which is for the other side to choose.
        raise RemoteProtocolError(f"expected a frame that decodes, got an error: {str(error)[:200]}") from None


def check_received(messages: list[tuple[object, ...]]) -> None:
    """Raise `RemoteProtocolError` for what no peer of ours sends: a timestamp, a key that is no str, too deep nesting.

    A whole level at a time, in few passes at the speed of C: MessagePack decoders find none of this by themselves.
    """
    _check_names(messages)
    level: list[Iterable[object]] = [*messages]
    for _ in range(MAXIMUM_DEPTH + 1):
        if _all_scalars(map(type, chain.from_iterable(level))):
            return
        values = list(chain.from_iterable(level))
        kinds = set(map(type, values))
        if not kinds <= _RECEIVED:
            names = ", ".join(sorted(kind.__name__ for kind in kinds - _RECEIVED))
            raise RemoteProtocolError(f"expected values that travel, got {names}")
        level = [value for value in values if type(value) is list]
        tables = [value for value in values if type(value) is dict]
        if not {str}.issuperset(map(type, chain.from_iterable(tables))):
            raise RemoteProtocolError("expected text as the keys of a dict, got a key that is not text")
        level += [table.values() for table in tables]
    raise RemoteProtocolError(f"expected lists and dicts at most {MAXIMUM_DEPTH} deep, got deeper ones")


def _check_names(messages: list[tuple[object, ...]]) -> None:
    if not {type(message[0]) for message in messages if message} <= {str}:
        raise RemoteProtocolError("expected a message that begins with a port's name, got another one")


def messages_in(frame: bytearray) -> list[tuple[object, ...]]:
    """The messages of a frame that was made here and is no longer wanted."""
    return decode_frame(memoryview(frame)[4:])
