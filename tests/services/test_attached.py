"""When a node is in the network: `Node.wait_attached`, the setting `attach_timeout`, and what it is ready for."""

from __future__ import annotations

import errno
import random
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from membership_helpers import is_settled, rules_of
from network_helpers import SECRET, FakeNetwork, Wire, network_of, open_test_node, place, until

from trio_mp import Node, NotAttached, open_node
from trio_mp._peers.standing import Standing
from trio_mp._protocol.membership.rules import Membership
from trio_mp._transport.addresses import Address
from trio_mp._transport.pipe import Pipe
from trio_mp.testing import open_simulated_network


def standing_of(node: Node) -> Standing:
    return node._runtime.standing


class SlowNetwork(FakeNetwork):
    """A network in which some addresses never answer, and some names cannot be resolved."""

    def __init__(self) -> None:
        super().__init__()
        self.silent: set[str] = set()
        self.nameless: set[str] = set()
        self.empty: set[str] = set()

    async def dial(self, address: Address) -> Pipe:
        if str(address) in self.silent:
            await trio.sleep_forever()
        return await super().dial(address)

    async def resolve(self, address: Address) -> list[Address]:
        if str(address) in self.nameless:
            raise OSError(errno.ENOENT, "no such name")
        return [] if str(address) in self.empty else await super().resolve(address)


async def test_without_a_network_and_without_seeds_a_node_is_attached_at_once() -> None:
    async with open_node() as node, open_test_node(FakeNetwork(), "s") as s:
        for one in (node, s):
            assert standing_of(one).why_not_ready() == ""
            with trio.CancelScope(deadline=-1) as scope:
                # A checkpoint all the same.
                await one.wait_attached()
            assert scope.cancelled_caught
            await one.wait_attached()


async def test_a_node_is_attached_when_a_global_node_has_welcomed_it(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "n", seeds=["s"]) as n:
        await trio.sleep(20)
        assert not standing_of(n).attached.is_set()
        assert standing_of(n).why_not_ready().startswith(f"not attached: {place('s')}: nobody listens")
        async with open_test_node(network, "s"):
            with trio.fail_after(20):
                await n.wait_attached()
            assert rules_of(n).anchor == "s"
            assert standing_of(n).why_not_ready() == ""
            assert standing_of(n).status() == "attached to s"
        await until(lambda: not rules_of(n).anchor, 100)
        assert standing_of(n).why_not_ready().startswith("looking for another global node")
        # It stays attached for those who wait: what is sent meanwhile waits, too.
        await n.wait_attached()
        async with open_test_node(network, "s"):
            await until(lambda: standing_of(n).why_not_ready() == "", 100)


@pytest.fixture
def reserved(monkeypatch: pytest.MonkeyPatch) -> None:
    """The node `s` answers nothing about membership."""
    received = Membership.received

    def answer(rules: Membership, node_id: str, word: str, arguments: Any, **rest: Any) -> Any:
        return [] if rules.node_id == "s" else received(rules, node_id, word, arguments, **rest)

    monkeypatch.setattr(Membership, "received", answer)


@pytest.mark.usefixtures("reserved")
async def test_a_connection_alone_does_not_attach(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "s"), open_test_node(network, "n", seeds=["s"]) as n:
        await until(lambda: n.peers == ("s",), 100)
        await trio.sleep(30)
        assert not standing_of(n).attached.is_set()
        assert standing_of(n).why_not_ready().startswith("not attached")


async def test_a_node_that_is_its_own_only_seed_is_attached_when_it_knows_that(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = FakeNetwork()
    network.dialling = 1.0
    async with open_test_node(network, "a", seeds=["a"]) as a:
        assert not standing_of(a).attached.is_set()
        with trio.fail_after(10):
            await a.wait_attached()
        assert rules_of(a).is_global
        assert standing_of(a).status() == "a global node"


async def test_a_global_node_has_tried_each_of_its_seeds_first(autojump_clock: trio.testing.MockClock) -> None:
    network = SlowNetwork()
    network.silent.add(place("t"))
    async with open_test_node(network, "s", seeds=["s", "t", "u"]) as s:
        await until(lambda: rules_of(s).is_global, 10)
        await until(lambda: place("u") in network_of(s).failures, 5)
        assert trio.current_time() < 8
        assert not standing_of(s).attached.is_set()
        # As long as dialling may take, the `handshake_timeout`.
        with trio.fail_after(12):
            await s.wait_attached()
        assert trio.current_time() >= 10
        assert standing_of(s).why_not_ready() == ""


async def test_a_global_node_that_finds_another_one_is_attached_when_both_know(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = FakeNetwork()

    def slow_down(wire: Wire) -> None:
        wire.there.delay = wire.back.delay = 0.5

    network.prepare = slow_down
    async with (
        open_test_node(network, "s", seeds=["s", "t"]) as s,
        open_test_node(network, "t", seeds=["t", "s"]) as t,
        trio.open_nursery() as nursery,
    ):

        async def check(node: Node, other: str) -> None:
            await node.wait_attached()
            assert other in rules_of(node).mesh or rules_of(node).anchor == other

        with trio.fail_after(60):
            nursery.start_soon(check, s, "t")
            await check(t, "s")


@pytest.mark.parametrize("kind", ["nameless", "empty"])
async def test_a_name_that_cannot_be_resolved_counts_as_tried(
    autojump_clock: trio.testing.MockClock, kind: str
) -> None:
    network, name = SlowNetwork(), "seeds.example:4040"
    getattr(network, kind).add(name)
    async with open_test_node(network, "s", seeds=["s", name]) as s:
        with trio.fail_after(10):
            await s.wait_attached()


@pytest.mark.parametrize("seed", range(5))
async def test_all_nodes_of_a_network_that_forms_are_attached_whoever_comes_first(
    autojump_clock: trio.testing.MockClock, seed: int
) -> None:
    chance = random.Random(seed)
    attached: list[str] = []

    async def main(node: Node) -> None:
        await node.wait_attached()
        assert rules_of(node).anchor or rules_of(node).is_global
        attached.append(node.id)
        await trio.sleep_forever()

    seeds = ["s", "t", "u"][: chance.randint(1, 3)]
    names = [*seeds, *"abcd"]
    chance.shuffle(names)
    async with open_simulated_network(seed=seed) as network:
        for name in names:
            network.start(name, main, seeds=seeds)
            await trio.sleep(chance.choice([0, 0, 0.1, 3, 12]))
        await until(lambda: len(attached) == len(names), 60)
        await until(lambda: is_settled(network.nodes.values()), 60)
        assert [standing_of(node).why_not_ready() for node in network.nodes.values()] == [""] * len(names)


async def test_who_waits_outside_of_the_block_is_told_that_the_node_closes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    said: list[str] = []
    async with trio.open_nursery() as nursery:
        async with open_test_node(FakeNetwork(), "n", seeds=["s"]) as n:
            n.monitor(n.port(), lambda *_: said.append(standing_of(n).why_not_ready()))

            async def wait() -> None:
                with pytest.raises(trio.ClosedResourceError, match="node n closes"):
                    await n.wait_attached()

            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.ClosedResourceError, match="node n is closed"):
            await n.wait_attached()
    said.append(standing_of(n).why_not_ready())
    assert said == ["closing", "closing"]


# The setting ----------------------------------------------------------------------------------------------------------


async def test_after_its_time_a_node_that_is_not_attached_says_what_was_wrong_at_each_seed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = SlowNetwork()
    network.silent.add(place("t"))
    network.nameless.add("one.example:4040")
    network.empty.add("two.example:4040")
    seeds = ["s", "t", "one.example:4040", "two.example:4040"]
    begun, entered = trio.current_time(), False
    with pytest.raises(NotAttached) as caught:
        async with open_test_node(network, "n", seeds=seeds, attach_timeout=6):
            entered = True
    assert not entered
    assert trio.current_time() - begun == pytest.approx(6, abs=0.1)
    assert caught.value.seconds == 6
    assert caught.value.failures == {
        place("s"): f"nobody listens on {place('s')}",
        place("t"): "no answer yet",
        "one.example:4040": "no such name",
        "two.example:4040": "the name has no address",
    }
    text = str(caught.value)
    assert text.startswith("no global node was reached within the attach_timeout of 6 s: ")
    for seed, why in caught.value.failures.items():
        assert f"{seed}: {why}" in text
    assert not network.listeners, "nothing of the node is left"


@pytest.mark.usefixtures("reserved")
async def test_a_seed_that_does_not_welcome_it_is_named(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "s"):
        with pytest.raises(NotAttached, match="s has not let this node join yet"):
            async with open_test_node(network, "n", seeds=["s"], attach_timeout=3):
                raise AssertionError("it is not attached")


async def test_with_the_setting_services_and_the_block_begin_when_it_is_attached(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = FakeNetwork()

    async def open_later() -> None:
        await trio.sleep(4)
        async with open_test_node(network, "s"):
            await trio.sleep(10)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(open_later)
        services = ["service_functions:note_why_not_ready"]
        async with open_test_node(network, "n", seeds=["s"], attach_timeout=30, services=services, context=[]) as n:
            assert trio.current_time() > 4
            assert rules_of(n).anchor == "s"
            assert n.context == ["services are starting", "attached"]
            assert standing_of(n).attached.is_set()
            assert standing_of(n).why_not_ready() == ""


async def test_a_global_node_waits_for_silent_seeds_no_longer_than_its_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = SlowNetwork()
    network.silent.add(place("t"))
    async with open_test_node(network, "s", seeds=["s", "t"], attach_timeout=3) as s:
        assert trio.current_time() == pytest.approx(3, abs=0.1)
        assert standing_of(s).why_not_ready() == ""
        await s.wait_attached()


async def test_without_a_network_the_setting_waits_for_nothing() -> None:
    async with open_node(attach_timeout=0.001) as node:
        assert standing_of(node).why_not_ready() == ""


async def test_a_program_that_is_cancelled_while_it_is_not_attached_leaves_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = FakeNetwork()
    with trio.move_on_after(2) as scope:
        async with open_test_node(network, "n", seeds=["s"], attach_timeout=30):
            raise AssertionError("it is not attached")
    assert scope.cancelled_caught
    assert not network.listeners


async def test_over_real_sockets(short_directory: Path) -> None:
    where = f"unix:{short_directory}/s"
    with pytest.raises(NotAttached, match=rf"{where}: No such file or directory"):
        async with open_node(seeds=[where], secret=SECRET, attach_timeout=0.05):
            raise AssertionError("nobody is there")
    async with (
        open_node("s", binds=[where], secret=SECRET),
        open_node(seeds=[where], secret=SECRET, attach_timeout=30) as n,
    ):
        assert n.peers == ("s",)
