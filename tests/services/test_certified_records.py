"""Vouchers between real nodes with real certificates: whose records are taken, and new certificates meanwhile."""

from __future__ import annotations

import datetime
import logging
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from network_helpers import FakeNetwork, open_test_node, peer_of, until, warnings_in

from trio_mp import Certificate, Node, make_authority, make_certificate
from trio_mp._peers.connection import Connection
from trio_mp._peers.errands import AGAIN
from trio_mp._protocol.database.records import VOUCHERS, Record, Table
from trio_mp._services.certified import RENEW_AGAIN
from trio_mp._services.database import GRACE
from trio_mp._transport.certificates import utc_now
from trio_mp._transport.notary import CertificateNotary


class World:
    """A network of nodes with certificates of one authority; those whose names begin with `g` may be global."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self.folder = folder
        self.network = FakeNetwork()
        self.nodes: dict[str, Node] = {}
        self._stack = stack
        self._files: dict[str, Any] = {"authority": folder / "root.pem", "authority_key": folder / "root.key"}
        make_authority(*self._files.values())

    def issue(self, name: str, days: int = 365, **settings: Any) -> Certificate:
        chain, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        for file in (chain, key):
            file.unlink(missing_ok=True)
        make_certificate(name, chain, key, **self._files, days=days, may_be_global=name.startswith("g"))
        return Certificate(chain, key, self._files["authority"], **settings)

    async def start(self, name: str, *seeds: str, **settings: Any) -> Node:
        node = open_test_node(
            self.network, name, seeds=seeds, certificate=self.issue(name, **settings), secret=None, encryption=True
        )
        self.nodes[name] = await self._stack.enter_async_context(node)
        await trio.sleep(5)
        return self.nodes[name]

    async def see(self, family: str = "red") -> list[Table]:
        return [await node.database.family(family) for node in self.nodes.values()]


async def start_five(folder: Path, stack: AsyncExitStack) -> World:
    """Three global nodes, and one that is attached to the first and one to the second."""
    world = World(folder, stack)
    await world.start("g1")
    await world.start("g2", "g1", "g2")
    await world.start("g3", "g1", "g2", "g3")
    await world.start("a", "g1")
    await world.start("b", "g2")
    return world


def held(node: Node, owner: str) -> Record:
    return node.database._replica._copies._counting[owner]


def lie_about(liar: Node, to: str, victim: Node, entries: dict[str, Table], *, more: int) -> None:
    version = victim.database._replica._own.version
    record = ("record", victim.id, version.started, version.incarnation, version.attachment + more, 10**6)
    for message in (("begin", False), record, ("entries", entries), ("done",)):
        liar.send(to, "db", *message)


async def test_what_nodes_set_all_see_and_no_liar_can_change_it(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The liar is a global node that may be one: it speaks for a node that is attached to another one."""
    async with AsyncExitStack() as stack:
        world = await start_five(tmp_path, stack)
        for node in world.nodes.values():
            node.database.set("red", node.id, 1)
        await trio.sleep(1)
        truth: Table = dict.fromkeys(world.nodes, 1)
        assert await world.see() == [truth] * 5
        assert warnings_in(caplog) == []
        victim, liar = world.nodes["a"], world.nodes["g3"]
        stolen = held(liar, "a").tables[VOUCHERS]
        lie: Table = {"a": "a lie"}
        notary = liar.database._notary
        assert notary is not None
        own: Table = {"a": ["g3", *notary.sign(b"text")]}
        lies: list[tuple[dict[str, Table], int, str]] = [
            ({"red": lie}, 1000, "without a voucher of a: "),
            ({"red": lie, VOUCHERS: stolen}, 0, "whose voucher names another anchor, 'g1'"),
            ({"red": lie, VOUCHERS: own}, 0, "whose voucher was signed with a"),
        ]
        for entries, more, why in lies:
            caplog.clear()
            with caplog.at_level(logging.WARNING, "trio_mp"):
                for anchor in ("g1", "g2"):
                    lie_about(liar, anchor, victim, entries, more=more)
                await trio.sleep(AGAIN)
            said = [text.removeprefix("g3: this node refuses a record of a ") for text in warnings_in(caplog)]
            assert [text.startswith(why) for text in said] == [True, True]
        assert await world.see() == [truth] * 5
        assert await world.see(VOUCHERS) == [{}] * 5


async def test_a_node_that_moves_is_seen_with_its_new_voucher(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with AsyncExitStack() as stack:
        world = await start_five(tmp_path, stack)
        world.nodes["a"].database.set("red", "k", 1)
        await trio.sleep(1)
        assert held(world.nodes["g3"], "a").tables[VOUCHERS]["a"][0] == "g1"  # type: ignore[index]
        g1 = world.nodes.pop("g1")
        for wire in world.network.live:
            wire.cut()
        with trio.CancelScope(shield=True):
            await g1._runtime.close(None)
        await trio.sleep(GRACE + 20)
        anchor = world.nodes["a"].database._replica.anchor
        assert anchor in ("g2", "g3")
        assert await world.see() == [{"k": 1}] * 4
        assert held(world.nodes["g2"], "a").tables[VOUCHERS]["a"][0] == anchor  # type: ignore[index]
        assert not [text for text in warnings_in(caplog) if "refuses a record" in text]


async def test_a_new_certificate_signs_a_new_voucher(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """While the node stays attached, and no connection of it begins; who becomes global later takes it."""
    async with AsyncExitStack() as stack:
        world = await start_five(tmp_path, stack)
        victim = world.nodes["a"]
        victim.database.set("red", "k", 1)
        await trio.sleep(1)
        before = held(world.nodes["g2"], "a").tables[VOUCHERS]["a"]
        world.issue("a")
        await trio.sleep(RENEW_AGAIN + 2)
        after = held(world.nodes["g2"], "a").tables[VOUCHERS]["a"]
        assert after != before
        assert after == held(victim, "a").tables[VOUCHERS]["a"]
        assert held(victim, "a").version.attachment == held(world.nodes["g2"], "a").version.attachment
        await world.start("g4", "g1", "g4")
        assert await world.see() == [{"k": 1}] * 6
        await trio.sleep(RENEW_AGAIN + 2)
        assert held(world.nodes["g4"], "a").tables[VOUCHERS]["a"] == after


async def test_what_an_expired_certificate_has_signed_stays_and_is_not_taken_anew(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Until its owner has another one, and has signed anew."""
    async with AsyncExitStack() as stack:
        world = await start_five(tmp_path, stack)
        world.nodes["a"].database.set("red", "k", 1)
        await trio.sleep(1)
        reader, g2 = world.nodes["b"], world.nodes["g2"]
        notary = g2.database._notary
        assert isinstance(notary, CertificateNotary)
        notary._now = lambda: utc_now() + datetime.timedelta(days=400)
        # Of the connections nothing is lost: what has come, stays.
        world.nodes["a"].database.set("red", "k", 2)
        await trio.sleep(GRACE + 1)
        assert await reader.database.family("red") == {"k": 2}
        with caplog.at_level(logging.WARNING, "trio_mp"):
            connection = peer_of(g2, "g1").current
            assert isinstance(connection, Connection)
            connection.close("a test")
            await trio.sleep(GRACE + 1)
        assert await reader.database.family("red") == {}
        why = "g1: this node refuses a record of a whose voucher was signed with a certificate that has expired"
        assert why in warnings_in(caplog)
        # The authority's certificate lasts longer.
        world.issue("a", days=800)
        await trio.sleep(RENEW_AGAIN + 2)
        assert await reader.database.family("red") == {"k": 2}


async def test_what_a_node_sets_that_signs_nothing_its_anchor_and_the_guests_of_that_see(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of an older version does. What it says of itself needs no voucher, so a global one is seen by all."""
    monkeypatch.setattr(CertificateNotary, "sign", lambda *_: [])
    async with AsyncExitStack() as stack:
        world = await start_five(tmp_path, stack)
        await world.start("c", "g1")
        assert [world.nodes[name].database._replica.anchor for name in "abc"] == ["g1", "g2", "g1"]
        world.nodes["a"].database.set("red", "k", 1)
        world.nodes["g1"].database.set("green", "k", 1)
        await trio.sleep(1)
        seen = dict(zip(world.nodes, await world.see(), strict=True))
        assert seen == {name: {"k": 1} if name in ("g1", "a", "c") else {} for name in world.nodes}
        assert await world.see("green") == [{"k": 1}] * 6


async def test_where_certificates_name_nobody_there_are_none(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As with a secret alone each member is believed: a node with such a certificate can take any ID."""
    async with AsyncExitStack() as stack:
        world = World(tmp_path, stack)
        for name, *seeds in (("g1",), ("g2", "g1", "g2"), ("a", "g1")):
            shared = world.issue("shared", verify_node_id=False)
            node = open_test_node(world.network, name, seeds=seeds, certificate=shared, secret=None, encryption=True)
            world.nodes[name] = await stack.enter_async_context(node)
            await trio.sleep(5)
        world.nodes["a"].database.set("red", "k", 1)
        await trio.sleep(1)
        assert await world.see() == [{"k": 1}] * 3
        assert VOUCHERS not in held(world.nodes["g2"], "a").tables
        lie_about(world.nodes["g2"], "g1", world.nodes["g1"], {}, more=1)
        await until(lambda: world.nodes["g1"].peers)
        assert warnings_in(caplog) == []
