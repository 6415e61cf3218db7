"""How much one message may hold, apart from its size in bytes, and the look through a large frame that finds it out.

A few bytes can stand for much memory and time: an empty list is one byte on the wire and 56 in memory. So the values in
a message are limited too. The numbers are the same for those who send and those who receive. A million numbers in a
list pass, and so do 100,000 dicts of five entries; and whatever passes is decoded in less than 200 ms.

What has at most `UNCOUNTED` bytes cannot exceed the limits, and nobody counts in it.
"""

from __future__ import annotations

import re

from ..._errors import RemoteProtocolError

MAXIMUM_DEPTH = 100
"""How deep a message may nest. Well under what MessagePack decoders take without a stack overflow."""

MAXIMUM_CONTAINERS = 2**17
"""How many lists and dicts a message may hold. Each costs as much memory as some twenty numbers."""

MAXIMUM_ENTRIES = 2**17
"""How many entries one dict may have: in a larger one each costs more, because the processor's caches are too small."""

MAXIMUM_VALUES = 1_250_000
"""How many values a message may hold, counting the elements of lists and the keys and values of dicts."""

UNCOUNTED = 2**17
"""A message of at most so many bytes cannot exceed these limits: each value has at least one."""

# A frame may hold others in front of the message with which it gets large enough to be closed. They have fewer bytes
# than `framing.FRAME_TARGET`, so at most so many values and containers; and their number counts too.
_OTHERS = 2**16
_FRAME_CONTAINERS = MAXIMUM_CONTAINERS + _OTHERS
_FRAME_VALUES = MAXIMUM_VALUES + 2 * _OTHERS

# How many bytes a value has that begins with this byte; 0 where a length follows, or it is an array or a map.
_SIZES = bytearray([1] * 0x80 + [0] * 0x20 + [*range(1, 0x21)] + [1] * 0x40)
_SIZES[0xC4:0xCA] = bytes(6)
_SIZES[0xCA:0xD4] = bytes([5, 9, 2, 3, 5, 9, 2, 3, 5, 9])
_SIZES[0xD4:0xE0] = bytes(12)

# How many bytes the length has of what has one. Of arrays and maps with up to 15 elements it is in the first byte.
_LENGTHS = dict.fromkeys([*range(0x80, 0xA0), *range(0xD4, 0xD9)], 0)
_LENGTHS.update(dict.fromkeys([0xC4, 0xC7, 0xD9], 1))
_LENGTHS.update(dict.fromkeys([0xC5, 0xC8, 0xDA, 0xDC, 0xDE], 2))
_LENGTHS.update(dict.fromkeys([0xC6, 0xC9, 0xDB, 0xDD, 0xDF], 4))
_ARRAYS = frozenset([*range(0x90, 0xA0), 0xDC, 0xDD])
_MAPS = frozenset([*range(0x80, 0x90), 0xDE, 0xDF])
_EXTENSIONS = frozenset([0xC7, 0xC8, 0xC9, *range(0xD4, 0xD9)])
_CONTAINERS = _ARRAYS | _MAPS | _EXTENSIONS
_IS_TEXT = bytearray(0xA0 <= byte < 0xC0 or 0xD9 <= byte < 0xDC for byte in range(256))

# Values of the same size one after another, as numbers in a list are: they are counted at one go.
_ALIKE = {
    1: re.compile(rb"[\x00-\x7f\xa0\xc0\xc2\xc3\xe0-\xff]*").match,
    2: re.compile(rb"(?:[\xa1\xcc\xd0][\x00-\xff])*").match,
    3: re.compile(rb"(?:[\xa2\xcd\xd1][\x00-\xff]{2})*").match,
    5: re.compile(rb"(?:[\xa4\xca\xce\xd2][\x00-\xff]{4})*").match,
    9: re.compile(rb"(?:[\xa8\xcb\xcf\xd3][\x00-\xff]{8})*").match,
}
_FEW = 10
_AT_ONE_GO = 1000


class Inspection:
    """Looks through a frame of MessagePack, without its length, while its bytes come, and before it is decoded.

    Args:
      most: how many values it may hold.

    Attributes:
      values: how many it is known to hold.

    What it lets pass may be decoded at once: it is within the limits, and no dict has a key that is not text. (The
    hashes of all others are the same in each process, so a peer could choose keys that collide.) Whether it is
    MessagePack at all is for the decoder to find out.
    """

    __slots__ = ("_containers", "_inside", "_left", "_most", "_position", "values")

    def __init__(self, most: int = _FRAME_VALUES) -> None:
        self._most = most
        self._position = 0
        self._containers = self.values = 0
        # How many values the container is to have still, keys included, that it has come to; and those around it. They
        # are below 0 for a map: then a key comes next if the number is even.
        self._left = 1
        self._inside: list[int] = []

    def look(self, data_untrusted: bytes | bytearray | memoryview, end: int) -> None:
        """Look at what has come since, up to `end`. What the caller hands over begins with the frame each time.

        Raises:
          RemoteProtocolError: it is too much, or cannot be a message.
        """
        position, left, sizes = self._position, self._left, _SIZES
        before = 0
        while position < end:
            while not left:
                if not self._inside:
                    # The decoder sees that something is left over.
                    self._position = len(data_untrusted)
                    return
                left = self._inside.pop()
            byte = data_untrusted[position]
            if left < 0:
                if not left & 1 and not _IS_TEXT[byte]:
                    raise RemoteProtocolError("expected text as the keys of a dict, got a key that is not text")
                step = 1
            else:
                step = -1
            size = sizes[byte]
            if size:
                position += size
                left += step
                if size == before and left > _FEW and size in _ALIKE:
                    begin = position
                    position = self._alike(data_untrusted, begin, min(end, begin + left * size), size)
                    left -= (position - begin) // size
                before = size
                continue
            before = 0
            header = 1 + _LENGTHS[byte]
            if position + header > end:
                break
            length = int.from_bytes(data_untrusted[position + 1 : position + header], "big")
            position += header
            left += step
            if byte not in _CONTAINERS:
                position += length
                continue
            self._inside.append(left)
            left = self._enter(byte, length if header > 1 else byte & 15)
        self._position, self._left = position, left

    @staticmethod
    def _alike(data: bytes | bytearray | memoryview, begin: int, end: int, size: int) -> int:
        """Where the values end that begin at a place and all have this size."""
        position = begin
        while position < end:
            # In parts, since `re` keeps some memory for each step.
            stop = min(end, position + _AT_ONE_GO * size)
            found = _ALIKE[size](data, position, stop)
            assert found is not None
            position = found.end()
            if position < stop:
                break
        return position

    def _enter(self, byte: int, count: int) -> int:
        """Begin an array or a map of so many elements. Returns how many of them are left, negative for a map."""
        if byte in _MAPS:
            if count > MAXIMUM_ENTRIES:
                raise RemoteProtocolError(f"expected at most {MAXIMUM_ENTRIES} entries in a dict, got {count}")
            count *= 2
        elif byte in _EXTENSIONS:
            raise RemoteProtocolError("expected values that travel, got an extension type")
        self._containers += 1
        self.values += count
        if self._containers > _FRAME_CONTAINERS:
            raise RemoteProtocolError(f"expected at most {MAXIMUM_CONTAINERS} lists and dicts in a message, got more")
        if self.values > self._most:
            raise RemoteProtocolError(f"expected at most {MAXIMUM_VALUES} values in a message, got more")
        # The frame and the message are arrays themselves.
        if len(self._inside) > MAXIMUM_DEPTH + 2:
            raise RemoteProtocolError(f"expected lists and dicts at most {MAXIMUM_DEPTH} deep, got deeper ones")
        return -count if byte in _MAPS else count


def count_values(frame: bytearray, most: int) -> int:
    """How many values a frame holds that was made here; if there are more than `most`, any number that is larger."""
    inspection = Inspection(most)
    try:
        inspection.look(memoryview(frame)[4:], len(frame) - 4)
    except RemoteProtocolError:
        return most + 1
    return inspection.values
