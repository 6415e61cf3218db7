"""`trio-mp drain`, `trio-mp stop` and `trio-mp restart`: a node that is to end in good order."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable

import trio

from .. import Drained, Inspector, Node, NodeChanges, PortDied, node_of
from .exits import NO, OK, USAGE, CommandFailed
from .joining import Tool, run_tool
from .look.asking import find

ANONYMOUS = "anon/"
"""How the IDs of nodes begin that have got a random one, and get another one when they run anew."""


def drain(arguments: argparse.Namespace) -> int:
    """Run `trio-mp drain`."""
    _check_node(arguments.node)
    return run_tool(arguments, _drain)


def stop(arguments: argparse.Namespace) -> int:
    """Run `trio-mp stop`."""
    _check_node(arguments.node)
    return run_tool(arguments, _stop)


def restart(arguments: argparse.Namespace) -> int:
    """Run `trio-mp restart`."""
    _check_node(arguments.node)
    return run_tool(arguments, _restart)


def _check_node(node_id: str) -> None:
    try:
        found = node_of(node_id)
    except ValueError as error:
        raise CommandFailed(USAGE, str(error)) from None
    if found != node_id:
        raise CommandFailed(USAGE, f"expected the ID of a node, got that of a port, {node_id}")


async def _drain(tool: Tool) -> int:
    node_id = tool.arguments.node
    inspector = await find(tool, node_id)
    drained = await inspector.drain()
    return _report(tool, drained, "drained", f"{node_id} has drained")


async def _stop(tool: Tool) -> int:
    node_id = tool.arguments.node
    inspector = await find(tool, node_id)
    drained = await _end(tool.node, inspector, inspector.stop)
    return _report(tool, drained, "stopped", f"{node_id} has stopped")


async def _restart(tool: Tool) -> int:
    node_id, force = tool.arguments.node, tool.arguments.force
    inspector = await find(tool, node_id)
    async with tool.node.watch_nodes() as changes:
        # From here on each change of this node is one that the restart has made.
        await _wait_for(changes, node_id, up=True)
        drained = await _end(tool.node, inspector, lambda: inspector.restart(force=force))
        if node_id.startswith(ANONYMOUS):
            return _report(tool, drained, "stopped", f"{node_id} has stopped, and comes back by another ID")
        tool.out.say(f"{node_id} has stopped, and is awaited")
        await _wait_for(changes, node_id, up=True)
    return _report(tool, drained, "restarted", f"{node_id} runs again")


async def _end(node: Node, inspector: Inspector, ask: Callable[[], Awaitable[Drained]]) -> Drained:
    """Ask a node to stop, and wait until it has closed. A checkpoint. Returns what was unfinished.

    Raises:
      CommandFailed: the node is gone, and what was unfinished is not known.
      CallError: it refuses.
    """
    gone = trio.Event()
    with node.monitor(inspector.node_id, lambda *_: gone.set()) as monitor:
        try:
            drained = await ask()
        except PortDied as death:
            raise CommandFailed(NO, f"{inspector.node_id} is gone, and with it its answer: {death}") from None
        await gone.wait()
        assert monitor.reason is not None
        return drained


async def _wait_for(changes: NodeChanges, node_id: str, *, up: bool) -> None:
    async for change in changes:
        if change.node_id == node_id and change.up == up:
            return


def _report(tool: Tool, drained: Drained, outcome: str, text: str) -> int:
    """Say what has become of the node, in a word and a text. Returns the exit status."""
    node_id, unfinished = tool.arguments.node, drained.unfinished
    for each in unfinished:
        tool.out.row({"node": node_id, "port": each.port, "reason": each.reason}, f"unfinished: {each}")
    tool.out.row({"node": node_id, "outcome": outcome, "unfinished": len(unfinished)}, text)
    return NO if unfinished else OK
