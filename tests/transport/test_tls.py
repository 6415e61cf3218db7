"""TLS on memory buffers, and the throw-away certificate."""

from __future__ import annotations

import hashlib
import os
import ssl
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given, strategies as st
from tls_helpers import shake_hands

from trio_mp import LocalProtocolError, RemoteProtocolError
from trio_mp._transport.throwaway import load_through_file, throwaway_contexts, throwaway_tls
from trio_mp._transport.tls import MemoryTLS, make_context


@pytest.mark.parametrize("piece", [1, 7, 100, 1 << 20])
def test_both_sides_see_the_same_certificate(piece: int) -> None:
    client, server = throwaway_tls(False), throwaway_tls(True)
    assert client.fingerprint == b""
    assert server.fingerprint == b""
    assert shake_hands(client, server, piece) == (b"", b"")
    assert client.fingerprint == server.fingerprint == throwaway_contexts()[2]
    assert len(client.fingerprint) == hashlib.sha256().digest_size
    for size in (1, 100, 16_384, 16_385, 1_000_000):
        data = b"x" * size
        assert server.receive(client.send(data)) == (data, b"")
        assert client.receive(server.send(memoryview(data))) == (data, b"")
    assert client.send(b"") == b""


def test_what_comes_with_the_end_of_the_handshake_is_not_lost() -> None:
    client, server = throwaway_tls(False), throwaway_tls(True)
    hello = client.start()
    server.start()
    _, reply = server.receive(hello)
    _, finished = client.receive(reply)
    plain, _ = server.receive(finished + client.send(b"early"))
    assert plain == b"early"


def test_data_in_pieces() -> None:
    client, server = throwaway_tls(False), throwaway_tls(True)
    shake_hands(client, server)
    encrypted = client.send(bytes(range(256)) * 300)
    plain = b"".join(server.receive(encrypted[at : at + 1000])[0] for at in range(0, len(encrypted), 1000))
    assert plain == bytes(range(256)) * 300


@pytest.mark.parametrize("server_side", [False, True])
@pytest.mark.parametrize("data", [b"x" * 100, b"\x16\x03\x01\x00\x05hello", b"\x15\x03\x03\x00\x02\x02\x28"])
def test_what_is_not_tls_is_the_other_sides_fault(server_side: bool, data: bytes) -> None:
    side = throwaway_tls(server_side)
    side.start()
    with pytest.raises(RemoteProtocolError, match="TLS"):
        side.receive(data)


def test_a_byte_that_was_changed_on_the_way() -> None:
    client, server = throwaway_tls(False), throwaway_tls(True)
    shake_hands(client, server)
    encrypted = bytearray(client.send(b"x" * 100))
    encrypted[50] ^= 1
    with pytest.raises(RemoteProtocolError, match="TLS"):
        server.receive(bytes(encrypted))


def test_only_tls_1_3() -> None:
    for context in throwaway_contexts()[:2]:
        assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname = False
    old.verify_mode = ssl.CERT_NONE
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(RemoteProtocolError, match="TLS"):
        throwaway_tls(True).receive(MemoryTLS(old, b"").start())


def test_a_peer_that_says_goodbye() -> None:
    client, server = throwaway_tls(False), throwaway_tls(True)
    shake_hands(client, server)
    last = client.send(b"last words")
    with pytest.raises(ssl.SSLWantReadError):
        client._object.unwrap()
    goodbye = client._outgoing.read()
    assert server.receive(last + goodbye)[0] == b"last words"
    assert server.receive(b"")[0] == b""


def test_nothing_is_sent_before_the_handshake() -> None:
    for side in (throwaway_tls(False), throwaway_tls(True)):
        side.start()
        with pytest.raises(LocalProtocolError, match="TLS"):
            side.send(b"x")


def test_after_an_error_nothing_is_sent_but_the_alert() -> None:
    client, server = throwaway_tls(False), throwaway_tls(True)
    shake_hands(client, server)
    encrypted = bytearray(client.send(b"x" * 100))
    encrypted[50] ^= 1
    with pytest.raises(RemoteProtocolError, match=r"changed on their way \(decryption failed or bad record mac\)"):
        server.receive(bytes(encrypted))
    alert = server.take_alert()
    assert server.send(b"too late") == server.take_alert() == b""
    with pytest.raises(RemoteProtocolError, match="bad record mac"):
        client.receive(alert)
    assert client.send(b"too late") == b""
    for side in (client, server):
        with pytest.raises(RemoteProtocolError, match="TLS"):
            side.receive(b"more" * 10)


def test_after_our_own_goodbye_sending_is_no_ssl_error() -> None:
    client, server = throwaway_tls(False), throwaway_tls(True)
    shake_hands(client, server)
    with pytest.raises(ssl.SSLWantReadError):
        client._object.unwrap()
    assert server.receive(client._outgoing.read()) == (b"", b"")
    assert server.send(b"still heard")
    with pytest.raises(RemoteProtocolError, match="protocol is shutdown"):
        client.send(b"x")


def test_a_context_that_cannot_begin() -> None:
    impossible = make_context(server_side=False, verify=False)
    impossible.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(RemoteProtocolError, match="TLS: no protocols available"):
        MemoryTLS(impossible, b"").start()


changes = st.tuples(st.integers(0, 3000), st.integers(0, 255), st.binary(max_size=20))


@given(st.lists(changes, min_size=6, max_size=6))
def test_whatever_comes_is_one_exception_or_none(changes: list[tuple[int, int, bytes]]) -> None:
    client, server = throwaway_tls(False), throwaway_tls(True)
    waiting = {server: client.start(), client: server.start()}
    for turn, (at, change, more) in enumerate(changes):
        side, other = (client, server) if turn % 2 else (server, client)
        flight = bytearray(waiting[side])
        if at < len(flight):
            flight[at] ^= change
        waiting[side] = b""
        try:
            waiting[other] += side.receive(bytes(flight + more))[1]
        except RemoteProtocolError:
            assert side.send(b"x") == b""
            waiting[other] += side.take_alert()


def test_there_is_one_certificate_per_process() -> None:
    assert throwaway_contexts() is throwaway_contexts()
    assert throwaway_contexts.__wrapped__()[2] != throwaway_contexts()[2]


def without_room(*arguments: str, **environment: str) -> str:
    """What a program says that cannot write a byte into any file."""
    command = [sys.executable, "-c", NO_ROOM, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | environment)
    return done.stdout.strip()


NO_ROOM = """
import resource, ssl, sys, tempfile
from trio_mp._transport.throwaway import load_through_file, throwaway_contexts
if "known" in sys.argv:
    tempfile.gettempdir()
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
try:
    if "file" in sys.argv:
        load_through_file(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), b"chain", b"key")
    print(len(throwaway_contexts()[2]))
except OSError as error:
    print(type(error).__name__, error)
"""

no_rlimit = pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it may need a file")
def test_no_disk_is_needed() -> None:
    assert without_room(TMPDIR="/nowhere") == "32"


@no_rlimit
def test_a_full_disk(tmp_path: Path) -> None:
    said = without_room("file", "known", TMPDIR=str(tmp_path))
    assert "the throw-away certificate of TLS could not be written (File too large)" in said
    assert "set TMPDIR" in said
    assert str(tmp_path) in said
    assert not list(tmp_path.iterdir())


@no_rlimit
def test_no_directory_for_temporary_files() -> None:
    said = without_room("file", TMPDIR="/nowhere")
    assert "the throw-away certificate of TLS could not be written (No usable temporary directory" in said
    assert "set TMPDIR" in said


def test_the_file_is_private_and_gone_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seen: list[int] = []

    def look(path: Path) -> None:
        seen.append(stat.S_IMODE(path.stat().st_mode))

    load_through_file(cast(ssl.SSLContext, SimpleNamespace(load_cert_chain=look)), b"chain", b"key")
    assert seen == [0o600]
    assert not list(tmp_path.iterdir())
