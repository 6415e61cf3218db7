"""Tables and trees of text, for a terminal of any width: values in, lines out. No input or output.

A line is a row of pieces, each with what it means. The same lines are printed as plain text, and drawn in colours by
Rich. A piece takes its text through `harmless`, so no line holds a character that a terminal obeys.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, TypeAlias

from ..harmless import fit, harmless, width_of

GAP = "  "
"""What stands between two columns."""

LEAST = 12
"""The width below which a column of text is not narrowed if it does not say otherwise, in characters."""

LEAST_OF_NAMES = 36
"""The same for columns that are never left out, as long as there are others to leave out."""

DEEPEST = 24
"""How many levels of a tree are indented; what is deeper stands in the column of this level."""


class Tone(Enum):
    """What a piece of text means, for a terminal with colours."""

    PLAIN = ""
    DIM = "dim"
    STRONG = "bold"
    NAME = "cyan"
    GOOD = "green"
    DOUBTFUL = "yellow"
    BAD = "bold red"


class Piece(NamedTuple):
    """A text of one line and one tone. Made by `line`, which makes the text harmless."""

    text: str
    tone: Tone = Tone.PLAIN


Line: TypeAlias = tuple[Piece, ...]
"""A line, or what stands in one cell of a table."""


def line(text: str, tone: Tone = Tone.PLAIN) -> Line:
    """A line of one piece. The text may come from anywhere. Lines are joined by `+`."""
    return (Piece(harmless(text), tone),)


def plain(pieces: Line) -> str:
    """The text of a line, without its tones."""
    return "".join(each.text for each in pieces).rstrip()


class Column(NamedTuple):
    """A column of a table or tree.

    Attributes:
      heading: what stands above it.
      right: whether its cells are aligned to the right, as numbers are. Such a column is never narrowed.
      rank: how early it is left out if there is no room; the greatest first, 0 never.
      least: the width below which it is not narrowed, in characters: then columns are left out instead.
    """

    heading: str
    right: bool = False
    rank: int = 0
    least: int = LEAST


class Spanning(NamedTuple):
    """A row of a table whose second cell takes the room of all columns but the first."""

    first: Line
    rest: Line


@dataclass
class Branch:
    """A row of a tree, and the rows below it.

    Attributes:
      cells: what stands in the columns; the first one is indented. Those that are missing at the end are empty.
      branches: what is below it.
    """

    cells: Sequence[Line]
    branches: list[Branch] = field(default_factory=list)


def draw_table(columns: Sequence[Column], rows: Iterable[Sequence[Line] | Spanning], width: int) -> list[Line]:
    """Draw a table: a line with the headings, and one for each row.

    If it is too wide, columns of text are narrowed, the widest first. If that is not enough, columns are left out, that
    of the greatest rank first. A column that is empty in all rows is left out, too, if it has a rank. The columns of
    rank 0 are what the table is about: they give up most of their room last.

    Args:
      columns: what there is.
      rows: the cells of each row; those that are missing at its end are empty.
      width: how many characters a line may have.
    """
    rows = list(rows)
    heading = [line(column.heading, Tone.DIM) for column in columns]
    table = [
        heading,
        *(
            [*cells[:1], *[()] * (len(columns) - 1)]
            if isinstance(cells, Spanning)
            else [*cells, *[()] * (len(columns) - len(cells))]
            for cells in rows
        ),
    ]
    shown = [
        place
        for place, column in enumerate(columns)
        if not column.rank or any(_width_of(cells[place]) for cells in table[1:])
    ]
    natural = [max(_width_of(cells[place]) for cells in table) for place in range(len(columns))]
    while True:
        widths = _narrowed([(columns[place], natural[place]) for place in shown], width)
        if _total(widths) <= width:
            break
        droppable = [place for place in shown if columns[place].rank]
        if not droppable:
            widths = _narrowed([(columns[place], natural[place]) for place in shown], width, LEAST)
            break
        shown.remove(max(droppable, key=lambda place: columns[place].rank))
    drawn = [_draw_row([(columns[place], cells[place]) for place in shown], widths, width) for cells in table]
    for number, row in enumerate(rows, 1):
        if isinstance(row, Spanning):
            room = max(0, width - widths[0] - len(GAP))
            padding = Piece(" " * (widths[0] - _width_of(fit_line(row.first, widths[0]))) + GAP)
            drawn[number] = (*fit_line(row.first, widths[0]), padding, *fit_line(row.rest, room))
    return drawn


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _narrowed(columns: Sequence[tuple[Column, int]], width: int, least_of_names: int = LEAST_OF_NAMES) -> list[int]:
    widths = [natural for _, natural in columns]
    least = [column.least if column.rank else least_of_names for column, _ in columns]
    while (excess := _total(widths) - width) > 0:
        wide = [place for place, (column, _) in enumerate(columns) if not column.right and widths[place] > least[place]]
        if not wide:
            break
        widest = max(wide, key=lambda place: widths[place])
        # Down to the next widest at once: a text of another node may be long.
        others = [widths[place] for place in wide if widths[place] < widths[widest]]
        narrower = min(max([least[widest], *others]), widths[widest] - 1)
        widths[widest] = max(widths[widest] - excess, narrower)
    return widths


def _draw_row(cells: Sequence[tuple[Column, Line]], widths: Sequence[int], width: int) -> Line:
    pieces: list[Piece] = []
    room = width
    for place, ((column, cell), own) in enumerate(zip(cells, widths, strict=True)):
        own = min(own, room)
        fitted = fit_line(cell, own)
        padding = Piece(" " * (own - _width_of(fitted)))
        pieces += [padding, *fitted] if column.right else fitted
        room = max(0, room - own)
        if place < len(cells) - 1:
            pieces += [] if column.right else [padding]
            pieces.append(Piece(GAP[:room]))
            room -= len(GAP[:room])
    return tuple(each for each in pieces if each.text)


def _width_of(pieces: Line) -> int:
    return sum(width_of(each.text) for each in pieces)


def fit_line(pieces: Line, width: int) -> Line:
    """The beginning of a line that fits into this many columns, with `…` in the place of the rest."""
    if _width_of(pieces) <= width:
        return pieces
    kept: list[Piece] = []
    for each in pieces:
        # The last piece that fits leaves room for the `…`, because something follows.
        own = width_of(each.text)
        if own >= width:
            text = fit(each.text, width) if own > width else fit(each.text + "…", width)
            return (*kept, Piece(text, each.tone))
        kept.append(each)
        width -= own
    raise AssertionError("a line that is too wide has a piece that does not fit")  # pragma: no cover


def draw_tree(columns: Sequence[Column], roots: Iterable[Branch], width: int, *, heading: bool = True) -> list[Line]:
    """Draw trees as a table whose first column is indented.

    Args:
      columns: what there is; the first has the tree.
      roots: the trees.
      width: how many characters a line may have.
      heading: whether the line with the headings is drawn.
    """
    rows: list[list[Line]] = []
    # What is deeper stands in the column of the deepest level: the names are what is to be read.
    # A stack of our own: other nodes decide how deep the tree is.
    deepest = len("├─ ") * max(1, min(DEEPEST, width // 8))
    waiting: list[tuple[Branch, str, str]] = [(root, "", "") for root in reversed(list(roots))]
    while waiting:
        branch, before, below = waiting.pop()
        first, *rest = branch.cells
        rows.append([(Piece(before, Tone.DIM), *first), *rest])
        level = below[:deepest]
        last = len(branch.branches) - 1
        for number, child in reversed(list(enumerate(branch.branches))):
            marks = ("└─ ", "   ") if number == last else ("├─ ", "│  ")
            waiting.append((child, level + marks[0], level + marks[1]))
    lines = draw_table(columns, rows, width)
    return lines if heading else lines[1:]


def size_text(size: float) -> str:
    """A number of bytes, in at most 8 characters."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"


def duration_text(seconds: float) -> str:
    """A length of time: its one or two greatest units."""
    if not seconds < 1e11:
        return "?"
    if seconds < 0.9995:
        milliseconds = max(0.0, seconds) * 1000
        return (
            f"{milliseconds:.1f} ms" if 0 < milliseconds < 9.95 else f"{milliseconds:.0f} ms" if milliseconds else "0 s"
        )
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days:,} d {hours} h" if days < 10 else f"{days:,} d"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes >= 10 else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def number_text(number: float) -> str:
    """A number with at most three figures before a unit, so that it fits into a narrow column."""
    if not abs(number) < 1e15:
        return "?"
    for unit in ("", " k", " M", " G"):
        if abs(number) < 10_000 or unit == " G":
            break
        number /= 1000
    return f"{number:,.0f}{unit}" if number >= (100 if unit else 10) or number == int(number) else f"{number:.1f}{unit}"
