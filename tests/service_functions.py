"""Functions that tests name as services of nodes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import trio

from trio_mp import Node, current_port

NOT_A_FUNCTION = 5

calls: list[tuple[object, ...]] = []
"""What the services below were called with, in order; a test empties it."""


def main(node: Node, *arguments: object) -> None:
    calls.append(("main", node.id, *arguments))


def sync(node: Node, *arguments: object) -> None:
    calls.append(("sync", node.id, *arguments))


def note_why_not_ready(node: Node) -> None:
    standing = node._runtime.standing
    node.context.extend([standing.why_not_ready(), "attached" if standing.attached.is_set() else "alone"])


def open_a_port(node: Node, family: str) -> None:
    port = node.port()

    @port.on("double")
    def double(number: int, reply: str) -> None:
        node.send(reply, 2 * number)

    node.database.register(family, port)


async def echo(node: Node, family: str) -> None:
    port = current_port()
    node.database.register(family, port)
    try:
        async for text, reply in port:
            node.send(reply, text)
    finally:
        calls.append(("echo ends", node.id))


async def fail(node: Node) -> None:
    await trio.lowlevel.checkpoint()
    raise ValueError("of the service")


def fail_at_once(node: Node) -> None:
    raise ValueError("at once")


def wrapped(node: Node) -> Any:
    return echo(node, "never")


async def generate(node: Node) -> AsyncGenerator[int, None]:
    yield 5
