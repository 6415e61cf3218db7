"""How much the values in a large message in JSON are: it is counted while the message comes."""

from __future__ import annotations

import re

from ..._errors import RemoteProtocolError
from .json_structure import ALL_BUT_STRUCTURE, LONG_DIGITS, has_long_number, structure
from .limits import MAXIMUM_CONTAINERS, MAXIMUM_ENTRIES, MAXIMUM_VALUES

# A list or dict that holds no others. There can be at most `MAXIMUM_ENTRIES` colons in it, if it is in a piece of at
# most so many bytes.
_remove_innermost = re.compile(rb"\[:*\]").sub
_PIECE = 2**16
_ROUNDS = 3
"""Most of what ends in a piece nests no deeper than this."""

_runs = re.compile(rb":+|\[|\]").findall


class Amount:
    """How much the values in a large message are, counted while it comes and before it is decoded.

    Attributes:
      has_long: whether it holds a number of many digits, in a text perhaps.
      looked_at: how many bytes of the message have been counted.
    """

    __slots__ = ("_containers", "_entries", "_in_text", "_inside", "_values", "has_long", "looked_at")

    def __init__(self) -> None:
        self.looked_at = 0
        self._in_text = False
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
        begin = start + self.looked_at
        self.looked_at = position - start
        self.has_long = self.has_long or has_long_number(source, max(start, begin - LONG_DIGITS), position)
        text, self._in_text = structure(bytes(source[begin:position]), self._in_text, ALL_BUT_STRUCTURE)
        self._values += text.count(b",") + text.count(b":")
        self._containers += text.count(b"[")
        if self._containers > MAXIMUM_CONTAINERS:
            raise RemoteProtocolError(f"expected at most {MAXIMUM_CONTAINERS} lists and dicts in a message, got more")
        # The name of the port is one more.
        if self._values > MAXIMUM_VALUES + 1:
            raise RemoteProtocolError(f"expected at most {MAXIMUM_VALUES} values in a message, got more")
        text = text.replace(b",", b"")
        for place in range(0, len(text), _PIECE):
            self._count_entries(text[place : place + _PIECE])

    def _count_entries(self, text: bytes) -> None:
        """Count the entries of the dicts in a piece of a message, of which only brackets and colons are left."""
        for _ in range(_ROUNDS):
            text = _remove_innermost(b"", text.replace(b"[]", b""))
        for run in _runs(text):
            if run == b"[":
                self._inside.append(self._entries)
                self._entries = 0
            elif run == b"]":
                self._entries = self._inside.pop()
            else:
                self._entries += len(run)
                if self._entries > MAXIMUM_ENTRIES:
                    raise RemoteProtocolError(f"expected at most {MAXIMUM_ENTRIES} entries in a dict, got more")
