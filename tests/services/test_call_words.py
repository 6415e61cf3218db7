"""Calls on the wire: what the two sides say, what they believe, and what is known of a call that has failed."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from network_helpers import (
    NO_PORT,
    FakeNetwork,
    Inbox,
    RawPeer,
    a_member,
    open_pair,
    open_test_node,
    peer_of,
    until,
    warnings_in,
)

from trio_mp import CallError, Node, PortDied, open_node
from trio_mp._ids import join_port

TICKET = "TTTTTTTTTTTTTTTT"
KNOWS: dict[str, Any] = {"words": ("call",)}


async def word_of(raw: RawPeer, word: str) -> tuple[Any, ...]:
    """The first message of this word that the peer gets for its node port, without that port's name."""
    while True:
        for message in raw.messages:
            if message[:2] == ("", word):
                return message[1:]
        await raw.step()


class Caller:
    """One call of a port of a raw peer, and how it ends."""

    def __init__(self, node: Node, *message: Any, port: str = f"0#{NO_PORT}") -> None:
        self.node, self.message, self.port = node, message, port
        self.result: Any = None

    async def run(self) -> None:
        try:
            self.result = await self.node.call(self.port, *self.message)
        except (PortDied, CallError) as error:
            self.result = error

    async def end(self) -> Any:
        await until(lambda: self.result is not None)
        return self.result


async def words_of(raw: RawPeer, seconds: float = 1.0) -> list[tuple[Any, ...]]:
    """What the node has sent to this peer, without signs of life, once it has been read for so long."""
    with trio.move_on_after(seconds):
        while True:
            await raw.step()
    return [tuple(message) for message in raw.messages if len(message) and tuple(message) != ("", "")]


async def test_a_call_is_one_message_and_so_is_its_answer(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") as node, a_member(network, node, **KNOWS) as raw:
        async with trio.open_nursery() as nursery:
            caller = Caller(node, "get", 1)
            nursery.start_soon(caller.run)
            word, name, ticket, seconds, *message = await word_of(raw, "call")
            assert (word, name, seconds, message) == ("call", NO_PORT, None, ["get", 1])
            await raw.send(("", "reply", ticket, "one"), ("", "reply", ticket, "two"))
            assert await caller.end() == ("one",)
        assert [message[1] for message in await words_of(raw) if message[1] != "join"] == ["call"]


async def test_who_does_not_understand_the_word_gets_a_message_with_a_reply_port(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") as node, a_member(network, node) as raw:
        async with trio.open_nursery() as nursery:
            caller = Caller(node, "get", 1)
            nursery.start_soon(caller.run)
            assert await word_of(raw, "mon1") == ("mon1", NO_PORT)
            (message,) = [message for message in await words_of(raw) if message[0] == NO_PORT]
            *rest, reply_port = message
            assert rest == [NO_PORT, "get", 1]
            await raw.send((reply_port.partition("#")[2], "one", "two"))
            assert await caller.end() == ("one", "two")
        assert await word_of(raw, "mon0") == ("mon0", NO_PORT)


@pytest.mark.parametrize("knows", [True, False])
async def test_a_call_that_waits_for_a_connection_takes_the_form_that_is_understood(
    knows: bool, autojump_clock: trio.testing.MockClock
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") as node, trio.open_nursery() as nursery:
        value = ["a snapshot"]
        caller = Caller(node, "get", value)
        nursery.start_soon(caller.run)
        await trio.sleep(1)
        value.append("of then")
        async with a_member(network, node, words=("call",) if knows else ()) as raw:
            if knows:
                _, _, ticket, _, *message = await word_of(raw, "call")
                await raw.send(("", "reply", ticket, "one"))
            else:
                ((_, *message, reply_port),) = [one for one in await words_of(raw) if one[0] == NO_PORT]
                assert await word_of(raw, "mon1") == ("mon1", NO_PORT)
                await raw.send((reply_port.partition("#")[2], "one"))
            assert message == ["get", ["a snapshot"]]
            assert await caller.end() == ("one",)
            if knows:
                assert not [one for one in await words_of(raw) if one[0] == NO_PORT]


async def test_only_the_node_that_was_called_may_answer(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") as node, a_member(network, node, **KNOWS) as raw:
        async with a_member(network, node, "1", **KNOWS) as liar, trio.open_nursery() as nursery:
            caller = Caller(node, "get")
            nursery.start_soon(caller.run)
            ticket = (await word_of(raw, "call"))[2]
            await liar.send(
                ("", "reply", ticket, "a lie"),
                ("", "call_error", ticket, False, "KeyError", "a lie", ""),
                ("", "call_died", ticket, False, "a lie"),
            )
            await trio.sleep(1)
            assert caller.result is None
            # Of tickets that nobody knows nothing is kept, and nothing is said.
            await raw.send(*[("", "reply", TICKET, number) for number in range(100)])
            await raw.send(("", "reply", ticket, "the truth"))
            assert await caller.end() == ("the truth",)
        assert not node._calls._waiting
        assert not peer_of(node, "0").outbox.monitors


async def test_a_reply_by_message_is_called_off_there(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") as node, a_member(network, node, **KNOWS) as raw:
        async with trio.open_nursery() as nursery:
            caller = Caller(node, "get")
            nursery.start_soon(caller.run)
            ticket = (await word_of(raw, "call"))[2]
            await raw.send((ticket, "one", "two"))
            assert await caller.end() == ("one", "two")
        assert await word_of(raw, "call_off") == ("call_off", ticket)


async def test_a_call_with_the_ticket_of_another_is_ignored(
    caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") as node, a_member(network, node, **KNOWS) as raw:
        port = node.port()
        begun: list[int] = []

        @port.on("work", reply=True)
        async def work(number: int) -> int:
            begun.append(number)
            await trio.sleep(1)
            return number

        for number in (1, 2, 3):
            await raw.send(("", "call", port.name, TICKET, None, "work", number))
        await until(lambda: begun)
        answers = [message for message in await words_of(raw, 5) if message[1] == "reply"]
        assert answers == [("", "reply", TICKET, 1)]
        assert begun == [1]
        assert any("ticket" in text for text in warnings_in(caplog))


async def test_calls_in_flight_of_one_node_are_bounded_by_work_and_not_by_waiting(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a", call_limit=2) as node, a_member(network, node, **KNOWS) as raw:
        port = node.port()
        begun: list[int] = []

        @port.on("work", reply=True)
        async def work(number: int) -> int:
            begun.append(number)
            await trio.sleep(5)
            return number

        def ticket(number: int) -> str:
            return f"{number:016}"

        # To call off what runs makes no room: it runs.
        for number in (1, 2, 3):
            await raw.send(("", "call", port.name, ticket(number), None, "work", number))
        await raw.send(("", "call_off", ticket(1)), ("", "call", port.name, ticket(4), None, "work", 4))
        answers = [message for message in await words_of(raw, 4) if message[1] in {"reply", "call_error"}]
        assert [(message[2], message[3], message[4]) for message in answers] == [
            (ticket(3), False, "busy"),
            (ticket(4), False, "busy"),
        ]
        await words_of(raw, 20)
        await raw.send(("", "call", port.name, ticket(5), None, "work", 5))
        tickets = [message[2] for message in await words_of(raw, 20) if message[1] == "reply"]
        assert tickets == [ticket(2), ticket(5)]
        assert begun == [1, 2, 5]
        assert not len(peer_of(node, "0").callers)


async def test_too_many_calls_are_told_so_and_have_certainly_not_been_delivered(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_pair(FakeNetwork(), call_limit=1) as (one, other):
        port = other.port()
        port.on("wait", reply=True)(trio.sleep)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.call, str(port), "wait", 1)
            await until(lambda: len(peer_of(other, "a").callers))
            with pytest.raises(CallError, match="the limit") as caught:
                await one.call(str(port), "wait", 1)
            assert caught.value.type_name == "busy"
            assert not caught.value.maybe_delivered
        assert await one.call(str(port), "wait", 0) == (None,)


# What is known of a call that has failed --------------------------------------------------------------------------


async def failed(node: Node, port: str, *message: object) -> PortDied:
    with pytest.raises(PortDied) as caught:
        await node.call(port, *message)
    return caught.value


async def test_no_such_port_here(autojump_clock: trio.testing.MockClock) -> None:
    async with open_node() as node:
        error = await failed(node, f"{node.id}#{NO_PORT}")
        assert (error.reason[0], error.maybe_delivered) == ("no_such_port", False)


async def test_no_such_port_there(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork()) as (one, other):
        error = await failed(one, f"{other.id}#{NO_PORT}")
        assert (error.reason[0], error.maybe_delivered) == ("no_such_port", False)


async def test_a_reason_that_only_looks_like_it_proves_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork()) as (one, other):
        port = other.port()
        port.on("die", reply=True)(lambda: port.kill("no_such_port", f"there is no port {port}"))
        port.on("die by message")(lambda _: port.kill("no_such_port", f"there is no port {port}"))
        assert (await failed(one, str(port), "die by message")).maybe_delivered


async def test_a_spawn_that_fails(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork()) as (one, other):
        error = await failed(one, one.spawn(other.id, "no_module:nothing"))
        assert (error.reason[0], error.maybe_delivered) == ("spawn_failed", False)


async def test_a_port_that_dies_before_the_call_has_begun(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork()) as (one, other):
        port = other.port()
        port.on("wait", reply=True)(trio.sleep)
        async with trio.open_nursery() as nursery:
            one.send(str(port), "wait", 5)
            errors: list[PortDied] = []

            async def call() -> None:
                errors.append(await failed(one, str(port), "wait", 1))

            nursery.start_soon(call)
            await until(lambda: len(peer_of(other, "a").callers))
            other.kill(port, "enough")
        assert (errors[0].reason, errors[0].maybe_delivered) == (("enough",), False)


async def test_a_port_that_dies_while_it_answers(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork()) as (one, other):
        port = other.port()

        @port.on("wait", reply=True)
        async def wait() -> None:
            port.kill("enough")
            await trio.sleep_forever()

        error = await failed(one, str(port), "wait")
        assert (error.reason, error.maybe_delivered) == (("enough",), True)


async def test_a_call_that_was_never_written(autojump_clock: trio.testing.MockClock) -> None:
    async with open_test_node(FakeNetwork(), "a") as node:
        error = await failed(node, f"nowhere#{NO_PORT}")
        assert (error.reason[0], error.maybe_delivered) == ("transport_error", False)


async def test_a_call_that_was_written_to_a_connection_that_is_lost(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_pair(network) as (one, other):
        port = other.port(lambda *_: None)
        async with trio.open_nursery() as nursery:
            caller = Caller(one, "x", port=str(port))
            nursery.start_soon(caller.run)
            await until(lambda: len(peer_of(other, "a").callers))
            network.wire.cut()
        assert caller.result.reason[0] == "transport_error"
        assert caller.result.maybe_delivered


async def test_a_call_that_waited_behind_what_was_not_written(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_pair(network) as (one, other):
        inbox = Inbox(other)
        network.wire.stall()
        for _ in range(40):
            one.send(str(inbox.port), b"x" * 60_000)
        async with trio.open_nursery() as nursery:
            caller = Caller(one, "x", port=str(inbox.port))
            nursery.start_soon(caller.run)
        assert caller.result.reason[0] == "transport_error"
        assert not caller.result.maybe_delivered


async def test_a_call_that_the_other_node_does_not_take(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") as node, trio.open_nursery() as nursery:
        large, other = Caller(node, b"x" * 100_000), Caller(node, "x", port=join_port("0", "B" * 16))
        nursery.start_soon(large.run)
        nursery.start_soon(other.run)
        await trio.sleep(1)
        async with a_member(network, node, limit=64 * 1024, **KNOWS) as raw:
            error = await large.end()
            assert (error.reason[0], error.maybe_delivered) == ("transport_error", False)
            ticket = (await word_of(raw, "call"))[2]
            await raw.send(("", "reply", ticket, "one"))
            assert await other.end() == ("one",)
