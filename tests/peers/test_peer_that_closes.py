"""A peer that goes away at any byte, in any way, in either role: nothing is left of it, nobody else is disturbed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import trio
import trio.testing
from network_helpers import (
    FakeNetwork,
    Notices,
    RawPeer,
    Wire,
    network_of,
    open_test_node,
    place,
    until,
    warnings_in,
)
from relay_helpers import Ledger

from trio_mp import Node
from trio_mp._protocol.handshake.events import Authenticated, LinkReceived, OkReceived
from trio_mp._protocol.wire import codec
from trio_mp._transport.addresses import parse_address
from trio_mp._transport.pipe import Listener

MESSAGES = ("first", "second", "third " + "x" * 50)


class Goer:
    """A raw peer that goes through the handshake and sends some frames, and goes away when it has said so many bytes.

    Args:
      wire: its connection, `dialler` says whether by its dialling.
      how: "close", "reset", or "half-close": an end of file, and it reads on until the other side closes.
      at: after how many bytes.
    """

    def __init__(self, wire: Wire, node_id: str, how: str, at: int, *, dialler: bool, encryption: bool) -> None:
        self.wire = wire
        self.how = how
        self.at = at
        self.said = wire.there if dialler else wire.back
        self.theirs = wire.listener if dialler else wire.dialler
        # Byte by byte, so that it can stop anywhere.
        self.said.largest_write = 1
        pipe = wire.dialler if dialler else wire.listener
        self.peer = RawPeer(pipe, node_id, dialler=dialler, encryption=encryption)

    async def run(self, port: str) -> bool:
        """Come and go; whether it had said all before. Returns when the other side has closed."""
        done = False
        with trio.CancelScope() as scope:

            def count(number: int) -> None:
                if number >= self.at:
                    self.said.largest_write = 0
                    scope.cancel()

            self.said.on_sent = count
            if self.at:
                await self._talk(port)
                done = True
        self.said.on_sent = None
        await self._go()
        self.peer.pipe.close()
        return done

    async def _talk(self, port: str) -> None:
        peer = self.peer
        if peer.session.handshake.local.node_id > "m":
            await peer.reach(Authenticated)
            peer.session.link()
            await peer.reach(OkReceived)
        else:
            await peer.reach(LinkReceived)
            peer.session.accept()
        for text in MESSAGES:
            frame = codec.open_frame()
            codec.append_message(frame, port, (text,))
            codec.close_frame(frame, 1)
            peer.session.send(frame)
        await peer.flush()

    async def _go(self) -> None:
        pipe = self.peer.pipe
        match self.how:
            case "close":
                # Having read what there is: else it is a reset.
                await trio.testing.wait_all_tasks_blocked()
                while pipe.receive_nowait(65536):
                    pass
                pipe.close()
            case "reset":
                self.wire.reset()
            case _:
                pipe.send_eof()
                with trio.fail_after(30):
                    while pipe.receive_nowait(65536) != b"":
                        await pipe.wait_readable()
        await until(lambda: self.theirs.closed, 30)


def positions(total: int, *, encryption: bool) -> Iterable[int]:
    """Every byte without encryption, and a few with it, where the number depends on who is the TLS server."""
    return range(total) if not encryption else (*range(0, total, 13), *range(total - 60, total, 3))


async def total_bytes(network: FakeNetwork, node: Node, node_id: str, wire: Wire, **arguments: Any) -> int:
    """How many bytes a peer says that says all it has to."""
    got: list[str] = []
    goer = Goer(wire, node_id, "close", 1 << 30, **arguments)
    port = node.port(got.append)
    assert await goer.run(port.name)
    await until(lambda: not len(network_of(node)._strangers) and node.peers == ("n",))
    assert got == list(MESSAGES)
    return len(goer.said.sent)


class Scene:
    """A node with an established pair, to which peers come, or which dials them, and what must be as before."""

    def __init__(self, network: FakeNetwork, m: Node, n: Node, caplog: pytest.LogCaptureFixture) -> None:
        self.network = network
        self.m = m
        self.undisturbed = Ledger(n, m)
        self.caplog = caplog
        self.got: list[str] = []
        self.tasks = 0

    async def check(self, goer: Goer, node_id: str) -> None:
        """Nothing is left of it."""
        where = (goer.how, goer.at)
        await until(lambda: len(network_of(self.m)._connections) == 1, 30)
        assert not len(network_of(self.m)._strangers), where
        assert self.m.peers == ("n",), where
        peer = network_of(self.m).peers.get(node_id)
        if peer is not None:
            assert not peer.connections, where
            assert peer.current is None, where
            assert not peer.watchers, where
            assert not peer.association._connections, where
        lines = warnings_in(self.caplog)
        assert len(lines) <= 1, (where, lines)
        assert self.got == list(MESSAGES[: len(self.got)]), where
        # No task is left either.
        await trio.testing.wait_all_tasks_blocked()
        tasks = trio.lowlevel.current_statistics().tasks_living
        self.tasks = self.tasks or tasks
        assert tasks <= self.tasks, where
        self.undisturbed.send()
        await self.undisturbed.wait(self.undisturbed.sent)
        assert not self.undisturbed.told, where
        assert not any("n:" in line for line in lines)


encrypted_or_not = pytest.mark.parametrize("encryption", [False, True], ids=["plain", "encrypted"])
ways = pytest.mark.parametrize("how", ["close", "half-close", "reset"])
ids = pytest.mark.parametrize("node_id", ["a", "z"], ids=["we-decide", "they-decide"])


@encrypted_or_not
@ways
@ids
async def test_who_has_dialled_us_goes(
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
    encryption: bool,
    how: str,
    node_id: str,
) -> None:
    network = FakeNetwork()
    arguments: dict[str, Any] = {"dialler": True, "encryption": encryption}
    async with (
        open_test_node(network, "m", encryption=encryption) as m,
        open_test_node(network, "n", seeds=["m"], listen=False, encryption=encryption) as n,
    ):
        await until(lambda: m.peers and n.peers)
        total = await total_bytes(network, m, node_id, network.connect(place("m")), **arguments)
        scene = Scene(network, m, n, caplog)
        arrived = 0
        for at in positions(total, encryption=encryption):
            caplog.clear()
            scene.got.clear()
            port = m.port(scene.got.append)
            goer = Goer(network.connect(place("m")), node_id, how, at, **arguments)
            assert not await goer.run(port.name) or encryption
            await scene.check(goer, node_id)
            arrived = max(arrived, len(scene.got))
            port.kill()
        # It went in the middle of every frame, and what was whole has come.
        assert arrived == len(MESSAGES) - 1 or (encryption and arrived)


@encrypted_or_not
@ways
@ids
async def test_who_was_dialled_by_us_goes(
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
    encryption: bool,
    how: str,
    node_id: str,
) -> None:
    """A seed; it is dialled again for as long as it takes, and in the end it stays."""
    network = FakeNetwork()
    arguments: dict[str, Any] = {"dialler": False, "encryption": encryption}
    (listener,) = await network.listen(parse_address(place(node_id), setting="test"))
    async with (
        open_test_node(network, "m", seeds=[node_id], encryption=encryption) as m,
        open_test_node(network, "n", seeds=["m"], listen=False, encryption=encryption) as n,
    ):
        await until(lambda: n.peers)
        total = await total_bytes(network, m, node_id, await next_wire(network, listener), **arguments)
        scene = Scene(network, m, n, caplog)
        for at in positions(total, encryption=encryption):
            wire = await next_wire(network, listener)
            caplog.clear()
            scene.got.clear()
            port = m.port(scene.got.append)
            goer = Goer(wire, node_id, how, at, **arguments)
            assert not await goer.run(port.name) or encryption
            await scene.check(goer, node_id)
            port.kill()
        last = RawPeer((await next_wire(network, listener)).listener, node_id, **arguments)
        await (last.choose() if node_id > "m" else last.adopt())
        await until(lambda: node_id in m.peers)


async def next_wire(network: FakeNetwork, listener: Listener) -> Wire:
    """The next connection that a node has dialled."""
    pipe = await listener.accept()
    return next(wire for wire in network.wires if wire.listener is pipe)


@encrypted_or_not
@pytest.mark.parametrize("how", ["half-close", "reset"])
@ids
async def test_a_loss_is_told_wherever_in_a_frame_the_peer_goes(
    autojump_clock: trio.testing.MockClock, encryption: bool, how: str, node_id: str
) -> None:
    """What it was to get is lost, and whoever monitors hears of it, once."""
    network = FakeNetwork()
    async with open_test_node(network, "m", encryption=encryption) as m:
        for at in range(1, 40, 3):
            wire = network.connect(place("m"))
            peer = RawPeer(wire.dialler, node_id, encryption=encryption)
            await (peer.choose() if node_id > "m" else peer.adopt())
            await until(lambda: m.peers)
            told, got = Notices(), Notices()
            port = m.port(got)
            m.monitor(node_id, told)
            frame = codec.open_frame()
            codec.append_message(frame, port.name, ("never whole",))
            codec.close_frame(frame, 1)
            peer.session.send(frame)
            data = bytes(peer.session.outgoing)[:at]
            peer.session.outgoing.clear()
            peer.pipe.send_nowait(data)
            if how == "reset":
                wire.reset()
            else:
                peer.pipe.send_eof()
            with trio.fail_after(5):
                reason = await told.wait()
            assert reason[:2] == ("transport_error", node_id)
            await until(lambda: not network_of(m)._connections)
            assert len(told.reasons) == 1
            assert not got.reasons
            port.kill()
            peer.pipe.close()
