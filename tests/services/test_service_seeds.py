"""A name of DNS with SRV records as a seed: who is dialled, and when it is looked up again."""

from __future__ import annotations

import errno

import pytest
import trio
import trio.testing
from dns_server import open_dns_server
from membership_helpers import is_settled, rules_of
from network_helpers import SECRET, FakeNetwork, Notices, network_of, open_test_node, until, warnings_in

from trio_mp._services.seed_names import LONGEST_LIFE, MOST_PLACES
from trio_mp._settings.environment import Environment
from trio_mp._transport.addresses import Address, TCPAddress
from trio_mp._transport.service_records import ServiceRecords, ServiceTarget
from trio_mp._transport.sockets import SocketTransport
from trio_mp.lowlevel import open_node_in

NAME = "srv:_app._tcp.example.org"


class ServiceNetwork(FakeNetwork):
    """A network with DNS.

    Attributes:
      targets: the records, each as `priority weight host`; all at port 1. None if the name is not known.
      seconds: for how long they hold.
      asked: when they were asked for.
      unknown: hosts whose names nobody can resolve.
    """

    def __init__(self, *targets: str) -> None:
        super().__init__()
        self.targets: tuple[str, ...] | None = targets
        self.seconds = 30.0
        self.asked: list[float] = []
        self.unknown: set[str] = set()

    async def find_service(self, name: str) -> ServiceRecords:
        await trio.lowlevel.checkpoint()
        assert f"srv:{name}" == NAME
        self.asked.append(trio.current_time())
        if self.targets is None:
            raise OSError(errno.ENOENT, "there is no such name")
        parts = [text.split() for text in self.targets]
        found = sorted(ServiceTarget(int(first), int(second), host, 1) for first, second, host in parts)
        return ServiceRecords(tuple(found), self.seconds)

    async def resolve(self, address: Address) -> list[Address]:
        await trio.lowlevel.checkpoint()
        assert isinstance(address, TCPAddress)
        if address.host in self.unknown:
            raise OSError(errno.ENOENT, "there is no such host")
        return [address]


async def test_over_sockets_and_with_a_real_server(require_tcp: None) -> None:
    async with open_dns_server() as server:
        transport = SocketTransport(server=server.address)
        with trio.fail_after(60):
            async with open_node_in(Environment(), "s", binds=["127.0.0.1:0"], secret=SECRET) as s:
                port = s.binds[0].rpartition(":")[2]
                server.records[NAME[4:]] = [f"0 0 {port} localhost."]
                async with open_node_in(Environment(transport=transport), "n", seeds=[NAME], secret=SECRET) as n:
                    await until(lambda: rules_of(n).anchor == "s")


async def test_of_very_many_addresses_only_some_are_dialled(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    network = ServiceNetwork(*(f"{number} 1 host{number}" for number in range(MOST_PLACES + 6)))
    async with open_test_node(network, "n", seeds=[NAME]):
        await trio.sleep(100)
        assert len(network.asked) > 1
        told = [line for line in warnings_in(caplog) if "addresses" in line]
        assert told == [f"the seed {NAME} has {MOST_PLACES + 6} addresses; only {MOST_PLACES} are dialled"]
        assert set(network.dialled) == {f"host{number}:1" for number in range(MOST_PLACES)}


async def test_a_spare_seed_is_left_alone_while_a_better_one_works(autojump_clock: trio.testing.MockClock) -> None:
    network = ServiceNetwork("0 1 a", "0 1 b", "5 1 spare", "9 1 last")
    async with (
        open_test_node(network, "a", binds=["a:1"]) as a,
        open_test_node(network, "spare", binds=["spare:1"], seeds=[NAME]) as spare,
        open_test_node(network, "n", seeds=[NAME]) as n,
    ):
        nodes = [a, spare, n]
        await until(lambda: is_settled(nodes), 30)
        await trio.sleep(100)
        assert "spare:1" not in network.dialled
        assert not rules_of(spare).is_global
        assert network.dialled["b:1"] > 5, "one of the best that is dead is tried again and again"
    async with (
        open_test_node(network, "spare", binds=["spare:1"]) as spare,
        open_test_node(network, "n", seeds=[NAME]) as n,
    ):
        await until(lambda: is_settled([spare, n]), 30)
        assert "last:1" not in network.dialled
        # Back again.
        async with open_test_node(network, "b", binds=["b:1"]) as b:
            await until(lambda: is_settled([spare, n, b]), 30)


async def test_the_weights_decide_who_becomes_the_anchor(autojump_clock: trio.testing.MockClock) -> None:
    """What is drawn for all is the same here, so the one with the greater weight is always the first."""
    network = ServiceNetwork("0 1 a", "0 9 b")
    async with (
        open_test_node(network, "a", binds=["a:1"], seeds=[]),
        open_test_node(network, "b", binds=["b:1"], seeds=[]),
    ):
        for number in range(5):
            async with open_test_node(network, f"n{number}", seeds=[NAME]) as n:
                await until(lambda n=n: rules_of(n).anchor, 10)  # type: ignore[misc]
                assert rules_of(n).anchor == "b"


@pytest.mark.parametrize("seconds, least, most", [(0.0, 15, 50), (100.0, 100, 160), (1e9, LONGEST_LIFE, 3700)])
async def test_the_records_are_believed_as_long_as_they_say_and_are_then_asked_for_again(
    autojump_clock: trio.testing.MockClock, seconds: float, least: float, most: float
) -> None:
    network = ServiceNetwork("0 1 a")
    network.seconds = seconds
    async with open_test_node(network, "n", seeds=[NAME]):
        await trio.sleep(3 * most)
    waits = [later - earlier for earlier, later in zip(network.asked, network.asked[1:], strict=False)]
    assert waits
    assert all(least <= wait <= most for wait in waits), waits


async def test_seeds_come_and_go_with_the_records(autojump_clock: trio.testing.MockClock) -> None:
    network = ServiceNetwork("0 1 a")
    async with open_test_node(network, "n", seeds=[NAME]) as n:
        await trio.sleep(20)
        network.targets = ("0 1 b",)
        async with open_test_node(network, "b", binds=["b:1"]) as b:
            await until(lambda: is_settled([n, b]), 100)
            before = network.dialled["a:1"]
            await trio.sleep(100)
            assert network.dialled["a:1"] <= before + 1
            assert "a:1" not in network_of(n).failures


async def test_a_node_that_is_among_them_is_global(autojump_clock: trio.testing.MockClock) -> None:
    network = ServiceNetwork("0 1 a", "0 1 b")
    async with (
        open_test_node(network, "a", binds=["a:1"], seeds=[NAME]) as a,
        open_test_node(network, "b", binds=["b:1"], seeds=[NAME]) as b,
        open_test_node(network, "n", seeds=[NAME]) as n,
    ):
        await until(lambda: is_settled([a, b, n]), 30)
        assert rules_of(a).is_global
        assert rules_of(b).is_global


async def test_what_fails_is_said_once_and_tried_again(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    network = ServiceNetwork("0 1 a", "0 1 b")
    network.targets = None
    async with open_test_node(network, "n", seeds=[NAME]) as n:
        await trio.sleep(100)
        notices = Notices()
        n.monitor("elsewhere#AAAAAAAAAAAAAAAA.1", notices)
        assert f"the seed {NAME}: there is no such name" in (await notices.wait())[2]
        assert warnings_in(caplog) == [
            f"the seed {NAME} cannot be used: there is no such name; trying again for as long as it takes"
        ]
        network.targets, network.unknown = ("0 1 a", "0 1 b"), {"a", "b"}
        await trio.sleep(100)
        assert "there is no such host" in warnings_in(caplog)[1]
        assert len(warnings_in(caplog)) == 2
        # One that can be found is enough.
        network.unknown = {"a"}
        async with open_test_node(network, "b", binds=["b:1"]) as b:
            await until(lambda: is_settled([n, b]), 30)
            network.targets = None
            await trio.sleep(100)
            assert is_settled([n, b]), "what DNS does not know for a while is not given up"


async def test_where_there_is_no_dns_that_is_said(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_test_node(FakeNetwork(), "n", seeds=[NAME]):
        await trio.sleep(5)
    assert "there is no DNS here to look up _app._tcp.example.org" in warnings_in(caplog)[0]
