"""The bridge of docs/asyncio-and-threads.md, at its edges: errors, cancellations, and the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest
import trio
from doc_pages import ROOT, pieces_of

from trio_mp import ConfigurationError, Node

LIMIT = 60


@pytest.fixture
def node_thread() -> Any:
    """The class that the page shows."""
    page = (ROOT / "docs" / "asyncio-and-threads.md").read_text(encoding="utf-8")
    text = next(after.text for before, after in pairwise(pieces_of(page)) if before.text == "node_thread.py")
    found: dict[str, Any] = {}
    exec(compile(text, "node_thread.py", "exec"), found)
    return found["NodeThread"]


def in_asyncio(function: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(LIMIT):
            await function()

    asyncio.run(bounded())


async def fail(node: Node) -> None:
    raise LookupError(node.id)


def test_errors_come_across_in_both_directions(node_thread: Any) -> None:
    async def ask_in_vain() -> None:
        raise KeyError("asyncio")

    async def main() -> None:
        async with node_thread("one", profile=False) as thread:
            with pytest.raises(LookupError, match="one"):
                await thread.run(fail)

            async def ask(node: Node) -> None:
                await thread.ask(ask_in_vain)

            with pytest.raises(KeyError, match="asyncio"):
                await thread.run(ask)
            # The node has lived through both.
            assert await thread.run(trio_node_id) == "one"

    in_asyncio(main)


async def trio_node_id(node: Node) -> str:
    await trio.lowlevel.checkpoint()
    return node.id


def test_a_cancellation_reaches_trio_and_waits_until_it_has_unwound(node_thread: Any) -> None:
    said: list[str] = []

    async def main() -> None:
        begun = asyncio.Event()
        loop = asyncio.get_running_loop()

        async def work(node: Node) -> None:
            loop.call_soon_threadsafe(begun.set)
            try:
                await trio.sleep_forever()
            finally:
                said.append("unwound")

        async with node_thread(profile=False) as thread:
            task = asyncio.create_task(thread.run(work))
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            said.append("cancelled")

    in_asyncio(main)
    assert said == ["unwound", "cancelled"]


def test_a_call_that_is_called_off_is_cancelled_in_asyncio(node_thread: Any) -> None:
    async def main() -> None:
        begun, cancelled = asyncio.Event(), asyncio.Event()

        async def brew() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        async with node_thread(profile=False) as thread:

            async def call_off(node: Node) -> bool:
                port = node.port()
                port.on("brew", reply=True, cancel=True)(lambda: thread.ask(brew))
                with trio.move_on_after(0.05) as scope:
                    await node.call(port, "brew")
                return scope.cancelled_caught

            assert await thread.run(call_off)
            await begun.wait()
            await cancelled.wait()

    in_asyncio(main)


def test_a_node_that_cannot_be_opened(node_thread: Any) -> None:
    async def main() -> None:
        with pytest.raises(ConfigurationError, match="secret"):
            async with node_thread(binds=["unix:s"], profile=False):
                raise AssertionError

    in_asyncio(main)


def test_the_end_of_the_node_ends_what_runs_and_refuses_more(node_thread: Any) -> None:
    async def main() -> None:
        async with node_thread(profile=False) as thread:
            waiting = asyncio.create_task(thread.run(wait_for_ever))
            await thread.run(trio_node_id)
        with pytest.raises(trio.ClosedResourceError):
            await waiting
        with pytest.raises(trio.RunFinishedError):
            await thread.run(trio_node_id)

    in_asyncio(main)


async def wait_for_ever(node: Node) -> None:
    await trio.sleep_forever()


def test_an_error_that_ends_the_node_leaves_the_block(node_thread: Any) -> None:
    async def crash(node: Node) -> None:
        node.send(node.port(lambda: 1 / 0))
        await trio.sleep_forever()

    async def open_and_crash() -> None:
        async with node_thread(profile=False, unmonitored_death="raise") as thread:
            with pytest.raises(trio.ClosedResourceError):
                await thread.run(crash)

    async def main() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            await open_and_crash()
        assert caught.group_contains(ZeroDivisionError)

    in_asyncio(main)
