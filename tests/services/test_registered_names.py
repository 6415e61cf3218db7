"""`lookup`, the question of the node port for a port that is registered under a name."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from network_helpers import FakeNetwork, Inbox, open_pair, open_test_node, warnings_in

from trio_mp._peers.node_port import LOOKUP_SECONDS, LOOKUPS


async def test_a_node_is_asked_for_the_port_of_a_name(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(FakeNetwork()) as (a, b):
        chatter, inbox = a.port(print), Inbox(b)
        a.database.register("chatter", chatter)
        b.send("a", "lookup", "chatter", inbox.port, "resolved", 1)
        b.send("b", "lookup", "chatter", inbox.port, "resolved", 2)
        b.send("a", "lookup", "nobody", inbox.port, "resolved", 3)
        messages = await inbox.wait(3)
        assert sorted(messages, key=str) == [
            ("resolved", 1, str(chatter)),
            ("resolved", 2, str(chatter)),
            ("resolved", 3, None),
        ]
        assert await b.call("a", "lookup", "chatter", reply=str | None) == chatter
        a.kill(chatter)
        await trio.sleep(1)
        assert await b.call("a", "lookup", "chatter") == (None,)


async def test_entries_that_name_no_port_are_passed_over() -> None:
    async with open_test_node(FakeNetwork(), "a", listen=False, secret=None) as a:
        port = a.port(print)
        a.database.set("chatter", "1", {"not": "a port"})
        a.database.register("chatter", port, "first", key="2")
        assert await a.call("a", "lookup", "chatter") == (port,)


async def never_found(_: str) -> str | None:
    """As a node waits that is attached to no global node."""
    await trio.sleep_forever()
    raise AssertionError


async def test_few_lookups_of_one_node_wait_and_not_for_ever(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_pair(FakeNetwork()) as (a, b):
        a._runtime.node_port._find_registered = never_found
        inbox = Inbox(b)
        for _ in range(LOOKUPS + 5):
            b.send("a", "lookup", "chatter", inbox.port)
        await trio.sleep(1)
        waiting = a._runtime.node_port._looking_up
        assert len(waiting["b"]) == LOOKUPS
        (warning,) = warnings_in(caplog)
        assert "lookups in flight" in warning
        await trio.sleep(LOOKUP_SECONDS)
        assert not waiting
        assert inbox.messages == []


async def test_an_error_of_a_lookup_ends_nothing(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(_: str) -> str | None:
        raise ZeroDivisionError("an error")

    async with open_pair(FakeNetwork()) as (a, b):
        a._runtime.node_port._find_registered = fails
        inbox = Inbox(b)
        b.send("a", "lookup", "chatter", inbox.port)
        a.send("a", "lookup", "chatter", inbox.port)
        await trio.sleep(1)
        assert inbox.messages == []
        assert len([line for line in warnings_in(caplog) if "an error" in line]) == 2
        assert b.peers == ("a",)
