"""A drain, and the mailboxes of its node: who has taken which message, and who will take the rest."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from drain_helpers import about, drain_of
from network_helpers import FakeNetwork, open_pair, until
from trio.testing import wait_all_tasks_blocked

from trio_mp import Drained, Port, PortDied, Unfinished, open_node

AT_WORK = "its task has taken a message, and has not asked for the next one"


async def test_it_waits_for_a_mailbox_and_for_the_message_that_an_iteration_works_at(
    autojump_clock: object,
) -> None:
    done: list[int] = []

    async def work(port: Port) -> None:
        async for (number,) in port:
            await trio.sleep(1)
            done.append(number)

    async with open_node("a") as node:
        port = node.start_port(work)
        for number in range(3):
            node.send(port, number)
        await wait_all_tasks_blocked()
        (reason,) = about(node, port)
        assert reason == (
            "its task has taken a message, and has not asked for the next one; 2 messages waiting in its mailbox"
        )
        assert await node.drain() == Drained(())
        assert done == [0, 1, 2]


async def test_a_mailbox_is_empty_when_a_task_that_receives_has_taken_all(autojump_clock: object) -> None:
    async def work(port: Port) -> None:
        while True:
            await port.receive()
            await trio.sleep(1)

    async with open_node("a") as node:
        port = node.start_port(work)
        for number in range(3):
            node.send(port, number)
        started = trio.current_time()
        assert await node.drain() == Drained(())
        assert 1.9 < trio.current_time() - started < 2.1


async def test_what_does_not_fit_the_pattern_of_a_receive_is_waited_for(autojump_clock: object) -> None:
    got: list[Any] = []

    async def work(port: Port) -> None:
        got.append(await port.receive("go"))
        got.append(await port.receive())
        await trio.sleep_forever()

    async with open_node("a") as node:
        port = node.start_port(work)
        node.send(port, "later")
        async with drain_of(node) as drain:
            await trio.sleep(1)
            assert about(node, port) == ["1 message waiting in its mailbox"]
            assert not drain.is_over
            node.send(port, "go")
            await trio.sleep(1)
            assert drain.result == Drained(())
            assert got == [("go",), ("later",)]


async def test_a_mailbox_that_nobody_reads_is_named_and_not_waited_for() -> None:
    async with open_node("a") as node, node.open_port() as port:
        node.send(port, "one")
        result = await node.drain()
        assert result.unfinished == (
            Unfinished(port, "1 message waiting in its mailbox, from which nobody has received"),
        )


async def test_the_task_that_has_left_its_loop_and_drains_is_not_waited_for() -> None:
    async with open_node("a") as node, node.open_port() as port, trio.open_nursery() as nursery:

        async def stop() -> None:
            await wait_all_tasks_blocked()
            node.send(port, "stop")
            node.send(port, "more")

        nursery.start_soon(stop)
        async for message in port:
            assert message == ("stop",)
            break
        result = await node.drain()
        assert result.unfinished == (Unfinished(port, "1 message for it, and it awaits the drain"),)


async def test_a_task_that_takes_messages_without_waiting_and_drains_is_not_waited_for() -> None:
    async with open_node("a") as node, node.open_port() as port:
        for message in ("one", "more"):
            node.send(port, message)
        await wait_all_tasks_blocked()
        assert port.receive_nowait() == ("one",)
        result = await node.drain()
        assert result.unfinished == (Unfinished(port, "1 message for it, and it awaits the drain"),)


async def test_an_iteration_of_a_task_that_has_ended_is_over() -> None:
    async with open_node("a") as node, node.open_port() as port:

        async def take_one() -> None:
            async for _ in port:
                return

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take_one)
            await wait_all_tasks_blocked()
            node.send(port, "one")
        assert await node.drain() == Drained(())


async def test_an_iteration_that_is_cancelled_while_it_waits_has_nothing_in_hand(
    autojump_clock: object,
) -> None:
    async with open_node("a") as node, node.open_port() as port, trio.open_nursery() as nursery:

        async def look_for_a_while() -> None:
            with trio.move_on_after(1):
                async for _ in port:
                    pass
            await trio.sleep_forever()

        nursery.start_soon(look_for_a_while)
        await trio.sleep(2)
        assert await node.drain() == Drained(())
        nursery.cancel_scope.cancel()


async def test_a_receive_inside_of_a_loop_leaves_the_message_of_the_loop_in_hand(autojump_clock: object) -> None:
    done: list[str] = []

    async def work(port: Port) -> None:
        async for (text,) in port:
            done.append(f"{text} begins")
            await port.receive("more")
            await trio.sleep(5)
            done.append(f"{text} ends")

    async with open_node("a") as node:
        port = node.start_port(work)
        node.send(port, "one")
        node.send(port, "more", 1)
        await trio.sleep(1)
        assert about(node, port) == [AT_WORK]
        assert await node.drain() == Drained(())
        assert done == ["one begins", "one ends"]


async def test_a_loop_that_was_left_has_nothing_in_hand_whatever_its_task_does(autojump_clock: object) -> None:
    async with open_node("a") as node, node.open_port() as port, trio.open_nursery() as nursery:

        async def take_one() -> None:
            # It never waits for a message: that is there already.
            async for _ in port:
                break
            await trio.sleep_forever()

        async def take_one_and_fail() -> None:
            try:
                async for _ in port:
                    raise ValueError
            except ValueError:
                await trio.sleep_forever()

        node.send(port, "one")
        node.send(port, "two")
        await wait_all_tasks_blocked()
        nursery.start_soon(take_one)
        await wait_all_tasks_blocked()
        nursery.start_soon(take_one_and_fail)
        await wait_all_tasks_blocked()
        with trio.fail_after(1):
            assert await node.drain() == Drained(())
        nursery.cancel_scope.cancel()


async def test_each_loop_over_a_mailbox_has_a_message_of_its_own_in_hand(autojump_clock: object) -> None:
    done: list[int] = []

    async def work(port: Port) -> None:
        async for (number,) in port:
            port.start_soon(one_more, port)
            await trio.sleep(number)
            done.append(number)
            break
        await trio.sleep_forever()

    async def one_more(port: Port) -> None:
        # The first loop has a message in hand, and this one waits for the next.
        async for (number,) in port:
            done.append(number)

    async with open_node("a") as node:
        port = node.start_port(work)
        node.send(port, 5)
        await trio.sleep(1)
        assert about(node, port) == [AT_WORK]
        assert await node.drain() == Drained(())
        assert done == [5]


async def test_a_loop_that_was_cancelled_while_it_waited_and_is_kept_has_nothing_in_hand(
    autojump_clock: object,
) -> None:
    async with open_node("a") as node, node.open_port() as port, trio.open_nursery() as nursery:

        async def look_for_a_while() -> None:
            loop = aiter(port)
            assert await anext(loop) == ("one",)
            with trio.move_on_after(1):
                await anext(loop)
            await trio.sleep_forever()

        node.send(port, "one")
        nursery.start_soon(look_for_a_while)
        await trio.sleep(2)
        with trio.fail_after(1):
            assert await node.drain() == Drained(())
        nursery.cancel_scope.cancel()


async def test_a_loop_that_is_kept_when_its_task_has_ended_has_nothing_in_hand(autojump_clock: object) -> None:
    async with open_node("a") as node, node.open_port() as port:
        kept: list[object] = []

        async def take_one() -> None:
            kept.append(loop := aiter(port))
            assert await anext(loop) == ("one",)

        node.send(port, "one")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take_one)
        with trio.fail_after(1):
            assert await node.drain() == Drained(())
        assert len(kept) == 1


async def test_a_loop_belongs_to_the_task_that_goes_on_with_it(autojump_clock: object) -> None:
    done: list[object] = []

    async def go_on(loop: AsyncIterator[tuple[object, ...]]) -> None:
        async for message in loop:
            await trio.sleep(1)
            done.append(message)

    async with open_node("a") as node, node.open_port() as port, trio.open_nursery() as nursery:

        async def begin() -> None:
            # The mailbox has just been read, and the task that begins the loop ends at once.
            await port.receive("first")
            nursery.start_soon(go_on, aiter(port))

        node.send(port, "first")
        node.send(port, "second")
        await wait_all_tasks_blocked()
        nursery.start_soon(begin)
        await wait_all_tasks_blocked()
        assert about(node, port) == [AT_WORK]
        assert await node.drain() == Drained(())
        assert done == [("second",)]
        nursery.cancel_scope.cancel()


async def test_calls_that_wait_where_nobody_reads_are_unfinished_at_once(autojump_clock: object) -> None:
    async with open_pair(FakeNetwork()) as (a, b), b.open_port() as port, trio.open_nursery() as nursery:

        async def ask(what: str) -> None:
            with pytest.raises(PortDied):
                await a.call(port, what)

        nursery.start_soon(ask, "one")
        await trio.sleep(1)
        with trio.fail_after(1):
            result = await b.drain()
        nobody = "1 message waiting in its mailbox, from which nobody has received"
        assert result.unfinished == (Unfinished(port, nobody),)
        port.kill()


async def test_a_call_that_a_handler_has_got_is_waited_for_though_nobody_reads_the_mailbox(
    autojump_clock: object,
) -> None:
    async with open_pair(FakeNetwork()) as (a, b), b.open_port() as port, trio.open_nursery() as nursery:

        @port.on("work")
        def work(reply_to: str) -> None:
            b.send_after(5, reply_to, "done")

        answers: list[str] = []

        async def ask() -> None:
            answers.append(await a.call(port, "work", reply=str))

        nursery.start_soon(ask)
        await trio.sleep(1)
        b.send(port, "other")
        result = await b.drain()
        assert [left.port for left in result.unfinished] == [port]
        await until(lambda: answers == ["done"])
        assert trio.current_time() == pytest.approx(5, abs=1)
