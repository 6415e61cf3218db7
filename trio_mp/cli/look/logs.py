"""`trio-mp logs`: the log records of all nodes, as they are logged."""

from __future__ import annotations

import argparse
import logging
import math
from datetime import UTC, datetime

import trio

from ..exits import OK
from ..harmless import harmless_lines
from ..joining import Tool, run_tool
from .drawing import Line, Tone, line
from .screen import show

LISTENING = 10.0
"""For how long records are awaited without `--follow`, in seconds."""

WAITING = 10_000
"""How many records may wait to be printed. The nodes that send them leave records out before that many wait here."""

_TONES = {logging.DEBUG: Tone.DIM, logging.WARNING: Tone.DOUBTFUL, logging.ERROR: Tone.BAD, logging.CRITICAL: Tone.BAD}


def logs(arguments: argparse.Namespace) -> int:
    """Run `logs`."""
    return run_tool(arguments, _logs)


class _RecordsOfOthers(logging.Handler):
    """Hands the records of other nodes to the task that prints them.

    Args:
      node_id: the ID of the node of this command, whose own records are not shown.
      wanted: the IDs of the nodes whose records are shown; none for all.
      records: where they go.
    """

    def __init__(self, node_id: str, wanted: list[str], records: trio.MemorySendChannel[logging.LogRecord]) -> None:
        super().__init__()
        self._node_id = node_id
        self._wanted = frozenset(wanted)
        self._records = records
        self.left_out = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record, if it is one of those. All records of other nodes come in the thread that runs Trio."""
        node_id = getattr(record, "node", "") or self._node_id
        if node_id == self._node_id or (self._wanted and node_id not in self._wanted):
            return
        try:
            self._records.send_nowait(record)
        except trio.WouldBlock:
            self.left_out += 1


async def _logs(tool: Tool) -> int:
    arguments = tool.arguments
    send, receive = trio.open_memory_channel[logging.LogRecord](WAITING)
    handler = _RecordsOfOthers(tool.node.id, arguments.nodes or [], send)
    root = logging.getLogger()
    root.addHandler(handler)
    if not arguments.follow:
        tool.out.say(f"records of the next {arguments.seconds:g} s; with -f until Ctrl-C")
    try:
        with (
            tool.node.collect_logs(arguments.level),
            trio.move_on_after(math.inf if arguments.follow else arguments.seconds),
        ):
            async for record in receive:
                _print(tool, record)
    finally:
        root.removeHandler(handler)
        if handler.left_out:
            tool.out.say(f"{handler.left_out} records came faster than they could be printed, and were left out")
    return OK


def _print(tool: Tool, record: logging.LogRecord) -> None:
    node_id: str = getattr(record, "node", "")
    text = record.getMessage().removeprefix(f"{node_id}: ")
    created = datetime.fromtimestamp(record.created, UTC)
    if tool.out.json:
        tool.out.row(
            {
                "time": created.isoformat(timespec="milliseconds"),
                "node": node_id,
                "level": record.levelname,
                "logger": record.name,
                "text": text,
                "traceback": record.exc_text,
            }
        )
    else:
        show(tool.out, lambda _: draw_record(record, node_id, text))


def draw_record(record: logging.LogRecord, node_id: str, text: str) -> list[Line]:
    """Draw a record: its line, and the rest of a text of several lines and its traceback, indented.

    So no text can pass for a record of another node.

    Args:
      record: the record.
      node_id: the node that it came from.
      text: its text.
    """
    first, *rest = harmless_lines(text)
    clock = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S.%f")[:-3]
    head = line(f"{clock} ", Tone.DIM) + line(node_id, Tone.NAME)
    head += line(f" {record.levelname:<7} ", _TONES.get(record.levelno, Tone.PLAIN))
    head += line(f"{record.name}: ", Tone.DIM) + line(first)
    rest += harmless_lines(record.exc_text) if record.exc_text else []
    return [head, *(line(f"    {each}", Tone.DIM) for each in rest)]
