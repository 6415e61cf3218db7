"""Calls on the wire: what the two sides say, and what they believe."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from network_helpers import (
    NO_PORT,
    FakeNetwork,
    RawPeer,
    a_member,
    open_pair,
    open_test_node,
    peer_of,
    until,
    warnings_in,
)
from trio.testing import wait_all_tasks_blocked

from trio_mp import CallError, Node, PortDied

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
        assert not peer_of(node, "0").callers._watched


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


# A peer that says anything --------------------------------------------------------------------------------------


async def test_a_peer_that_calls_anything_gets_nothing_twice_and_nothing_is_kept(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") as node, a_member(network, node, **KNOWS) as raw:
        port = node.port()
        port.on("get", reply=True, errors=(LookupError,))(lambda value: value)
        for seconds in (-1.0, -1, float("nan"), float("inf"), True, "5", [5]):
            await raw.send(("", "call", port.name, TICKET, seconds, "get", 1))
        for name, ticket in (("x", TICKET), (port.name, "short"), (port.name, ["a"]), (port.name, 7), ({}, TICKET)):
            await raw.send(("", "call", name, ticket, None, "get", 1))
        for word in ("call_off", "reply", "call_error", "call_died"):
            await raw.send(("", word), ("", word, ["x"]), ("", word, 7, 7), ("", word, TICKET, TICKET, TICKET))
        # A number of seconds that no clock can hold is for ever, and not an error.
        for number, seconds in enumerate((1e308, 2**64 - 1, 0.5)):
            await raw.send(("", "call", port.name, f"{number:016}", seconds, "get", number))
        answers = [message for message in await words_of(raw, 5) if message[1] in {"reply", "call_error", "call_died"}]
        assert answers == [("", "reply", f"{number:016}", number) for number in range(3)]
        assert port.alive
        peer = peer_of(node, "0")
        assert not len(peer.callers)
        assert not peer.association.watched
        assert not peer.callers._watched
        assert not raw.ended


async def test_a_call_of_zero_seconds_is_not_begun_and_its_caller_is_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") as node, a_member(network, node, **KNOWS) as raw:
        port = node.port()
        port.on("get", reply=True)(lambda: pytest.fail("it was begun"))
        port.on("send")(lambda _: pytest.fail("it was begun"))
        for number, tag in enumerate(("get", "send")):
            await raw.send(("", "call", port.name, f"{number:016}", 0, tag))
        failures = [message[2:5] for message in await words_of(raw) if message[1] == "call_error"]
        assert failures == [(f"{number:016}", False, "expired") for number in range(2)]
        assert node._runtime.dispatcher.expired == 2
        assert not len(peer_of(node, "0").callers)


async def test_calls_of_missing_ports_are_told_once_each(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") as node, a_member(network, node, **KNOWS) as raw:
        await raw.send(*[("", "call", NO_PORT, f"{number:016}", None, "x") for number in range(50)])
        deaths = [message[2:5] for message in await words_of(raw) if message[1] == "call_died"]
        assert deaths == [(f"{number:016}", False, "no_such_port") for number in range(50)]
        peer = peer_of(node, "0")
        assert not len(peer.callers)
        assert not peer.callers._watched


async def test_what_waits_in_a_busy_port_when_it_dies_was_not_begun(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") as node, a_member(network, node, **KNOWS) as raw:
        port = node.port()
        port.on("wait", reply=True)(trio.sleep)
        await raw.send(*[("", "call", port.name, f"{number:016}", None, "wait", 5) for number in range(3)])
        await words_of(raw)
        assert len(peer_of(node, "0").callers) == 3
        port.kill("enough")
        deaths = [message[2:5] for message in await words_of(raw) if message[1] == "call_died"]
        assert deaths == [(f"{number:016}", not number, "enough") for number in range(3)]
        assert not len(peer_of(node, "0").callers)
        assert not peer_of(node, "0").callers._watched


async def test_all_calls_that_end_in_one_pass_are_called_off_together(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") as node, a_member(network, node, **KNOWS) as raw:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                for _ in range(1200):
                    nursery.start_soon(node.call, f"0#{NO_PORT}", "get")
                tickets = [message[3] for message in await words_of(raw) if message[1] == "call"]
                assert len(tickets) == 1200
                scope.cancel()
        called_off = [message[2:] for message in await words_of(raw) if message[1] == "call_off"]
        assert [len(each) for each in called_off] == [500, 500, 200]
        assert sorted(ticket for each in called_off for ticket in each) == sorted(tickets)
        assert not peer_of(node, "0").outbox.monitors


async def test_calls_that_were_lost_are_not_called_off_by_the_next_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_test_node(FakeNetwork(), "a") as node, trio.open_nursery() as nursery:

        async def call_and_lose() -> None:
            try:
                await node.call(f"nowhere#{NO_PORT}", "x")
            finally:
                # In the same step, before anything is flushed.
                peer = peer_of(node, "nowhere")
                assert peer._over
                peer.act(peer.association.lose, "it broke")

        nursery.start_soon(call_and_lose)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await wait_all_tasks_blocked()
        assert not peer_of(node, "nowhere")._over
        assert not peer_of(node, "nowhere").queue.size
