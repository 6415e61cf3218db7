"""Ports that are at work when their node is to end."""

from __future__ import annotations

import trio

from trio_mp import Node


def busy_port(node: Node, seconds: float) -> str:
    """A port whose handler takes so long for each message."""
    port = node.port()

    @port.on("work", reply=True)
    async def work() -> str:
        await trio.sleep(seconds)
        return "done"

    return str(port)
