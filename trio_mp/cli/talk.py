"""The commands that talk to a running network: they send, call, spawn, monitor and kill, as any program can."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import trio

from .._errors import PortDied
from .._ids import node_of, split_port
from .._ports.losses import Lost
from .._reason import Reason, describe, is_doubtful, no_such_port
from .._services.spawning import check_reference
from .exits import NO, OK, USAGE, CommandFailed
from .joining import Tool, run_tool

KILLED: Reason = ("killed", "by trio-mp kill")
"""The reason of a port that is killed without another one: no normal death, which would leave linked ports alone."""


def send(arguments: argparse.Namespace) -> int:
    """Run `trio-mp send`."""
    check_ports(arguments.port, node_ports=False)
    return run_tool(arguments, partial(_send, message=message_of(arguments.words)))


def call(arguments: argparse.Namespace) -> int:
    """Run `trio-mp call`."""
    check_ports(arguments.port)
    return run_tool(arguments, partial(_call, message=message_of(arguments.words)))


def spawn(arguments: argparse.Namespace) -> int:
    """Run `trio-mp spawn`."""
    check_ports(arguments.node)
    try:
        check_reference(arguments.function)
    except ValueError as error:
        raise CommandFailed(USAGE, f"MODULE:FUNCTION: {error}") from None
    return run_tool(arguments, partial(_spawn, message=message_of(arguments.words)))


def monitor(arguments: argparse.Namespace) -> int:
    """Run `trio-mp monitor`."""
    check_ports(*arguments.ports)
    return run_tool(arguments, _monitor)


def kill(arguments: argparse.Namespace) -> int:
    """Run `trio-mp kill`."""
    check_ports(arguments.port, node_ports=False)
    reason = message_of(arguments.words)
    if not arguments.yes:
        # Its monitors are known to its node, which tells nobody.
        raise CommandFailed(
            USAGE,
            f"kill: expected --yes, because others may monitor {arguments.port} and react to its death, and nobody can"
            " ask for them; add --yes to kill it",
        )
    return run_tool(arguments, partial(_kill, reason=reason))


def ping(arguments: argparse.Namespace) -> int:
    """Run `trio-mp ping`."""
    check_ports(arguments.node)
    return run_tool(arguments, _ping)


def nodes(arguments: argparse.Namespace) -> int:
    """Run `trio-mp nodes`."""
    return run_tool(arguments, _watch_nodes if arguments.watch else _list_nodes)


# What the command line says ------------------------------------------------------------------------------------------


def message_of(words: list[str]) -> tuple[Any, ...]:
    """The message that the words of a command line mean: texts; or all of it as JSON, if one word begins with `[`.

    Raises:
      CommandFailed: it is to be JSON, and is not.
    """
    if len(words) != 1 or not words[0].startswith("["):
        return tuple(words)
    try:
        found: list[object] = json.loads(words[0])
    except ValueError as error:
        raise CommandFailed(
            USAGE, f"expected a list of JSON, because the one word begins with [, got {words[0]!r}: {error}"
        ) from None
    return tuple(found)


def check_ports(*ports: str, node_ports: bool = True) -> None:
    """Raise `CommandFailed` if one of these cannot be a port: before anybody is dialled."""
    for port in ports:
        try:
            _, name = split_port(port)
        except ValueError:
            wrong = port.partition("#")[2]
            why = f"; expected a name of 16 to 64 characters behind the #, got {len(wrong)}" if wrong else ""
            if 16 <= len(wrong) <= 64:
                why = ""
            raise CommandFailed(
                USAGE,
                f"expected the ID of a port, NODE#NAME{', or of a node' if node_ports else ''}, got {port!r}{why}",
            ) from None
        if not (name or node_ports):
            raise CommandFailed(
                USAGE,
                f"expected the ID of a port, NODE#NAME, got {port!r}, which is that of a node; `trio-mp ports {port}`"
                " and `trio-mp db` show ports",
            )


# What they do --------------------------------------------------------------------------------------------------------


async def _after(tool: Tool, port: str, act: Callable[[], object]) -> Reason | None:
    """Do something to a port, and wait until its node has done it. Returns why the port's monitor has fired, if it has.

    The node answers behind the report of a port that is missing, so who is answered knows that the port was there.
    """
    with tool.node.monitor(port, lambda *_: None) as monitor:
        _act(act)
        try:
            await tool.node.call(node_of(port), "info")
        except PortDied as death:
            return monitor.reason or death.reason
        return monitor.reason


def _act(act: Callable[[], object]) -> None:
    try:
        act()
    except (TypeError, ValueError) as error:
        # A message that cannot travel, or that no node port takes.
        raise CommandFailed(USAGE, str(error)) from None


async def _send(tool: Tool, message: tuple[Any, ...]) -> int:
    port = tool.arguments.port
    await tool.check_node(node_of(port))
    refusals: list[Lost] = []
    with tool.node.on_lost(refusals.append):
        reason = await _after(tool, port, lambda: tool.node.send(port, *message))
    if reason is None and not refusals:
        tool.out.row({"port": port, "outcome": "delivered"}, "delivered")
        return OK
    if reason is None:
        outcome, reason = "refused", refusals[0].reason
    elif is_doubtful(reason, node_of(port)):
        outcome = "perhaps lost"
    else:
        outcome = "dead"
    tool.out.row({"port": port, "outcome": outcome, "reason": reason}, f"{outcome}: {describe(reason)}")
    return NO


async def _call(tool: Tool, message: tuple[Any, ...]) -> int:
    await tool.check_node(node_of(tool.arguments.port))
    try:
        answer = await tool.node.call(tool.arguments.port, *message)
    except (TypeError, ValueError) as error:
        # As in `_act`.
        raise CommandFailed(USAGE, str(error)) from None
    except PortDied as death:
        got = "it may have got the message" if death.maybe_delivered else "it never got the message"
        raise CommandFailed(NO, f"{death}; {got}") from None
    texts = all(isinstance(part, str) for part in answer)
    tool.out.row({"answer": answer}, " ".join(answer) if texts else json.dumps(answer, ensure_ascii=False, default=str))
    return OK


async def _spawn(tool: Tool, message: tuple[Any, ...]) -> int:
    node, function = tool.arguments.node, tool.arguments.function
    await tool.check_node(node_of(node))
    made: list[str] = []
    _act(lambda: made.append(tool.node.spawn(node, function, *message)))
    (port,) = made
    reason = await _after(tool, port, lambda: None)
    if reason:
        raise CommandFailed(NO, f"{port}: {describe(reason)}")
    tool.out.row({"port": port, "ended": reason is not None}, port)
    if reason is not None:
        tool.out.say(f"{port} has ended already, normally")
    return OK


async def _monitor(tool: Tool) -> int:
    ports = list(dict.fromkeys(tool.arguments.ports))
    deaths, died = trio.open_memory_channel[tuple[str, Reason]](len(ports))
    for port in ports:
        await tool.check_node(node_of(port))
        tool.node.monitor(port, lambda *reason, port=port: deaths.send_nowait((port, reason)))
    for _ in range(min(tool.arguments.count or len(ports), len(ports))):
        port, reason = await died.receive()
        tool.out.row({"port": port, "reason": reason}, f"{port}: {describe(reason)}")
    return OK


async def _kill(tool: Tool, reason: Reason) -> int:
    port = tool.arguments.port
    await tool.check_node(node_of(port))
    died = trio.Event()
    # Not by `_after`: the monitor fires when the port's tasks have unwound, or have taken too long for that.
    with tool.node.monitor(port, lambda *_: died.set()) as monitor:
        _act(lambda: tool.node.kill(port, *(reason or KILLED)))
        await died.wait()
    told = monitor.reason
    assert told is not None
    if is_doubtful(told, node_of(port)):
        raise CommandFailed(NO, f"{port} may live: {describe(told)}")
    if told[:1] == no_such_port(port)[:1]:
        raise CommandFailed(NO, f"{port} is dead already: {describe(told)}")
    tool.out.row({"port": port, "reason": told}, f"{port}: {describe(told)}")
    return OK


async def _ping(tool: Tool) -> int:
    node = tool.arguments.node
    await tool.check_node(node_of(node))
    for number in range(tool.arguments.count):
        if number:
            await trio.sleep(tool.arguments.interval)
        began = trio.current_time()
        await tool.node.call(node_of(node), "time")
        milliseconds = round(1000 * (trio.current_time() - began), 3)
        tool.out.row(
            {"node": node, "number": number + 1, "milliseconds": milliseconds},
            f"{node} answered after {milliseconds:g} ms",
        )
    return OK


async def _list_nodes(tool: Tool) -> int:
    rows: list[tuple[object, ...]] = []
    for node_id, (_, *addresses) in sorted((await tool.node_entries()).items()):
        rows.append((node_id, "node", " ".join(addresses)))
    if tool.arguments.tools:
        rows += [(node_id, "tool", "") for node_id in sorted(await tool.tool_entries())]
    columns = ("node", "kind", "addresses")
    tool.out.table(columns, rows)
    return OK


async def _watch_nodes(tool: Tool) -> int:
    left = tool.arguments.count
    async with tool.node.watch_nodes(tools=tool.arguments.tools) as changes:
        async for change in changes:
            kind, word = "tool" if change.tool else "node", "up" if change.up else "down"
            tool.out.row({"node": change.node_id, "kind": kind, "up": change.up}, f"{word:4}  {kind}  {change.node_id}")
            left = None if left is None else left - 1
            if left == 0:
                return OK
    raise AssertionError("expected changes for as long as the node is open")
