"""Calls: a message and the reply to it."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from reason_helpers import Died
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

from trio_mp import Node, Port, PortDied, current_port, open_node
from trio_mp._ports.port import state_of


def counting(node: Node) -> Port:
    """A port that answers with what it was sent, and the number of the call."""
    calls = 0
    port = node.port()

    @port.on("count")
    def count(*arguments: object) -> None:
        nonlocal calls
        calls += 1
        *rest, reply = arguments
        node.send(str(reply), calls, *rest)

    return port


async def test_a_call_returns_the_whole_reply() -> None:
    async with open_node() as node:
        port = counting(node)
        assert await node.call(port, "count") == (1,)
        assert await node.call(str(port), "count", "a", "b") == (2, "a", "b")


async def test_an_empty_reply_is_a_reply() -> None:
    async with open_node() as node:
        port = node.port(node.send)
        assert await node.call(port) == ()


async def test_a_call_is_a_checkpoint() -> None:
    async with open_node() as node:
        with assert_checkpoints():
            await node.call(counting(node), "count")


async def test_the_reply_port_is_the_last_element_of_the_message() -> None:
    async with open_node() as node:
        seen: list[tuple[object, ...]] = []

        def take(*message: object) -> None:
            seen.append(message)
            node.send(str(message[-1]), "done")

        await node.call(node.port(take), "a", 1)
        assert seen[0][:-1] == ("a", 1)
        assert isinstance(seen[0][-1], Port)


async def test_a_process_can_answer() -> None:
    async with open_node() as node:

        async def serve(port: Port) -> None:
            async for number, reply in port:
                node.send(reply, 2 * number)

        assert await node.call(node.start_port(serve), 21) == (42,)


async def test_calls_at_the_same_time_get_their_own_replies() -> None:
    async with open_node() as node:
        waiting: list[tuple[int, str]] = []
        port = node.port(lambda number, reply: waiting.append((number, reply)))
        results: dict[int, object] = {}

        async def call(number: int) -> None:
            results[number] = await node.call(port, number)

        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(call, number)
            await wait_all_tasks_blocked()
            for number, reply in reversed(waiting):
                node.send(reply, -number)
        assert results == {number: (-number,) for number in range(10)}


async def test_a_second_reply_is_dropped() -> None:
    async with open_node() as node:

        def answer_twice(reply: str) -> None:
            node.send(reply, "first")
            node.send(reply, "second")

        assert await node.call(node.port(answer_twice)) == ("first",)
        await wait_all_tasks_blocked()


async def test_a_late_reply_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    async with open_node() as node:
        replies: list[str] = []
        port = node.port(replies.append)
        with trio.move_on_after(0):
            await node.call(port)
        await wait_all_tasks_blocked()
        for reply in replies:
            node.send(reply, "late")
        await wait_all_tasks_blocked()
        assert not caplog.records


async def test_a_call_to_a_port_that_dies_raises() -> None:
    async with open_node() as node:
        port = node.port(lambda _: node.kill(port, "why"))
        with pytest.raises(PortDied) as caught:
            await node.call(port)
        assert caught.value.port == port
        assert type(caught.value.port) is str
        assert caught.value.reason == ("why",)


async def test_a_call_to_a_port_that_dies_normally_raises() -> None:
    async with open_node() as node:
        port = node.port(lambda _: port.kill())
        with pytest.raises(PortDied) as caught:
            await node.call(port)
        assert caught.value.reason == ()


async def test_a_call_that_makes_its_port_fail_raises() -> None:
    async with open_node() as node:

        def fail(_: str) -> None:
            raise ValueError("no good")

        with pytest.raises(PortDied) as caught:
            await node.call(node.port(fail))
        assert caught.value.reason == Died("ValueError: no good")


async def test_a_reply_that_was_sent_before_the_death_counts() -> None:
    async with open_node() as node:

        def answer_and_fail(reply: str) -> None:
            node.send(reply, "last words")
            raise ValueError("no good")

        assert await node.call(node.port(answer_and_fail)) == ("last words",)


async def test_a_call_to_a_dead_port_raises() -> None:
    async with open_node() as node:
        port = node.port()
        node.kill(port)
        await wait_all_tasks_blocked()
        with pytest.raises(PortDied) as caught:
            await node.call(port)
        assert caught.value.reason[0] == "no_such_port"


async def test_a_call_without_a_handler_for_it_raises() -> None:
    async with open_node() as node:
        with pytest.raises(PortDied) as caught:
            await node.call(node.port(), "strange")
        assert caught.value.reason[0] == "unhandled_message"


async def test_a_call_leaves_nothing_behind() -> None:
    async with open_node() as node:
        port = counting(node)
        await node.call(port, "count")
        silent = node.port(lambda *_: None)
        with trio.move_on_after(0):
            await node.call(silent)
        with trio.CancelScope() as scope:
            scope.cancel()
            await node.call(silent)
        with pytest.raises(PortDied):
            await node.call(node.port(), "strange")
        await wait_all_tasks_blocked()
        assert set(node._runtime.dispatcher.ports.values()) == {port, silent}
        assert not node._runtime.lifecycle.unwinding
        assert not state_of(port).monitors
        assert not state_of(silent).monitors


async def test_a_call_with_a_bad_port_leaves_nothing_behind() -> None:
    async with open_node() as node:
        with pytest.raises(ValueError, match="no port"):
            await node.call("no port", "x")
        with pytest.raises(RuntimeError, match="no network"):
            await node.call("elsewhere", "x")
        await wait_all_tasks_blocked()
        assert not node._runtime.dispatcher.ports


async def test_a_call_from_a_port_is_cancelled_with_it() -> None:
    async with open_node() as node:
        silent = node.port(lambda *_: None)

        async def process(_: Port) -> None:
            await node.call(silent)

        port = node.start_port(process)
        await wait_all_tasks_blocked()
        node.kill(port, "why")
        assert await node.wait_death(port) == ("why",)
        await wait_all_tasks_blocked()
        assert set(node._runtime.dispatcher.ports.values()) == {silent}
        assert not state_of(silent).monitors


async def test_an_async_handler_can_call_and_stays_in_its_context() -> None:
    async with open_node() as node:
        counter = counting(node)
        relay = node.port()

        @relay.on("relay")
        async def answer(reply: str) -> None:
            result = await node.call(counter, "count")
            assert current_port() is relay
            node.send(reply, *result)

        assert await node.call(relay, "relay") == (1,)


async def test_a_port_that_calls_itself_in_a_handler_waits_for_itself(autojump_clock: object) -> None:
    """One message at a time: a time-out is the only way out."""
    async with open_node() as node:
        seen: list[bool] = []
        port = node.port()
        port.on("answer")(node.send)

        @port.on("ask")
        async def ask() -> None:
            with trio.move_on_after(5) as scope:
                await node.call(port, "answer")
            seen.append(scope.cancelled_caught)

        node.send(port, "ask")
        await trio.sleep(10)
        assert seen == [True]
        assert await node.call(port, "answer") == ()


async def test_the_own_node_answers_calls() -> None:
    async with open_node("here") as node:
        assert await node.call("here", "info") == ("here",)
        (seconds,) = await node.call("here#", "time")
        assert seconds > 1_700_000_000


async def test_a_reply_port_that_is_killed_ends_the_call() -> None:
    async with open_node() as node:
        port = node.port(lambda reply: node.kill(reply, "rude"))
        with pytest.raises(PortDied) as caught:
            await node.call(port)
        assert caught.value.reason == ("rude",)


async def test_who_monitors_a_reply_port_is_told_when_the_call_is_over() -> None:
    async with open_node() as node:
        told: list[tuple[object, ...]] = []

        def answer(reply: str) -> None:
            node.monitor(reply, lambda *reason: told.append(reason))
            node.send(reply, "done")

        assert await node.call(node.port(answer)) == ("done",)
        await wait_all_tasks_blocked()
        assert told == [()]


async def test_a_monitor_of_a_reply_port_that_is_set_too_late_fires() -> None:
    async with open_node() as node:
        replies: list[str] = []

        def answer(reply: str) -> None:
            replies.append(reply)
            node.send(reply)

        await node.call(node.port(answer))
        assert (await node.wait_death(replies[0]))[0] == "no_such_port"


async def test_what_a_node_port_does_not_answer_cannot_be_called() -> None:
    async with open_node("here") as node:
        with pytest.raises(ValueError, match="info, known_nodes, lookup, time, up_nodes"):
            await node.call("here", "whatever")
        with pytest.raises(ValueError, match=r"got \(\['info'\],\)"):
            await node.call("here", ["info"])
        assert await node.call("here", "info") == ("here",)
