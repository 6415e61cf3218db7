"""The framing `msgpack`: messages to frames of MessagePack, and back.

A frame is a batch: a 4-byte big-endian length, then one MessagePack array of messages; a message is an array whose
first element is the port's name within its node. Messages are encoded when they are sent, straight into the outgoing
buffer, so that what was sent is a snapshot and a value that cannot travel raises at the call.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from itertools import chain
from typing import TypeVar

import msgspec

from ..._errors import RemoteProtocolError
from .limits import MAXIMUM_DEPTH, UNCOUNTED, Inspection
from .values import SCALARS, plain_message

FRAME_HEADER = 9
"""Bytes before the messages of a frame: the length (4), an `array32` marker (1) and the number of messages (4)."""

Decoded = TypeVar("Decoded")

_RECEIVED = SCALARS | {list, dict}
_all_scalars = SCALARS.issuperset
_encode_into = msgspec.msgpack.Encoder().encode_into
_HEADER = struct.Struct(">IBI")
_START = struct.Struct(">BI")
_ARRAY32 = 0xDD


def append_message(buffer: bytearray, name: str, message: tuple[object, ...]) -> None:
    """Append one encoded message for the port of that name.

    Raises:
      TypeError, ValueError: a value cannot travel; the text gives its place. The buffer is as it was.
    """
    for value in message:
        # A loop, because it costs less than building a set does, for the few values that most messages have.
        if type(value) not in SCALARS:
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


def snapshot(message: tuple[object, ...]) -> tuple[object, ...]:
    """The message as it would arrive. Raises as `append_message` does."""
    frame = open_frame()
    append_message(frame, "", message)
    close_frame(frame, 1)
    return messages_in(frame)[0][1:]


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
