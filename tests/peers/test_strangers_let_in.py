"""Who is let in to its handshake when many want to be, and what is said of those that are not."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import fake_network
import pytest
import trio
import trio.testing
from network_helpers import FakeListener, FakeNetwork, Wire, network_of, open_test_node, place, until, warnings_in
from relay_helpers import Side

from trio_mp._peers.limited_log import BURST
from trio_mp._transport.addresses import parse_address
from trio_mp._transport.admission import SLOTS
from trio_mp._transport.pipe import Pipe
from trio_mp._transport.sockets import SocketTransport

ORIGINALS = {
    "1.30": (
        b"aemp;1;node1;tls_md6_64_256,hmac_md6_64_256,tls_anon,cleartext;json,storable;peeraddr=127.0.0.1:5040;"
        b"provider=AE-1.30\n"
        b"c2sN7b0uY1OLCWo5frFCm632UPoiSNkPbazHig1DElvrTvdFvzSM/BFibdJjEWiWu/IQkbtQ6Vmm4OSMI5jzmGRH\n"
    ),
    "2.02": (
        b"aemp;1;node1;tls_sha3_512,hmac_sha3_512,tls_anon,cleartext;cbor,json,storable;provider=AE-2.01;mproto=1;"
        b"peeraddr=127.0.0.1:25040;gproto=1\n"
        b"URkjsN30BKyM21+5bEjt7Q0DXU5qHwoadnFuGM63ynSeEbpxgLn3szSA1BAVLF0q4lL2zReR7Rvyvpm3pswH0xD6\n"
    ),
}
"""What nodes of AnyEvent::MP have said, as recorded."""


def connect(network: FakeNetwork, address: str) -> Wire:
    """A connection to `m` that comes from an address."""
    wire = network.connect(place("m"))
    wire.listener.peer_address = address
    return wire


@pytest.mark.parametrize("encryption", [False, True], ids=["plain", "encrypted"])
@pytest.mark.parametrize("version", ORIGINALS)
async def test_a_node_of_the_original_is_named_once_for_each_source(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, version: str, encryption: bool
) -> None:
    """It dials again every few seconds, and means no harm."""
    network = FakeNetwork()
    async with open_test_node(network, "m", encryption=encryption):
        for source in ("192.0.2.1", "192.0.2.2", "192.0.2.1"):
            for number in range(100):
                side = Side(connect(network, f"{source}:{number}").dialler)
                await side.send(ORIGINALS[version])
                while await side.some():
                    pass
                side.close()
                await trio.sleep(5)
        lines = warnings_in(caplog)
        assert len(lines) == 2
        for line, source in zip(lines, ("192.0.2.1", "192.0.2.2"), strict=True):
            assert source in line
            assert "got the node 'node1' of AnyEvent::MP ('AE-" in line


@pytest.mark.parametrize("version", ORIGINALS)
async def test_a_seed_that_is_a_node_of_the_original(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, version: str
) -> None:
    network = FakeNetwork()
    (listener,) = await network.listen(parse_address(place("perl")))

    async def answer() -> None:
        while True:
            side = Side(await listener.accept())
            await side.send(ORIGINALS[version])
            while await side.some():
                pass
            side.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        async with open_test_node(network, "v", seeds=["perl"]):
            await trio.sleep(100)
        nursery.cancel_scope.cancel()
    (line,) = warnings_in(caplog)
    assert "AnyEvent::MP" in line


async def test_what_strangers_say_of_themselves_cannot_fill_the_log_at_any_level(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A node's own greeting, said back to it, is no fault of anybody's, and no reason for a line each time."""
    caplog.set_level(logging.DEBUG, "trio_mp")
    network = FakeNetwork()
    async with open_test_node(network, "m"):
        for number in range(500):
            side = Side(connect(network, f"192.0.2.{number % 250}:1").dialler)
            fields, _ = await side.lines(2)
            await side.send(fields + b"A" * 44 + b"\n")
            while await side.some():
                pass
            side.close()
        assert 1 <= len([line for line in caplog.records if "this node itself" in line.getMessage()]) <= BURST + 1
        assert len(caplog.records) < 2 * BURST


async def test_a_newcomer_from_a_known_address_is_let_in_at_once_under_a_flood(
    autojump_clock: trio.testing.MockClock,
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "m", encryption=True) as m:

        async def come(node_id: str, source: str) -> float:
            """How long a node from there takes to be let in."""

            def prepare(wire: Wire) -> None:
                wire.listener.peer_address = f"{source}:1"

            network.prepare = prepare
            begun = trio.current_time()
            async with open_test_node(network, node_id, seeds=["m"], listen=False, encryption=True):
                await until(lambda: node_id in m.peers, 60)
                network.prepare = None
            return trio.current_time() - begun

        await come("before", "198.51.100.1")
        # The dice fall against every newcomer that may be refused.
        network_of(m).environment = dataclasses.replace(network_of(m).environment, jitter=lambda: 0.4)
        wires = [connect(network, f"10.{number // 250}.{number % 250}.1:1") for number in range(1000)]
        await trio.sleep(0.1)
        assert len(network_of(m)._strangers) > SLOTS // 2 * 0.8
        for number in range(10):
            assert await come(f"friend{number}", "198.51.100.1") < 0.1
        # From an address that nobody has come from, it waits until there is room.
        assert await come("newcomer", "203.0.113.1") > 1
        assert sum(wire.open for wire in wires) <= SLOTS // 2


class ListenerThatKnows(FakeListener):
    """Says at once whether a connection waits, as sockets do."""

    def accept_nowait(self) -> Pipe | None:
        try:
            return self._receive.receive_nowait()
        except trio.WouldBlock:
            return None


async def test_of_more_than_eight_that_wait_behind_one_another_more_are_refused(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake_network, "FakeListener", ListenerThatKnows)
    network = FakeNetwork()
    async with open_test_node(network, "m") as m:
        # Between what is refused of those that come alone, and of a crowd.
        network_of(m).environment = dataclasses.replace(network_of(m).environment, jitter=lambda: 0.7)
        for number in range(SLOTS // 2):
            connect(network, f"10.0.{number}.1:1")
            await trio.sleep(0.001)
        assert len(network_of(m)._strangers) == SLOTS // 2
        alone = []
        for number in range(20):
            alone.append(connect(network, f"10.1.{number}.1:1"))
            await trio.sleep(0.001)
        assert all(wire.open for wire in alone)
        crowd = [connect(network, f"10.2.{number}.1:1") for number in range(30)]
        await trio.sleep(0.001)
        # The first, and eight behind it.
        assert [wire.open for wire in crowd] == [True] * 9 + [False] * 21


@pytest.mark.parametrize("kind", ["unix", "tcp"])
async def test_connections_that_wait_are_accepted_without_a_wait_for_each(
    kind: str, short_directory: Path, request: pytest.FixtureRequest
) -> None:
    if kind == "tcp":
        request.getfixturevalue("require_tcp")
    bind = f"unix:{short_directory / 's'}" if kind == "unix" else "127.0.0.1:0"
    transport = SocketTransport()
    (listener,) = await transport.listen(parse_address(bind))
    assert listener.accept_nowait() is None
    dialled = [await transport.dial(parse_address(listener.address)) for _ in range(3)]
    with trio.fail_after(5):
        accepted = [await listener.accept()]
    accepted += [pipe for _ in range(2) if (pipe := listener.accept_nowait()) is not None]
    assert len(accepted) == 3
    assert listener.accept_nowait() is None
    dialled[-1].send_nowait(b"hello")
    with trio.fail_after(5):
        await accepted[-1].wait_readable()
    assert accepted[-1].receive_nowait(10) == b"hello"
    for pipe in dialled + accepted:
        pipe.close()
    await listener.aclose()
    assert listener.accept_nowait() is None
