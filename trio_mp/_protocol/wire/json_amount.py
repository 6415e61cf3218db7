"""How much the values in a large message in JSON are: it is counted while the message comes."""

from __future__ import annotations

import re

from ..._errors import RemoteProtocolError
from .limits import MAXIMUM_CONTAINERS, MAXIMUM_ENTRIES, MAXIMUM_VALUES

_DIGITS = 19
LONG = rb"[0-9]{%d}" % _DIGITS
"""Both ends of the range of ints have at least so many digits: what has no such run holds no int outside it."""

_long_number = re.compile(LONG).search
_brackets = re.compile(rb"([\[\]{}])").split


class Amount:
    """How much the values in a large message are, counted while it comes and before it is decoded.

    Attributes:
      has_long: whether it holds a number of many digits, in a text perhaps.
    """

    __slots__ = ("_containers", "_entries", "_inside", "_looked_at", "_quotes", "_values", "has_long")

    def __init__(self) -> None:
        self._looked_at = 0
        self._quotes = 0
        self._containers = self._values = 0
        # The entries so far of the object that it has come to; and of those around it.
        self._entries = 0
        self._inside: list[int] = []
        self.has_long = False

    def count(self, source: bytes | bytearray, start: int, position: int) -> None:
        """Count what the message that begins there has up to this place, where no escape is cut in two.

        Raises:
          RemoteProtocolError: it is too much.
        """
        begin = start + self._looked_at
        self._looked_at = position - start
        self.has_long = self.has_long or bool(_long_number(source, max(start, begin - _DIGITS), position))
        part = bytes(source[begin:position])
        if b"\\" in part:
            # Only strings have any. Without the pairs, one in front of a quote is an escape.
            part = part.replace(b"\\\\", b"").replace(b'\\"', b"")
        pieces = part.split(b'"')
        outside = b"".join(pieces[self._quotes :: 2])
        self._quotes = (self._quotes + len(pieces) - 1) % 2
        self._values += outside.count(b",") + outside.count(b":")
        texts = _brackets(outside)
        for text, bracket in zip(texts[::2], texts[1::2], strict=False):
            self._add_entries(text)
            if bracket in b"[{":
                self._containers += 1
                self._inside.append(self._entries)
                self._entries = 0
            else:
                self._entries = self._inside.pop()
        self._add_entries(texts[-1])
        if self._containers > MAXIMUM_CONTAINERS:
            raise RemoteProtocolError(f"more lists and dicts than a message may hold, which is {MAXIMUM_CONTAINERS}")
        # The name of the port is one more.
        if self._values > MAXIMUM_VALUES + 1:
            raise RemoteProtocolError(f"more values than a message may hold, which is {MAXIMUM_VALUES}")

    def _add_entries(self, text: bytes) -> None:
        self._entries += text.count(b":")
        if self._entries > MAXIMUM_ENTRIES:
            raise RemoteProtocolError(f"a dict of more than {MAXIMUM_ENTRIES} entries")
