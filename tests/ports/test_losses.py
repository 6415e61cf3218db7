"""What a node tells its program of messages that it drops, on one node."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_mp import Lost, Node, Port, current_port, open_node
from trio_mp._reason import no_such_port

LONG_AGO = "0" * 16


def dead(port: str, count: int) -> Lost:
    return Lost(str(port), count, 0, no_such_port(port), True)


async def wait(_: object) -> None:
    await trio.sleep_forever()


async def kill(node: Node, port: Port) -> None:
    node.kill(port)
    await wait_all_tasks_blocked()


async def test_messages_to_a_dead_port_are_told_together() -> None:
    async with open_node("n") as node:
        told: list[Lost] = []
        port, other = node.port(), node.port()
        await kill(node, port)
        await kill(node, other)
        with node.on_lost(told.append):
            for _ in range(3):
                node.send(port, "x")
            node.send(str(port), "by its ID")
            node.send(f"n#{LONG_AGO}", "never there")
            node.send(other, "x")
            await wait_all_tasks_blocked()
            assert sorted(told, key=lambda one: one.port) == sorted(
                [dead(port, 4), dead(other, 1), dead(f"n#{LONG_AGO}", 1)], key=lambda one: one.port
            )
            node.send(port, "another loss")
            await wait_all_tasks_blocked()
            assert told[3:] == [dead(port, 1)]
        node.send(port, "x")
        await wait_all_tasks_blocked()
        assert len(told) == 4


async def test_a_message_that_was_on_its_way_when_the_port_died_is_told() -> None:
    async with open_node() as node:
        told: list[Lost] = []
        port = node.port(lambda *_: None)
        with node.on_lost(told.append):
            node.kill(port)
            node.send(port, "behind the kill")
            await wait_all_tasks_blocked()
        assert told == [dead(port, 1)]


async def test_what_waits_for_a_busy_handler_is_told_and_what_is_in_a_mailbox_was_delivered() -> None:
    async with open_node() as node:
        told: list[Lost] = []
        port, taken = node.port(), node.start_port(wait)

        @port.on()
        async def sleep(*_: Any) -> None:
            await trio.sleep_forever()

        with node.on_lost(told.append):
            for number in range(3):
                node.send(port, number)
                node.send(taken, number)
            await wait_all_tasks_blocked()
            await kill(node, port)
            await kill(node, taken)
        assert told == [dead(port, 2)]


@pytest.mark.parametrize("kind", ["busy", "mailbox"])
async def test_the_message_for_which_there_was_no_room_is_told(kind: str) -> None:
    async with open_node(mailbox_limit=3) as node:
        told: list[Lost] = []
        port = node.port() if kind == "busy" else node.start_port(wait)
        if kind == "busy":

            @port.on()
            async def sleep(*_: Any) -> None:
                await trio.sleep_forever()

        with node.on_lost(told.append):
            # One that is handled, three that wait, one too many.
            for number in range(5 if kind == "busy" else 4):
                node.send(port, number)
            await wait_all_tasks_blocked()
        assert not port.alive
        assert told == [dead(port, 4 if kind == "busy" else 1)]


async def test_an_exception_is_logged_and_ends_the_telling(caplog: pytest.LogCaptureFixture) -> None:
    async with open_node() as node:
        told: list[Lost] = []
        calls: list[Lost] = []
        port = node.port()
        await kill(node, port)

        def fail(lost: Lost) -> None:
            calls.append(lost)
            raise ValueError("of this")

        with node.on_lost(fail), node.on_lost(told.append), caplog.at_level(logging.ERROR, "trio_mp.port"):
            for _ in range(2):
                node.send(port, "x")
                await wait_all_tasks_blocked()
        assert len(calls) == 1
        assert len(told) == 2
        (record,) = caplog.records
        assert "on_lost()" in record.getMessage()
        assert record.exc_info is not None
        caplog.clear()


async def test_it_may_send_and_is_told_of_what_that_loses() -> None:
    async with open_node() as node:
        inbox: list[object] = []
        port, alive = node.port(), node.port(inbox.append)
        await kill(node, port)

        def report(lost: Lost) -> None:
            inbox.append(lost.count)
            node.send(alive, "told")
            if len(inbox) < 4:
                node.send(port, "again")

        with node.on_lost(report):
            node.send(port, "x")
            await wait_all_tasks_blocked()
        assert inbox == [1, "told", 1, "told", 1, "told"]


async def test_it_runs_in_the_context_of_the_port_that_asked_and_ends_with_it() -> None:
    async with open_node() as node:
        seen: list[object] = []
        port, asker = node.port(), node.port()
        await kill(node, port)
        asker.run(node.on_lost, lambda _: seen.append(current_port()))
        node.send(port, "x")
        await wait_all_tasks_blocked()
        assert seen == [asker]
        await kill(node, asker)
        node.send(port, "x")
        await wait_all_tasks_blocked()
        assert len(seen) == 1
        assert not node._lifecycle.losses.wanted


async def test_who_asks_in_a_port_that_has_died_is_told_nothing() -> None:
    async with open_node() as node:
        seen: list[object] = []
        port, asker = node.port(), node.port()

        def die_and_ask() -> None:
            node._lifecycle.die(asker, ())
            node.on_lost(seen.append)

        asker.run(die_and_ask)
        await kill(node, port)
        node.send(port, "x")
        await wait_all_tasks_blocked()
        assert seen == []
        assert not node._lifecycle.losses.wanted


async def test_one_that_is_cancelled_by_another_is_not_called() -> None:
    async with open_node() as node:
        seen: list[object] = []
        port = node.port()
        await kill(node, port)
        first = node.on_lost(lambda _: second.cancel())
        second = node.on_lost(seen.append)
        node.send(port, "x")
        await wait_all_tasks_blocked()
        first.cancel()
        first.cancel()
        assert seen == []


async def test_many_losses_are_told_in_several_turns() -> None:
    async with open_node("n") as node:
        told: list[Lost] = []
        with node.on_lost(told.append):
            for number in range(250):
                node.send(f"n#{number:016}", "x")
            await wait_all_tasks_blocked()
        assert [lost.port for lost in told] == [f"n#{number:016}" for number in range(250)]


@pytest.mark.parametrize("function", [5, None, trio.sleep])
async def test_what_is_no_sync_function_is_refused(function: Any) -> None:
    async with open_node() as node:
        with pytest.raises(TypeError, match="on_lost"):
            node.on_lost(function)
        assert not node._lifecycle.losses.wanted


async def test_an_async_function_behind_a_sync_front_is_a_mistake(caplog: pytest.LogCaptureFixture) -> None:
    async with open_node() as node:
        port = node.port()
        await kill(node, port)

        def front(lost: Lost) -> object:
            return wait(lost)

        node.on_lost(front)
        node.send(port, "x")
        await wait_all_tasks_blocked()
        assert not node._lifecycle.losses.wanted
        assert "sync function" in caplog.text
        caplog.clear()


async def test_what_is_sent_to_a_closed_node_tells_nobody() -> None:
    async with open_node() as node:
        told: list[Lost] = []
        node.on_lost(told.append)
    with pytest.raises(trio.ClosedResourceError):
        node.on_lost(told.append)
    assert told == []
