"""`trio-mp top`: what all nodes do now; live on a terminal, once elsewhere."""

from __future__ import annotations

import argparse
from dataclasses import asdict

import trio

from ... import Node
from ..exits import NO, OK
from ..joining import Tool, run_tool
from .asking import PATIENCE, ask_all, nodes_now
from .board import BoardRow, TopBoard, draw_board
from .screen import is_picture, show


def top(arguments: argparse.Namespace) -> int:
    """Run `top`."""
    return run_tool(arguments, _top)


async def _top(tool: Tool) -> int:
    board = TopBoard(tool.node.id)
    by, seconds = tool.arguments.sort, tool.arguments.interval
    if is_picture(tool.out) and not tool.arguments.once:
        from .live import LiveLines  # Rich takes longer to import than Trio, and may not be there

        with LiveLines() as live:
            while True:
                began = trio.current_time()
                await measure(tool.node, board, seconds)
                live.show(lambda width, height: draw_board(board, by, width, height))
                await trio.sleep_until(began + seconds)
    # A rate takes two answers.
    await measure(tool.node, board, seconds)
    await trio.sleep(seconds)
    await measure(tool.node, board, seconds)
    if tool.out.json:
        for row in board.sorted_rows(by):
            tool.out.row(row_of(row))
    else:
        show(tool.out, lambda width: draw_board(board, by, width))
    return OK if any(row.statistics is not None for row in board.rows.values()) else NO


async def measure(node: Node, board: TopBoard, interval: float) -> None:
    """Ask all nodes, those that have come since the last time too. A checkpoint.

    Args:
      node: this node.
      board: what takes the answers.
      interval: how often the nodes are asked, in seconds.
    """
    # What is unreachable must not hold up the picture of all others.
    patience = min(PATIENCE, 2 * interval)
    answers = await ask_all(node, await nodes_now(node), lambda inspector: inspector.statistics(), patience)
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
        "calls": row.calls,
        "restarts": found.restarts,
        "delay": found.delay,
        "blocked": row.blocked,
        "blocks": [{**asdict(block), "peers": list(block.peers)} for block in row.blocks],
        "remark": "",
    }
