"""A drain that runs beside a test, and what is unfinished meanwhile."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio
from trio.testing import wait_all_tasks_blocked

from trio_mp import Drained, Node


class Draining:
    """A drain that runs in a task of its own."""

    def __init__(self) -> None:
        self.result: Drained | None = None
        self.scope = trio.CancelScope()

    @property
    def is_over(self) -> bool:
        return self.result is not None

    async def run(self, node: Node) -> None:
        with self.scope:
            self.result = await node.drain()


@asynccontextmanager
async def drain_of(node: Node) -> AsyncGenerator[Draining, None]:
    """Drain a node beside the block, which the drain has to survive."""
    async with trio.open_nursery() as nursery:
        drain = Draining()
        nursery.start_soon(drain.run, node)
        await wait_all_tasks_blocked()
        yield drain
        nursery.cancel_scope.cancel()


def about(node: Node, port: str) -> list[str]:
    return [each.reason for each in node.unfinished() if each.port == port]
