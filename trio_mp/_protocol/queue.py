"""The outgoing queue of one peer: encoded messages, in frames of about 64 KiB, counted in bytes."""

from __future__ import annotations

from collections import deque

from . import codec

FRAME_TARGET = 64 * 1024
"""A frame is closed when it has reached this size, in bytes: larger ones cost memory, smaller ones time."""

_PORT_REQUESTS = frozenset({"mon1", "mon0", "spawn", "spawn_linked", "kil"})


class OutgoingQueue:
    """What waits to be written to one peer.

    Attributes:
      size: bytes queued.
      appended, written: bytes ever appended, and ever handed on or dropped; `size` is the difference.
      losses: how often the queue was dropped.
      dropped: messages and bytes dropped and not yet reported.
    """

    __slots__ = ("_count", "_frame", "_frames", "_largest", "_offset", "appended", "dropped", "losses", "size")

    def __init__(self) -> None:
        self.size = 0
        self.appended = 0
        self.losses = 0
        self.dropped = (0, 0)
        # Closed frames with their numbers of messages, the first of them written up to the offset; and the open one.
        self._frames: deque[tuple[bytearray, int]] = deque()
        self._offset = 0
        self._frame = codec.open_frame()
        self._count = 0
        self._largest = 0

    @property
    def written(self) -> int:
        """Bytes ever handed on or dropped."""
        return self.appended - self.size

    def append(self, name: str, message: tuple[object, ...], limit: int) -> None:
        """Encode a message for the port of that name.

        Raises:
          TypeError, ValueError: it cannot travel, or is larger than `limit` bytes. Nothing was appended.
        """
        frame = self._frame
        start = len(frame)
        codec.append_message(frame, name, message)
        end = len(frame)
        size = end - start
        if size > self._largest:
            if size > limit:
                del frame[start:]
                raise ValueError(f"a message of {size} bytes: the largest that may be sent there has {limit}")
            self._largest = size
        if not self._count:
            size += codec.FRAME_HEADER
        self._count += 1
        self.size += size
        self.appended += size
        if end >= FRAME_TARGET:
            self._close_frame()

    def _close_frame(self) -> None:
        codec.close_frame(self._frame, self._count)
        self._frames.append((self._frame, self._count))
        self._frame = codec.open_frame()
        self._count = 0

    def next_chunk(self) -> memoryview | None:
        """The bytes to be written next, or None. Say with `advance` how many of them were."""
        if not self._frames:
            if not self._count:
                return None
            self._close_frame()
        return memoryview(self._frames[0][0])[self._offset :]

    def advance(self, count: int) -> None:
        """So many bytes of the chunk were handed on."""
        self.size -= count
        self._offset += count
        if self._offset == len(self._frames[0][0]):
            self._frames.popleft()
            self._offset = 0

    def drop(self) -> None:
        """Drop everything, and count it."""
        messages, size = self.dropped
        for _, count in self._frames:
            messages += count
        self.dropped = (messages + self._count, size + self.size)
        self.losses += 1
        self.size = 0
        self._frames.clear()
        self._offset = 0
        self._frame = codec.open_frame()
        self._count = 0
        self._largest = 0

    def drop_oversized(self, limit: int) -> list[str]:
        """Drop what was queued before the peer's limit was known and is larger, and all behind it for the same port.

        Nothing of the queue may have been written yet.

        Returns:
          The names of the ports concerned.
        """
        if self._largest <= limit:
            return []
        if self._count:
            self._close_frame()
        frames, size, appended = self._frames, self.size, self.appended
        self._frames, self.size, self._largest = deque(), 0, 0
        concerned: dict[str, None] = {}
        dropped = 0
        for frame, _ in frames:
            for message in codec.messages_in(frame):
                name = _concerns(message)
                if name not in concerned:
                    try:
                        self.append(str(message[0]), message[1:], limit)
                        continue
                    except ValueError:
                        concerned[name] = None
                dropped += 1
        # Whoever waits for a byte count waits for bytes that are gone: `flush` must say so.
        self.losses += 1
        self.appended = appended
        self.dropped = (self.dropped[0] + dropped, self.dropped[1] + size - self.size)
        return list(concerned)


def _concerns(message: tuple[object, ...]) -> str:
    """The name of the port that is told nothing if this message is lost."""
    name, *rest = message
    if name == "" and len(rest) > 1 and rest[0] in _PORT_REQUESTS:
        return str(rest[1])
    return str(name)
