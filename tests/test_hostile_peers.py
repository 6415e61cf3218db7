"""What peers and strangers can do on purpose: each of these once crashed a node, cost it dearly, or was swallowed."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import trio
import trio.testing
from network_helpers import SECRET, FakeNetwork, network_of, place, until
from test_json_peers import connect

from trio_mp import open_node
from trio_mp._errors import RemoteProtocolError
from trio_mp._node.environment import Environment
from trio_mp._protocol.handshake import LocalInfo
from trio_mp._protocol.session import SECURE_LIMIT, Session
from trio_mp.lowlevel import open_node_in


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
