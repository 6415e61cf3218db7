"""State diagrams from tables of transitions, as SVG that takes its colours from the page.

The states stand in a column, in the order of the table. In the box of a state there is a line for every state that may
follow, and what leads there; from it a line goes to that state, on the right if that is further down, else on the left.
All lines that lead to one state from above, or from below, run together. So nothing that is written can overlap, and
nothing is placed by hand: a state more is a box more.

Only the standard library is used here, and nothing of the package: `diagrams.py` is what Sphinx loads.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from html import escape
from typing import Protocol

# All in pixels. Whoever has a wider font than this reads a text that is squeezed by the browser (`textLength`).
CHARACTER = 7.0
FONT = 11.5
LINE = 16
PADDING = 9
GAP = 22
LANE = 16
ARROW = 7
MARGIN = 6
WRAP = 50
"""The longest line in a box, in characters."""


@dataclass(frozen=True)
class Arrow:
    """A transition: from one state to another, and when."""

    before: str
    after: str
    when: str

    @property
    def exit(self) -> str:
        """What is written in the box of the state before."""
        return f"{self.after}: {self.when}"


@dataclass(frozen=True)
class Table:
    """What a diagram shows.

    Attributes:
      arrows: in order; states stand in the order in which they are named.
    """

    arrows: tuple[Arrow, ...]

    @property
    def states(self) -> list[str]:
        """In the order of the rows; those that nothing leaves are the last."""
        left = [arrow.before for arrow in self.arrows]
        return list(dict.fromkeys([*left, *(arrow.after for arrow in self.arrows)]))

    def __str__(self) -> str:
        return "\n".join(f"{arrow.before} -> {arrow.exit}" for arrow in self.arrows)


class Row(Protocol):
    """A row of a table of transitions in the package."""

    @property
    def before(self) -> Enum: ...
    @property
    def event(self) -> Enum: ...
    @property
    def after(self) -> Enum: ...
    @property
    def guards(self) -> Sequence[Callable[..., bool]]: ...


def table_of(rows: Iterable[Row]) -> Table:
    """What a diagram shows of these rows: the rows between two states are one arrow."""
    whens: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        guards = " and ".join(guard.__name__.replace("_", " ") for guard in row.guards)
        when = str(row.event.value).replace("`", "") + (f" if {guards}" if guards else "")
        whens.setdefault((str(row.before.value), str(row.after.value)), []).append(when)
    return Table(tuple(Arrow(before, after, "; ".join(found)) for (before, after), found in whens.items()))


# Where everything is -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """A line of text: where it begins, the height of its base, and how it looks."""

    text: str
    x: float
    y: float
    kind: str

    @property
    def width(self) -> float:
        return len(self.text) * CHARACTER


@dataclass
class Box:
    """A state.

    Attributes:
      state: its name.
      top, height: where it is.
      lines: what is written in it.
      exits: for each arrow that leaves it the height at which it does.
    """

    state: str
    top: float
    height: float = 0
    lines: list[Line] = field(default_factory=list)
    exits: list[tuple[Arrow, float]] = field(default_factory=list)

    @property
    def entry(self) -> float:
        """The height at which arrows end."""
        return self.top + PADDING + LINE / 2


@dataclass(frozen=True)
class Bus:
    """All lines that lead to one state on one side.

    Attributes:
      state: where to.
      right: whether it runs on the right.
      exits: the heights of the lines that join it.
      entry: the height at which it ends.
      lane: how far from the boxes it runs; 0 is next to them.
    """

    state: str
    right: bool
    exits: tuple[float, ...]
    entry: float
    lane: int = 0

    @property
    def span(self) -> tuple[float, float]:
        return min(*self.exits, self.entry), max(*self.exits, self.entry)


@dataclass(frozen=True)
class Picture:
    """A diagram, laid out.

    Attributes:
      boxes, buses: what it is made of.
      left, right: the two edges of all boxes.
      width, height: of the whole.
    """

    boxes: list[Box]
    buses: list[Bus]
    left: float
    right: float
    width: float
    height: float

    def lane_x(self, bus: Bus) -> float:
        away = (bus.lane + 1) * LANE
        return self.right + away + ARROW if bus.right else self.left - away - ARROW


def _box(state: str, top: float, table: Table, left: float) -> Box:
    box = Box(state, top)
    x, y = left + PADDING, top + PADDING

    def write(text: str, kind: str) -> float:
        """Write a text, over several lines if it is long; returns the height of the middle of the first."""
        nonlocal y
        middle = y + LINE / 2
        for number, line in enumerate(textwrap.wrap(text, WRAP)):
            indent = 2 * CHARACTER if number else 0
            box.lines.append(Line(line, x + indent, y + LINE * 0.72, kind))
            y += LINE
        return middle

    write(state, "state")
    for arrow in table.arrows:
        if arrow.before == state:
            box.exits.append((arrow, write(f"→ {arrow.exit}", "when")))
    box.height = y - top + PADDING
    return box


def _buses(boxes: list[Box]) -> list[Bus]:
    """The lines on both sides; no two of them meet in one lane."""
    order = [box.state for box in boxes]
    exits: dict[tuple[str, bool], list[float]] = {}
    for box in boxes:
        for arrow, height in box.exits:
            down = order.index(arrow.after) > order.index(box.state)
            exits.setdefault((arrow.after, down), []).append(height)
    entries = {box.state: box.entry for box in boxes}
    buses = [Bus(state, right, tuple(heights), entries[state]) for (state, right), heights in exits.items()]
    placed: list[Bus] = []
    # The short ones run next to the boxes, so that they are crossed least.
    for bus in sorted(buses, key=lambda bus: (bus.span[1] - bus.span[0], bus.state)):
        low, high = bus.span
        beside = [other for other in placed if other.right == bus.right]
        taken = {other.lane for other in beside if low <= other.span[1] and other.span[0] <= high}
        lane = next(lane for lane in range(len(beside) + 1) if lane not in taken)
        placed.append(Bus(bus.state, bus.right, bus.exits, bus.entry, lane))
    return placed


def lay_out(table: Table) -> Picture:
    """Where everything of a diagram is."""

    def boxes_at(left: float) -> list[Box]:
        boxes: list[Box] = []
        top: float = MARGIN
        for state in table.states:
            boxes.append(_box(state, top, table, left))
            top += boxes[-1].height + GAP
        return boxes

    buses = _buses(boxes_at(0))
    lanes = {right: max((bus.lane + 1 for bus in buses if bus.right is right), default=0) for right in (False, True)}
    left = MARGIN + (lanes[False] * LANE + ARROW if lanes[False] else 0)
    boxes = boxes_at(left)
    right = max(line.x + line.width for box in boxes for line in box.lines) + PADDING
    width = right + (lanes[True] * LANE + ARROW if lanes[True] else 0) + MARGIN
    return Picture(boxes, buses, left, right, width, boxes[-1].top + boxes[-1].height + MARGIN)


# SVG -----------------------------------------------------------------------------------------------------------------

STYLES = {"state": ' font-weight="bold"', "when": ""}


def draw(table: Table, title: str) -> str:
    """The diagram as an SVG element, to stand in a page; whoever cannot see it is read the table."""
    picture = lay_out(table)
    size = f'viewBox="0 0 {picture.width:g} {picture.height:g}" style="width:{picture.width:g}px;max-width:100%"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size} fill="none" stroke="currentColor">',
        f"<title>{escape(title)}</title>",
        f"<desc>{escape(str(table))}</desc>",
    ]
    parts += _draw_boxes(picture)
    for bus in picture.buses:
        parts += _draw_bus(picture, bus)
    return "\n".join([*parts, "</svg>\n"])


def _draw_boxes(picture: Picture) -> Iterable[str]:
    for box in picture.boxes:
        yield (
            f'<rect x="{picture.left:g}" y="{box.top:g}" width="{picture.right - picture.left:g}" '
            f'height="{box.height:g}" rx="6" fill="currentColor" fill-opacity="0.05"/>'
        )
        for line in box.lines:
            yield (
                f'<text x="{line.x:g}" y="{line.y:g}" textLength="{line.width:g}" lengthAdjust="spacingAndGlyphs" '
                f'font-family="monospace" font-size="{FONT:g}" fill="currentColor" stroke="none"'
                f"{STYLES[line.kind]}>{escape(line.text)}</text>"
            )


def _draw_bus(picture: Picture, bus: Bus) -> Iterable[str]:
    side = picture.right if bus.right else picture.left
    towards = 1 if bus.right else -1
    x = picture.lane_x(bus)
    low, high = bus.span
    stubs = "".join(f"M{side:g} {height:g}H{x:g}" for height in bus.exits)
    yield f'<path d="{stubs}M{x:g} {low:g}V{high:g}M{x:g} {bus.entry:g}H{side + towards * ARROW:g}"/>'
    tip = f"M{side:g} {bus.entry:g}l{towards * ARROW:g} -3.5v7z"
    yield f'<path d="{tip}" fill="currentColor"/>'
    for height in bus.exits:
        if low < height < high:
            yield f'<circle cx="{x:g}" cy="{height:g}" r="2.2" fill="currentColor"/>'
