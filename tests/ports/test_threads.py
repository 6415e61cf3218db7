"""Other threads reach a node through `trio.from_thread`."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import wait_all_tasks_blocked

from trio_mp import open_node


async def test_another_thread_sends() -> None:
    async with open_node() as node, node.open_port() as port:

        def work() -> None:
            for number in range(10):
                trio.from_thread.run_sync(node.send, port, "number", number)

        await trio.to_thread.run_sync(work)
        assert [await port.receive() for _ in range(10)] == [("number", number) for number in range(10)]


async def test_another_thread_wakes_a_node_that_sleeps() -> None:
    async with open_node() as node, node.open_port() as port, trio.open_nursery() as nursery:

        async def work() -> None:
            await trio.to_thread.run_sync(lambda: trio.from_thread.run_sync(node.send, str(port), "awake"))

        await wait_all_tasks_blocked()
        nursery.start_soon(work)
        assert await port.receive() == ("awake",)


async def test_many_threads_keep_their_own_order() -> None:
    async with open_node() as node:
        received: list[tuple[int, int]] = []
        port = node.port(lambda *message: received.append(message))

        def work(thread: int) -> None:
            for number in range(20):
                trio.from_thread.run_sync(node.send, port, thread, number)

        async with trio.open_nursery() as nursery:
            for thread in range(5):
                nursery.start_soon(trio.to_thread.run_sync, work, thread)
        await wait_all_tasks_blocked()
        for thread in range(5):
            assert [number for sender, number in received if sender == thread] == list(range(20))


async def test_another_thread_calls_and_is_told_of_deaths() -> None:
    async with open_node() as node:
        port = node.port(lambda *message: node.send(message[-1], *message[:-1]))

        def work() -> tuple[Any, Any]:
            reply = trio.from_thread.run(node.call, port, "question")
            monitor = trio.from_thread.run_sync(node.monitor, port, lambda *_: None)
            trio.from_thread.run_sync(node.kill, port, "why")
            trio.from_thread.run(wait_all_tasks_blocked)
            return reply, monitor.reason

        assert await trio.to_thread.run_sync(work) == (("question",), ("why",))


async def test_what_is_wrong_raises_in_the_thread() -> None:
    async with open_node() as node:

        def work() -> None:
            trio.from_thread.run_sync(node.send, "no port", "x")

        with pytest.raises(ValueError, match="no port"):
            await trio.to_thread.run_sync(work)


async def test_a_handler_can_leave_work_to_a_thread() -> None:
    """The recipe for handlers that compute for long."""
    async with open_node() as node:
        port = node.port()

        @port.on("square")
        async def square(number: int, reply: str) -> None:
            node.send(reply, await trio.to_thread.run_sync(lambda: number * number))

        assert await node.call(port, "square", 12) == (144,)


async def test_a_thread_that_outlives_the_node_is_told() -> None:
    async with open_node() as node:
        port = node.port()

    def work() -> None:
        trio.from_thread.run_sync(node.send, port, "x")

    with pytest.raises(trio.ClosedResourceError):
        await trio.to_thread.run_sync(work)


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
