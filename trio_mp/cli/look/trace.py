"""`trio-mp trace`: the messages that one port gets."""

from __future__ import annotations

import argparse

from ... import TracedMessage, node_of
from ..exits import OK, USAGE, CommandFailed
from ..joining import Tool, run_tool
from .asking import find
from .drawing import Line, Tone, line
from .screen import show

ENDINGS = {"limit": "--limit is reached", "time": "the time of --seconds is over", "died": "the port has died"}
"""Why a trace ends, for people."""


def trace(arguments: argparse.Namespace) -> int:
    """Run `trace`."""
    # Wrong words are told before anybody is dialled.
    port_of(arguments.port, arguments.number)
    return run_tool(arguments, _trace)


def port_of(port: str, number: int | None) -> tuple[str, int | str]:
    """The node of a port that the command line names, and what that node calls the port: its number, or its ID.

    Raises:
      CommandFailed: it is neither the ID of a port nor a node and a number.
    """
    if number is not None:
        if "#" in port:
            raise CommandFailed(USAGE, f"expected the ID of a port, or a node and a number, got {port} {number}")
        return port, number
    node_id, _, name = port.partition("#")
    if not name:
        raise CommandFailed(
            USAGE, f"expected a port, got the node {port}; `trio-mp ports {node_id}` shows the numbers of its ports"
        )
    try:
        return node_of(port), port
    except ValueError as error:
        raise CommandFailed(USAGE, str(error)) from None


async def _trace(tool: Tool) -> int:
    arguments = tool.arguments
    node_id, port = port_of(arguments.port, arguments.number)
    inspector = await find(tool, node_id)
    async with inspector.trace(port, limit=arguments.limit, seconds=arguments.seconds) as messages:
        tool.out.say(f"{node_id} says what the port gets; Ctrl-C ends it")
        async for message in messages:
            if tool.out.json:
                tool.out.row({"number": message.number, "seconds": message.seconds, "message": message.text})
            else:
                _print(tool, message)
    lost = f"; {messages.dropped} messages were left out, and the numbers show the gaps" if messages.dropped else ""
    tool.out.say(f"{ENDINGS.get(messages.ended, messages.ended)}{lost}")
    return OK


def _print(tool: Tool, message: TracedMessage) -> None:
    show(tool.out, lambda _: [draw_message(message)])


def draw_message(message: TracedMessage) -> Line:
    """Draw a message: its number, when it came, and its elements."""
    return (
        line(f"{message.number:>6}", Tone.NAME) + line(f"  {message.seconds:9.3f} s  ", Tone.DIM) + line(message.text)
    )
