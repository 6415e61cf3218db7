"""`trio-mp db`: the database that all nodes of the network share, from a terminal."""

from __future__ import annotations

import argparse
import json
import math
from typing import Any

import trio

from ..exits import NO, OK, USAGE, CommandFailed
from ..joining import Tool, run_tool
from ..output import shown
from .drawing import Column, Tone, draw_table, line
from .screen import show

_COLUMNS = (Column("key"), Column("value"))


def list_families(arguments: argparse.Namespace) -> int:
    """Run `db list`."""
    return run_tool(arguments, _list)


def get(arguments: argparse.Namespace) -> int:
    """Run `db get`."""
    return run_tool(arguments, _get)


def watch(arguments: argparse.Namespace) -> int:
    """Run `db watch`."""
    return run_tool(arguments, _watch)


def set_entry(arguments: argparse.Namespace) -> int:
    """Run `db set`."""
    # A wrong value is told before anybody is dialled.
    value_of(arguments.value, typed=arguments.typed)
    return run_tool(arguments, _set)


def value_of(text: str, *, typed: bool) -> object:
    """The value that a word of the command line means.

    Args:
      text: the word.
      typed: whether it is JSON whatever it begins with.

    Raises:
      CommandFailed: it is to be JSON, and is not.
    """
    if not typed and not text.startswith(("[", "{")):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise CommandFailed(USAGE, f"VALUE: expected JSON, got {text!r}: {error}") from None


async def _list(tool: Tool) -> int:
    families = sorted(await tool.node.database.families())
    for family in families:
        tool.out.row({"family": family}, family)
    return OK if families else NO


async def _get(tool: Tool) -> int:
    family, key = tool.arguments.family, tool.arguments.key
    table = await _family(tool, family)
    if key is not None:
        if key not in table:
            tool.out.say(f"the family {family} has no key {key}")
            return NO
        tool.out.row({"key": key, "value": table[key]}, shown(table[key]))
        return OK
    if tool.out.json:
        for each in sorted(table):
            tool.out.row({"key": each, "value": table[each]})
    elif table:
        rows = [[line(each, Tone.NAME), line(shown(table[each]))] for each in sorted(table)]
        show(tool.out, lambda width: draw_table(_COLUMNS, rows, width))
    else:
        tool.out.say(f"the family {family} is empty; `trio-mp db list` shows which there are")
    return OK if table else NO


async def _family(tool: Tool, family: str) -> dict[str, Any]:
    try:
        return await tool.node.database.family(family)
    except ValueError as error:
        raise CommandFailed(USAGE, str(error)) from None


async def _watch(tool: Tool) -> int:
    try:
        async with tool.node.database.watch(tool.arguments.family) as changes:
            async for change in changes:
                for key in change.deleted:
                    tool.out.row({"event": "deleted", "key": key}, f"- {key}")
                table = change.table
                for event, mark, keys in (("changed", "~", change.changed), ("added", "+", change.added)):
                    for key in keys:
                        row = {"event": event, "key": key, "value": table[key]}
                        tool.out.row(row, f"{mark} {key}  {shown(table[key])}")
    except ValueError as error:
        raise CommandFailed(USAGE, str(error)) from None
    raise AssertionError("changes never end")  # pragma: no cover


async def _set(tool: Tool) -> int:
    """Set an entry, and keep it: an entry belongs to the node that has set it, and goes with that node."""
    family, key = tool.arguments.family, tool.arguments.key
    value = value_of(tool.arguments.value, typed=tool.arguments.typed)
    database = tool.node.database
    try:
        database.set(family, key, value)
    except (TypeError, ValueError) as error:
        raise CommandFailed(USAGE, str(error)) from None
    # The answer of the network: what others see now.
    seen = (await database.family(family)).get(key)
    tool.out.row({"family": family, "key": key, "value": value}, f"{key}  {shown(value)}")
    if seen != value:
        tool.out.say(f"another node has set {key}, too, and its value is the one that is seen: {shown(seen)}")
    seconds = tool.arguments.seconds
    tool.out.say(
        "the entry is there as long as this command runs: " + ("until Ctrl-C" if seconds is None else f"{seconds:g} s")
    )
    await trio.sleep(math.inf if seconds is None else seconds)
    return OK
