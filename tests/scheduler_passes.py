"""Counts the passes of Trio's scheduler, so that a test can say how often a task lets others run."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio


@dataclass
class Passes:
    """How many passes there were."""

    count: int = 0


@asynccontextmanager
async def counting_passes() -> AsyncGenerator[Passes, None]:
    """Run a task that counts every pass of the scheduler, for the length of a block."""
    passes = Passes()

    async def count() -> None:
        while True:
            passes.count += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        yield passes
        nursery.cancel_scope.cancel()
