"""Plain text for a terminal, a pipe or a file: lines, tables, and one line that says how far a command is."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import TextIOWrapper
from typing import TextIO

NARROWEST = 12
"""The width below which no column is narrowed, in characters, even if the table gets wider than the terminal."""

WIDTH = 160
"""The width of a table in a file or a pipe, in characters."""

_GAP = "  "


@dataclass
class Table:
    """A table of plain text.

    Attributes:
      headings: the headings of the columns.
      right: the numbers, from 0, of the columns that are aligned to the right.
      title, caption: the text above the table, and the text below it.
      rows: the cells of each row; an empty row draws a line between two sections.
    """

    headings: Sequence[str]
    right: frozenset[int] = frozenset()
    title: str = ""
    caption: str = ""
    rows: list[Sequence[str]] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        """Add a row. The cells that are missing at its end are empty. A cell may have several lines."""
        self.rows.append([*cells, *[""] * (len(self.headings) - len(cells))])

    def add_rule(self) -> None:
        """Draw a line below the rows so far."""
        self.rows.append(())

    def draw(self, width: int = WIDTH) -> str:
        """Draw the table as text. Long cells are wrapped so that it is not wider than `width`, if that is possible."""
        widths = self._widths(width)
        rule = "─" * (sum(widths) + len(_GAP) * (len(widths) - 1))
        lines = [*textwrap.wrap(self.title, width), *self._draw_row(self.headings, widths), rule]
        for row in self.rows:
            lines += self._draw_row(row, widths) if row else [rule]
        return "\n".join([*lines, *textwrap.wrap(self.caption, width)])

    def _widths(self, width: int) -> list[int]:
        rows = [row for row in (self.headings, *self.rows) if row]
        columns = zip(*rows, strict=True)
        widths = [max(1, *(len(line) for cell in column for line in cell.split("\n"))) for column in columns]
        room = width - len(_GAP) * (len(widths) - 1)
        while sum(widths) > room and max(widths) > NARROWEST:
            widths[widths.index(max(widths))] -= 1
        return widths

    def _draw_row(self, cells: Sequence[str], widths: list[int]) -> list[str]:
        columns = [_wrap(cell, width) for cell, width in zip(cells, widths, strict=True)]
        lines: list[str] = []
        for number in range(max(map(len, columns))):
            parts = [column[number] if number < len(column) else "" for column in columns]
            padded = [
                part.rjust(width) if place in self.right else part.ljust(width)
                for place, (part, width) in enumerate(zip(parts, widths, strict=True))
            ]
            lines.append(_GAP.join(padded).rstrip())
        return lines


def _wrap(cell: str, width: int) -> list[str]:
    """Wrap a cell into lines. The parts of a wrapped line keep its indent."""
    lines: list[str] = []
    for line in cell.split("\n"):
        indent = " " * (len(line) - len(line.lstrip()))
        lines += textwrap.wrap(line, width, subsequent_indent=indent) or [""]
    return lines


class Screen:
    """Prints for a command.

    Args:
      out: where to print; the standard output by default.
    """

    def __init__(self, out: TextIO | None = None) -> None:
        self._out: TextIO = sys.stdout if out is None else out
        if isinstance(self._out, TextIOWrapper):
            # An encoding without a µ is no reason for the command to fail.
            self._out.reconfigure(errors="replace")
        self.is_terminal: bool = self._out.isatty()
        # A dumb terminal would show escape sequences as text.
        self._can_erase = self.is_terminal and os.environ.get("TERM", "dumb") != "dumb"
        self._passing = False

    @property
    def width(self) -> int:
        """The width of a line, in characters."""
        return shutil.get_terminal_size().columns if self.is_terminal else WIDTH

    def print(self, text: str) -> None:
        """Print lines. Raises `SystemExit` if nobody reads the output any more, as in `trio-mp demo | head`."""
        self._write(text + "\n")

    def say(self, text: str) -> None:
        """On a terminal, show a line until the next one is printed. Elsewhere, do nothing."""
        if self._can_erase:
            self._write(text[: self.width - 1])
            self._passing = bool(text)

    def _write(self, text: str) -> None:
        erase = "\r\x1b[K" if self._passing else ""
        self._passing = False
        try:
            self._out.write(erase + text)
            self._out.flush()
        except BrokenPipeError:
            # Python flushes the output again when it exits, which would fail once more.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._out.fileno())
            raise SystemExit(1) from None
