"""How a network of real nodes forms, what becomes of it when nodes die, and what strangers can do to it."""

from __future__ import annotations

import errno
import logging
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings, strategies as st
from membership_helpers import is_settled, rules_of, service_of
from membership_model import garbage, sensible
from network_helpers import (
    SECRET,
    FakeNetwork,
    Inbox,
    Notices,
    RawPeer,
    network_of,
    open_pair,
    open_test_node,
    peer_of,
    place,
    until,
    warnings_in,
)

from trio_mp import Node, open_node
from trio_mp._protocol.membership.messages import GLOBALS_LIMIT, Addresses
from trio_mp._services import membership
from trio_mp._services.search import ASKED_LIMIT
from trio_mp._transport.addresses import Address, TCPAddress, parse_address
from trio_mp._transport.pipe import Listener, Pipe, Transport
from trio_mp.testing import SimulatedNetwork, open_simulated_network, simulate

# How it forms --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [["s", "t", "a", "b", "c", "d"], ["d", "c", "b", "a", "t", "s"]])
async def test_seeds_mesh_and_each_other_node_is_attached_to_one(
    autojump_clock: trio.testing.MockClock, order: list[str]
) -> None:
    network = FakeNetwork()
    seeds = {"s": ["s", "t"], "t": ["s", "t"], "a": ["s"], "b": ["t"], "c": ["s", "t"], "d": ["t", "s"]}
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(open_test_node(network, one, seeds=seeds[one])) for one in order]
        await until(lambda: is_settled(nodes), 60)
        assert {node.id for node in nodes if rules_of(node).is_global} == {"s", "t"}
        await trio.sleep(100)
        assert is_settled(nodes)


async def test_two_seeds_that_name_each_other_and_start_at_the_same_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = FakeNetwork()
    network.dialling = 0.01
    async with (
        open_test_node(network, "a", seeds=["b"]) as a,
        open_test_node(network, "b", seeds=["a"]) as b,
    ):
        await until(lambda: rules_of(a).mesh and rules_of(b).mesh, 10)
        assert is_settled([a, b])
        assert len(network.live) == 1


async def test_seeds_that_do_not_know_each_other_are_brought_together(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "s") as s, open_test_node(network, "t") as t:
        await trio.sleep(60)
        assert not s.peers
        async with open_test_node(network, "n", seeds=["s", "t"]) as n:
            await until(lambda: is_settled([s, t, n]), 30)
        await trio.sleep(60)
        assert is_settled([s, t])


async def test_a_node_may_be_its_own_only_seed(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a", seeds=["a"]) as a:
        await until(lambda: rules_of(a).is_global, 10)
        await trio.sleep(100)
        # Looked at again once a minute: the address may be another node's one day.
        assert network.dialled[place("a")] == 3
        async with open_test_node(network, "b", seeds=["a"]) as b:
            await until(lambda: is_settled([a, b]), 10)
    assert not warnings_in(caplog)


async def test_no_seed_can_be_reached_until_one_can(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "n", seeds=["s", "t"]) as n:
        inbox = Inbox(n)
        n.send(inbox.port, "it runs")
        await inbox.wait(1)
        await trio.sleep(600)
        assert len(warnings_in(caplog)) == 2, "once for each"
        assert "trying again for as long as it takes" in warnings_in(caplog)[0]
        assert 100 <= network.dialled[place("s")] <= 300
        caplog.clear()
        async with open_test_node(network, "t") as t:
            await until(lambda: is_settled([n, t]), 10)
            await trio.sleep(100)
            assert not warnings_in(caplog)


# When nodes die ------------------------------------------------------------------------------------------------------


async def run_forever(_: Node) -> None:
    await trio.sleep_forever()


@asynccontextmanager
async def open_simulation(nodes: dict[str, list[str]], **settings: Any) -> AsyncGenerator[SimulatedNetwork, None]:
    async with open_simulated_network(seed=1) as network:
        for node_id, seeds in nodes.items():
            network.start(node_id, run_forever, seeds=seeds, **settings)
        await until(lambda: len(network.nodes) == len(nodes) and is_settled(network.nodes.values()), 60)
        yield network


@pytest.mark.parametrize("how", ["crash", "silence", "stop"])
async def test_when_its_anchor_dies_a_node_moves_to_another(autojump_clock: trio.testing.MockClock, how: str) -> None:
    guests = {name: ["s", "t"] for name in "abcd"}
    async with open_simulation({"s": ["s", "t"], "t": ["s", "t"], **guests}) as network:
        a = network.nodes["a"]
        anchor = rules_of(a).anchor
        assert anchor is not None
        notices, inbox = Notices(), Inbox(network.nodes[anchor])
        a.monitor(inbox.port, notices)
        a.send(inbox.port, "before")
        await inbox.wait(1)
        a.send(inbox.port, "lost, or not")
        start = trio.current_time()
        if how == "stop":
            await network.stop(anchor)
        else:
            network.crash(anchor, silently=how == "silence")
        reason = await notices.wait()
        assert reason[0] in {"transport_error", "node_closed"}
        await until(lambda: is_settled(network.nodes.values()), 20)
        # Three silent heartbeats of 5 s, and then at once.
        assert trio.current_time() - start < (20 if how == "silence" else 2)
        network.start(anchor, run_forever, seeds=["s", "t"])
        await until(lambda: len(network.nodes) == 6 and is_settled(network.nodes.values()), 30)


async def test_who_is_connected_with_another_global_node_attaches_to_that_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It was met, and the anchor could not be made to know it: without joining it anew there would be no anchor."""
    async with open_simulated_network(seed=1) as network:
        network.partition(["s"], ["t"])
        for node_id, seeds in {"s": [], "t": [], "n": ["s", "t"]}.items():
            network.start(node_id, run_forever, seeds=seeds)
        await until(lambda: "n" in network.nodes and set(network.nodes["n"].peers) == {"s", "t"}, 30)
        n = network.nodes["n"]
        await trio.sleep(30)
        anchor = rules_of(n).anchor
        assert anchor is not None
        network.crash(anchor)
        await until(lambda: rules_of(n).anchor not in {None, anchor}, 2)


async def test_a_global_node_that_is_cut_off_from_the_anchor_for_a_while_is_not_forgotten(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its anchor dies, and all that its anchor can reach: the one that is left is none of its seeds."""
    seeds = ["s1", "s2", "s3"]
    async with open_simulation({**dict.fromkeys(seeds, seeds), "n": ["s1"]}, heartbeat=1.0) as network:
        n = network.nodes["n"]
        assert rules_of(n).anchor == "s1"
        network.partition(["s3"], ["s1", "s2"])
        await trio.sleep(6)
        assert set(rules_of(n).globals) == {"s1", "s2"}
        assert "s3" not in n.peers
        network.crash("s2")
        network.crash("s1")
        await until(lambda: rules_of(n).anchor == "s3", 10)
        await until(lambda: is_settled(network.nodes.values()), 30)


async def test_those_that_the_anchor_names_are_dialled_before_those_that_it_named_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """However many have come and gone: a node that is lost must not try them all, one by one."""
    async with open_simulation({"s": [], "t": ["s"], "u": ["t"], "n": ["s"]}) as network:
        n = network.nodes["n"]
        rules, service = rules_of(n), service_of(n)
        everybody = {"t": list(rules.globals["t"])}
        dead = {f"dead{number}": [f"dead{number}:4040"] for number in range(50)}
        rules.received("s", "welcome", (list(rules.globals["s"]), {**everybody, **dead}))
        rules.received("s", "welcome", (list(rules.globals["s"]), everybody))
        service.execute([])
        assert len(rules.former) == 50
        network.crash("s", silently=True)
        await until(lambda: rules.anchor is None, 30)
        start = trio.current_time()
        turns = {redialler.node_id: redialler.turn for redialler in service._rediallers.values()}
        assert max(turns[other] for other in rules.globals) < min(turns[other] for other in rules.former)
        await until(lambda: rules.anchor == "t", 30)
        assert trio.current_time() - start < 3


async def test_a_connection_that_takes_the_place_of_the_one_before_is_attached_by(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The guest never sees that it was without one, so it must not go by that."""
    network = FakeNetwork()
    async with open_test_node(network, "s") as s, open_test_node(network, "n", seeds=["s"]) as n:
        await until(lambda: is_settled([s, n]), 10)

        async def find(node_id: str) -> Addresses:
            await trio.lowlevel.checkpoint()
            return (place(node_id),)

        setattr(service_of(s).search, "find_addresses", find)  # noqa: B010 - a method, for type checkers
        wire = network.wire
        # Only the anchor finds out.
        wire.back.black_hole = True
        wire.there.reset = True
        wire.there.wake()
        await until(lambda: not s.peers, 1)
        assert n.peers == ("s",)
        s.send(Inbox(n).port, "dial it")
        await until(lambda: s.peers, 5)
        await until(lambda: is_settled([s, n]), 5)


@pytest.mark.parametrize("word", ["attach", "welcome"])
async def test_a_loss_in_the_middle_of_what_the_membership_does(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") as a, open_test_node(network, "c", seeds=["a"]) as c:
        node = c if word == "attach" else a
        membership = node._membership
        assert membership is not None
        send = membership._send
        lost: list[str] = []

        def send_too_much(node_id: str, message: tuple[object, ...]) -> None:
            send(node_id, message)
            if message[0] == word and not lost:
                lost.append(node_id)
                peer = peer_of(node, node_id)
                peer.execute(peer.association.lose("what is queued has grown too large"))

        monkeypatch.setattr(membership, "_send", send_too_much)
        await until(lambda: lost)
        assert membership.rules.anchor == node._database._replica.anchor
        await until(lambda: c._database._replica.anchor == "a")


async def test_a_global_node_whose_address_is_anothers_by_now(autojump_clock: trio.testing.MockClock) -> None:
    """Addresses are given out again, where containers come and go. Nobody becomes global by that."""
    network = FakeNetwork()
    async with open_test_node(network, "s") as s:
        async with (
            open_test_node(network, "g", seeds=["s"]) as g,
            open_test_node(network, "x", seeds=["g"]) as x,
        ):
            await until(lambda: is_settled([s, g, x]) and rules_of(g).is_global, 10)
        async with open_test_node(network, "z", seeds=["s"], binds=(place("g"),)) as z:
            before = network.dialled[place("g")]
            await trio.sleep(60)
            assert network.dialled[place("g")] > before
            assert not rules_of(z).is_global
            assert is_settled([s, z])


async def test_a_global_node_that_never_comes_back_is_forgotten(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(membership, "FORGOTTEN", 60.0)
    network = FakeNetwork()
    async with open_test_node(network, "s") as s:
        rules_of(s).received("x", "meet", ("dead", [place("dead")]))
        service_of(s).execute([])
        await trio.sleep(50)
        before = network.dialled[place("dead")]
        assert before > 5
        await trio.sleep(30)
        assert "dead" not in rules_of(s).globals
        assert not service_of(s)._rediallers
        after = network.dialled[place("dead")]
        await trio.sleep(100)
        assert network.dialled[place("dead")] == after


# Host names ----------------------------------------------------------------------------------------------------------

NAME = "seeds.example:4040"


class NamedNetwork(FakeNetwork):
    """A network in which names have addresses.

    Attributes:
      names: which, by `host:port`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.names: dict[str, list[str]] = {}
        self.resolved = 0

    async def resolve(self, address: Address) -> list[Address]:
        await trio.lowlevel.checkpoint()
        self.resolved += 1
        if str(address) not in self.names:
            if str(address) == NAME:
                raise OSError(errno.ENOENT, "no such name")
            return [address]
        return [parse_address(text) for text in self.names[str(address)]]


async def test_all_addresses_of_a_name_are_tried(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    network = NamedNetwork()
    network.names[NAME] = ["10.0.0.1:4040", "10.0.0.2:4040", "10.0.0.3:4040"]
    async with (
        open_test_node(network, "s", seeds=[NAME], binds=("10.0.0.1:4040",)) as s,
        open_test_node(network, "t", seeds=[NAME], binds=("10.0.0.3:4040",)) as t,
        open_test_node(network, "n", seeds=[NAME]) as n,
    ):
        await until(lambda: is_settled([s, t, n]), 30)
        assert {node.id for node in (s, t, n) if rules_of(node).is_global} == {"s", "t"}
        await trio.sleep(300)
        assert network.dialled["10.0.0.2:4040"] > 10
        assert not warnings_in(caplog), "that one of several is dead is nothing alarming"
        # It is somewhere else now.
        network.names[NAME] = ["10.0.0.1:4040", "10.0.0.3:4040", "10.0.0.4:4040"]
        await trio.sleep(100)
        before = network.dialled["10.0.0.2:4040"]
        async with open_test_node(network, "u", seeds=[NAME], binds=("10.0.0.4:4040",)) as u:
            await until(lambda: is_settled([s, t, u, n]), 60)
            assert rules_of(u).is_global
            await trio.sleep(300)
            assert network.dialled["10.0.0.2:4040"] == before, "it has vanished from the name"
            assert "10.0.0.2:4040" not in network_of(n).failures
    assert not warnings_in(caplog)


async def test_no_address_of_a_name_can_be_reached_and_then_not_even_the_name_is_known(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    network = NamedNetwork()
    network.names[NAME] = ["10.0.0.1:4040", "10.0.0.2:4040"]
    async with open_test_node(network, "n", seeds=[NAME]) as n:
        await trio.sleep(300)
        (one, two) = warnings_in(caplog)
        assert NAME in one
        assert NAME in two
        del network.names[NAME]
        await trio.sleep(300)
        assert [text for text in warnings_in(caplog) if "no such name" in text] == warnings_in(caplog)[2:]
        assert len(warnings_in(caplog)) == 3
        notices = Notices()
        n.monitor("elsewhere#AAAAAAAAAAAAAAAA.1", notices)
        assert "the seed seeds.example:4040: no such name" in (await notices.wait())[2]


async def test_a_name_that_cannot_be_looked_up_for_a_while(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    network = NamedNetwork()
    async with open_test_node(network, "n", seeds=[NAME]) as n:
        await trio.sleep(60)
        assert len(warnings_in(caplog)) == 1
        network.names[NAME] = ["10.0.0.1:4040"]
        async with open_test_node(network, "s", binds=("10.0.0.1:4040",)) as s:
            await until(lambda: is_settled([s, n]), 30)
            del network.names[NAME]
            await trio.sleep(100)
            assert is_settled([s, n])
            assert len(warnings_in(caplog)) == 1


# Where they listen ---------------------------------------------------------------------------------------------------


async def test_beside_the_socket_of_the_seed(short_directory: Path) -> None:
    seed = f"unix:{short_directory}/seed.sock"
    with trio.fail_after(60):
        async with open_node("s", binds=[seed], secret=SECRET) as s:
            async with (
                open_node("app/1", seeds=[seed], secret=SECRET) as one,
                open_node("app_1", seeds=[seed], secret=SECRET) as two,
            ):
                await until(lambda: one.binds and two.binds and is_settled([s, one, two]), 30)
                assert len({*one.binds, *two.binds}) == 2
                assert {Path(bind[5:]).parent for bind in (*one.binds, *two.binds)} == {short_directory}
                assert rules_of(one).addresses == one.binds
            assert [path.name for path in short_directory.iterdir()] == ["seed.sock"]


async def test_at_the_address_from_which_the_seed_is_reached(require_tcp: None) -> None:
    with trio.fail_after(60):
        async with open_node("s", binds=["*:0"], secret=SECRET) as s:
            port = parse_address(next(bind for bind in s.binds if "[" not in bind))
            assert isinstance(port, TCPAddress)
            async with open_node("n", seeds=[f"127.0.0.1:{port.port}"], secret=SECRET) as n:
                await until(lambda: n.binds and is_settled([s, n]), 30)
                (bind,) = n.binds
                assert bind.startswith("127.0.0.1:")
                assert rules_of(n).addresses == n.binds
                # Who listens on all interfaces names those by which it was reached, and nothing in which nobody is.
                assert rules_of(s).addresses == (f"127.0.0.1:{port.port}",)
                assert rules_of(n).globals == {"s": (f"127.0.0.1:{port.port}",)}


async def test_a_seed_at_all_interfaces_is_one_on_this_host(require_tcp: None) -> None:
    with trio.fail_after(60):
        async with open_node("s", binds=["127.0.0.1:0"], secret=SECRET) as s:
            port = s.binds[0].rpartition(":")[2]
            async with open_node("n", seeds=[f"*:{port}"], binds=(), secret=SECRET) as n:
                await until(lambda: n.peers == ("s",), 30)


class HostedNetwork(FakeNetwork):
    """A network in which one knows from which address one was reached."""

    def __init__(self) -> None:
        super().__init__()
        self.local_hosts: list[str] = []

    async def dial(self, address: Address) -> Pipe:
        pipe = await super().dial(address)
        if self.local_hosts and isinstance(address, TCPAddress):
            self.wires[-1].listener.local_host = self.local_hosts.pop(0)
        return pipe


async def test_who_listens_on_all_interfaces_says_by_which_it_was_reached(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = HostedNetwork()
    network.local_hosts = ["127.0.0.1", "fd00::1", "10.0.0.1", *(f"10.0.1.{number}" for number in range(100))]
    async with open_test_node(network, "s", binds=("0.0.0.0:1", "[::]:2")) as s:
        assert rules_of(s).addresses == ()
        for number in range(20):
            async with open_test_node(network, f"n{number}", seeds=["0.0.0.0:1"], listen=False) as n:
                await until(lambda n=n: is_settled([s, n]), 10)  # type: ignore[misc]
                if number == 2:
                    assert rules_of(s).addresses == ("10.0.0.1:1", "127.0.0.1:1", "[fd00::1]:2")
                    assert rules_of(n).globals == {"s": rules_of(s).addresses}
        assert len(rules_of(s).addresses) == 8


class HostTransport(Transport):
    """What one host sees of a network in which there is a wire of its own between every two.

    Args:
      network: what is at the other ends; each node listens on all interfaces, and has a port that no other one has.
      wires: by the address at the other end of each, that at this one.
    """

    def __init__(self, network: FakeNetwork, wires: dict[str, str]) -> None:
        self.network, self.wires = network, wires

    async def dial(self, address: Address) -> Pipe:
        assert isinstance(address, TCPAddress)
        if address.host not in self.wires:
            await trio.lowlevel.checkpoint()
            raise OSError(errno.ENETUNREACH, "there is no way there")
        pipe = await self.network.dial(TCPAddress("0.0.0.0", address.port))
        wire = self.network.wires[-1]
        wire.dialler.local_host, wire.listener.local_host = self.wires[address.host], address.host
        return pipe

    async def listen(self, address: Address) -> list[Listener]:
        return await self.network.listen(address)

    def own_hosts(self) -> list[str]:
        return [*self.wires.values()]


async def test_nodes_that_were_never_reached_where_they_reach_each_other(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Two that are each on a wire with the seed, by which the other cannot come, and on one with each other."""
    network = FakeNetwork()
    wires_of_a = {"10.0.1.2": "10.0.1.1", "10.0.2.2": "10.0.2.1"}
    wires_of_b = {"10.0.1.1": "10.0.1.2", "10.0.3.2": "10.0.3.1"}
    wires_of_c = {"10.0.2.1": "10.0.2.2", "10.0.3.1": "10.0.3.2"}
    async with (
        open_test_node(HostTransport(network, wires_of_c), "c", binds=["0.0.0.0:3"]) as c,
        open_test_node(HostTransport(network, wires_of_a), "a", binds=["0.0.0.0:1"], seeds=["10.0.2.2:3"]) as a,
        open_test_node(HostTransport(network, wires_of_b), "b", binds=["0.0.0.0:2"], seeds=["10.0.3.2:3"]) as b,
    ):
        await until(lambda: is_settled([a, b, c]), 30)
        assert (rules_of(a).addresses, rules_of(b).addresses) == (("10.0.2.1:1",), ("10.0.3.1:2",))
        inbox = Inbox(b)
        start = trio.current_time()
        a.send(inbox.port, "hello")
        await inbox.wait(1)
        assert trio.current_time() - start < 2
        # From now on all know of it.
        assert rules_of(a).addresses == ("10.0.2.1:1", "10.0.1.1:1")
        assert rules_of(b).addresses == ("10.0.3.1:2", "10.0.1.2:2")
        assert is_settled([a, b, c])


@pytest.mark.parametrize("same_host", [True, False])
async def test_a_node_that_listens_nowhere_is_asked_to_dial(
    autojump_clock: trio.testing.MockClock, same_host: bool
) -> None:
    network = FakeNetwork()
    async with (
        open_test_node(network, "s", seeds=["t"]) as s,
        open_test_node(network, "t", seeds=["s"]) as t,
        open_test_node(network, "deaf", seeds=["s"], listen=False) as deaf,
        open_test_node(network, "n", seeds=["s" if same_host else "t"]) as n,
    ):
        everyone = [s, t, deaf, n]
        await until(lambda: is_settled(everyone), 30)
        inbox = Inbox(deaf)
        n.send(inbox.port, "hello")
        start = trio.current_time()
        await inbox.wait(1)
        assert trio.current_time() - start < 2
        assert "deaf" in n.peers
        # And a global node does so, too.
        t.send(inbox.port, "hello")
        await inbox.wait(2)
        assert is_settled(everyone)


async def test_neither_listens_anywhere(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with (
        open_test_node(network, "s") as s,
        open_test_node(network, "one", seeds=["s"], listen=False) as one,
        open_test_node(network, "two", seeds=["s"], listen=False) as two,
    ):
        await until(lambda: is_settled([s, one, two]), 30)

        async def find(_: str) -> Addresses:
            await trio.lowlevel.checkpoint()
            return ()

        setattr(service_of(one).search, "find_addresses", find)  # noqa: B010 - a method, for type checkers
        notices = Notices()
        one.monitor(Inbox(two).port, notices)
        start = trio.current_time()
        identifier, who, why = await notices.wait()
        assert trio.current_time() - start == pytest.approx(30, abs=1)
        assert (identifier, who) == ("transport_error", "two")
        assert why == (
            "no connection within 30 s (neither two nor this node listens anywhere, so neither can dial the other;"
            " connected with s)"
        )


@pytest.mark.parametrize(
    "found, why",
    [
        (None, "nobody in the network knows x; connected with s"),
        (("unix:/nowhere",), "x at unix:/nowhere: nobody listens on unix:/nowhere; connected with s"),
        ((place("s"),), f"at {place('s')} there is s now; connected with s"),
        ((), "x listens nowhere; it was asked to dial this node; connected with s"),
        (("", "*:5", "[:", "a b:1", "a:0"), "x listens nowhere; it was asked to dial this node; connected with s"),
    ],
)
async def test_why_there_is_no_connection(
    autojump_clock: trio.testing.MockClock, found: Addresses | None, why: str
) -> None:
    network = FakeNetwork()
    async with open_pair(network, "s", "n") as (_, n):
        await until(lambda: rules_of(n).anchor, 10)

        async def find(_: str) -> Addresses | None:
            await trio.lowlevel.checkpoint()
            return found

        setattr(service_of(n).search, "find_addresses", find)  # noqa: B010 - a method, for type checkers
        notices = Notices()
        n.monitor("x#AAAAAAAAAAAAAAAA.1", notices)
        assert (await notices.wait())[2] == f"no connection within 30 s ({why})"
        await trio.sleep(10)
        assert not service_of(n).search._seeking


# What others can do --------------------------------------------------------------------------------------------------


@asynccontextmanager
async def open_raw_host(network: FakeNetwork, node: Node) -> AsyncGenerator[RawPeer, None]:
    """The global node that this one is attached to, and that does what the test wants."""
    raw = RawPeer(network.connect(place(node.id)).dialler, "host")
    await raw.adopt()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_all, raw)
        nursery.start_soon(show_life, raw)
        await trio.testing.wait_all_tasks_blocked()
        # It is as if it had been dialled.
        service_of(node).reached(peer_of(node, "host"))
        await raw.send(("", "welcome", [place("host")], {}))
        await until(lambda: rules_of(node).anchor == "host", 5)
        yield raw
        nursery.cancel_scope.cancel()
        raw.pipe.close()


async def show_life(raw: RawPeer) -> None:
    while True:
        await trio.sleep(4)
        await raw.send(("", ""))


async def read_all(raw: RawPeer) -> None:
    while not raw.ended:
        await raw.step()


async def test_floods_of_requests_to_dial(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "n", seeds=["s"]) as n, open_raw_host(network, n) as raw:
        network.dialling = 5
        caplog.clear()
        for number in range(1000):
            await raw.send(("", "dial", "n", f"x{number % 200}", [f"unix:/absurd/{number}", "a:0", "*:1", "[", ""]))
        await trio.sleep(1)
        assert sum("absurd" in name for name in network.dialled) == ASKED_LIMIT
        assert len(service_of(n)._dials_for_others._asked) == ASKED_LIMIT
        assert len(network_of(n).peers) < 5
        assert len([text for text in warnings_in(caplog) if "a request to dial" in text]) == 1
        await trio.sleep(100)
        assert not service_of(n)._dials_for_others._asked
        # What others have asked for is not in the way of what this node wants.
        network.dialling = 0

        async def find(_: str) -> Addresses:
            await trio.lowlevel.checkpoint()
            return (place("x1"),)

        setattr(service_of(n).search, "find_addresses", find)  # noqa: B010 - a method, for type checkers
        async with open_test_node(network, "x1") as x:
            inbox = Inbox(x)
            n.send(inbox.port, "hello")
            await inbox.wait(1)
            await raw.send(("", "dial", "n", "x1", ["unix:/absurd/again"]))
            await trio.sleep(1)
            assert "unix:/absurd/again" not in network.dialled, "they are connected"


async def test_thousands_of_global_nodes(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "n", seeds=["s"]) as n, open_raw_host(network, n) as raw:
        for start in range(0, 5000, 1000):
            names = range(start, start + 1000)
            await raw.send(("", "welcome", [], {f"x{number}": [f"unix:/x/{number}"] for number in names}))
        await trio.sleep(60)
        assert len(service_of(n)._rediallers) < GLOBALS_LIMIT + 5
        # As a global node it would dial them all.
        await raw.send(("", "join", True, [place("host")]))
        for number in range(2000):
            await raw.send(("", "meet", f"y{number}", [f"unix:/y/{number}"]))
        await trio.sleep(60)
        assert rules_of(n).is_global
        assert len(service_of(n)._rediallers) < GLOBALS_LIMIT + 5
        # And who comes by itself is not turned away.
        async with open_test_node(network, "g", seeds=["n"]) as g:
            await until(lambda: rules_of(g).anchor == "n", 10)
            assert rules_of(n).guests == {"g": None}


async def test_a_node_that_takes_no_large_messages_is_welcomed_all_the_same(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "s") as s:
        raws: list[RawPeer] = []
        for number in range(12):
            raw = RawPeer(network.connect(place("s")).dialler, f"g{number}")
            await raw.adopt() if f"g{number}" < "s" else await raw.choose()
            await raw.send(("", "join", True, [f"unix:/{'x' * 290}{index}" for index in range(16)]))
            raws.append(raw)
        await until(lambda: len(rules_of(s).mesh) == 12, 10)
        async with open_test_node(network, "n", seeds=["s"], message_limit=65536) as n:
            await until(lambda: rules_of(n).anchor == "s", 10)
            assert 5 < len(rules_of(n).globals) < 13
        for raw in raws:
            raw.pipe.close()
    assert not [text for text in warnings_in(caplog) if "not told" in text]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(sensible | garbage, max_size=12))
def test_garbage(caplog: pytest.LogCaptureFixture, messages: list[tuple[Any, ...]]) -> None:
    """In all five words, from the anchor, and from a stranger: the node goes on."""
    caplog.set_level(logging.CRITICAL, "trio_mp")

    async def main() -> None:
        network = FakeNetwork()
        async with open_test_node(network, "n", seeds=["s"]) as n, open_raw_host(network, n) as raw:
            for message in messages:
                await raw.send(("", *message))
            await trio.sleep(20)
            inbox = Inbox(n)
            await raw.send((inbox.port.partition("#")[2], "still there"))
            await until(lambda: inbox.messages, 5)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


# Large networks ------------------------------------------------------------------------------------------------------


async def form(network: SimulatedNetwork, count: int) -> None:
    network.default_link.delay, network.default_link.jitter = 0.005, 0.01
    seeds = [f"s{number}" for number in range(3)]
    names = [*seeds, *(f"n{number}" for number in range(count - 3))]
    for name in names:
        network.start(name, run_forever, seeds=seeds, idle_timeout=5.0)
    await until(lambda: len(network.nodes) == count and is_settled(network.nodes.values()), 60)
    # What was only a visit is closed, and nothing else.
    await trio.sleep(20)
    assert is_settled(network.nodes.values())
    for node in network.nodes.values():
        rules = rules_of(node)
        assert set(node.peers) == (rules.mesh.keys() | rules.guests.keys() if rules.is_global else {rules.anchor})
    assert {node.id for node in network.nodes.values() if rules_of(node).is_global} == set(seeds)
    # Nobody has all of them.
    assert all(rules_of(network.nodes[seed]).guests for seed in seeds)


@pytest.mark.parametrize("count", [30, 200])
def test_many_nodes(count: int) -> None:
    simulate(form, count, seed=count)
