"""What a byte stream looks like on its connection: chunks, each behind its length, and an end that is said.

A connection that ends says nothing about why: the end of a process looks like the end of what it had to send, and
without encryption so does whatever cuts the connection. So the end of a stream is a chunk of length 0; a connection
that ends before has broken the stream. It costs four bytes a chunk, and a chunk may be large.
"""

from __future__ import annotations

CHUNK_LIMIT = 1024 * 1024
"""The longest chunk that is sent, in bytes. Any length is read: nothing waits for the end of a chunk."""

END = b"\0\0\0\0"
"""The chunk that ends a stream."""

_HEADER = 4


def header(size: int) -> bytes:
    """What precedes a chunk of so many bytes, which must not be 0."""
    return size.to_bytes(_HEADER, "big")


class ChunkReader:
    """Takes the chunks off again: bytes in as they come, bytes of the stream out.

    It holds what was fed and not taken, and nothing else.

    Attributes:
      ended: whether the end of the stream has been taken. What comes behind it is ignored.
    """

    __slots__ = ("_data", "_left", "_position", "ended")

    def __init__(self) -> None:
        self._data = b""
        self._position = 0
        # What is still to come of the chunk that was begun.
        self._left = 0
        self.ended = False

    def feed(self, data_untrusted: bytes) -> None:
        """Add what was received."""
        if self._position < len(self._data):
            data_untrusted = self._data[self._position :] + data_untrusted
        # Else all has been taken, as mostly, and nothing is copied.
        self._data = data_untrusted
        self._position = 0

    def take(self, maximum: int | None) -> bytes | None:
        """Bytes of the stream, at most so many if that is given; None if more must be fed, nothing at the end."""
        data, room = self._data, len(self._data) if maximum is None else maximum
        if self._left >= len(data) <= room and not self._position and data:
            # The middle of a large chunk. It is not kept, so that its memory can be used for the next.
            self._left -= len(data)
            self._data = b""
            return data
        view = memoryview(data)
        pieces: list[memoryview] = []
        while room and not self.ended and (self._left or self._next_chunk()):
            size = min(self._left, room, len(data) - self._position)
            if not size:
                break
            pieces.append(view[self._position : self._position + size])
            self._left -= size
            self._position += size
            room -= size
        if pieces:
            return b"".join(pieces)
        return b"" if self.ended else None

    def _next_chunk(self) -> bool:
        """Read the length of the next chunk; whether there is one."""
        end = self._position + _HEADER
        if len(self._data) < end:
            return False
        self._left = int.from_bytes(self._data[self._position : end], "big")
        self._position = end
        self.ended = not self._left
        return not self.ended
