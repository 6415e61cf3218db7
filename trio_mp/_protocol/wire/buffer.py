"""Incremental splitters: bytes in pieces of any size to lines, then to frames.

Both hold what is left of the last piece and never more than their limit. What they are fed comes from the network.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from ..._errors import RemoteProtocolError

LINE_LIMIT = 4096
"""The longest line of a handshake, in bytes, without its LF."""

LARGE = 128 * 1024
"""Frames of more bytes than this are received straight into their place. Twice what one read brings, or frames of many
small messages would each cost a read of their own for their last bytes."""

_GROWTH = 4
"""A peer that announces much and sends little costs at most so many times what it sends."""

_READ_AT_ONCE = 2 * LARGE
"""What is received at once of a large frame, in bytes, so that to look at it does not take long."""

_UNUSED = 16
"""After so many pieces that had no use for it, a space is given up: of an idle connection within some heartbeats."""

T = TypeVar("T")

_unpack_length = struct.Struct(">I").unpack_from

_unprintable = re.compile(rb"[^ -~]").search


def _language(line_untrusted: bytes) -> str:
    """Which protocol a line is of, for the log: those of the programs that most often come to a wrong address."""
    if line_untrusted in {b"\x15", b"\x16"}:
        return ", the beginning of TLS"
    if b"HTTP/" in line_untrusted:
        return ", a line of HTTP"
    return ", a line of SSH" if line_untrusted.startswith(b"SSH-") else ""


class LineBuffer:
    """Splits the lines of a handshake off a byte stream, and hands over what follows the last of them."""

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data_untrusted: bytes) -> None:
        """Add what was received."""
        self._data += data_untrusted

    def next_line(self) -> str | None:
        """The next complete line, without its end, or None if there is none yet.

        Raises:
          RemoteProtocolError: the line is too long or holds anything but printable ASCII; also when it is not complete,
            since whoever speaks something else may never send a line feed.
        """
        end = self._data.find(b"\n", 0, LINE_LIMIT + 1)
        line = bytes(self._data[: end if end >= 0 else LINE_LIMIT + 1])
        unprintable = _unprintable(line)
        if unprintable is not None:
            said = line[: unprintable.end()]
            raise RemoteProtocolError(f"expected a line of printable ASCII, got {said[-40:]!r}{_language(said)}")
        if end < 0:
            if len(line) > LINE_LIMIT:
                raise RemoteProtocolError(f"expected a line of at most {LINE_LIMIT} bytes, got a longer one")
            return None
        del self._data[: end + 1]
        return line.decode("ascii")

    def take_rest(self) -> bytes:
        """All that was received behind the last line taken."""
        rest = bytes(self._data)
        self._data.clear()
        return rest

    def __len__(self) -> int:
        return len(self._data)


class FrameInspector(Protocol):
    """Looks at a large frame while it comes."""

    def look(self, data_untrusted: memoryview, end: int, /) -> None:
        """Look at what has come since, up to `end`; the data begins with the frame. Raises `RemoteProtocolError`."""
        ...


class FrameBuffer(Generic[T]):
    """Splits frames (a 4-byte big-endian length, then that many bytes) off a byte stream.

    What comes of a large frame can be received straight into its place: see `room`. The memory for it follows what has
    come, not what was announced, and is kept for the next one: fresh memory costs more time than all that is done in
    it. It is replaced and never resized, so that nobody's view of it can be in the way.

    Args:
      limit: the largest frame accepted, in bytes, without its length.
      take: makes what is handed over of a frame, without its length. It must not keep its argument.
      large: frames of more bytes than this are large; at least 1.
      inspect: makes what looks at a large frame while it comes, in more than one piece.
      take_inspected: as `take`, for a frame that was watched.
    """

    __slots__ = (
        *("_filled", "_head", "_large", "_limit", "_make_inspector", "_size", "_space", "_take", "_take_inspected"),
        *("_unused", "_inspector"),
    )

    def __init__(
        self,
        limit: int,
        take: Callable[[memoryview], T],
        large: int = LARGE,
        *,
        inspect: Callable[[], FrameInspector] | None = None,
        take_inspected: Callable[[memoryview], T] | None = None,
    ) -> None:
        self._limit = limit
        self._take = take
        self._take_inspected = take_inspected or take
        self._large = large
        self._make_inspector = inspect
        self._inspector: FrameInspector | None = None
        # What is there of the next frame's length.
        self._head = b""
        # The frame that has begun: its size, 0 if there is none; how much of it is there, and where.
        self._size = self._filled = 0
        self._space = bytearray()
        # How many pieces have come since a frame needed half of the space.
        self._unused = 0

    def feed(self, data_untrusted: bytes) -> list[T]:
        """Add what was received; what is made of the frames that are now complete.

        Raises:
          RemoteProtocolError: a frame is larger than the limit. Nothing may be fed after that, or after `take` raised.
        """
        if not self._size:
            self._unused += 1
            if self._unused > _UNUSED:
                self._space = bytearray()
        if self._head:
            data_untrusted = self._head + data_untrusted
        found: list[T] = []
        data = memoryview(data_untrusted)
        position, end = 0, len(data)
        while position < end:
            if self._size:
                place = self._place()[: end - position]
                place[:] = data[position : position + len(place)]
                position += len(place)
                found += self.filled(len(place))
                continue
            if end - position < 4:
                break
            (size,) = _unpack_length(data, position)
            if size > self._limit:
                raise RemoteProtocolError(f"expected a frame of at most {self._limit} bytes, got {size}")
            position += 4
            if size > end - position:
                self._begin(size)
            else:
                # Most frames come in one piece, and are not copied.
                found.append(self._take(data[position : position + size]))
                position += size
        self._head = data_untrusted[position:]
        return found

    def room(self) -> memoryview | None:
        """The place where the next bytes belong, if a large frame has begun: at least one byte of it, perhaps not all.

        Say with `filled` what was received into it, before anything else.
        """
        return self._place()[:_READ_AT_ONCE] if self._size > self._large else None

    def filled(self, count: int) -> list[T]:
        """Take so many bytes that were received into `room`. Returns and raises as `feed` does."""
        self._filled += count
        if self._inspector is not None:
            self._inspector.look(memoryview(self._space), self._filled)
        if self._filled < self._size:
            return []
        size, self._size = self._size, 0
        take = self._take if self._inspector is None else self._take_inspected
        return [take(memoryview(self._space)[:size])]

    def _begin(self, size: int) -> None:
        self._size, self._filled = size, 0
        self._inspector = self._make_inspector() if self._make_inspector is not None and size > self._large else None
        if 2 * size > len(self._space):
            self._unused = 0

    def _place(self) -> memoryview:
        """Where the next bytes belong of the frame that has begun."""
        filled = self._filled
        if filled == len(self._space):
            larger = bytearray(min(self._size, max(2 * self._large, _GROWTH * filled)))
            larger[:filled] = self._space
            self._space = larger
        return memoryview(self._space)[filled : self._size]

    def __len__(self) -> int:
        """How many bytes are held."""
        return 4 + self._filled if self._size else len(self._head)
