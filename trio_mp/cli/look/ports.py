"""`trio-mp ports`: the ports of a node, the most important ones first."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence

from ... import PortView
from ..exits import OK
from ..joining import Tool, run_tool
from .asking import find
from .drawing import Column, Line, Tone, draw_table, duration_text, line, number_text, size_text
from .screen import show

PAGE = 500
"""How many ports are asked for at a time."""

COLUMNS = (
    Column("number", right=True),
    Column("function"),
    Column("state", rank=3),
    Column("queued", right=True),
    Column("size", right=True, rank=5),
    Column("per s", right=True, rank=1),
    Column("age", right=True, rank=2),
    Column("monitors", right=True, rank=7),
    Column("tasks", right=True, rank=8),
    Column("reason", rank=4),
    Column("port", rank=1),
)

_KINDS = {"reply": "(waits for a reply)", "mailbox": "(mailbox)"}


def ports(arguments: argparse.Namespace) -> int:
    """Run `ports`."""
    return run_tool(arguments, _ports)


async def _ports(tool: Tool) -> int:
    arguments = tool.arguments
    inspector = await find(tool, arguments.node)
    found: list[PortView] = []
    after: str | None = None
    while True:
        page = await inspector.ports(arguments.by, min(PAGE, arguments.limit - len(found)), after)
        after = page.after
        found += page.ports
        if tool.out.json:
            for view in page.ports:
                tool.out.row({"node": arguments.node, **dataclasses.asdict(view)})
        if after is None or len(found) >= arguments.limit:
            break
    if not tool.out.json:
        show(tool.out, lambda width: draw_ports(found, width))
    if after is not None:
        tool.out.say(f"{len(found)} of {page.count} ports; --limit shows more")
    return OK


def draw_ports(found: Sequence[PortView], width: int) -> list[Line]:
    """Draw ports as a table.

    Args:
      found: the ports.
      width: how many characters a line may have.
    """
    return draw_table(COLUMNS, [_cells(view) for view in found], width)


def _cells(view: PortView) -> list[Line]:
    return [
        line(str(view.number), Tone.NAME),
        line(view.function) if view.function else line(_KINDS.get(view.kind, "–"), Tone.DIM),
        line(view.state, {"busy": Tone.GOOD, "unwinding": Tone.DOUBTFUL}.get(view.state, Tone.DIM)),
        line(number_text(view.queued), Tone.DOUBTFUL if view.queued else Tone.DIM),
        line(size_text(view.queued_size) if view.queued_size else ""),
        line(number_text(view.rate) if view.rate is not None else ""),
        line(duration_text(view.age) if view.age is not None else ""),
        line(number_text(view.monitors) if view.monitors else ""),
        line(number_text(view.tasks) if view.tasks else ""),
        line(view.reason, Tone.BAD),
        line(view.id or "", Tone.DIM),
    ]
