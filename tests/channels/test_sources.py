"""Sources: async generators on another node, whose items come through a channel."""

# ruff: noqa: PT012 - what leaves a whole block is what some of these tests are about

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from network_helpers import FakeNetwork, open_pair, warnings_in

from trio_mp import Node, PortDied, current_node, spawnable

HERE = __name__

told: list[Any] = []


@pytest.fixture(autouse=True)
def nothing_is_told() -> Iterator[None]:
    told.clear()
    yield
    told.clear()


@spawnable
async def counts(number: int) -> AsyncGenerator[int, None]:
    assert current_node().context == "of the node"
    task = trio.lowlevel.current_task()
    try:
        for item in range(number):
            yield item
            told.append(item)
    finally:
        assert trio.lowlevel.current_task() is task
        # A goodbye that waits is possible, because nothing has cancelled it.
        await trio.sleep(0.5)
        told.append("closed")


@spawnable
async def waits(seconds: float) -> AsyncGenerator[str, None]:
    task = trio.lowlevel.current_task()
    yield "first"
    try:
        with trio.CancelScope():
            await trio.sleep(seconds)
            yield "second"
    except trio.Cancelled:
        told.append("cancelled")
        raise
    finally:
        assert trio.lowlevel.current_task() is task


@spawnable
async def fails() -> AsyncGenerator[int, None]:
    yield 1
    raise KeyError("no more")


@spawnable
async def yields_what_cannot_travel() -> AsyncGenerator[object, None]:
    yield 1
    yield object()


@spawnable
async def has_no_yield() -> None: ...


@asynccontextmanager
async def both(local: bool) -> AsyncGenerator[tuple[Node, str, Node], None]:
    async with open_pair(FakeNetwork(), spawn_modules=[HERE], context="of the node") as (a, b):
        yield b, ("b" if local else "a"), (b if local else a)


where = pytest.mark.parametrize("local", [True, False], ids=["here", "there"])


@where
async def test_all_items_come_and_then_the_end(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, local: bool
) -> None:
    async with both(local) as (b, there, node):
        async with b.open_source(there, f"{HERE}:counts", 200, buffer=3) as rows:
            assert [row async for row in rows] == list(range(200))
            await trio.sleep(1)
            assert not node._lifecycle.ports.keys() - b._lifecycle.ports.keys()
        assert told == [*range(200), "closed"]
        assert not b._lifecycle.ports
    assert not warnings_in(caplog)


@where
async def test_a_generator_runs_ahead_by_the_buffer(autojump_clock: trio.testing.MockClock, local: bool) -> None:
    async with both(local) as (b, there, _), b.open_source(there, f"{HERE}:counts", 200, buffer=3) as rows:
        await trio.sleep(1)
        assert told == [0, 1, 2]
        assert await rows.receive() == 0


@where
async def test_leaving_early_closes_the_generator_in_its_task(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, local: bool
) -> None:
    async with both(local) as (b, there, node):
        async with b.open_source(there, f"{HERE}:counts", 200, buffer=3) as rows:
            async for row in rows:
                if row == 5:
                    break
        await trio.sleep(1)
        assert told[-1] == "closed"
        assert not node._lifecycle.ports
    assert not warnings_in(caplog)


@where
async def test_leaving_early_cancels_a_generator_that_waits(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, local: bool
) -> None:
    async with both(local) as (b, there, node):
        async with b.open_source(there, f"{HERE}:waits", 1000) as rows:
            assert await rows.receive() == "first"
        await trio.sleep(1)
        assert told == ["cancelled"]
        assert not node._lifecycle.ports
        told.clear()
        with pytest.raises(KeyError):
            async with b.open_source(there, f"{HERE}:waits", 1000) as rows:
                await trio.sleep(1)
                raise KeyError
        await trio.sleep(1)
        assert told == ["cancelled"]
        assert not node._lifecycle.ports
        async with b.open_source(there, f"{HERE}:waits", 1) as rows:
            assert [row async for row in rows] == ["first", "second"]
    assert not warnings_in(caplog)


@pytest.mark.parametrize(
    "local, function, text",
    [(True, "fails", "KeyError"), (False, "fails", "KeyError"), (False, "yields_what_cannot_travel", "item")],
)
async def test_a_generator_that_raises_breaks_the_channel(
    autojump_clock: trio.testing.MockClock, local: bool, function: str, text: str
) -> None:
    async with both(local) as (b, there, _), b.open_source(there, f"{HERE}:{function}") as rows:
        assert await rows.receive() == 1
        with pytest.raises(trio.BrokenResourceError, match=text):
            await rows.receive()


@where
async def test_a_function_without_yield_is_no_source(autojump_clock: trio.testing.MockClock, local: bool) -> None:
    async with both(local) as (b, there, _):
        with pytest.raises(PortDied, match="with `yield`"):
            async with b.open_source(there, f"{HERE}:has_no_yield"):
                raise AssertionError("it was opened")
        with pytest.raises(PortDied, match="without `yield`"):
            await b.start_on(there, f"{HERE}:counts", 1)
