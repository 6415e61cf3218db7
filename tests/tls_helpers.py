"""The handshake of two TLS objects in memory."""

from __future__ import annotations

from trio_mp._transport.tls import MemoryTLS


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
