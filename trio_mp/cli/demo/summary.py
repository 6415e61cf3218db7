"""What the demo says in lines of text: how things stand, and the summary at the end."""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass

from .board import DemoBoard, NodeState
from .checker import Verdict

_MOST_PROBLEMS = 10


class Mood(enum.Enum):
    """How a line is meant; the live picture shows it as a colour."""

    PLAIN = enum.auto()
    DIM = enum.auto()
    GOOD = enum.auto()
    DOUBTFUL = enum.auto()
    BAD = enum.auto()


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text.

    Attributes:
      text: what the line says.
      mood: how the line is meant.
      remark: what follows the text, and matters less.
    """

    text: str = ""
    mood: Mood = Mood.PLAIN
    remark: str = ""

    def __str__(self) -> str:
        return self.text + self.remark


def figures_line(board: DemoBoard) -> str:
    """How all nodes are doing, in one line of text."""
    up = sum(node.state is NodeState.UP for node in board.nodes)
    links = len(board.pairs())
    out, into = board.rates()
    median, slow = board.round_trip()
    told = sum(node.fired for node in board.nodes)
    return (
        f"{up}/{len(board.nodes)} up  {board.links() // 2}/{links // 2} connections  out {out:,.0f}/s  in {into:,.0f}/s"
        f"  round trip {median:,.0f} µs, p99 {slow:,.0f} µs  losses told {told}"
    )


def summarise(verdict: Verdict, names: tuple[str, ...], failure: str) -> list[Line]:
    """The lines at the end of the demo: what became of the messages, and whether the promise held."""
    lost: Counter[tuple[str, str]] = Counter()
    for loss in verdict.losses:
        lost[names[loss.sender], names[loss.receiver]] += loss.messages
    lines = [
        Line(),
        _count("sent", verdict.sent, f"in {verdict.streams} streams, each from one node to one port"),
        _count("delivered", verdict.delivered, "in order, and none twice"),
        _count("reported lost", verdict.reported, f"by {len(verdict.losses)} monitors, before anything later arrived"),
        *[_count(f"  {pair[0]} to {pair[1]}", count, "", Mood.DIM) for pair, count in lost.items() if count],
    ]
    if verdict.untold:
        lines.append(_count("sender gone", verdict.untold, "sent by a process in its last moment: nobody to tell"))
    lines.append(_count("unaccounted", verdict.unaccounted, ""))
    return [*lines, Line(), *_verdict(verdict, failure)]


def _count(what: str, messages: int, remark: str, mood: Mood = Mood.PLAIN) -> Line:
    return Line(f"  {what:<18}{messages:>9,}", mood, f"  {remark}" if remark else "")


def _verdict(verdict: Verdict, failure: str) -> list[Line]:
    lines = [Line(f"  {problem}", Mood.BAD) for problem in verdict.problems[:_MOST_PROBLEMS]]
    if len(verdict.problems) > _MOST_PROBLEMS:
        lines.append(Line(f"  and {len(verdict.problems) - _MOST_PROBLEMS} more", Mood.BAD))
    if not verdict.holds:
        lines.append(Line("✗ There is a hole: the promise did not hold.", Mood.BAD))
    elif failure:
        lines.append(Line("No hole was found, but not everything happened that was to be seen.", Mood.DOUBTFUL))
    else:
        lines.append(Line("✓ No hole: every message was delivered, or its loss was reported in time.", Mood.GOOD))
    if failure:
        lines.append(Line(f"✗ {failure}", Mood.BAD))
    return lines
