"""Incremental splitters: bytes in pieces of any size to lines, then to frames.

Both hold what is left of the last piece and never more than their limit. What they are fed comes from the network.
"""

from __future__ import annotations

import re

from .._errors import RemoteProtocolError

LINE_LIMIT = 4096
"""The longest line of a handshake, in bytes, without its LF."""


_unprintable = re.compile(rb"[^ -~]").search


def _language(line_untrusted: bytes) -> str:
    """What those speak who most often come to a wrong address."""
    if line_untrusted in {b"\x15", b"\x16"}:
        return " (it speaks TLS at once)"
    if b"HTTP/" in line_untrusted:
        return " (it speaks HTTP)"
    return " (it speaks SSH)" if line_untrusted.startswith(b"SSH-") else ""


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
            raise RemoteProtocolError(f"a line that is not printable ASCII{_language(said)}: {said[-40:]!r}")
        if end < 0:
            if len(line) > LINE_LIMIT:
                raise RemoteProtocolError(f"a line of more than {LINE_LIMIT} bytes")
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


class FrameBuffer:
    """Splits frames (a 4-byte big-endian length, then that many bytes) off a byte stream.

    Args:
      limit: the largest frame accepted, in bytes, without its length.
    """

    __slots__ = ("_data", "_limit")

    def __init__(self, limit: int) -> None:
        self._data = bytearray()
        self._limit = limit

    def feed(self, data_untrusted: bytes) -> list[bytes]:
        """Add what was received; the frames that are now complete, without their lengths.

        Raises:
          RemoteProtocolError: a frame is larger than the limit. Nothing may be fed after that.
        """
        if self._data:
            self._data += data_untrusted
            source: bytes | bytearray = self._data
        else:
            # Most pieces hold whole frames; then this copies nothing but what is left.
            source = data_untrusted
        frames: list[bytes] = []
        position, end = 0, len(source)
        while end - position >= 4:
            size = int.from_bytes(source[position : position + 4], "big")
            if size > self._limit:
                raise RemoteProtocolError(f"a frame of {size} bytes; the limit is {self._limit}")
            if end - position - 4 < size:
                break
            frames.append(bytes(source[position + 4 : position + 4 + size]))
            position += 4 + size
        if source is self._data:
            del self._data[:position]
        elif position < end:
            self._data += source[position:]
        return frames

    def __len__(self) -> int:
        return len(self._data)
