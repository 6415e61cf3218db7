"""TLS on memory buffers, and the throw-away certificate."""

from __future__ import annotations

import hashlib
import ssl
import stat
import tempfile
from pathlib import Path

import pytest

from trio_mp import RemoteProtocolError
from trio_mp._transport.tls import MemoryTLS, throwaway_contexts, throwaway_tls


def shake_hands(client: MemoryTLS, server: MemoryTLS, piece: int = 1 << 20) -> tuple[bytes, bytes]:
    """Exchange what both sides have to say until they say no more; the plain bytes that came at each side."""
    to_server, to_client = bytearray(client.start()), bytearray(server.start())
    at_client, at_server = b"", b""
    while to_server or to_client:
        plain, reply = server.receive(bytes(to_server[:piece]))
        del to_server[:piece]
        at_server += plain
        to_client += reply
        plain, reply = client.receive(bytes(to_client[:piece]))
        del to_client[:piece]
        at_client += plain
        to_server += reply
    return at_client, at_server


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


def test_there_is_one_certificate_per_process_and_no_file_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert throwaway_contexts() is throwaway_contexts()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seen: list[int] = []
    load = ssl.SSLContext.load_cert_chain

    def look(self: ssl.SSLContext, path: Path) -> None:
        seen.append(stat.S_IMODE(path.stat().st_mode))
        load(self, path)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", look)
    _, _, fingerprint = throwaway_contexts.__wrapped__()
    assert seen == [0o600]
    assert not list(tmp_path.iterdir())
    assert fingerprint != throwaway_contexts()[2]
