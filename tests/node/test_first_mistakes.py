"""Mistakes that newcomers make, and what they are told."""

from __future__ import annotations

import asyncio

import pytest
import trio
import trio.testing

from trio_mp import open_node


async def test_on_without_parentheses_says_how_it_is_written() -> None:
    async with open_node() as node:
        port = node.port()
        with pytest.raises(TypeError, match=r"@port.on\('tag'\)"):

            @port.on
            def handler() -> None:
                """Never installed."""


def test_a_node_under_asyncio_says_that_it_needs_trio() -> None:
    async def main() -> None:
        async with open_node():
            pass

    with pytest.raises(RuntimeError, match=r"expects a task of Trio's, got asyncio's: .*trio\.run\(main\)"):
        asyncio.run(main())
    with pytest.raises(RuntimeError, match=r"expects a task of Trio's, got none"):
        main().send(None)


async def test_what_a_node_port_does_not_answer_cannot_be_called() -> None:
    async with open_node("here") as node:
        with pytest.raises(ValueError, match="info, known_nodes, time, up_nodes"):
            await node.call("here", "whatever")
        with pytest.raises(ValueError, match=r"not \(\['info'\],\)"):
            await node.call("here", ["info"])
        assert await node.call("here", "info") == ("here",)


async def test_send_from_another_thread_says_how_it_is_done_and_sends_nothing() -> None:
    received: list[object] = []
    async with open_node() as node:
        port = node.port(received.append)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(RuntimeError, match=r"trio\.from_thread\.run_sync"):
            await trio.to_thread.run_sync(node.send, port, "lost")
        node.send(port, "sent")
        await trio.testing.wait_all_tasks_blocked()
    assert received == ["sent"]
