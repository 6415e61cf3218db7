"""`trio-mp top`: what all nodes do now; live on a terminal, once elsewhere."""

from __future__ import annotations

import argparse

import trio

from ... import Inspector, NodeStatistics
from ..exits import NO, OK
from ..joining import Tool, run_tool
from .asking import PATIENCE, ask_all, nodes_now
from .board import BoardRow, TopBoard, draw_board
from .screen import is_picture, show


def top(arguments: argparse.Namespace) -> int:
    """Run `top`."""
    return run_tool(arguments, _top)


async def _top(tool: Tool) -> int:
    board = TopBoard()
    by, seconds = tool.arguments.sort, tool.arguments.interval
    if is_picture(tool.out) and not tool.arguments.once:
        from .live import LiveLines  # Rich takes longer to import than Trio, and may not be there

        with LiveLines() as live:
            await _measure(tool, board)
            while True:
                live.show(lambda width, height: draw_board(board, by, width, height))
                await trio.sleep(seconds)
                await _measure(tool, board)
    # A rate takes two answers.
    await _measure(tool, board)
    await trio.sleep(seconds)
    await _measure(tool, board)
    if tool.out.json:
        for row in board.sorted_rows(by):
            tool.out.row(row_of(row))
    else:
        show(tool.out, lambda width: draw_board(board, by, width))
    return OK if any(row.statistics is not None for row in board.rows.values()) else NO


async def _measure(tool: Tool, board: TopBoard) -> None:
    """Ask all nodes, those that have come since the last time too."""

    async def statistics(inspector: Inspector) -> NodeStatistics:
        return await inspector.statistics()

    node_ids = await nodes_now(tool.node)
    answers = await ask_all(tool.node, node_ids, statistics, min(PATIENCE, 2 * tool.arguments.interval))
    board.keep_only(answers)
    for node_id, answer in answers.items():
        if answer.value is not None:
            board.take(node_id, answer.value)
        else:
            board.take_silence(node_id, answer.remark, answer.text)


def row_of(row: BoardRow) -> dict[str, object]:
    """What is known of one node, as a row for scripts."""
    found, rates = row.statistics, row.rates
    if found is None:
        return {"node": row.node_id, "remark": row.remark, "text": row.text}
    return {
        "node": row.node_id,
        "uptime": found.uptime,
        "ports": found.ports,
        "queued": row.queued,
        "in_per_second": rates and rates.into,
        "out_per_second": rates and rates.out,
        "here_per_second": rates and rates.here,
        "lost": row.lost,
        "calls_in": found.calls_in,
        "calls_out": found.calls_out,
        "restarts": found.restarts,
        "delay": found.delay,
        "remark": "",
    }
