"""Whoever sits at a seed's address for a moment, without the secret: nothing that lasts follows from it."""

from __future__ import annotations

import os
import socket
from base64 import b64encode
from pathlib import Path

import pytest
import trio
import trio.testing
from network_helpers import SECRET, FakeNetwork, network_of, open_test_node, place, until, warnings_in
from relay_helpers import RELAY, Middle, relaying

from trio_mp import Node, open_node
from trio_mp._protocol.membership.rules import Membership
from trio_mp._services.redialler import LAST_RETRY_OF_ITSELF
from trio_mp._transport.addresses import parse_address
from trio_mp._transport.interfaces import is_own_host
from trio_mp._transport.sockets import SocketTransport

LONGEST = LAST_RETRY_OF_ITSELF * 1.5 + 1
"""The longest wait, with the greatest jitter, and the time for a handshake."""


def rules_of(node: Node) -> Membership:
    assert node._membership is not None
    return node._membership.rules


@pytest.mark.parametrize("encryption", [False, True], ids=["plain", "encrypted"])
@pytest.mark.parametrize("seconds", [0.05, 500.0], ids=["a-moment", "long"])
async def test_who_splices_a_node_with_itself_does_not_make_it_forget_its_seed(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, encryption: bool, seconds: float
) -> None:
    """The stranger at the seed's address dials the node back, so that each of its nonces is fresh, and both its own."""
    network = FakeNetwork()
    async with open_test_node(network, "v", seeds=[RELAY], encryption=encryption) as v:
        async with relaying(network, "v", Middle.pass_on) as relay:
            await until(lambda: relay.served >= 1, 200)
            await trio.sleep(seconds)
            assert not rules_of(v).is_global
            assert rules_of(v).anchor is None
            (line,) = [line for line in warnings_in(caplog) if "this node itself" in line]
            assert place(RELAY) in line
        async with open_test_node(network, "s", binds=(place(RELAY),), encryption=encryption):
            begun = trio.current_time()
            await until(lambda: rules_of(v).anchor == "s", LONGEST)
            assert trio.current_time() - begun < (2 if seconds < 1 else LONGEST)
            assert not rules_of(v).is_global
            assert v.peers == ("s",)


async def test_a_seed_in_use_is_not_forgotten_for_a_stranger_at_its_address(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A node that has been attached there before goes back to it, and not global."""
    network = FakeNetwork()
    async with open_test_node(network, "v", seeds=[RELAY]) as v:
        for _ in range(3):
            async with open_test_node(network, "s", binds=(place(RELAY),)):
                await until(lambda: rules_of(v).anchor == "s", LONGEST)
            async with relaying(network, "v", Middle.pass_on) as relay:
                await until(lambda: relay.served >= 2, 200)
                assert not rules_of(v).is_global


async def test_a_stranger_cannot_pass_for_a_node_that_is_connected(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """At the address of one seed it says the name of the other, and closes: the first is not given up for that."""
    greeting = b"aemp;1;m;hmac_sha256;msgpack;incarnation=0123456789abcdef;limit=99999\n"

    async def claim(middle: Middle) -> None:
        await middle.dialler.send(greeting + b64encode(os.urandom(33)) + b"\n")
        await middle.dialler.lines(3)

    network = FakeNetwork()
    async with open_test_node(network, "m") as m, open_test_node(network, "v", seeds=["m", RELAY]) as v:
        await until(lambda: rules_of(v).anchor == "m")
        async with relaying(network, "m", claim) as relay:
            await until(lambda: relay.served >= 5, 200)
            assert place(RELAY) in network_of(v).failures
            assert rules_of(v).anchor == "m"
        async with open_test_node(network, "s", binds=(place(RELAY),)) as s:
            # Two parts of a network, which only this node knows of both.
            await until(lambda: set(rules_of(m).mesh) == {"s"} and set(rules_of(s).mesh) == {"m"}, 20)
        assert not rules_of(v).is_global


async def test_a_node_that_meets_itself_elsewhere_is_global_when_another_node_names_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its seed's address is translated to its own: nothing says so but that others reach it there."""
    network = FakeNetwork()
    async with open_test_node(network, "v", seeds=[RELAY]) as v, relaying(network, "v", Middle.pass_on) as relay:
        await until(lambda: relay.served >= 2, 200)
        assert not rules_of(v).is_global
        async with open_test_node(network, "w", seeds=[RELAY]) as w:
            await until(lambda: rules_of(w).anchor == "v", 20)
            assert rules_of(v).is_global


async def test_an_address_of_its_own_that_is_anothers_later(autojump_clock: trio.testing.MockClock) -> None:
    """As one that goes from machine to machine: who has it now is dialled, though this node had it once."""
    network = FakeNetwork()
    async with open_test_node(network, "v", binds=(place("v"), place("moves")), seeds=["moves"]) as v:
        await until(lambda: rules_of(v).is_global)
        await trio.sleep(100)
        # It goes on listening, where nobody comes any more.
        del network.listeners[place("moves")]
        async with open_test_node(network, "s", binds=(place("moves"),)) as s:
            await until(lambda: "s" in rules_of(v).mesh and "v" in rules_of(s).mesh, LONGEST)


# What is a node's own -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bind, dialled, own",
    [
        ("127.0.0.1:4040", "127.0.0.1:4040", True),
        ("127.0.0.1:4040", "127.0.0.1:4041", False),
        ("127.0.0.1:4040", "127.0.0.2:4040", False),
        ("0.0.0.0:4040", "127.0.0.1:4040", True),
        ("0.0.0.0:4040", "127.0.1.1:4040", True),
        ("0.0.0.0:4040", "127.0.0.1:4041", False),
        ("0.0.0.0:4040", "[::1]:4040", False),
        ("[::]:4040", "[::1]:4040", True),
        ("[::]:4040", "127.0.0.1:4040", False),
        # Addresses of documentation (RFC 5737, RFC 3849): no machine has them.
        ("0.0.0.0:4040", "198.51.100.1:4040", False),
        ("[::]:4040", "[2001:db8::1]:4040", False),
        ("0.0.0.0:4040", "a.name.that.was.not.looked.up:4040", False),
        ("unix:/run/a.sock", "unix:/run/a.sock", True),
        ("unix:/run/a.sock", "unix:/run/b.sock", False),
        ("unix:/run/a.sock", "127.0.0.1:4040", False),
        ("unix:a.sock", "unix:./a.sock", True),
    ],
)
def test_whether_an_address_is_that_of_a_listener(bind: str, dialled: str, own: bool) -> None:
    assert SocketTransport().is_at(parse_address(bind), parse_address(dialled)) is own


def test_a_socket_by_another_path(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    bind, dialled = (parse_address(f"unix:{tmp_path}/{name}/s") for name in ("real", "link"))
    assert SocketTransport().is_at(bind, dialled)


def test_the_addresses_of_this_machine_are_its_own() -> None:
    for host in [*SocketTransport().own_hosts(), "127.0.0.1", "::1", "::1%lo"]:
        assert is_own_host(host)


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "the name of the host", "an address of the host"])
async def test_a_seed_that_names_itself_behind_all_interfaces_is_global(require_tcp: None, name: str) -> None:
    """As in the documentation of networks: `*:PORT`, and the same seeds for all."""
    hosts = SocketTransport().own_hosts()
    host = {"the name of the host": socket.gethostname(), "an address of the host": hosts[0] if hosts else ""}.get(
        name, name
    )
    with socket.create_server(("0.0.0.0", 0)) as free:
        port = free.getsockname()[1]
    try:
        socket.getaddrinfo(host or "none.invalid", port)
    except OSError:
        pytest.skip(f"this machine has no such name or address: {name}")
    with trio.fail_after(20):
        async with open_node("s", binds=[f"*:{port}"], seeds=[f"{host}:{port}"], secret=SECRET) as s:
            await until(lambda: rules_of(s).is_global)


async def test_seeds_that_all_name_all_are_global(require_tcp: None) -> None:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    seeds = [f"127.0.0.1:{port}" for port in ports]
    with trio.fail_after(20):
        async with (
            open_node("a", binds=[f"*:{ports[0]}"], seeds=seeds, secret=SECRET) as a,
            open_node("b", binds=[f"*:{ports[1]}"], seeds=seeds, secret=SECRET) as b,
            open_node("c", binds=[f"127.0.0.1:{ports[2]}"], seeds=seeds, secret=SECRET) as c,
        ):
            await until(lambda: {len(rules_of(node).mesh) for node in (a, b, c)} == {2})


# A seed that ends in the middle of a handshake ------------------------------------------------------------------------


async def test_a_seed_that_was_killed_while_it_authenticated_is_not_suspected_of_another_secret(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def die(middle: Middle) -> None:
        await middle.listener.send(b"".join(await middle.dialler.lines(2)))
        await middle.dialler.send(b"".join(await middle.listener.lines(2)))
        await middle.dialler.line()

    network = FakeNetwork()
    async with open_test_node(network, "m"), open_test_node(network, "v", seeds=[RELAY]) as v:
        async with relaying(network, "m", die) as relay:
            await until(lambda: relay.served >= 1, 200)
        await trio.sleep(60)
        lines = [line for line in warnings_in(caplog) if "the seed" in line]
        assert [line for line in lines if "nobody listens" in line] == lines != []
        async with open_test_node(network, "s", binds=(place(RELAY),)):
            await until(lambda: v.peers == ("s",), 20)
