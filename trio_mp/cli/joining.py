"""Joining the network for the length of one command."""

from __future__ import annotations

import argparse
import logging
import math
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import trio

from .._errors import ConfigurationError
from .._node.node import Node
from .._node.opening import open_node_from
from .._protocol.database.records import NODES, TOOLS
from .._services.nodes import is_node
from .exits import CANNOT_JOIN, NO, CommandFailed
from .harmless import harmless_lines
from .options import command_line_layer
from .output import Output

JOINING = 10.0
"""How long a command may take to join if `--timeout` does not say how long it may take in all, in seconds."""


@dataclass(frozen=True, slots=True)
class Tool:
    """What a command needs that has joined the network.

    Attributes:
      node: the command's own node, as a tool.
      arguments: what the command line says.
      out: where the command prints.
    """

    node: Node
    arguments: argparse.Namespace
    out: Output

    async def node_entries(self) -> dict[str, list[str]]:
        """The nodes of the network: the incarnation and the addresses of each, by node ID. A checkpoint."""
        return _entries(await self.node.database.family(NODES))

    async def tool_entries(self) -> dict[str, list[str]]:
        """The tools in the network, this one among them: the incarnation of each, by node ID. A checkpoint."""
        return _entries(await self.node.database.family(TOOLS))

    async def check_node(self, node_id: str) -> None:
        """Raise `CommandFailed` if there is no such node in the network: who waited for it would wait for long."""
        known = await self.node_entries()
        if node_id in known or node_id in await self.tool_entries():
            return
        near = get_close_matches(node_id, known, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else "; `trio-mp nodes` shows which there are"
        raise CommandFailed(NO, f"there is no node {node_id} in the network{hint}")


def _entries(said: dict[str, Any]) -> dict[str, list[str]]:
    """The entries of nodes that make sense, because other nodes may have set anything."""
    return {
        node_id: [text for text in entry if isinstance(text, str)]
        for node_id, entry in said.items()
        if is_node(node_id, entry)
    }


def run_tool(arguments: argparse.Namespace, main: Callable[[Tool], Awaitable[int]]) -> int:
    """Run a command as a member of the network. Returns the exit status.

    Args:
      arguments: of the command line, with those of a command that joins.
      main: what runs when the command's node has joined; returns the exit status.

    Raises:
      CommandFailed: the network cannot be joined.
      trio.TooSlowError: the time of `--timeout` is up.
      ConfigurationError: the settings cannot work.
      whatever else `main` raises.
    """
    log_to_people(verbose=arguments.verbose)
    return trio.run(_run, arguments, main)


async def _run(arguments: argparse.Namespace, main: Callable[[Tool], Awaitable[int]]) -> int:
    seconds = math.inf if arguments.timeout is None else arguments.timeout
    async with open_node_from(command_line_layer(arguments), profile=arguments.profile or True, tool=True) as node:
        # The node closes outside of it, so that an error that comes with the last moment stays what it is.
        ends = trio.current_time() + seconds
        await _join(node, min(JOINING, seconds))
        with trio.fail_at(ends):
            return await main(Tool(node, arguments, Output(arguments)))


async def _join(node: Node, seconds: float) -> None:
    """Wait until a node has joined the network."""
    network = node._runtime.network
    if network is None:
        raise ConfigurationError(
            "seeds: expected the address of a node of the network, got none; give it by --seed, by TRIO_MP_SEEDS or by"
            " a profile: see `trio-mp profile --help`"
        )
    with trio.move_on_after(seconds) as scope:
        async with node.watch_nodes() as changes:
            # There is one only when this node is attached: a node of the network has sent what it knows.
            await anext(changes)
            return
    assert scope.cancelled_caught
    tried = "; ".join(f"{name}: {why}" for name, why in network.failures.items())
    seeds = ", ".join(map(str, network.settings.seeds))
    raise CommandFailed(CANNOT_JOIN, f"cannot join the network: {tried or f'no answer from {seeds}'}")


class HarmlessFormatter(logging.Formatter):
    """Formats log records, which may hold what other nodes say, for a terminal. Further lines are indented."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of a record."""
        return "\n    ".join(harmless_lines(super().format(record)))


def log_to_people(*, verbose: bool) -> None:
    """Show the log with `-v` alone: what matters of it a command says itself, once."""
    # Where nobody takes a record, `logging` prints warnings as they are, and records of other nodes may come.
    logging.getLogger().addHandler(logging.NullHandler())
    logger = logging.getLogger("trio_mp")
    if verbose:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(HarmlessFormatter("%(name)s: %(levelname)s: %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
