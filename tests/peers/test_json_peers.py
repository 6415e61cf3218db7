"""Peers that speak JSON: the client of the docs, in plain Python, and what cannot be written to them."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import importlib.util
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from network_helpers import (
    SECRET,
    FakeNetwork,
    Inbox,
    Notices,
    RawPeer,
    network_of,
    open_test_node,
    place,
    until,
    warnings_in,
)

from trio_mp import Node, open_node
from trio_mp._protocol.wire.json_framing import append_json

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "json_client.py"


def load_example() -> Any:
    spec = importlib.util.spec_from_file_location("json_client", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


Client = load_example().Client


def connect(path: str, name: bytes, secret: str = SECRET) -> Any:
    connected = socket.socket(socket.AF_UNIX)
    connected.settimeout(20)
    connected.connect(path)
    client = Client.__new__(Client)
    client.socket = connected
    try:
        client.__init__(connected, name, secret.encode())
    except BaseException:
        # By then it may be the socket with TLS around it.
        client.socket.close()
        client.file.close()
        raise
    return client


def test_the_client_is_short_and_needs_nothing_but_python() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 70
    imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import)]
    imported = {alias.name for node in imports for alias in node.names}
    assert imported <= sys.stdlib_module_names
    assert not any(isinstance(node, ast.ImportFrom) for node in ast.walk(ast.parse(text)))


# Names below and above the node's: either may be the side that decides.
@pytest.mark.parametrize("name", ["a-client", "z-client"])
async def test_the_client_of_the_docs(short_directory: Path, name: str) -> None:
    path = str(short_directory / "node.sock")
    with trio.fail_after(30):
        async with open_node("node", binds=[f"unix:{path}"], secret=SECRET) as node:
            client = await trio.to_thread.run_sync(connect, path, name.encode())
            own = client.port.partition("#")[2]
            inbox, told = Inbox(node), Notices()
            # It sends.
            client.send(inbox.port, "hello", {"number": 1.5, "text": "ü", "nothing": None})
            assert await inbox.wait(1) == [("hello", {"number": 1.5, "text": "ü", "nothing": None})]
            # It is monitored, and receives.
            node.monitor(client.port, told)
            node.send(client.port, "how are you?", [1, 2**53])
            assert await trio.to_thread.run_sync(client.receive) == ["", "mon1", own]
            assert await trio.to_thread.run_sync(client.receive) == [own, "how are you?", [1, 2**53]]
            client.send("node", "kil0", own, "closed", "for today")
            assert await told.wait() == ("closed", "for today")
            # It asks for a service of the node, and monitors a port of it.
            client.send("node", "info", client.port)
            assert await trio.to_thread.run_sync(client.receive) == [own, "node"]
            client.send("node", "mon1", inbox.port.partition("#")[2])
            client.send("node", "snd", str(inbox.port), "echo")
            await inbox.wait(2)
            inbox.port.kill("gone")
            assert await trio.to_thread.run_sync(client.receive) == ["", "kil0", inbox.port.partition("#")[2], "gone"]
            # And when it is gone, whoever monitors something of it is told.
            gone = Notices()
            node.monitor(client.port, gone)
            client.file.close()
            client.socket.close()
            assert (await gone.wait())[0] == "transport_error"


async def test_the_client_of_the_docs_with_a_wrong_secret(
    short_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = str(short_directory / "node.sock")
    async with open_node("node", binds=[f"unix:{path}"], secret=SECRET) as node:
        with pytest.raises((ValueError, OSError)):
            await trio.to_thread.run_sync(connect, path, b"client", "a secret that is wrong")
        await trio.testing.wait_all_tasks_blocked()
        assert not node.peers
        (line,) = warnings_in(caplog)
        assert "the other side has another secret than ours" in line


# A node that reads nothing but JSON -----------------------------------------------------------------------------------


def reads_json(node: Node) -> None:
    network = network_of(node)
    network.local = dataclasses.replace(network.local, framings=("json",))


@pytest.mark.parametrize("encryption", [False, True], ids=["plain", "encrypted"])
@pytest.mark.parametrize("json_side", ["a", "b"])
async def test_what_was_queued_before_is_written_as_json(
    autojump_clock: trio.testing.MockClock, json_side: str, encryption: bool
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a", encryption=encryption) as a:
        if json_side == "a":
            reads_json(a)
        async with open_test_node(network, "b", seeds=["a"], encryption=encryption) as b:
            if json_side == "b":
                reads_json(b)
            inbox, told = Inbox(a), Notices()
            b.monitor(inbox.port, told)
            for number in range(3):
                b.send(inbox.port, number, "text", [None, {"key": -0.25}])
            with trio.fail_after(1):
                await b.flush("a")
                await inbox.wait(3)
            for number in range(3, 1000):
                b.send(inbox.port, number, "text", [None, {"key": -0.25}])
            assert await inbox.wait(1000) == [(number, "text", [None, {"key": -0.25}]) for number in range(1000)]
            assert not told.reasons
            written = network.wires[0].there.sent if encryption else b""
            assert b'{"key"' not in written


@pytest.mark.parametrize("value", [b"bytes", float("nan"), {"deep": [float("inf")]}])
async def test_what_json_cannot_say_is_a_reported_loss_or_raises(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, value: object
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a") as a:
        reads_json(a)
        async with open_test_node(network, "b", seeds=["a"]) as b:
            inbox, other = Inbox(a), Inbox(a)
            told, others = Notices(), Notices()
            b.monitor(inbox.port, told)
            b.monitor(other.port, others)
            # Nobody knows yet what that node reads.
            b.send(inbox.port, "before")
            b.send(inbox.port, "what", value)
            b.send(inbox.port, "behind it")
            b.send(other.port, "to another port")
            reason = await told.wait()
            assert reason[0] == "transport_error"
            assert "JSON" in str(reason[2])
            assert await other.wait(1) == [("to another port",)]
            assert inbox.messages == [("before",)]
            assert sum("2 messages" in line for line in warnings_in(caplog)) == 1
            # Now it is known.
            b.monitor(inbox.port, told)
            with pytest.raises((TypeError, ValueError), match=r"message\[1\].*: expected a value of JSON"):
                b.send(inbox.port, "what", value)
            b.send(inbox.port, "after")
            assert await inbox.wait(2) == [("before",), ("after",)]
            assert not others.reasons
            assert len(told.reasons) == 1


async def test_a_message_over_the_limit_of_a_json_peer(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "a", message_limit=64 * 1024) as a:
        reads_json(a)
        async with open_test_node(network, "b", seeds=["a"]) as b:
            inbox = Inbox(a)
            b.send(inbox.port, "up")
            await inbox.wait(1)
            buffer = bytearray()
            append_json(buffer, inbox.port.partition("#")[2], ("",))
            room = 64 * 1024 - len(buffer)
            b.send(inbox.port, "x" * room)
            assert await inbox.wait(2) == [("up",), ("x" * room,)]
            with pytest.raises(ValueError, match="expected at most 65536 bytes, which that node takes"):
                b.send(inbox.port, "x" * (room + 1))


@pytest.mark.parametrize(
    "data",
    [b"{}", b'["p",', b"[1]", b'["", "ping"], ["", "ping"]', b"\xff", b'["p", NaN]', b"[" * 200, b'["' + b"x" * 2**21],
    ids=["object", "cut off", "no name", "comma", "no UTF-8", "NaN", "deep", "too large"],
)
async def test_bad_json_ends_the_connection_and_leaves_a_line(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "m", message_limit=2**20) as m:
        wire = network.connect(place("m"))
        peer = RawPeer(wire.dialler, "a", framings=("json",))
        await peer.adopt()
        await until(lambda: m.peers == ("a",))
        await peer.send_raw(b'["", "ping"]\n \r\n\t["","ping"]["",""]')
        with trio.fail_after(1):
            assert await peer.receive(2) == [("", "pong"), ("", "pong")]
        with contextlib.suppress(OSError):
            await peer.send_raw(data)
        if data == b'["p",':
            peer.pipe.send_eof()
        await peer.read_to_end()
        await until(lambda: not m.peers)
        assert len(warnings_in(caplog)) == (0 if data == b'["p",' else 1)


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
