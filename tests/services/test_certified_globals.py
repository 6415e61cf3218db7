"""Who may be global where certificates name nodes: whom its certificate allows, and who is a seed of one's own."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from network_helpers import FakeNetwork, Inbox, network_of, open_test_node, place, until, warnings_in

from trio_mp import Certificate, ConfigurationError, Node, make_authority, make_certificate
from trio_mp._protocol.handshake.greeting import NONCE_SIZE, LocalInfo
from trio_mp._protocol.handshake.session import Session
from trio_mp._protocol.membership.rules import Membership
from trio_mp._transport.addresses import parse_address
from trio_mp._transport.throwaway import throwaway_tls
from trio_mp.lowlevel import open_node_in


class Authority:
    """An authority in a folder, and the certificates that it makes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file, self.key = folder / "authority.pem", folder / "authority.key"
        make_authority(self.file, self.key)

    def issue(self, node_id: str, *, may_be_global: bool = False, verify_node_id: bool = True) -> Certificate:
        chain, key = self.folder / f"{node_id}.pem", self.folder / f"{node_id}.key"
        files: dict[str, Any] = {"authority": self.file, "authority_key": self.key}
        make_certificate(node_id, chain, key, **files, may_be_global=may_be_global)
        return Certificate(chain, key, self.file, verify_node_id)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@asynccontextmanager
async def open_nodes(authority: Authority, **seeds: str) -> AsyncGenerator[dict[str, Node], None]:
    """Nodes with their seeds; those whose name begins with `g` have certificates that allow them to be global."""
    network = FakeNetwork()
    async with AsyncExitStack() as stack:
        nodes: dict[str, Node] = {}
        for name, theirs in seeds.items():
            certificate = authority.issue(name, may_be_global=name.startswith("g"))
            settings: dict[str, Any] = {"certificate": certificate, "secret": None, "encryption": True}
            node = open_test_node(network, name, seeds=theirs.split(), **settings)
            nodes[name] = await stack.enter_async_context(node)
        yield nodes


def rules_of(node: Node) -> Membership:
    assert node._membership is not None
    return node._membership.rules


def are_meshed(*nodes: Node) -> bool:
    names = {node.id for node in nodes}
    return all(rules_of(node).is_global and {*rules_of(node).mesh, node.id} == names for node in nodes)


async def test_whom_its_certificate_allows_is_global_for_all(
    autojump_clock: trio.testing.MockClock, authority: Authority
) -> None:
    async with open_nodes(authority, g1="", g2="g1", a="g2", b="g1 g2") as nodes:
        await until(lambda: are_meshed(nodes["g1"], nodes["g2"]))
        await until(lambda: rules_of(nodes["a"]).anchor == "g2" and rules_of(nodes["b"]).anchor is not None)
        nodes["a"].database.set("red", "k", 1)
        async with nodes["b"].database.watch("red") as changes:
            async for change in changes:
                if change.table == {"k": 1}:
                    break


async def test_seeds_of_each_other_are_global_without(
    autojump_clock: trio.testing.MockClock, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_nodes(authority, s1="s2", s2="s1", a="s1 s2") as nodes:
        await until(lambda: are_meshed(nodes["s1"], nodes["s2"]))
        await until(lambda: rules_of(nodes["a"]).anchor is not None)
        assert not rules_of(nodes["a"]).is_global


async def test_seeds_that_are_in_the_list_of_all_are_global_without(
    autojump_clock: trio.testing.MockClock, authority: Authority
) -> None:
    async with open_nodes(authority, s1="s1 s2", s2="s1 s2", a="s1 s2") as nodes:
        await until(lambda: are_meshed(nodes["s1"], nodes["s2"]) and rules_of(nodes["a"]).anchor)


async def test_who_may_not_be_global_is_not_made_so_by_another_member(
    autojump_clock: trio.testing.MockClock, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """It says so in its log, and whoever has named it as a seed has it in its own, and in its errors."""
    async with open_nodes(authority, g1="", a="g1", b="a") as nodes:
        await until(lambda: rules_of(nodes["a"]).anchor == "g1")
        with caplog.at_level(logging.WARNING, "trio_mp"):
            await until(lambda: len(warnings_in(caplog)) >= 2)
            await trio.sleep(60)
        assert not rules_of(nodes["a"]).is_global
        assert rules_of(nodes["a"]).anchor == "g1"
        assert rules_of(nodes["b"]).anchor is None
        why = "the certificate of a does not allow it to be global"
        here = [text for text in warnings_in(caplog) if text.startswith("b says 'join', and is refused: ")]
        there = [text for text in warnings_in(caplog) if text.startswith("the seed unix:/fake/a cannot be used")]
        assert all(why in text for text in here + there)
        # Once, and not for every attempt.
        assert len(here) == len(there) == 1
        assert "may_be_global=True" in there[0]
        assert any(why in failure for failure in network_of(nodes["b"]).failures.values())


async def test_a_liar_that_says_it_is_global_is_not_taken_for_one(
    autojump_clock: trio.testing.MockClock, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_nodes(authority, g1="", a="g1", liar="g1") as nodes:
        await until(lambda: rules_of(nodes["a"]).anchor == rules_of(nodes["liar"]).anchor == "g1")
        with caplog.at_level(logging.WARNING, "trio_mp"):
            nodes["liar"].send("g1", "join", True, ["unix:/fake/liar"])
            nodes["liar"].send("g1", "db", "pull")
            nodes["liar"].send("a", "join", True, ["unix:/fake/liar"])
            nodes["liar"].send("a", "welcome", [], {})
            await trio.sleep(20)
        assert rules_of(nodes["g1"]).mesh == {}
        assert nodes["g1"].database._replica._globals == {}
        assert not rules_of(nodes["a"]).is_global
        assert rules_of(nodes["a"]).anchor == "g1"
        assert any("liar says 'join', and is refused: the certificate of liar" in text for text in warnings_in(caplog))


async def test_hearsay_makes_nobody_global(
    autojump_clock: trio.testing.MockClock, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """`x` is a seed of g2's, and so global for that one; g1 hears of it, dials it, and does not mesh with it."""
    async with open_nodes(authority, g1="", x="", g2="g1 x g2") as nodes:
        # A place where g2 listens is among its own seeds, which makes it global.
        await until(lambda: "x" in rules_of(nodes["g2"]).mesh and "g1" in rules_of(nodes["g2"]).mesh)
        await trio.sleep(60)
        assert "x" not in rules_of(nodes["g1"]).mesh
        assert "x" not in nodes["g1"].database._replica._globals
        assert rules_of(nodes["g1"]).mesh.keys() == {"g2"}


async def test_where_certificates_name_nobody_everybody_may(
    autojump_clock: trio.testing.MockClock, authority: Authority
) -> None:
    network, shared = FakeNetwork(), authority.issue("any", verify_node_id=False)
    settings: dict[str, Any] = {"certificate": shared, "secret": None, "encryption": True}
    async with (
        open_test_node(network, "a", **settings),
        open_test_node(network, "b", seeds=["a"], **settings) as b,
        open_test_node(network, "c", seeds=["b"], **settings) as c,
    ):
        await until(lambda: rules_of(b).is_global and rules_of(c).anchor == "b")


async def greet_only(listener: Any, node_id: str) -> None:
    """Somebody at an address, who says that it is that node, and goes."""
    while True:
        pipe = await listener.accept()
        local = LocalInfo(
            node_id, "i" * 16, (), encryption=True, heartbeat=5, limit=2**20, provider="", certificates=True
        )
        session = Session(local, os.urandom(NONCE_SIZE), dialler=False, peer_address="", make_tls=throwaway_tls)
        pipe.send_nowait(bytes(session.outgoing))
        await pipe.wait_readable()
        pipe.receive_nowait(65536)
        pipe.close()


async def test_a_greeting_alone_makes_nobody_a_seed(
    autojump_clock: trio.testing.MockClock, authority: Authority
) -> None:
    """A stranger sits at the address of a seed, and greets as `x`, which is connected and may not be global."""
    async with open_nodes(authority, g1="", x="g1") as nodes, trio.open_nursery() as nursery:
        transport = network_of(nodes["g1"]).environment.transport
        (listener,) = await transport.listen(parse_address(place("s")))
        nursery.start_soon(greet_only, listener, "x")
        certificate = authority.issue("a")
        settings: dict[str, Any] = {"certificate": certificate, "secret": None, "encryption": True}
        async with open_test_node(transport, "a", seeds=["g1", "s"], **settings) as a:
            await until(lambda: rules_of(a).anchor == "g1")
            inbox = Inbox(nodes["x"])
            a.monitor(inbox.port, lambda *_: None)
            a.send(inbox.port, "hello")
            await inbox.wait(1)
            await trio.sleep(30)
            assert a._membership is not None
            (redialler,) = [one for key, one in a._membership._rediallers.items() if key == place("s")]
            assert redialler.proven_id == ""
            assert "x" in a.peers
            nodes["x"].send("a", "join", True, [])
            await trio.sleep(10)
            assert not rules_of(a).is_global
        nursery.cancel_scope.cancel()


async def test_a_tool_has_the_id_that_its_certificate_names(
    autojump_clock: trio.testing.MockClock, authority: Authority
) -> None:
    async with open_nodes(authority, g1="") as nodes:
        environment = nodes["g1"]._runtime.environment
        settings: dict[str, Any] = {"seeds": [place("g1")], "tool": True}
        async with open_node_in(environment, certificate=authority.issue("operator"), **settings) as tool:
            assert tool.id == "operator"
            assert await tool.call("g1", "info") == ("g1",)
        nameless = authority.issue("nameless", verify_node_id=False)
        async with open_node_in(environment, certificate=nameless, **settings) as tool:
            assert tool.id.startswith("anon/")
        missing = Certificate(authority.folder / "nowhere.pem", nameless.key, nameless.authority)
        with pytest.raises(ConfigurationError, match=r"nowhere\.pem: cannot be read"):
            async with open_node_in(environment, certificate=missing, **settings):
                pass
