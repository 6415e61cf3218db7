"""The commands that talk to a running network."""

from __future__ import annotations

import argparse

import trio

from .exits import OK
from .joining import Tool, run_tool


def ping(arguments: argparse.Namespace) -> int:
    """Run `trio-mp ping`."""
    return run_tool(arguments, _ping)


async def _ping(tool: Tool) -> int:
    for number in range(tool.arguments.count):
        if number:
            await trio.sleep(tool.arguments.interval)
        began = trio.current_time()
        await tool.node.call(tool.arguments.node, "time")
        milliseconds = round(1000 * (trio.current_time() - began), 3)
        tool.out.row(
            {"node": tool.arguments.node, "number": number + 1, "milliseconds": milliseconds},
            f"{tool.arguments.node} answered after {milliseconds:g} ms",
        )
    return OK
