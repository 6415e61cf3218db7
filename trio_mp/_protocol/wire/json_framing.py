"""The framing `json`, for peers in other languages: arrays one after another, each one message.

Text is UTF-8. The first element of an array is the port's name within its node; `[]` keeps a connection alive and says
nothing. White space may stand between arrays, and nothing else. This side writes one message a line.

Bytes, NaN, the infinities and lone surrogates do not exist in JSON. All else is accepted and refused as in `codec`.
"""

from __future__ import annotations

import math
import re
from itertools import chain

import msgspec

from ..._errors import LocalProtocolError, RemoteProtocolError
from .codec import check_received
from .json_amount import Amount
from .json_structure import ALL_BUT_BRACKETS, deepest, has_long_number, nesting, structure
from .limits import MAXIMUM_DEPTH, UNCOUNTED
from .values import LARGEST_INT, SMALLEST_INT, plain_message, where

_SCALARS = frozenset({str, int, float, bool, type(None)})
_all_scalars = _SCALARS.issuperset
_encode_into = msgspec.json.Encoder().encode_into
_decode = msgspec.json.Decoder(tuple).decode
_decode_lines = msgspec.json.Decoder(tuple).decode_lines
_UNDECODABLE = (msgspec.DecodeError, ValueError, RecursionError)

# Sending -----------------------------------------------------------------------------------------------------------


def append_json(buffer: bytearray, name: str, message: tuple[object, ...]) -> None:
    """Append one encoded message for the port of that name, and a line feed.

    Raises:
      TypeError, ValueError: a value cannot travel, or not in JSON; the text gives its place. The buffer is as it was.
    """
    if not _all_scalars(map(type, message)):
        message = plain_message(message)
        _check_sent(message, ("message",), thorough=False)
    start = len(buffer)
    try:
        _encode_into((name, *message), buffer, -1)
        # The encoder writes any int, and NaN and the infinities as null. To look for what that looks like is far
        # cheaper than to look at each value, and text that looks like it costs only time.
        if buffer.find(b"null", start) >= 0:
            _check_sent(message, ("message",), thorough=True)
        if has_long_number(buffer, start, len(buffer)):
            plain_message(message, thorough=True)
    except Exception:
        del buffer[start:]
        plain_message(message, thorough=True)
        raise
    buffer += b"\n"


def count_values(frame: bytearray, _most: int) -> int:
    """How many values a frame holds that was made here; what in texts looks like some counts too."""
    return sum(map(frame.count, (b",", b":", b"[", b"{")))


def _check_sent(value: object, place: tuple[object, ...], *, thorough: bool) -> None:
    """Raise for bytes, and if thorough also for NaN and the infinities, in what `plain_message` let through."""
    kind = type(value)
    if kind is bytes:
        raise TypeError(f"{where(place)}: expected a value of JSON, which that node speaks, got bytes")
    if kind is float and not math.isfinite(value):  # type: ignore[arg-type]
        raise ValueError(f"{where(place)}: expected a value of JSON, which that node speaks, got {value}")
    if kind is list or kind is tuple:
        items: list[object] = value  # type: ignore[assignment]
        if thorough or not _all_scalars(map(type, items)):
            for index, item in enumerate(items):
                _check_sent(item, (*place, index), thorough=thorough)
    elif kind is dict:
        table: dict[str, object] = value  # type: ignore[assignment]
        for key, item in table.items():
            _check_sent(item, (*place, key), thorough=thorough)


# Receiving ---------------------------------------------------------------------------------------------------------
#
# The splitter knows of JSON only what finds the end of an array: texts, escapes and brackets, any two of which are
# taken for a pair. The decoder judges what lies between.
#
# It skims a part of a message with what `bytes` can do at once with many bytes: that says whether the message ends
# there, but not where. If it does, the splitter tries the place where it probably ends, or else the first half of the
# part, and so on until so little is left that it can look at each bracket. Patterns that match several levels of
# brackets at once look at each byte, and take twice as long for all of it with the decoding.
#
# Pieces of a few bytes wait for more, unless the message may end in them. The splitter skims the rest of them together,
# which takes about as long for a hundred bytes as for ten. With texts full of brackets, in pieces of 20 bytes, that
# does not help, since each text might hold the end: 20 kB of them take 2.1 ms, and with patterns 1.7 ms.

# A quote behind a backslash is none, unless that backslash is behind another one. Outside of texts that is so too, and
# else a backslash means nothing there: the decoder refuses what is found.

_REST_OF_TEXT = rb'[^"\\]*(?:\\.[^"\\]*)*"'
_PLAIN = rb'[^"\\\[\]{}]*'
_match_rest_of_text = re.compile(_REST_OF_TEXT, re.DOTALL).match
_match_flat = re.compile(_PLAIN + rb'(?:(?:"' + _REST_OF_TEXT + rb'|\\["\\]?)' + _PLAIN + b")*", re.DOTALL).match
# Where a message probably ends: in what is well formed, no other list begins behind one without a comma.
_search_end = re.compile(rb"\][ \t\r\n]*(?:\[|\Z)").search
_match_space = re.compile(rb"[ \t\r\n]*").match

_FEW, _FEWEST = 64, 16
"""In so many bytes each bracket is looked at, if a message may end with the next one; and if it may not."""

_BACKSLASH = ord("\\")
_OPENING, _CLOSING = b"[{", b"]}"

_WINDOW = 16384
"""How many bytes are skimmed at once: what is made of them is small enough for the processor's cache."""

_GROWTH = 4
"""How many times as much is skimmed next, if the message did not end."""

_COUNTED = 65536
"""How many bytes of a large message have to come until they are counted, if it does not end before."""

_LOOKED_AT = frozenset({int, list, dict})

_COPIED = 65536

_SHORT = 2 * MAXIMUM_DEPTH
"""What has no more bytes than this does not nest too deep."""


class JSONBuffer:
    """Splits messages off a byte stream, and decodes them.

    Takes time in proportion to what it is fed, in pieces of whatever size, and holds at most `limit` bytes between two.

    Args:
      limit: the largest message accepted, in bytes, from its opening bracket to its closing one.

    Attributes:
      completed: once `feed` has raised, the messages of that piece that came before what was wrong.
    """

    __slots__ = ("_amount", "_broken", "_data", "_depth", "_in_string", "_limit", "_scanned", "completed")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # What is held begins with the bracket of a message; this much of it has been looked at, and ended inside this
        # many brackets. The last byte is looked at twice if it is a backslash.
        self._data = bytearray()
        self._scanned = 0
        self._depth = 0
        self._in_string = False
        self._amount: Amount | None = None
        self._broken = False
        self.completed: list[tuple[object, ...]] = []

    def feed(self, data_untrusted: bytes) -> list[tuple[object, ...]]:
        """Add what was received; the messages that are now complete. The first element of each is a str, if it has one.

        Raises:
          RemoteProtocolError: anything at all is wrong. All that was held is given up, and nothing may be fed after it.
          LocalProtocolError: something was fed after that.
        """
        if self._broken:
            raise LocalProtocolError("expected nothing after an error, got bytes")
        held = self._data
        if held:
            held += data_untrusted
            if self._may_wait(held, 0):
                return []
        # Most pieces hold whole messages; then this copies nothing but what is left.
        source = held or data_untrusted
        messages: list[tuple[object, ...]] = []
        try:
            position = self._split(source, messages)
        except RemoteProtocolError:
            self._broken = True
            self.completed = messages
            held.clear()
            raise
        if source is not held:
            held += memoryview(source)[position:]
        elif position:
            del held[:position]
        return messages

    def __len__(self) -> int:
        return len(self._data)

    def _split(self, source: bytes | bytearray, messages: list[tuple[object, ...]]) -> int:
        """Add the messages that are complete. Returns where the first incomplete one begins."""
        position = 0
        tried = False
        while True:
            start = position
            if not self._depth:
                if not tried:
                    tried = True
                    if position := self._decode_many(source, start, messages):
                        continue
                start = _match_space(source, start).end()  # type: ignore[union-attr]
                if start == len(source):
                    return start
                if source[start] != ord("["):
                    raise RemoteProtocolError(f"expected the '[' of a message, got the byte {source[start]:#04x}")
                self._depth = self._scanned = 1
                if self._may_wait(source, start):
                    return start
            position = self._scan(source, start)
            if position - start > UNCOUNTED:
                self._count(source, start, position)
            if self._depth:
                self._scanned = position - start
                self._check_size(len(source) - start)
                return start
            amount, self._amount = self._amount, None
            has_long = has_long_number(source, start, position) if amount is None else amount.has_long
            messages.append(_decoded(source, start, position, has_long))

    def _decode_many(self, source: bytes | bytearray, start: int, messages: list[tuple[object, ...]]) -> int:
        """Add the messages of whole lines, if they are as they should be; behind them, or `start` if they are not.

        Most pieces consist of lines, and to look for the ends of messages in them costs more than to decode them. What
        decodes so are the messages that there are: none is the beginning of another one.
        """
        end = source.rfind(b"]\n", start) + 1
        if not end and len(source) - start >= _SHORT:
            # Some write no line feeds.
            end = source.rfind(b"][", start) + 1 or source.rfind(b"]", start) + 1
        if not 0 < end - start <= min(self._limit, _COPIED):
            return start
        try:
            found: list[tuple[object, ...]] = _decode_lines(source[start:end])
            if end - start <= _SHORT:
                for message in found:
                    if message and type(message[0]) is not str:
                        return start
            else:
                check_received(found)
        except (*_UNDECODABLE, RemoteProtocolError):
            # One of them is wrong, or ends elsewhere. Which of them is found out one by one.
            return start
        if has_long_number(source, start, end):
            return start
        messages += found
        return end

    def _may_wait(self, source: bytes | bytearray, start: int) -> bool:
        """Whether what has come can be looked at later, together with more: so small pieces cost less.

        A message does not end before as many brackets are closed as are open, and does not nest deeper than it has
        bytes.
        """
        scanned = start + self._scanned
        return (
            len(source) - scanned + self._depth <= MAXIMUM_DEPTH + 1
            and len(source) - start <= self._limit
            and (closed := source.count(b"]", scanned)) < self._depth
            and closed + source.count(b"}", scanned) < self._depth
        )

    def _scan(self, source: bytes | bytearray, start: int) -> int:
        """Look on for the end of the message that begins there: behind it if the depth is 0, else where to go on."""
        position = start + self._scanned
        # No further than the limit: what is wrong behind it must not be found before it, whatever the pieces are.
        end = min(len(source), start + self._limit)
        # Many messages are short. One that did not end in the piece in which it began may be long.
        size = _FEW if self._scanned == 1 else _WINDOW
        while position < end:
            part = bytes(source[position : position + size if end - position > size else end])
            if part[-1] == _BACKSLASH and (len(part) - len(part.rstrip(b"\\"))) % 2:
                # What the last one stands for comes next.
                part = part[:-1]
                if not part:
                    break
            if len(part) <= (_FEW if self._depth == 1 or self._in_string else _FEWEST):
                position += self._step(part)
                if not self._depth:
                    break
            elif self._skim(part):
                position += len(part)
            # Here it ends, or it nests too deep.
            elif (found := _search_end(part)) and found.start() > _FEW and self._skim(part[: found.start()]):
                position += found.start()
                size = _FEW
                continue
            else:
                size = len(part) // 2
                continue
            if size < _WINDOW:
                size *= _GROWTH
        return position

    def _skim(self, part: bytes) -> bool:
        """Go past a part, if the message neither ends in it nor nests too deep in it. Returns whether that is so."""
        brackets, in_string = structure(part, self._in_string, ALL_BUT_BRACKETS)
        closed, opened, height = nesting(brackets)
        if closed >= self._depth:
            return False
        room = MAXIMUM_DEPTH + 1 - self._depth
        if opened + height > room and deepest(brackets) > room:
            return False
        self._depth += opened - closed
        self._in_string = in_string
        return True

    def _step(self, part: bytes) -> int:
        """Go through a part bracket by bracket, up to the end of the message. Returns how many bytes that is."""
        position = 0
        if self._in_string:
            found = _match_rest_of_text(part)
            if not found:
                return len(part)
            self._in_string = False
            position = found.end()
        while (position := _match_flat(part, position).end()) < len(part):  # type: ignore[union-attr]
            byte = part[position]
            position += 1
            if byte in _CLOSING:
                self._depth -= 1
                if not self._depth:
                    break
            elif byte in _OPENING:
                self._depth += 1
                if self._depth > MAXIMUM_DEPTH + 1:
                    raise RemoteProtocolError(f"expected lists and dicts at most {MAXIMUM_DEPTH} deep, got deeper ones")
            else:
                # A text begins, and does not end here.
                self._in_string = True
                return len(part)
        return position

    def _count(self, source: bytes | bytearray, start: int, position: int) -> None:
        """Count what a large message holds: all of it at its end, before that when much of it is new."""
        amount = self._amount = self._amount or Amount()
        if not self._depth or position - start - amount.looked_at >= _COUNTED:
            amount.count(source, start, position)

    def _check_size(self, size: int) -> None:
        if size > self._limit:
            raise RemoteProtocolError(f"expected a message of at most {self._limit} bytes, got a longer one")


def _decoded(source: bytes | bytearray, start: int, end: int, has_long: bool) -> tuple[object, ...]:
    try:
        if end - start < _COPIED:
            message: tuple[object, ...] = _decode(source[start:end])
        else:
            # A view costs more than a short copy. None may be left behind: what is held could not shrink.
            with memoryview(source) as view, view[start:end] as part:
                message = _decode(part)
    except _UNDECODABLE as error:
        raise RemoteProtocolError(f"expected a message that decodes, got an error: {error}") from None
    if message and type(message[0]) is not str:
        raise RemoteProtocolError("expected a message that begins with a port's name, got another one")
    if has_long:
        _check_ints(message)
    return message


def _check_ints(message: tuple[object, ...]) -> None:
    """The decoder takes an int of up to some thousand digits."""
    level: list[object] = [message]
    while level:
        inside = chain(
            chain.from_iterable(value for value in level if type(value) is not dict),  # type: ignore[misc]
            *[value.values() for value in level if type(value) is dict],
        )
        values = [value for value in inside if type(value) in _LOOKED_AT]
        ints: list[int] = [value for value in values if type(value) is int]
        if ints and not SMALLEST_INT <= min(ints) <= max(ints) <= LARGEST_INT:
            raise RemoteProtocolError("expected ints of at most 64 bits, got a longer one")
        level = [value for value in values if type(value) is not int]
