"""State diagrams from tables of transitions, as SVG that takes its colours from the page.

The states stand in a column, in the order of the table. In the box of a state there is a line for every state that may
follow, and what leads there; from it a line goes to that state, on the right if that is further down, else on the left.
All lines that lead to one state from above, or from below, run together. So nothing that is written can overlap, and
nothing is placed by hand: a state more is a box more.

Only the standard library is used here, and nothing of the package: `diagrams.py` is what Sphinx loads.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape

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

_STEP = re.compile(r"\b[A-Z]{2,}\b")


@dataclass(frozen=True)
class Arrow:
    """A transition: from one state to another, when, and on which side only."""

    before: str
    after: str
    when: str
    side: str = ""

    @property
    def exit(self) -> str:
        """What is written in the box of the state before."""
        side = f" ({self.side})" if self.side else ""
        return f"{self.after}{side}" + (f": {self.when}" if self.when else "")


@dataclass(frozen=True)
class Table:
    """What a diagram shows.

    Attributes:
      arrows: in order; states stand in the order in which they are named.
      notes: what else is said of a state.
    """

    arrows: tuple[Arrow, ...]
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def states(self) -> list[str]:
        """In the order of the rows; those that nothing leaves are the last."""
        left = [arrow.before for arrow in self.arrows]
        return list(dict.fromkeys([*left, *(arrow.after for arrow in self.arrows)]))

    def __str__(self) -> str:
        return "\n".join(f"{arrow.before} -> {arrow.exit}" for arrow in self.arrows)


def read_transitions(text: str, section: str) -> Table:
    """The table in a section of `transitions.txt`.

    Raises:
      ValueError: there is no such section, or a line of it is none of a table.
    """
    _, found, rest = text.partition(f"\n[{section}]\n")
    if not found:
        raise ValueError(f"no section [{section}]")
    arrows = []
    for line in rest.partition("\n\n")[0].splitlines():
        pair, colon, events = line.partition(": ")
        before, arrow, after = pair.partition(" -> ")
        if not (colon and arrow):
            raise ValueError(f"not a transition: {line!r}")
        after, _, side = after.removesuffix(")").partition(" (")
        arrows.append(Arrow(before, after, events, side))
    return Table(tuple(arrows))


def read_steps(text: str) -> Table:
    """The table in the docstring of the handshake: steps, what is awaited, what follows.

    What follows is a list of steps with their conditions, such as `dialled by us: PROVE, else PROOF`.

    Raises:
      ValueError: there is no such table, or a row of it names no step that follows.
    """
    rows = text.partition("────\n")[2].partition("\n\n")[0].splitlines()
    if not rows:
        raise ValueError("no table of steps")
    arrows: list[Arrow] = []
    notes: dict[str, str] = {}
    for row in rows:
        step, awaited, follows = (cell.replace("`", "") for cell in re.split(r" {2,}", row.strip(), maxsplit=2))
        notes[step] = awaited
        for part in re.split(r"[;,] ", follows):
            steps = _STEP.findall(part)
            if not steps:
                raise ValueError(f"no step in {part!r}, which follows {step}")
            when = " ".join(_STEP.sub("", part).replace(" or ", " ").split()).rstrip(":")
            arrows += [Arrow(step, after, when) for after in steps]
    return Table(tuple(arrows), notes)


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
        # What stands between commas stays together.
        joined = ", ".join(part.replace(" ", "\u00a0") for part in text.split(", "))
        for number, line in enumerate(textwrap.wrap(joined, WRAP)):
            indent = 2 * CHARACTER if number else 0
            box.lines.append(Line(line.replace("\u00a0", " "), x + indent, y + LINE * 0.72, kind))
            y += LINE
        return middle

    write(state, "state")
    if state in table.notes:
        write(table.notes[state], "note")
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

STYLES = {"state": ' font-weight="bold"', "note": ' font-style="italic"', "when": ""}


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
