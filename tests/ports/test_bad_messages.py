"""Ports that refuse messages, and do not die of them: what is bad, who is told, and what it leaves alone."""

from __future__ import annotations

import functools
import logging
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_mp import ANY, CallError, Lost, Node, Port, open_node, spawnable
from trio_mp._ports.handlers import room_for_arguments

WRONG = "the handler of a message that begins with 'put': expected 1 to 2 elements, got 3"
NOBODY = "no handler takes a message that begins with 'what'"


def make_port(node: Node, seen: list[object]) -> Port:
    port = node.port(on_bad="refuse")

    @port.on("put")
    def put(key: str, value: int = 0) -> None:
        seen.append((key, value))

    @port.on("ask", reply=True)
    def ask(key: str) -> str:
        return key.upper()

    @port.on("fail")
    def fail() -> None:
        put()  # type: ignore[call-arg]

    return port


async def test_bad_messages_are_refused_and_the_others_are_handled() -> None:
    async with open_node() as node:
        seen: list[object] = []
        told: list[Lost] = []
        port = make_port(node, seen)
        with node.on_lost(told.append):
            for message in (("put", "a"), ("put", 1, 2, 3), ("what", 1), ("put", "b", 2), ("put", 1, 2, 3)):
                node.send(port, *message)
            await wait_all_tasks_blocked()
        assert seen == [("a", 0), ("b", 2)]
        assert port.alive
        assert told == [
            Lost(str(port), 2, 0, ("bad_message", WRONG), True),
            Lost(str(port), 1, 0, ("bad_message", NOBODY), True),
        ]


async def test_a_type_error_from_inside_kills() -> None:
    async with open_node() as node:
        port = make_port(node, [])
        node.send(port, "fail")
        await wait_all_tasks_blocked()
        assert not port.alive


@pytest.mark.parametrize("on_bad", ["die", None])
async def test_the_others_die_as_ever(on_bad: Any) -> None:
    async with open_node() as node:
        for message in (("what",), ("put", 1)):
            port = node.port() if on_bad is None else node.port(on_bad=on_bad)
            port.on("put")(lambda: None)
            monitor = node.monitor(port, lambda *_: None)
            node.send(port, *message)
            await wait_all_tasks_blocked()
            assert monitor.reason is not None
            assert monitor.reason[0] == ("unhandled_message" if message == ("what",) else "die")


async def test_a_call_is_told_and_has_certainly_not_been_delivered() -> None:
    async with open_node() as node:
        port = make_port(node, [])
        assert await node.call(port, "ask", "a") == ("A",)
        for message in (("ask",), ("ask", 1, 2), ("what",)):
            with pytest.raises(CallError) as caught:
                await node.call(port, *message)
            assert caught.value.type_name == "bad_message"
            assert not caught.value.maybe_delivered
        assert port.alive


async def test_a_port_with_a_mailbox_takes_what_no_handler_does() -> None:
    async with open_node() as node, node.open_port(on_bad="refuse") as port:
        told: list[Lost] = []
        port.on("put")(lambda key: None)
        with node.on_lost(told.append):
            node.send(port, "put")
            node.send(port, "other", 1)
            assert await port.receive() == ("other", 1)
            await wait_all_tasks_blocked()
        assert [lost.count for lost in told] == [1]


async def test_a_port_with_a_task_refuses_too() -> None:
    async with open_node() as node:
        told: list[Lost] = []

        async def run(port: Port) -> None:
            port.on("put")(lambda key: None)
            await trio.sleep_forever()

        port = node.start_port(run, on_bad="refuse")
        await wait_all_tasks_blocked()
        with node.on_lost(told.append):
            node.send(port, "put")
            await wait_all_tasks_blocked()
        assert port.alive
        assert len(told) == 1


async def test_what_waits_for_a_busy_handler_is_judged_when_its_turn_comes() -> None:
    async with open_node() as node:
        seen: list[object] = []
        told: list[Lost] = []
        port = node.port(on_bad="refuse")
        go_on = trio.Event()

        @port.on("wait")
        async def wait() -> None:
            await go_on.wait()
            port.on("new")(seen.append)

        with node.on_lost(told.append):
            for message in (("wait",), ("new", 1), ("old", 1), ("new",)):
                node.send(port, *message)
            await wait_all_tasks_blocked()
            assert told == []
            go_on.set()
            await wait_all_tasks_blocked()
        assert seen == [1]
        assert sum(lost.count for lost in told) == 2


async def test_handlers_of_all_kinds_are_measured() -> None:
    async with open_node() as node:
        seen: list[object] = []
        told: list[Lost] = []

        def take(one: object) -> None:
            seen.append(one)

        port = node.port(lambda *rest: seen.append(rest), on_bad="refuse")
        port.on("a", ANY, "c")(lambda b, d: seen.append((b, d)))
        port.on("once", once=True)(take)
        port.on("once, and replies", once=True, reply=True)(take)
        with node.on_lost(told.append):
            for message in (("a", 1, "c"), ("a", 1, "c", 2), ("once",), ("once", 1), ("once", 2)):
                node.send(port, *message)
            await wait_all_tasks_blocked()
            assert seen == [(1, 2), 1, ("once", 2)]
            assert sum(lost.count for lost in told) == 2
            with pytest.raises(CallError, match="expected 1 elements, got 0"):
                await node.call(port, "once, and replies")
            assert await node.call(port, "once, and replies", 5) == (None,)
            port.off("a", ANY, "c")
            port.off()
            node.send(port, "a", 1, "c", 2)
            await wait_all_tasks_blocked()
            assert sum(lost.count for lost in told) == 3
        handlers: Any = port._state.handlers  # type: ignore[union-attr]
        assert handlers._room == {}


async def test_one_handler_of_two_patterns_is_measured_for_both() -> None:
    async with open_node() as node:
        seen: list[object] = []
        port = node.port(on_bad="refuse")

        def take(one: int) -> None:
            seen.append(one)

        port.on("a")(take)
        port.on("b")(take)
        port.off("a")
        node.send(port, "b")
        node.send(port, "b", 1)
        await wait_all_tasks_blocked()
        assert seen == [1]
        assert port.alive


def test_how_many_arguments_a_function_takes() -> None:
    def several(one: int, /, two: int = 2, *rest: int, named: int = 0) -> None: ...

    assert room_for_arguments(several) == (1, float("inf"))
    assert room_for_arguments(lambda: None) == (0, 0)
    assert room_for_arguments(functools.partial(several, 1)) == (0, float("inf"))
    assert room_for_arguments([].append) == (1, 1)
    assert room_for_arguments(print) == (0, float("inf"))
    assert room_for_arguments(dict.fromkeys) in {(1, 2), (0, float("inf"))}
    # Builtins of which nobody knows.
    assert room_for_arguments(max) == (0, float("inf"))


@pytest.mark.parametrize("on_bad", ["drop", None])
async def test_another_word_is_refused_by_name(on_bad: Any) -> None:
    async with open_node() as node:
        for make in (node.port, node.open_port, functools.partial(node.start_port, trio.sleep)):
            with pytest.raises(ValueError, match="on_bad"):
                make(on_bad=on_bad)
        with pytest.raises(ValueError, match="on_bad"):
            spawnable(on_bad=on_bad)
        assert not node._lifecycle.ports


async def test_refusals_here_are_logged_once_for_each_port(caplog: pytest.LogCaptureFixture) -> None:
    async with open_node() as node:
        port = make_port(node, [])
        for _ in range(10):
            node.send(port, "what")
        await wait_all_tasks_blocked()
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        assert NOBODY in caplog.text
        caplog.clear()
