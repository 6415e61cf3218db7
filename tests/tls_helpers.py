"""The handshake of two TLS objects in memory."""

from __future__ import annotations

from trio_mp._errors import RemoteProtocolError
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
