"""The outgoing queue of one peer: encoded messages, in frames of about 64 KiB, counted in bytes."""

from __future__ import annotations

from collections import deque

from .framing import FRAME_TARGET, MSGPACK, Framing

_PORT_REQUESTS = frozenset({"mon1", "mon0", "spawn", "spawn_linked", "stream", "kil"})


class OutgoingQueue:
    """What waits to be written to one peer.

    Attributes:
      framing: how the messages in it are packed; MessagePack as long as nobody knows what the peer reads.
      size: bytes queued.
      appended, written: messages ever appended, and ever handed on completely or dropped.
      losses: how often the queue was dropped.
      dropped: messages and bytes dropped and not yet reported.
    """

    __slots__ = (
        *("_append", "_closed", "_count", "_frame", "_frames", "_largest", "_offset"),
        *("appended", "dropped", "framing", "losses", "size"),
    )

    def __init__(self) -> None:
        self.framing = MSGPACK
        self._append = MSGPACK.append
        self.size = 0
        self.appended = 0
        self.losses = 0
        self.dropped = (0, 0)
        # Closed frames with their numbers of messages, the first of them written up to the offset; and the open one.
        self._frames: deque[tuple[bytearray, int]] = deque()
        self._offset = 0
        # The number of messages in closed frames.
        self._closed = 0
        self._frame = MSGPACK.open_frame()
        self._count = 0
        self._largest = 0

    @property
    def written(self) -> int:
        """Messages ever handed on completely, or dropped."""
        return self.appended - self._closed - self._count

    def append(self, name: str, message: tuple[object, ...], limit: int) -> None:
        """Encode a message for the port of that name.

        Raises:
          TypeError, ValueError: it cannot travel, or is larger than `limit` bytes. Nothing was appended.
        """
        frame = self._frame
        start = len(frame)
        self._append(frame, name, message)
        end = len(frame)
        size = end - start
        if size > self._largest:
            if size > limit:
                del frame[start:]
                raise ValueError(f"a message of {size} bytes: the largest that may be sent there has {limit}")
            self._largest = size
        if not self._count:
            size += self.framing.header
        self._count += 1
        self.size += size
        self.appended += 1
        if end >= FRAME_TARGET:
            self._close_frame()

    def _close_frame(self) -> None:
        self.framing.close_frame(self._frame, self._count)
        self._frames.append((self._frame, self._count))
        self._closed += self._count
        self._frame = self.framing.open_frame()
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
            self._closed -= self._frames.popleft()[1]
            self._offset = 0

    def drop(self) -> None:
        """Drop everything, and count it."""
        messages, size = self.dropped
        self.dropped = (messages + self._closed + self._count, size + self.size)
        self.losses += 1
        self._empty(MSGPACK)

    def _empty(self, framing: Framing) -> None:
        self.framing = framing
        self._append = framing.append
        self.size = 0
        self._frames = deque()
        self._offset = 0
        self._closed = 0
        self._frame = framing.open_frame()
        self._count = 0
        self._largest = 0

    def adapt(self, framing: Framing, limit: int) -> dict[str, str]:
        """Make what was queued fit the peer, now that it is known what it takes: its framing, its largest message.

        What cannot be made to fit is dropped, and so is all that was queued behind it for the same port. Nothing of
        the queue may have been written yet.

        Returns:
          The names of the ports concerned, with what was wrong with the first message dropped for each.
        """
        if framing is self.framing and self._largest <= limit:
            return {}
        if self._count:
            self._close_frame()
        before, frames, appended, size = self.framing, self._frames, self.appended, self.size
        self._empty(framing)
        concerned: dict[str, str] = {}
        dropped = 0
        for frame, _ in frames:
            for message in before.messages_in(frame):
                name = _concerns(message)
                if name not in concerned:
                    try:
                        self.append(str(message[0]), message[1:], limit)
                        continue
                    except (TypeError, ValueError) as error:
                        concerned[name] = str(error)
                dropped += 1
        # None was appended now.
        self.appended = appended
        if dropped:
            # Whoever waits for them must not be told that they were written.
            self.losses += 1
            self.dropped = (self.dropped[0] + dropped, self.dropped[1] + max(0, size - self.size))
        return concerned


def _concerns(message: tuple[object, ...]) -> str:
    """The name of the port that is told nothing if this message is lost."""
    name, *rest = message
    if name == "" and len(rest) > 1 and rest[0] in _PORT_REQUESTS:
        return str(rest[1])
    return str(name)
