"""A node that others reach by other addresses than those where it listens, and that knows itself by them."""

from __future__ import annotations

import errno
import logging
from typing import Any

import pytest
import trio
import trio.testing
from membership_helpers import is_settled, rules_of
from network_helpers import SECRET, FakeNetwork, Inbox, Wire, network_of, open_test_node, place, until, warnings_in

from trio_mp import ConfigurationError, open_node
from trio_mp._services.own_addresses import OwnAddresses
from trio_mp._transport.addresses import Address, parse_address

OUTSIDE = "203.0.113.5:14040"
NAME = "seeds.example:14040"


class TranslatingNetwork(FakeNetwork):
    """A network with address translation: some addresses lead to where somebody listens at another one.

    Attributes:
      ways: where an address leads to.
      names: what the names stand for; others stand for themselves.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ways: dict[str, str] = {}
        self.names: dict[str, list[str]] = {}

    def connect(self, name: str) -> Wire:
        return super().connect(self.ways.get(name, name))

    async def resolve(self, address: Address) -> list[Address]:
        await trio.lowlevel.checkpoint()
        if str(address) == NAME and NAME not in self.names:
            raise OSError(errno.ENOENT, "no such name")
        return [parse_address(text) for text in self.names.get(str(address), [str(address)])]


async def test_others_are_told_what_is_advertised_and_nothing_else(autojump_clock: trio.testing.MockClock) -> None:
    network = TranslatingNetwork()
    network.ways[OUTSIDE] = place("b")
    async with (
        open_test_node(network, "s") as s,
        open_test_node(network, "b", seeds=["s"], advertise=[OUTSIDE]) as b,
        open_test_node(network, "a", seeds=["s"]) as a,
    ):
        await until(lambda: is_settled([s, a, b]), 30)
        assert b.binds == (place("b"),)
        assert rules_of(b).addresses == (OUTSIDE,)
        inbox = Inbox(b)
        a.send(inbox.port, "hello")
        await inbox.wait(1)
        assert network.dialled[OUTSIDE] == 1
        assert place("b") not in network.dialled
        assert network_of(b).peer("a").current is not None


async def test_who_asks_to_be_dialled_names_what_is_advertised(autojump_clock: trio.testing.MockClock) -> None:
    network = TranslatingNetwork()
    async with (
        open_test_node(network, "s") as s,
        open_test_node(network, "b", seeds=["s"], advertise=[OUTSIDE]) as b,
        open_test_node(network, "deaf", seeds=["s"], listen=False) as deaf,
    ):
        await until(lambda: is_settled([s, b, deaf]), 30)
        inbox = Inbox(deaf)
        b.send(inbox.port, "hello")
        await trio.sleep(10)
        assert network.dialled[OUTSIDE] > 1
        assert place("b") not in network.dialled
        network.ways[OUTSIDE] = place("b")
        await inbox.wait(1)


@pytest.mark.parametrize("leads_back", [True, False])
async def test_a_node_that_is_among_its_seeds_by_what_it_advertises_is_global(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, leads_back: bool
) -> None:
    caplog.set_level(logging.INFO)
    network = TranslatingNetwork()
    if leads_back:
        network.ways[OUTSIDE] = place("a")
    async with open_test_node(network, "a", seeds=[OUTSIDE], advertise=[OUTSIDE]) as a:
        await until(lambda: rules_of(a).is_global, 1)
        await trio.sleep(100)
        # Dialled again and again all the same: who says so may be wrong, or another node may be there one day.
        assert 2 <= network.dialled[OUTSIDE] <= 10
        assert network_of(a).failures == {}
        network.ways[OUTSIDE] = place("a")
        async with open_test_node(network, "b", seeds=[OUTSIDE]) as b:
            await until(lambda: is_settled([a, b]), 30)
    assert not warnings_in(caplog)
    assert [record.getMessage() for record in caplog.records].count(f"the seed {OUTSIDE} is this node itself") == 1


async def test_a_node_that_is_at_none_of_what_it_advertises_joins_who_is(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Several behind one address, of which a dial reaches any."""
    network = TranslatingNetwork()
    network.ways[OUTSIDE] = place("b")
    both: dict[str, Any] = {"seeds": [OUTSIDE], "advertise": [OUTSIDE]}
    async with open_test_node(network, "a", **both) as a, open_test_node(network, "b", **both) as b:
        await until(lambda: is_settled([a, b]), 100)


async def test_a_stranger_where_a_node_says_that_it_is_does_not_stay_unnoticed(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    network = TranslatingNetwork()
    network.ways[OUTSIDE] = place("x")
    async with (
        open_test_node(network, "x", secret="the secret of another network"),
        open_test_node(network, "a", seeds=[OUTSIDE], advertise=[OUTSIDE]),
    ):
        await trio.sleep(30)
    assert any(f"the seed {OUTSIDE} cannot be used" in line for line in warnings_in(caplog))


@pytest.mark.parametrize("advertised, named", [(NAME, NAME), (NAME, OUTSIDE), (OUTSIDE, NAME)])
async def test_names_are_looked_up(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, advertised: str, named: str
) -> None:
    network = TranslatingNetwork()
    network.names[NAME] = [OUTSIDE]
    async with open_test_node(network, "a", seeds=[named], advertise=[advertised]) as a:
        await until(lambda: rules_of(a).is_global, 1)
        assert rules_of(a).addresses == (advertised,)
        await trio.sleep(100)
    assert not warnings_in(caplog)


async def test_a_name_that_gets_its_address_later(autojump_clock: trio.testing.MockClock) -> None:
    network = TranslatingNetwork()
    network.names[NAME] = ["203.0.113.6:14040"]
    async with open_test_node(network, "a", seeds=[OUTSIDE], advertise=[NAME]) as a:
        await trio.sleep(60)
        assert not rules_of(a).is_global
        network.names[NAME] = [OUTSIDE]
        await until(lambda: rules_of(a).is_global, 60)


async def test_a_name_that_nobody_knows_for_a_while(autojump_clock: trio.testing.MockClock) -> None:
    network = TranslatingNetwork()
    async with open_test_node(network, "a", seeds=[OUTSIDE], advertise=[NAME]) as a:
        await trio.sleep(100)
        assert not rules_of(a).is_global
        network.names[NAME] = [OUTSIDE]
        await until(lambda: rules_of(a).is_global, 60)


async def test_what_a_name_stood_for_counts_while_nobody_knows_it(autojump_clock: trio.testing.MockClock) -> None:
    network = TranslatingNetwork()
    network.names[NAME] = [OUTSIDE]
    async with open_test_node(network, "a", advertise=[NAME]) as a:
        own = OwnAddresses(network_of(a))
        assert await own.look_up()
        del network.names[NAME]
        assert await own.look_up()
        assert own.is_advertised(parse_address(OUTSIDE))
        network.names[NAME] = [NAME]
        assert not await own.look_up()
        assert not own.is_advertised(parse_address(OUTSIDE))


async def test_a_name_that_is_known_outside_alone(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_test_node(TranslatingNetwork(), "a", seeds=[NAME], advertise=[NAME]) as a:
        await until(lambda: rules_of(a).is_global, 1)
        await trio.sleep(100)
        assert network_of(a).failures == {}
    assert not warnings_in(caplog)


@pytest.mark.parametrize(
    "settings, text",
    [
        (
            {"advertise": ["host:0"], "binds": ["*:1"]},
            "advertise: expected addresses that others can dial",
        ),
        ({"advertise": ["*:1"], "binds": ["*:1"]}, "advertise: expected addresses that others can dial"),
        ({"advertise": ["dir:/x"], "binds": ["*:1"]}, "advertise: expected 'host:port' or 'unix:PATH', got 'dir:/x'"),
        ({"advertise": ["host:1"], "seeds": ["s:1"]}, "advertise: expected it in a node with binds, got host:1 and no"),
        ({"advertise": ["host:1"], "seeds": ["s:1"], "binds": ()}, "advertise: expected it in a node with binds"),
        ({"advertise": ["host:1"], "seeds": ["s:1"], "tool": True}, "advertise: expected it in a node with binds"),
    ],
)
async def test_what_cannot_be_advertised(settings: Any, text: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{text}"):
        async with open_node("a", secret=SECRET, profile=False, **settings):
            raise AssertionError("it opened all the same")


async def test_a_node_without_a_network_tells_nobody_anything() -> None:
    """What is set for a process counts for its node with a network alone."""
    async with open_node("a", advertise=["host:1"], profile=False) as a:
        assert a.binds == ()


@pytest.mark.parametrize("seed", [OUTSIDE, NAME])
async def test_a_node_that_knows_itself_by_its_seed_is_attached(
    autojump_clock: trio.testing.MockClock, seed: str
) -> None:
    async with open_test_node(TranslatingNetwork(), "a", seeds=[seed], advertise=[seed]) as a:
        with trio.fail_after(5):
            await a.wait_attached()
