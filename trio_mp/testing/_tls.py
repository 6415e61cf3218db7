"""A stand-in for TLS in simulations: as strict about every bit, and the same bytes every time."""

from __future__ import annotations

import hashlib

from .._errors import LocalProtocolError, RemoteProtocolError
from .._ids import Entropy

_RANDOM = 32
_TAG = 16
_LENGTH = 4
_HEADER = _LENGTH + _TAG
_RECORD = 16 * 1024


class SimulatedTLS:
    """A `TLSChannel` that authenticates every byte, and hides none.

    A simulation cannot choose the randomness of OpenSSL, whose signatures vary in length, so no run with it can be
    repeated. This stand-in has what the protocol needs of TLS: a handshake that the client begins, a fingerprint on
    which both sides agree, records, and an error for each changed bit. TLS may wait for the rest of a record whose
    length was changed; the stand-in notices the change at once.

    Args:
      entropy: gives random bytes.
      server: whether this side is the TLS server.
    """

    def __init__(self, entropy: Entropy, server: bool) -> None:
        self._random = entropy(_RANDOM)
        self._server = server
        self._key = b""
        self._fingerprint = b""
        self._incoming = bytearray()
        self._sent = self._received = 0

    @property
    def fingerprint(self) -> bytes:
        """See `TLSChannel.fingerprint`."""
        return self._fingerprint

    @property
    def peer_node_ids(self) -> frozenset[str] | None:
        """See `TLSChannel.peer_node_ids`. Empty: the stand-in knows no certificates."""
        return None

    @property
    def peer_certificate(self) -> bytes:
        """See `TLSChannel.peer_certificate`. Empty: the stand-in knows no certificates."""
        return b""

    def start(self) -> bytes:
        """See `TLSChannel.start`."""
        return b"" if self._server else self._seal(self._random)

    def receive(self, data_untrusted: bytes) -> tuple[bytes, bytes]:
        """See `TLSChannel.receive`."""
        self._incoming += data_untrusted
        plain = bytearray()
        reply = b""
        while (record := self._open()) is not None:
            if self._fingerprint:
                plain += record
                continue
            if len(record) != _RANDOM:
                raise RemoteProtocolError("simulated TLS: expected a greeting, got something else")
            if self._server:
                reply = self._seal(self._random)
            client, server = (record, self._random) if self._server else (self._random, record)
            self._fingerprint = hashlib.sha256(server).digest()
            self._key = hashlib.sha256(client + server).digest()
        return bytes(plain), reply

    def send(self, data: bytes | bytearray | memoryview) -> bytes:
        """See `TLSChannel.send`."""
        if not self._fingerprint:
            raise LocalProtocolError("simulated TLS: expected nothing to send before its handshake is done, got data")
        view = memoryview(data)
        return b"".join(self._seal(bytes(view[start : start + _RECORD])) for start in range(0, len(view), _RECORD))

    def take_alert(self) -> bytes:
        """See `TLSChannel.take_alert`."""
        return b""

    def _tag(self, count: int, sent: bool, data: bytes) -> bytes:
        # The direction is part of the tag: a record that is sent back to its sender must fail, too.
        side = b"s" if self._server == sent else b"c"
        return hashlib.blake2b(b"%s%d %s" % (side, count, data), key=self._key, digest_size=_TAG).digest()

    def _seal(self, data: bytes) -> bytes:
        self._sent += 1
        length = len(data).to_bytes(_LENGTH, "big")
        return length + self._tag(self._sent, True, length) + self._tag(self._sent, True, data) + data

    def _open(self) -> bytes | None:
        incoming = self._incoming
        if len(incoming) < _HEADER:
            return None
        length = bytes(incoming[:_LENGTH])
        count = self._received + 1
        if incoming[_LENGTH:_HEADER] != self._tag(count, False, length):
            raise RemoteProtocolError("simulated TLS: a record was changed on its way")
        end = _HEADER + _TAG + int.from_bytes(length, "big")
        if len(incoming) < end:
            return None
        data = bytes(incoming[_HEADER + _TAG : end])
        if incoming[_HEADER : _HEADER + _TAG] != self._tag(count, False, data):
            raise RemoteProtocolError("simulated TLS: a record was changed on its way")
        del incoming[:end]
        self._received = count
        return data
