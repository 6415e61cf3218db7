"""What peers and strangers can do on purpose: each of these once crashed a node, cost it dearly, or was swallowed."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import trio
import trio.testing
from network_helpers import (
    SECRET,
    FakeNetwork,
    Inbox,
    RawPeer,
    network_of,
    open_test_node,
    peer_of,
    place,
    until,
    warnings_in,
)
from test_json_peers import connect

from trio_mp import open_node
from trio_mp._errors import RemoteProtocolError
from trio_mp._protocol.association.outbox import Fence
from trio_mp._protocol.handshake.handshake import LocalInfo
from trio_mp._protocol.handshake.session import SECURE_LIMIT, Session
from trio_mp._settings.environment import Environment
from trio_mp.lowlevel import open_node_in

TAG = "A" * 16


@pytest.mark.parametrize("what", ["send_after", "monitor", "link"])
async def test_reasons_that_a_json_peer_cannot_be_told(short_directory: Any, what: str) -> None:
    path = str(short_directory / "s.sock")
    async with open_node("server", binds=["unix:" + path], secret=SECRET) as node:
        client = await trio.to_thread.run_sync(connect, path, b"client")
        await until(lambda: network_of(node).up_nodes() == ["client"])
        port = node.port(lambda *_: None)
        if what == "send_after":
            with pytest.raises(TypeError, match="bytes"):
                node.send_after(0, client.port, "x", b"")
        elif what == "monitor":
            node.monitor(port, client.port, "died")
        else:
            node.link(port, client.port)
        node.kill(port, "why", b"bytes")
        await node.wait_death(port)
        node.send(client.port, "end")
        tags: list[Any] = []
        while "end" not in tags:
            tags += (await trio.to_thread.run_sync(client.receive))[1:]
        assert ("reason_lost" in tags) == (what != "send_after")
        client.socket.close()
        client.file.close()


async def test_a_handler_with_a_yield_behind_an_async_one() -> None:
    reasons: list[tuple[Any, ...]] = []
    async with open_node() as node:
        port = node.port()
        port.on("slow")(trio.testing.wait_all_tasks_blocked)

        @port.on("x")
        def generator() -> Any:
            yield

        with pytest.raises(TypeError, match="sync function"):
            node.monitor(port, generator)
        node.monitor(port, lambda *reason: reasons.append(reason))
        node.send(port, "slow")
        node.send(port, "x")
        assert (await node.wait_death(port))[0] == "die"


async def test_the_own_node_port_cannot_be_monitored_anew_at_the_end() -> None:
    said: list[str] = []

    async with open_node("a") as node:

        def again(*_: object) -> None:
            try:
                node.monitor("a", lambda *_: said.append("fired"))
            except trio.ClosedResourceError:
                said.append("refused")

        node.monitor("a", again)
    assert said == ["refused"]


async def test_a_list_to_a_node_port_that_is_not_connected_yet(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a", message_limit=2**20) as a:
        a.send("b", ["x"], 1)
        a.send("b", {"x": 1}, 1)
        a.send("b", "mon1", ["x"])
        a.send(f"b#{TAG}.1", "x" * 100_000)
        async with open_test_node(network, "b", seeds=["a"], message_limit=65536) as b:
            await until(lambda: b.peers == ("a",))
            inbox = Inbox(b)
            a.send(inbox.port, "later")
            assert await inbox.wait(1) == [("later",)]


@pytest.mark.parametrize("what", ["a port", "mon1", "join", "db", "spawn", "ping"])
async def test_what_comes_behind_the_end_of_a_connection_in_one_batch(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    """A handler ends the connection: monitors, services and the association have done with it before the batch is."""
    network = FakeNetwork()
    async with open_test_node(network, "m", queue_limit=400_000, message_limit=100_000) as m:
        raw = RawPeer(network.connect(place("m")).dialler, "a", limit=100_000)
        await raw.adopt()
        await until(lambda: m.peers)
        inbox = Inbox(m)
        flood = m.port(lambda: [m.send(f"a#{TAG}.1", "x" * 90_000) for _ in range(100)])
        words: dict[str, tuple[Any, ...]] = {
            "a port": (inbox.port.name, "late"),
            "mon1": ("", "mon1", inbox.port.name),
            "join": ("", "join", True, ["unix:/fake/a"]),
            "db": ("", "db", "pull"),
            "spawn": ("", "spawn", f"{raw.incarnation}.1", "no.module:f"),
            "ping": ("", "ping"),
        }
        await raw.send((inbox.port.name, "early"), (flood.name,), words[what])
        await until(lambda: not m.peers)
        assert inbox.messages == [("early",)]
        peer = peer_of(m, "a")
        assert not peer.watchers
        assert not peer.association.watched
        await until(lambda: peer.association.fence is Fence.CLEAR)
        assert not peer.association.queue.size
        membership = m._membership
        assert membership is not None
        assert not membership.rules.mesh
        assert [line for line in warnings_in(caplog) if "dropped" not in line] == []


class Deaf:
    """TLS that the other side has brought into a state in which nothing can be sent."""

    fingerprint = b"f" * 32
    peer_node_ids = None
    peer_certificate = b""

    def start(self) -> bytes:
        return b""

    def receive(self, data_untrusted: bytes) -> tuple[bytes, bytes]:
        return b"", b""

    def send(self, data: object) -> bytes:
        raise RemoteProtocolError("TLS: no")

    def take_alert(self) -> bytes:
        return b""


def make_session(nonce: bytes) -> Session:
    info = LocalInfo("ab"[nonce[0] & 1], "i" * 16, (b"k" * 32,), True, 5, 1 << 20, "p")
    return Session(info, nonce, dialler=False, peer_address="", make_tls=lambda _: Deaf())


def test_a_session_that_cannot_send_says_so_and_raises_nothing() -> None:
    session, other = make_session(b"\0" * 33), make_session(b"\1" * 33)
    session.receive(bytes(other.outgoing))
    session.receive(b"")
    session.send(b"x")
    assert session.failure == "TLS: no"


def test_tls_messages_without_end_before_authentication() -> None:
    session, other = make_session(b"\0" * 33), make_session(b"\1" * 33)
    session.receive(bytes(other.outgoing))

    def flood() -> None:
        for _ in range(2 * SECURE_LIMIT // 1000):
            session.receive(b"x" * 1000)

    with pytest.raises(RemoteProtocolError, match="too much"):
        flood()


async def test_a_connection_whose_tls_cannot_send_ends_at_once(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    server = Environment(transport=network, make_tls=lambda _: Deaf())
    # The smallest of all nonces, "++++…" in base64, makes the side that dials, which has to prove itself first, the
    # TLS client, which speaks first.
    client = dataclasses.replace(server, entropy=lambda count: (b"\xfb\xef\xbe" * count)[:count])
    begun = trio.current_time()
    async with (
        open_node_in(server, "a", secret=SECRET, binds=[place("a")]),
        open_node_in(client, "b", secret=SECRET, binds=(), seeds=[place("a")]) as node,
    ):
        await until(lambda: network_of(node).failures)
        assert trio.current_time() - begun < 1
