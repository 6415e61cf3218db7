"""A node that has gone from the network is not waited for longer than it takes to dial where it was."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from membership_helpers import rules_of, service_of
from network_helpers import FakeNetwork, Inbox, Notices, network_of, open_test_node, peer_of, place, until

from trio_mp import Node, PortDied
from trio_mp._peers.peer import MEMORY
from trio_mp._protocol.database.records import Table
from trio_mp._services.nodes import NodeChanges
from trio_mp._services.search import BY_ITSELF
from trio_mp._services.sightings import REMEMBERED, Sightings
from trio_mp._transport.addresses import parse_address

SOON = 1.0
"""More than a round of dials takes here, and much less than `connect_timeout`."""


async def told(changes: NodeChanges, node_id: str, *, up: bool) -> None:
    """Wait until a node is told that another one has come, or has gone."""
    async for change in changes:
        if (change.node_id, change.up) == (node_id, up):
            return


@asynccontextmanager
async def open_two(network: FakeNetwork) -> AsyncGenerator[tuple[Node, Node], None]:
    """A seed and a node that is attached to it."""
    async with open_test_node(network, "s") as s, open_test_node(network, "n", seeds=["s"]) as n:
        await until(lambda: rules_of(n).anchor == "s", 10)
        yield s, n


@pytest.mark.parametrize("asked", ["attached", "global"])
@pytest.mark.parametrize("listens", [True, False], ids=["it had listened", "it had not listened"])
@pytest.mark.parametrize("used", [True, False], ids=["it was talked with", "it was not talked with"])
async def test_a_call_to_a_node_that_was_reported_gone_ends_soon(
    autojump_clock: trio.testing.MockClock, asked: str, listens: bool, used: bool
) -> None:
    network = FakeNetwork()
    async with open_two(network) as (s, n):
        node = n if asked == "attached" else s
        async with node.watch_nodes() as changes:
            async with open_test_node(network, "x", seeds=["s"], listen=listens) as x:
                await told(changes, "x", up=True)
                inbox = Inbox(x)
                if used:
                    node.send(inbox.port, "hello")
                    await inbox.wait(1)
                port = str(inbox.port)
            await told(changes, "x", up=False)
        start = trio.current_time()
        with pytest.raises(PortDied) as caught:
            await node.call(port, "are you there?")
        assert trio.current_time() - start < (SOON if listens else 2 * BY_ITSELF)
        identifier, who, why = caught.value.reason
        assert (identifier, who) == ("transport_error", "x")
        where = f" (x at {place('x')}: nobody listens on {place('x')})" if listens else ""
        assert why == f"the node has gone from the network{where}"


async def test_a_call_that_was_waiting_when_the_node_was_reported_gone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = FakeNetwork()
    async with open_two(network) as (_, n), n.watch_nodes() as changes, trio.open_nursery() as nursery:
        async with open_test_node(network, "x", seeds=["s"], shutdown_timeout=0.1) as x:
            await told(changes, "x", up=True)
            port = str(Inbox(x).port)
            # Neither can dial the other.
            network.refusing |= {place("x"), place("n")}
            ended = trio.Event()

            async def call() -> None:
                with pytest.raises(PortDied, match="the node has gone from the network"):
                    await n.call(port, "are you there?")
                ended.set()

            nursery.start_soon(call)
            await trio.sleep(10)
            assert not ended.is_set(), "it is refused, but nothing suggests that it has gone"
        with trio.fail_after(10):
            await ended.wait()


async def test_a_node_that_was_never_seen_is_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    """The nodes of a network may be started in any order."""
    network = FakeNetwork()
    async with open_two(network) as (_, n):
        n.send("x", "info", Inbox(n).port)
        await trio.sleep(25)
        assert peer_of(n, "x").association.wants_connection
        async with open_test_node(network, "x", seeds=["s"]):
            await until(lambda: n.peers == ("s", "x"), 10)


async def test_a_node_that_has_restarted_is_reached_after_its_first_run_was_given_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Nothing of the belief is kept: neither by the node that held it, nor from the database."""
    network = FakeNetwork()
    async with open_two(network) as (_, n), n.watch_nodes() as changes:
        for _ in range(3):
            async with open_test_node(network, "x", seeds=["s"]) as x:
                await told(changes, "x", up=True)
                inbox = Inbox(x)
                n.send(inbox.port, "hello")
                with trio.fail_after(SOON):
                    await inbox.wait(1)
                assert "x" in await n.database.keys("trio_mp.nodes")
            await told(changes, "x", up=False)
            with pytest.raises(PortDied):
                await n.call(str(inbox.port), "are you there?")


async def test_a_node_that_never_had_an_entry_is_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    """Two that are connected and are nobody's guests and seeds: neither is in the other's database."""
    network = FakeNetwork()
    async with open_test_node(network, "a") as a:
        async with open_test_node(network, "b") as b:
            port = str(Inbox(b).port)
            await network_of(b).dial(parse_address(place("a"), setting="seeds"))
            await until(lambda: a.peers == ("b",), 10)
            assert "b" not in await a.database.keys("trio_mp.nodes")
        await until(lambda: not a.peers, 10)
        notices = Notices()
        a.monitor(port, notices)
        await trio.sleep(25)
        assert not notices.reasons


async def test_a_global_node_need_not_watch_to_notice(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "s") as s:
        async with open_test_node(network, "x", seeds=["s"]) as x:
            await until(lambda: "x" in rules_of(s).guests, 10)
            await s.call("x", "info")
            port = str(Inbox(x).port)
        await until(lambda: not s.peers, 10)
        start = trio.current_time()
        with pytest.raises(PortDied, match="the node has gone from the network"):
            await s.call(port, "are you there?")
        assert trio.current_time() - start < SOON


async def test_a_node_without_an_anchor_believes_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """Nobody can be asked: so a seed that restarts is waited for as long as ever, though its entry was seen."""
    network = FakeNetwork()
    async with open_test_node(network, "n", seeds=["s"]) as n:
        async with open_test_node(network, "s") as s, n.watch_nodes() as changes:
            await told(changes, "s", up=True)
            port = str(Inbox(s).port)
        notices = Notices()
        n.monitor(port, notices)
        await trio.sleep(25)
        assert not notices.reasons
        async with open_test_node(network, "s"):
            assert (await notices.wait())[0] == "no_such_port"


async def test_a_node_that_is_not_listed_but_answers_is_used(autojump_clock: trio.testing.MockClock) -> None:
    """The belief is wrong: what is told of the node is not true, or not true yet."""
    network = FakeNetwork()
    async with open_two(network) as (s, n), open_test_node(network, "x", seeds=["s"]) as x:
        inbox = Inbox(x)
        await until(lambda: "x" in rules_of(s).guests, 10)
        n.send(inbox.port, "hello")
        await inbox.wait(1)
        s.database._replica._copies._forget_attached("x", moved=False)
        assert "x" not in await n.database.keys("trio_mp.nodes")
        network.wires[-1].there.reset = True
        network.wires[-1].there.wake()
        await until(lambda: "x" not in n.peers, 10)
        # Only by what this node remembers is it found: x, which is asked to, cannot dial it.
        network.refusing.add(place("n"))
        start, notices = trio.current_time(), Notices()
        n.monitor(inbox.port, notices)
        n.send(inbox.port, "hello again")
        with trio.move_on_after(SOON):
            await inbox.wait(2)
        assert inbox.messages == [("hello",), ("hello again",)]
        assert trio.current_time() - start < SOON
        assert not notices.reasons


async def test_a_node_that_listens_nowhere_may_be_without_an_entry_for_a_moment(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """As when it moves from one anchor to another. It cannot be dialled, so nothing but its entry speaks for it."""
    network = FakeNetwork()
    async with open_two(network) as (s, n), open_test_node(network, "x", seeds=["s"], listen=False) as x:
        await until(lambda: "x" in rules_of(s).guests, 10)
        assert await n.database.keys("trio_mp.nodes") == ["s", "n", "x"]
        async with n.watch_nodes() as changes:
            await told(changes, "x", up=True)
            s.database._replica._copies._forget_attached("x", moved=False)
            inbox, notices = Inbox(x), Notices()
            n.monitor(inbox.port, notices)
            n.send(inbox.port, "hello")
            await trio.sleep(0.04)
            x.database._execute(x.database._replica.attached("s"))
            with trio.move_on_after(SOON):
                await inbox.wait(1)
        assert inbox.messages == [("hello",)]
        assert not notices.reasons


async def test_a_node_that_listens_nowhere_is_given_time_to_dial_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its connection has broken, which takes its entry away, and its machine is slow."""
    network = FakeNetwork()
    async with open_test_node(network, "s") as s, open_test_node(network, "x", seeds=["s"], listen=False) as x:
        await until(lambda: "x" in rules_of(s).guests, 10)
        inbox, lost, notices = Inbox(x), Notices(), Notices()
        s.monitor(inbox.port, lost)
        network.refusing.add(place("s"))
        network.wires[-1].there.reset = True
        network.wires[-1].there.wake()
        await lost.wait()
        assert "x" not in await s.database.keys("trio_mp.nodes")
        s.monitor(inbox.port, notices)
        s.send(inbox.port, "hello")
        await trio.sleep(2)
        network.refusing.clear()
        with trio.move_on_after(5):
            await inbox.wait(1)
        assert inbox.messages == [("hello",)]
        assert not notices.reasons


async def test_a_handshake_that_is_going_on_is_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    """The node comes by itself, slowly, while it is believed to have gone."""
    network = FakeNetwork()
    async with open_two(network) as (_, n), n.watch_nodes() as changes:
        async with open_test_node(network, "x", seeds=["s"]) as x:
            await told(changes, "x", up=True)
            inbox = Inbox(x)
            n.send(inbox.port, "hello")
            await inbox.wait(1)
        await told(changes, "x", up=False)
        notices = Notices()

        def slow(wire: object) -> None:
            for direction in (wire.there, wire.back):  # type: ignore[attr-defined]
                direction.delay = 0.3

        network.prepare = slow
        # It has another seed, and so nobody else is told of it.
        async with open_test_node(network, "x", seeds=["n"], binds=["unix:/fake/elsewhere"]):
            await until(lambda: peer_of(n, "x").association._connections, 10)
            n.monitor(inbox.port, notices)
            await trio.sleep(0.1)
            assert "x" not in n.peers
            assert (await notices.wait())[0] == "no_such_port"


async def test_monitors_that_are_set_again_each_time_cost_little(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_two(network) as (_, n), n.watch_nodes() as changes:
        async with open_test_node(network, "x", seeds=["s"]) as x:
            await told(changes, "x", up=True)
            port = str(Inbox(x).port)
        await told(changes, "x", up=False)
        fired = 0

        def again(*_: object) -> None:
            nonlocal fired
            fired += 1
            n.monitor(port, again)

        n.monitor(port, again)
        before = network.dialled.get(place("x"), 0)
        await trio.sleep(60)
        assert 10 < fired < 25
        assert network.dialled[place("x")] - before < 25


async def test_a_program_that_calls_again_and_again_is_answered_when_the_node_is_back(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = FakeNetwork()
    async with open_two(network) as (_, n), n.watch_nodes() as changes, trio.open_nursery() as nursery:
        async with open_test_node(network, "x", seeds=["s"]):
            await told(changes, "x", up=True)
        await told(changes, "x", up=False)
        tries = 0
        answered = trio.Event()

        async def call() -> None:
            nonlocal tries
            while True:
                tries += 1
                try:
                    await n.call("x", "info")
                except PortDied:
                    continue
                answered.set()
                return

        nursery.start_soon(call)
        await trio.sleep(30)
        assert 5 < tries < 20
        async with open_test_node(network, "x", seeds=["s"]):
            with trio.fail_after(10):
                await answered.wait()


async def test_closing_does_not_wait_for_a_node_that_has_gone(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "s") as s, s.watch_nodes() as changes:
        async with open_test_node(network, "x", seeds=["s"]):
            await told(changes, "x", up=True)
        await told(changes, "x", up=False)
        s.send("x", "info", Inbox(s).port)
        start = trio.current_time()
    assert trio.current_time() - start < SOON


async def test_a_node_that_comes_back_after_it_was_forgotten_is_called(autojump_clock: trio.testing.MockClock) -> None:
    """What was known of it goes after a while, and with it how it was found by its ID."""
    network = FakeNetwork()
    async with open_test_node(network, "s") as s:
        for _ in range(2):
            async with open_test_node(network, "x", seeds=["s"]):
                await until(lambda: s.peers == ("x",), 10)
                with trio.fail_after(SOON):
                    assert await s.call("x", "info") == ("x",)
            await trio.sleep(MEMORY + 10)
            assert "x" not in network_of(s).peers


class NobodyToAsk:
    """The database of a node that is attached to none."""

    def held_nodes(self) -> Table:
        return {}

    async def find_listed(self, node_id: str) -> Table | None:
        await trio.lowlevel.checkpoint()
        return None


async def test_what_is_kept_of_nodes_that_were_seen_is_bounded() -> None:
    sightings = Sightings(NobodyToAsk())
    for number in range(REMEMBERED + 10):
        long, short = ["unix:/a" * 100] * 100, [f"unix:/{number}", 5] * 100
        sightings.listed({f"x{number}": ["run", *long, *short], "not a node": ["run"], "y": "no list"})
    assert "x9" not in sightings
    assert "x10" in sightings
    assert "y" not in sightings
    assert sightings.addresses("x10") == ("unix:/10",) * 16
    assert sightings.addresses("x9") == ()
    sightings.connected("x10", [])
    for number in range(REMEMBERED - 1):
        sightings.connected(f"y{number}", [])
    assert "x10" in sightings
    assert not await sightings.has_gone("x10"), "nobody can be asked"


def test_where_a_node_says_that_it_listens_counts_more_than_where_it_was_reached() -> None:
    sightings = Sightings(NobodyToAsk())
    sightings.connected("x", ["unix:/a"])
    assert sightings.addresses("x") == ("unix:/a",)
    sightings.connected("x", [])
    assert sightings.addresses("x") == ("unix:/a",)
    sightings.listed({"x": ["run", "unix:/b", "unix:/c"]})
    sightings.connected("x", ["unix:/b"])
    assert sightings.addresses("x") == ("unix:/b", "unix:/c")
    # Nowhere any more, so nothing is to be dialled.
    sightings.listed({"x": ["run"]})
    assert sightings.addresses("x") == ()


async def test_a_global_node_that_has_gone_is_dialled_wherever_it_was(autojump_clock: trio.testing.MockClock) -> None:
    """Where it listened as a global node, and where it has said that it does since."""
    network = FakeNetwork()
    async with open_two(network) as (s, n):
        async with open_test_node(network, "x", seeds=["s"]) as x:
            await until(lambda: "x" in rules_of(s).guests, 10)
            port = str(Inbox(x).port)
            await n.call("x", "info")
        rules_of(n).globals["x"] = ("unix:/fake/elsewhere",)
        before = dict(network.dialled)
        with pytest.raises(PortDied, match="the node has gone from the network"):
            await n.call(port, "are you there?")
        assert network.dialled["unix:/fake/elsewhere"] > before.get("unix:/fake/elsewhere", 0)
        assert network.dialled[place("x")] > before[place("x")]


async def test_nodes_that_were_seen_are_those_that_were_connected_or_listed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = FakeNetwork()
    async with open_two(network) as (s, n), open_test_node(network, "x", seeds=["s"]):
        sightings = service_of(n).sightings
        await until(lambda: "x" in rules_of(s).guests, 10)
        assert "s" in sightings
        assert "x" not in sightings
        n.send("x", "info", Inbox(n).port)
        await until(lambda: "x" in n.peers, 10)
        assert sightings.addresses("x") == (place("x"),)
        assert network_of(n).addresses_of("s") != []
        assert sightings.addresses("s") == (place("s"),)
