"""Tracing a port: each message that it gets is shown to an operator as text, and the port notices nothing.

The text is made of plain values alone. The `repr` of a program's object is the program's code: it may take long, and
raise. What is sent to the operator is bounded, by the number of messages and by the length of each text; what has no
room in the queue of the operator's node is dropped, and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import trio

from .._ports.port import Port, rearm, state_of
from .errors import Unanswered
from .views import TraceEnd

LONGEST = 500
"""How many characters the text of a message has, at most."""

MOST = 10_000
"""How many messages one trace shows, at most: 5 MB."""

BURST, RATE = 200, 2000.0
"""How many messages are shown at once, and per second after that. Each takes 20 us, so a port that gets more than that
is slowed by less than a twentieth; what is beyond is left out."""

LONGEST_TIME = 3600.0
"""For how many seconds a port is traced, at most."""

_DEEPEST = 6
_BRACKETS: dict[type, str] = {tuple: "()", list: "[]", set: "{}", frozenset: "{}", dict: "{}"}
_LARGEST_INT = 2**256

TRACING, TRACED = "tracing", "traced"
"""The words of the messages to the operator's port: the trace has begun; a message."""


class Tracer:
    """One port that is traced.

    Args:
      port: the port, which is alive.
      limit: how many messages are shown.
      tell: sends a message to the operator's port; returns why it was not sent, or nothing.

    Attributes:
      ended: set when the trace has ended.
    """

    def __init__(self, port: Port, limit: int, tell: Callable[[tuple[object, ...]], str]) -> None:
        self._port = port
        self._limit = limit
        self._tell = tell
        self._began = trio.current_time()
        self._count = self._dropped = 0
        # How many may be shown now, and since when.
        self._room, self._at = float(BURST), self._began
        self._why = ""
        self.ended = trio.Event()

    def begin(self, number: int) -> None:
        """Begin to trace; first of all the operator hears the number of the port. Raises `Unanswered`."""
        state = state_of(self._port)
        if state.tracer is not None:
            raise Unanswered("busy", f"the port {number} is being traced already; it can be traced once at a time")
        why = self._tell((TRACING, number))
        if why:
            raise Unanswered("busy", why)
        state.tracer = self._note
        state.owned[self] = None
        rearm(self._port)

    def _note(self, message: tuple[object, ...]) -> None:
        """Tell of a message that the port is about to get. Raises nothing: the port has to get it."""
        self._count += 1
        try:
            is_shown = self._show(message)
        except Exception:  # noqa: BLE001 - whatever it is, the port is not at fault
            is_shown = False
        if not is_shown:
            self._dropped += 1
        elif self._count - self._dropped >= self._limit:
            self.end("limit")

    def _show(self, message: tuple[object, ...]) -> bool:
        """Show a message to the operator, if there is room for it; whether there was."""
        now = trio.current_time()
        self._room, self._at = min(BURST, self._room + (now - self._at) * RATE), now
        if self._room < 1:
            return False
        self._room -= 1
        return not self._tell((TRACED, self._count, now - self._began, text_of_message(message)))

    def cancel(self) -> None:
        """See `Owned.cancel`: the port has died."""
        self.end("died")

    def end(self, why: str) -> TraceEnd:
        """Trace no longer, if that has not ended before; returns what there was."""
        if not self._why:
            self._why = why
            state = state_of(self._port)
            state.tracer = None
            state.owned.pop(self, None)
            rearm(self._port)
            self.ended.set()
        return TraceEnd(self._why, self._count, self._dropped)


def text_of_message(message: tuple[object, ...]) -> str:
    """A message as text, of at most `LONGEST` characters. However large it is, this takes microseconds."""
    text = ""
    for piece in _pieces(tuple(message), _DEEPEST):
        text += piece
        if len(text) > LONGEST:
            text = text[: LONGEST - 1] + "…"
            break
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _pieces(value: object, levels: int) -> Iterator[str]:
    """The pieces of the text of a value, each when it is wanted: whoever has enough of them stops."""
    kind = type(value)
    if isinstance(value, Port):
        yield repr(str.__str__(value))
    elif isinstance(value, str | bytes) and kind in {str, bytes}:
        yield repr(value[:LONGEST])
    elif value is None or kind in {bool, float} or (kind is int and -_LARGEST_INT < value < _LARGEST_INT):  # type: ignore[operator]
        yield repr(value)
    elif kind is int:
        yield "<a large int>"
    elif kind in _BRACKETS:
        yield from _inside(value, levels)
    else:
        yield f"<{kind.__module__}.{kind.__qualname__}>"


def _inside(value: object, levels: int) -> Iterator[str]:
    brackets = _BRACKETS[type(value)]
    yield brackets[0]
    if not levels:
        yield "…"
    else:
        assert isinstance(value, tuple | list | set | frozenset | dict)
        # Each element is a character at least.
        for place, element in enumerate(islice(value, LONGEST)):
            yield ", " if place else ""
            yield from _pieces(element, levels - 1)
            if isinstance(value, dict):
                yield ": "
                yield from _pieces(value[element], levels - 1)
        yield "," if isinstance(value, tuple) and len(value) == 1 else ""
    yield brackets[1]
