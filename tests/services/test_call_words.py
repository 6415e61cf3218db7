"""Calls on the wire: what the two sides say, what they believe, and what is known of a call that has failed."""

from __future__ import annotations

from typing import Any

import pytest
import trio
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

pytestmark = pytest.mark.usefixtures("autojump_clock")

TICKET = "TTTTTTTTTTTTTTTT"
KNOWS = {"words": ("call",)}


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
        self.result: object = None

    async def run(self) -> None:
        try:
            self.result = await self.node.call(self.port, *self.message)
        except (PortDied, CallError) as error:
            self.result = error


async def test_a_call_is_one_message_and_so_is_its_answer() -> None:
    async with open_test_node(FakeNetwork(), "m") as node, a_member_of(node) as raw, trio.open_nursery() as nursery:
        caller = Caller(node, "get", 1)
        with trio.fail_after(7):
            nursery.start_soon(caller.run)
            await trio.sleep(0)
        before = len(raw.messages)
        word, name, ticket, seconds, *message = await word_of(raw, "call")
        assert (word, name, seconds, message) == ("call", NO_PORT, None, ["get", 1])
        await raw.send(("", "reply", ticket, "one"))
        await until(lambda: caller.result is not None)
        assert caller.result == ("one",)
        assert [part for part in raw.messages[before:] if part != ("", "")][1:] == []


def a_member_of(node: Node, **arguments: Any) -> Any:
    network: Any = node._runtime.environment.transport
    return a_member(network, node, **{"words": ("call",), **arguments})
