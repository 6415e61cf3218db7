"""Text that came from other nodes, made harmless for a terminal. Standard library only.

A port's function, a task's name, a key of the database, a log record: other nodes choose these texts. A terminal obeys
some characters instead of showing them: it clears the screen, moves the cursor, sets its own title, or answers as if
the operator had typed. A text with a line break could pass for a line of this program, and one with a character that
changes the direction of writing is read as something else than it is. So no command prints text as it came. All of it
goes through `harmless`, in the one place where commands print, `Output`.
"""

from __future__ import annotations

import unicodedata

MARKS = 4
"""How many combining marks one character may have. Each is printed in the place of the one before it, and takes no room
of the line; so without a limit a text of any length would fit into any column."""


def harmless(text: str) -> str:
    """One line of text that a terminal shows as it is, and does not obey.

    Each character that cannot be seen becomes an escape sequence of Python, such as `\\x1b`, `\\n` or `\\u202e`. A
    second call changes nothing more.
    """
    if text.isprintable() and (text.isascii() or not any(map(unicodedata.combining, text))):
        return text
    parts: list[str] = []
    # A mark at the beginning would belong to whatever stands before this text.
    marks = MARKS
    for character in text:
        marks = marks + 1 if unicodedata.category(character).startswith("M") else 0
        parts.append(character if character.isprintable() and marks <= MARKS else _escaped(character))
    return "".join(parts)


def harmless_lines(text: str) -> list[str]:
    """The lines of a text of several lines, such as a traceback, each harmless. Only `\\n` ends a line."""
    return [harmless(line) for line in text.rstrip("\n").split("\n")]


def _escaped(character: str) -> str:
    # `isprintable` is what `repr` goes by, but a combining mark is printable.
    if character.isprintable():
        return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"
    return repr(character)[1:-1]


def width_of(text: str) -> int:
    """How many columns of a terminal a harmless text takes: two for a wide character, none for a combining mark."""
    if text.isascii():
        return len(text)
    return sum(map(_width, text))


def fit(text: str, width: int) -> str:
    """The beginning of a harmless text that fits into this many columns, with `…` in the place of the rest."""
    if width_of(text) <= width:
        return text
    room = width - 1
    for place, character in enumerate(text):
        room -= _width(character)
        if room < 0:
            return text[:place] + "…" * (width > 0)
    raise AssertionError("a text that is too wide has a character that does not fit")  # pragma: no cover


def _width(character: str) -> int:
    if unicodedata.category(character).startswith("M"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1
