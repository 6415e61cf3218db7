"""TLS 1.3 on memory buffers, and the throw-away certificate that goes with a secret.

With a secret alone nothing needs to be distributed: the TLS server makes a self-signed certificate when the process
starts, the client accepts any, and the proofs of the handshake, which cover the certificate's fingerprint as each side
sees it, show that nobody stands in between.
"""

from __future__ import annotations

import datetime
import functools
import hashlib
import ssl
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .._errors import RemoteProtocolError

_READ_SIZE = 64 * 1024


@functools.lru_cache(maxsize=1)
def throwaway_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext, bytes]:
    """The server's context, the client's, and the SHA-256 fingerprint of the certificate; one set per process."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "trio_mp")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # The ssl module loads keys from files only; this one is private to the user and gone at once.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "throwaway.pem"
        path.touch(mode=0o600)
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        server.load_cert_chain(path)
    server.num_tickets = 0
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    for context in (server, client):
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    return server, client, hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).digest()


def throwaway_tls(server_side: bool) -> MemoryTLS:
    """A TLS object for one connection, on the throw-away certificate."""
    server, client, fingerprint = throwaway_contexts()
    return MemoryTLS(server, fingerprint) if server_side else MemoryTLS(client, b"")


class MemoryTLS:
    """One connection's TLS, bytes in and bytes out.

    Args:
      context: the server's or the client's.
      own_fingerprint: the SHA-256 fingerprint of our certificate if we are the server, else empty.
    """

    __slots__ = ("_fingerprint", "_incoming", "_object", "_outgoing", "_own", "_shaken")

    def __init__(self, context: ssl.SSLContext, own_fingerprint: bytes) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=bool(own_fingerprint))
        self._own = own_fingerprint
        self._fingerprint = b""
        self._shaken = False

    @property
    def fingerprint(self) -> bytes:
        """See `TLSChannel.fingerprint`."""
        return self._fingerprint

    def start(self) -> bytes:
        """See `TLSChannel.start`."""
        self._shake()
        return self._outgoing.read()

    def receive(self, data_untrusted: bytes) -> tuple[bytes, bytes]:
        """See `TLSChannel.receive`."""
        self._incoming.write(data_untrusted)
        plain = b""
        try:
            if not self._shaken:
                self._shake()
            if self._shaken:
                plain = self._read()
        except ssl.SSLError as error:
            raise RemoteProtocolError(f"TLS: {error.reason or error}") from None
        return plain, self._outgoing.read()

    def send(self, data: bytes | bytearray | memoryview) -> bytes:
        """See `TLSChannel.send`."""
        view = memoryview(data)
        while view:
            view = view[self._object.write(view) :]
        return self._outgoing.read()

    def _shake(self) -> None:
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return
        self._shaken = True
        peer = self._object.getpeercert(binary_form=True)
        self._fingerprint = self._own or hashlib.sha256(peer or b"").digest()

    def _read(self) -> bytes:
        """All that can be decrypted: the socket need not become readable again for what is left in the buffer."""
        pieces: list[bytes] = []
        while True:
            try:
                piece = self._object.read(_READ_SIZE)
            except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
                break
            if not piece:
                break
            pieces.append(piece)
        return b"".join(pieces)
