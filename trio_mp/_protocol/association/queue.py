"""The outgoing queue of one peer: encoded messages, in frames of about 64 KiB, counted in bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ..._errors import LocalProtocolError, RemoteProtocolError
from ..requests import ABOUT_PORTS, is_upkeep, ticket_of
from ..wire.amount import check_amount
from ..wire.framing import FRAME_TARGET, MSGPACK, Framing
from ..wire.limits import UNCOUNTED

ADAPTED_SIZE = 8 * 1024 * 1024
"""How much of what was queued is made to fit a peer, in bytes: it is done at once, and must not take long."""

ADAPTED_VALUES = 50_000
"""How many values that may hold. A queue that is dropped and holds more is not looked through, either."""

Amounts = dict[tuple[str, bool], tuple[int, int]]
"""What was dropped: how many messages, of how many bytes, by the name of the port and whether that is certain."""


def _no() -> bool:
    return False


class OutgoingQueue:
    """What waits to be written to one peer.

    Args:
      high_water: how many bytes it may hold before `append` says so.
      frame_target: a frame is closed when it has reached this size, in bytes.
      wants_names: whether it is to be known for which ports messages were dropped, when some are.

    Attributes:
      framing: how the messages in it are packed; MessagePack as long as nobody knows what the peer reads.
      losses: how often the queue was dropped.
      discarded: messages ever dropped, what the nodes say for themselves included.
      dropped: messages and bytes dropped and not yet reported.
      closed_size: bytes in it that are in complete frames.
      lost: what was dropped, for which ports, and not yet reported; if somebody wants to know.
      in_hand: whether a part of the first frame may be on its way that has not been forgotten by `advance`.
      is_much: whether the last `append` that returned True has completed a frame, or passed `high_water`.
    """

    __slots__ = (
        *("_append", "_before", "_checked", "_closed", "_count", "_frame", "_frames", "_high_water", "_largest"),
        *("_awaited", "_mark", "is_much", "_offset", "_target", "closed_size", "dropped", "framing", "losses"),
        *("_wants_names", "discarded", "in_hand", "lost"),
    )

    def __init__(
        self, high_water: int, frame_target: int = FRAME_TARGET, wants_names: Callable[[], bool] = _no
    ) -> None:
        self._high_water = high_water
        self._target = frame_target
        # Whether the next message is to be told of, however small.
        self._awaited = False
        self.is_much = False
        self.losses = 0
        self.discarded = 0
        self.dropped = (0, 0)
        self._wants_names = wants_names
        self.lost: Amounts = {}
        # The largest message in it; and up to which size a message need not be looked at.
        self._largest = 0
        self._checked = 0
        # Closed frames with their numbers of messages, the first of them written up to the offset.
        self._frames: deque[tuple[bytearray, int]] = deque()
        self._offset = 0
        self.in_hand = False
        # The number of messages in them.
        self._closed = 0
        # The number in the open frame, and of all that were ever appended before them.
        self._count = 0
        self._before = 0
        self._empty(MSGPACK)

    @property
    def size(self) -> int:
        """Bytes queued."""
        return self.closed_size + (len(self._frame) if self._count else 0)

    @property
    def appended(self) -> int:
        """Messages ever appended."""
        return self._before + self._count

    @property
    def written(self) -> int:
        """Messages ever handed on completely, or dropped."""
        return self._before - self._closed

    @property
    def waiting(self) -> int:
        """Messages that are in it, the one that is being handed on among them."""
        return self.appended - self.written

    @property
    def delivered(self) -> int:
        """Messages ever handed on completely."""
        return self.written - self.discarded

    @property
    def begun(self) -> int:
        """Messages ever handed on, or dropped, and those of the frame that was begun: the other side may have them."""
        # An error of this side may have come between the end of a frame and the note of it.
        return self.written + (self._frames[0][1] if self._is_begun and self._frames else 0)

    @property
    def _is_begun(self) -> bool:
        return self._offset > 0 or self.in_hand

    @property
    def high_water(self) -> int:
        """How many bytes it may hold before `append` says so: below 0 it says so each time."""
        return self._high_water

    @high_water.setter
    def high_water(self, size: int) -> None:
        self._high_water = size
        self._set_mark()

    def append(self, name: str, message: tuple[object, ...], limit: int) -> bool:
        """Encode a message for the port of that name.

        Returns:
          True if the queue holds more than `high_water` bytes, or holds the first message since `tell_next`. It may be
          said too often, and is never said too late.

        Raises:
          TypeError, ValueError: it cannot travel, or is larger than `limit` bytes. Nothing was appended.
        """
        # The hot path: nothing is counted here that can be counted when the frame is closed.
        frame = self._frame
        start = len(frame)
        self._append(frame, name, message)
        end = len(frame)
        if end - start > self._checked:
            self._check_size(start, end, message, limit)
        self._count += 1
        return end >= self._mark and self._at_mark(end)

    def _check_size(self, start: int, end: int, message: tuple[object, ...], limit: int) -> None:
        """Check a message that is the largest so far, or may hold too much: these bytes of the frame."""
        try:
            if end - start > limit:
                raise ValueError(f"message: expected at most {limit} bytes, which that node takes, got {end - start}")
            if end - start > UNCOUNTED:
                check_amount(message)
        except ValueError:
            del self._frame[start:]
            raise
        self._largest = max(self._largest, end - start)
        self._checked = min(self._largest, UNCOUNTED)

    def _at_mark(self, end: int) -> bool:
        if self._awaited:
            self._awaited = False
            self._set_mark()
        self.is_much = end >= self._mark
        if end >= self._target:
            self._close_frame()
        return True

    def tell_next(self) -> None:
        """Have the next `append` return True, so that nothing need be asked after each of them."""
        self._awaited = True
        self._mark = 0

    def _close_frame(self) -> None:
        self.framing.close_frame(self._frame, self._count)
        self._frames.append((self._frame, self._count))
        self._closed += self._count
        self._before += self._count
        self.closed_size += len(self._frame)
        self._open_frame()

    def _open_frame(self) -> None:
        self._frame = self.framing.open_frame()
        self._count = 0
        self._set_mark()

    def _set_mark(self) -> None:
        """The size of the open frame at which there is something to do: to close it, or to say that it is too much."""
        self._mark = 0 if self._awaited else min(self._target, self._high_water + 1 - self.closed_size)

    def next_chunk(self) -> memoryview | None:
        """The bytes to be written next, or None. Say with `advance` how many of them were."""
        if not self._frames:
            if not self._count:
                return None
            self._close_frame()
        return memoryview(self._frames[0][0])[self._offset :]

    def advance(self, count: int) -> None:
        """Forget so many bytes of the chunk, because they were handed on."""
        self.closed_size -= count
        self.in_hand = False
        self._offset += count
        if self._offset == len(self._frames[0][0]):
            self._closed -= self._frames.popleft()[1]
            self._offset = 0
        self._set_mark()

    def drop(self) -> None:
        """Drop everything, and count it, unless none of it is a program's."""
        if (self._closed or self._count) and not self._is_upkeep():
            messages, size = self.dropped
            self.dropped = (messages + self._closed + self._count, size + self.size)
            if self._wants_names():
                self._note_names()
        self.discarded += self._closed + self._count
        self.losses += 1
        self._empty(MSGPACK)

    def _note_names(self) -> None:
        """Note what is about to be dropped, by the names of the ports; without names, if it is too much to look at."""
        if self._count:
            self._close_frame()
        certain = not self._is_begun
        lost: Amounts = {}
        try:
            if self.size <= ADAPTED_SIZE and self.framing.holds_at_most(
                ADAPTED_VALUES, [frame for frame, _ in self._frames]
            ):
                for frame, count in self._frames:
                    self._note_frame(lost, frame, count, certain)
                    certain = True
            else:
                _add(lost, "", certain, self._closed, self.size)
        except Exception:  # noqa: BLE001 - an error of this side may have left half a message: dropping must not fail
            lost = {("", False): (self._closed, self.size)}
        for (name, is_certain), (messages, size) in lost.items():
            _add(self.lost, name, is_certain, messages, size)

    def _note_frame(self, lost: Amounts, frame: bytearray, count: int, certain: bool) -> None:
        messages = self.framing.messages_in(frame)
        if len(messages) != count:
            raise LocalProtocolError(f"expected a frame of {count} messages, got one of {len(messages)}")
        for message in messages:
            if not is_upkeep(message):
                _add(lost, _concerns(message), certain, 1, self._size_of(self.framing, message))

    def _size_of(self, framing: Framing, message: tuple[object, ...]) -> int:
        """How many bytes a message that was queued takes in a frame."""
        scratch = bytearray()
        framing.append(scratch, str(message[0]), message[1:])
        return len(scratch)

    def take_lost(self) -> Amounts:
        """What was dropped since the last call, for which ports."""
        lost, self.lost = self.lost, {}
        return lost

    def _is_upkeep(self) -> bool:
        """Whether it holds only what the nodes say for themselves; no, if there is much of it to look through."""
        if self.size > self._target:
            return False
        try:
            if self._count:
                self._close_frame()
            return all(is_upkeep(message) for frame, _ in self._frames for message in self.framing.messages_in(frame))
        except RemoteProtocolError:
            # An error of this side has left half a message here. Dropping must not fail of it.
            return False

    def _empty(self, framing: Framing) -> None:
        self.framing = framing
        self._append = framing.append
        self._frames = deque()
        self._offset = 0
        self.in_hand = False
        self._closed = 0
        self.closed_size = 0
        self._largest = 0
        self._checked = 0
        self._before += self._count
        self._open_frame()

    def adapt(self, framing: Framing, limit: int) -> dict[str, str] | str:
        """Make what was queued fit the peer, now that it is known what it takes: its framing, its largest message.

        What cannot be made to fit is dropped, and so is all that was queued behind it for the same port. Nothing of
        the queue may have been written yet.

        Returns:
          The names of the ports concerned, and the tickets of calls, with what was wrong with the first message dropped
          for each. Or a text: it was too much to be made to fit, and all of it was dropped.
        """
        if framing is self.framing and self._largest <= limit:
            return {}
        if self._count:
            self._close_frame()
        if self.size > ADAPTED_SIZE or not self.framing.holds_at_most(
            ADAPTED_VALUES, [frame for frame, _ in self._frames]
        ):
            self.drop()
            self._empty(framing)
            return f"more than {ADAPTED_SIZE} bytes or {ADAPTED_VALUES} values waited, and the peer takes another form"
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
                ticket = ticket_of(message[1:]) if message[0] == "" else None
                if ticket is not None:
                    concerned.setdefault(ticket, concerned[name])
                dropped += 1
                if self._wants_names() and not is_upkeep(message):
                    _add(self.lost, name, True, 1, self._size_of(before, message))
        # None was appended now.
        self._before = appended - self._count
        if dropped:
            # Whoever waits for them must not be told that they were written.
            self.losses += 1
            self.discarded += dropped
            self.dropped = (self.dropped[0] + dropped, self.dropped[1] + max(0, size - self.size))
        return concerned


def _add(lost: Amounts, name: str, certain: bool, messages: int, size: int) -> None:
    before = lost.get((name, certain), (0, 0))
    lost[name, certain] = (before[0] + messages, before[1] + size)


def _concerns(message: tuple[object, ...]) -> str:
    """The name of the port that is told nothing if this message is lost."""
    match message:
        # A program may send anything to a node port, also lists and dicts, which no set can be asked for.
        case ("", str(word), str(name), *_) if word in ABOUT_PORTS:
            return name
        case _:
            return str(message[0])
