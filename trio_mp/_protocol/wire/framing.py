"""The framings: how messages are packed on a connection. Each side reads all of them; the reader's list decides."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from ..._errors import LocalProtocolError
from . import codec, json_framing, limits
from .buffer import FrameBuffer
from .json_framing import JSONBuffer
from .limits import Inspection

FRAME_TARGET = 64 * 1024
"""A frame is closed when it has reached this size, in bytes: larger ones cost memory, smaller ones time."""

Batch = list[tuple[object, ...]]


class MessageDecoder(Protocol):
    """Takes a byte stream apart."""

    def feed(self, data_untrusted: bytes) -> list[Batch]:
        """Add what was received; the messages that are now complete, in batches. Raises `RemoteProtocolError`."""
        ...

    def room(self) -> memoryview | None:
        """The place where the next bytes belong, if they are many: see `FrameBuffer.room`."""
        ...

    def filled(self, count: int) -> list[Batch]:
        """Take so many bytes that were received into `room`; otherwise as `feed`."""
        ...


@dataclass(frozen=True, slots=True)
class Framing:
    """How messages are packed.

    Attributes:
      name: its name in a greeting.
      header: how many bytes a frame has before its first message.
      append: appends one message to a frame: the frame, the name of a port, the message. Raises `TypeError` or
        `ValueError` if it cannot travel so; then the frame is as it was.
      open_frame: the start of a frame.
      close_frame: completes a frame of so many messages.
      make_decoder: makes a decoder that takes messages of at most so many bytes.
      count_values: about how many values there are in a frame that was made here; if there are more than so many, any
        number above it.
    """

    name: str
    header: int
    append: Callable[[bytearray, str, tuple[object, ...]], None]
    open_frame: Callable[[], bytearray]
    close_frame: Callable[[bytearray, int], None]
    make_decoder: Callable[[int], MessageDecoder]
    count_values: Callable[[bytearray, int], int]

    def holds_at_most(self, values: int, frames: Iterable[bytearray]) -> bool:
        """Whether there are at most so many values in these frames, which were made here and are complete."""
        for frame in frames:
            values -= self.count_values(frame, values)
            if values < 0:
                return False
        return True

    def messages_in(self, frame: bytearray) -> Batch:
        """The messages of a frame that was made here, complete and not begun to be written."""
        return [message for batch in self.make_decoder(len(frame)).feed(bytes(frame)) for message in batch]


def _messagepack_decoder(limit: int) -> MessageDecoder:
    # A frame is closed by the message with which it gets large enough.
    limit += FRAME_TARGET + codec.FRAME_HEADER
    return FrameBuffer(limit, codec.decode_frame, inspect=Inspection, take_inspected=codec.decode_inspected)


class JSONReader:
    """Reads JSON arrays, one after another.

    Args:
      limit: the largest message, in bytes.
    """

    __slots__ = ("_messages",)

    def __init__(self, limit: int) -> None:
        self._messages = JSONBuffer(limit)

    def feed(self, data_untrusted: bytes) -> list[Batch]:
        """See `MessageDecoder.feed`."""
        batch = self._messages.feed(data_untrusted)
        return [batch] if batch else []

    def room(self) -> memoryview | None:
        """See `MessageDecoder.room`: there is none, since nobody knows how long a message is going to be."""
        return None

    def filled(self, count: int) -> list[Batch]:
        """See `MessageDecoder.filled`."""
        raise LocalProtocolError(f"expected no bytes, as there is no room for them, got {count}")


def _complete(_frame: bytearray, _count: int) -> None:
    """JSON needs no frame around its messages."""


MSGPACK = Framing(
    "msgpack",
    codec.FRAME_HEADER,
    codec.append_message,
    codec.open_frame,
    codec.close_frame,
    _messagepack_decoder,
    limits.count_values,
)
JSON = Framing("json", 0, json_framing.append_json, bytearray, _complete, JSONReader, json_framing.count_values)

FRAMINGS = {framing.name: framing for framing in (MSGPACK, JSON)}
"""The framings that are read and written, the better one first."""
