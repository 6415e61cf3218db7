"""The table of `trio-mp top`: what the nodes count, drawn anew at each moment. No input or output."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ... import BlockStatistics, NodeStatistics
from ..._reason import listed
from .drawing import Column, Line, Spanning, Tone, draw_table, duration_text, fit_line, line, number_text

COLUMNS = (
    Column("node"),
    Column("up", right=True, rank=6),
    Column("ports", right=True, rank=4),
    Column("queued", right=True, rank=1),
    Column("in/s", right=True, rank=2),
    Column("out/s", right=True, rank=2),
    Column("here/s", right=True, rank=5),
    Column("lost", right=True, rank=3),
    Column("calls", right=True, rank=7),
    Column("restarts", right=True, rank=8),
    Column("delay", right=True, rank=9),
    # It is empty, and so left out, as long as no loop has stood.
    Column("blocked", right=True, rank=3),
)

_SHOWN = 5
"""How many lost connections the line about a loop that stood names."""

LATE = 0.1
"""A delay of the scheduler that is worth a colour, in seconds."""


@dataclass(frozen=True)
class NodeRates:
    """How many messages a node gets and sends in a second: from others, to others, and within itself."""

    into: float
    out: float
    here: float

    @property
    def total(self) -> float:
        """All of them."""
        return self.into + self.out + self.here


@dataclass(frozen=True)
class BoardRow:
    """What is known of one node.

    Attributes:
      node_id: its ID.
      statistics: what it has said of itself last; None if it has said nothing.
      rates: of the time between its last two answers; None as long as there are no two.
      calls: how many calls it has in flight, in both directions.
      remark: why it says nothing now; empty if it does.
      text: the same, with all that is known.
    """

    node_id: str
    statistics: NodeStatistics | None = None
    rates: NodeRates | None = None
    calls: int = 0
    remark: str = ""
    text: str = ""

    @property
    def queued(self) -> int:
        """How many messages wait in the node: in its ports, for its own turn, and for other nodes."""
        found = self.statistics
        if found is None:
            return 0
        return found.waiting + found.waiting_in_ports + sum(peer.queued for peer in found.peers)

    @property
    def lost(self) -> int:
        """How many messages the node has lost."""
        return sum(self.statistics.lost.values()) if self.statistics is not None else 0

    @property
    def blocks(self) -> tuple[BlockStatistics, ...]:
        """The last times when nothing of the node ran for more than three heartbeats."""
        return self.statistics.blocks if self.statistics is not None else ()

    @property
    def blocked(self) -> float:
        """The longest of them, in seconds; 0 if there is none."""
        return max((block.seconds for block in self.blocks), default=0.0)


ORDERS = ("rate", "queued", "lost", "ports", "calls", "restarts", "delay", "blocked", "up", "node")
"""What the rows can be ordered by."""


@dataclass
class TopBoard:
    """All that is known of a network, for `top`.

    Attributes:
      observer: the ID of the node that asks: its own questions are not among the calls in flight.
      rows: of each node, by its ID.
    """

    observer: str = ""
    rows: dict[str, BoardRow] = field(default_factory=dict)

    def take(self, node_id: str, statistics: NodeStatistics) -> None:
        """Take what a node has said of itself."""
        before = self.rows.get(node_id)
        rates = None
        if before is not None and before.statistics is not None:
            rates = rates_of(before.statistics, statistics) or before.rates
        asked = sum(peer.calls_in for peer in statistics.peers if peer.node == self.observer)
        calls = max(0, statistics.calls_in - asked) + statistics.calls_out
        self.rows[node_id] = BoardRow(node_id, statistics, rates, calls)

    def take_silence(self, node_id: str, remark: str, text: str) -> None:
        """A node has not answered. What it has said before is not shown any more: it would be taken for the present."""
        self.rows[node_id] = BoardRow(node_id, remark=remark, text=text)

    def keep_only(self, node_ids: Iterable[str]) -> None:
        """Forget the nodes that have left."""
        wanted = set(node_ids)
        self.rows = {node_id: row for node_id, row in self.rows.items() if node_id in wanted}

    def sorted_rows(self, by: str) -> list[BoardRow]:
        """The rows, the greatest first; those that say nothing last."""
        rows = sorted(self.rows.values(), key=lambda row: row.node_id)
        if by != "node":
            rows.sort(key=lambda row: _value(row, by), reverse=True)
        return sorted(rows, key=lambda row: row.statistics is None)


def rates_of(before: NodeStatistics, after: NodeStatistics) -> NodeRates | None:
    """The rates between two answers of a node; None if it has run anew since, or no time has passed."""
    seconds = after.uptime - before.uptime
    if after.started != before.started or seconds <= 0:
        return None
    into, out, here = (
        max(0, getattr(after, name) - getattr(before, name)) / seconds
        for name in ("messages_in", "messages_out", "messages_here")
    )
    return NodeRates(into, out, here)


def _value(row: BoardRow, by: str) -> float:
    found = row.statistics
    if found is None:
        return 0.0
    match by:
        case "rate":
            return row.rates.total if row.rates is not None else 0.0
        case "queued":
            return row.queued
        case "lost":
            return row.lost
        case "ports":
            return found.ports
        case "calls":
            return row.calls
        case "restarts":
            return found.restarts
        case "delay":
            return found.delay or 0.0
        case "blocked":
            return row.blocked
        case _:
            return found.uptime


def draw_board(board: TopBoard, by: str, width: int, height: int | None = None) -> list[Line]:
    """Draw the board: a line about the network, and a table of its nodes.

    Args:
      board: what to draw.
      by: what the rows are ordered by, one of `ORDERS`.
      width: how many characters a line may have.
      height: how many lines there may be; None for any number.
    """
    rows = board.sorted_rows(by)
    table = draw_table(COLUMNS, [_cells(row) for row in rows], width)
    tail = [(), fit_line(latest, width)] if (latest := _latest_block(rows)) else []
    if height is not None and len(table) + len(tail) + 2 > height:
        left_out = len(table) - max(2, height - len(tail) - 3)
        table = [*table[: len(table) - left_out], line(f"… and {left_out} more nodes", Tone.DIM)]
    return [_head(rows), (), *table, *tail]


def _latest_block(rows: Sequence[BoardRow]) -> Line:
    """The latest time that a loop of all these nodes stood, for people; empty if none has."""
    # How long ago by the clock of the node itself, because those of others may differ.
    found = [
        (row.statistics.started + row.statistics.uptime - row.blocks[-1].ended, row)
        for row in rows
        if row.statistics is not None and row.blocks
    ]
    if not found:
        return ()
    ago, row = min(found, key=lambda each: each[0])
    block = row.blocks[-1]
    cost = listed(block.peers, _SHOWN)
    return (
        line(row.node_id, Tone.NAME)
        + line(f" was {block.what}", Tone.BAD)
        + line(f", {duration_text(max(0.0, ago))} ago")
        + line(f"; it has lost the connections with {cost}" if cost else "")
    )


def _head(rows: Sequence[BoardRow]) -> Line:
    silent = sum(row.statistics is None for row in rows)
    rates = [row.rates for row in rows if row.rates is not None]
    # A message between two nodes leaves one and comes into the other: it is counted where it comes in.
    total = sum(each.into + each.here for each in rates)
    lost = sum(row.lost for row in rows)
    head = line(f"{len(rows)} node{'s' * (len(rows) != 1)}", Tone.STRONG)
    head += line(f", {number_text(total)} messages/s" if rates else "")
    head += line(f", {number_text(lost)} lost" if lost else "", Tone.DOUBTFUL)
    return head + line(f", {silent} without an answer" if silent else "", Tone.DOUBTFUL)


def _cells(row: BoardRow) -> list[Line] | Spanning:
    found, rates = row.statistics, row.rates
    if found is None:
        return Spanning(line(row.node_id, Tone.DIM), line(row.remark, Tone.DOUBTFUL))
    return [
        line(row.node_id, Tone.NAME),
        line(duration_text(found.uptime)),
        line(number_text(found.ports)),
        _counted(row.queued, Tone.DOUBTFUL),
        *(line(number_text(each)) for each in ((rates.into, rates.out, rates.here) if rates is not None else ())),
        *([line("–", Tone.DIM)] * 3 if rates is None else ()),
        _counted(row.lost, Tone.BAD),
        _counted(row.calls, Tone.PLAIN),
        _counted(found.restarts, Tone.DOUBTFUL),
        _delay(found.delay),
        line(duration_text(row.blocked), Tone.BAD) if row.blocks else (),
    ]


def _counted(number: int, tone: Tone) -> Line:
    return line(number_text(number), tone if number else Tone.DIM)


def _delay(seconds: float | None) -> Line:
    if seconds is None:
        return line("–", Tone.DIM)
    return line(duration_text(seconds), Tone.BAD if seconds >= LATE else Tone.PLAIN)
