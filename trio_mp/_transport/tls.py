"""TLS 1.3 on memory buffers.

With a secret alone nothing needs to be distributed: the TLS server makes a self-signed certificate when the process
starts, the client accepts any, and the proofs of the handshake, which cover the certificate's fingerprint as each side
sees it, show that nobody stands in between. It is made in `throwaway`; those of an authority are in `certificates`.
"""

from __future__ import annotations

import functools
import hashlib
import ssl
from collections.abc import Callable

from .._errors import LocalProtocolError, RemoteProtocolError

_READ_SIZE = 64 * 1024

_NOT_OURS = "is not signed by our authority"

# What OpenSSL may find wrong with a certificate, by its X509_V_ERR_ numbers: its texts change from version to version.
# The fault may lie in a certificate further up the chain. OpenSSL does not say which one, so neither can these texts.
_VERIFICATION = {
    2: _NOT_OURS,
    18: _NOT_OURS,
    19: _NOT_OURS,
    20: _NOT_OURS,
    21: _NOT_OURS,
    7: "is not signed by who it says",
    9: "is not valid yet; compare the clocks of the two machines",
    10: "has expired",
    24: "is signed by one that is not an authority's",
    26: "is not for both serverAuth and clientAuth; either side of a connection may be the TLS server",
}

_WANTS_CERTIFICATE = "the other side wants a certificate, and this node has none"
_NOT_ACCEPTED = "the other side does not accept our certificate"

# Reasons by the end of their names in OpenSSL: the beginnings (SSLV3_ALERT_, TLSV13_ALERT_) have changed over time.
_REASONS = {
    "ALERT_CERTIFICATE_REQUIRED": _WANTS_CERTIFICATE,
    "ALERT_UNKNOWN_CA": _NOT_ACCEPTED,
    "ALERT_BAD_CERTIFICATE": _NOT_ACCEPTED,
    "ALERT_UNSUPPORTED_CERTIFICATE": _NOT_ACCEPTED,
    "ALERT_CERTIFICATE_REVOKED": _NOT_ACCEPTED,
    "ALERT_CERTIFICATE_EXPIRED": _NOT_ACCEPTED,
    "ALERT_CERTIFICATE_UNKNOWN": _NOT_ACCEPTED,
    "ALERT_ACCESS_DENIED": _NOT_ACCEPTED,
    "ALERT_PROTOCOL_VERSION": "the other side does not speak TLS 1.3",
    "UNSUPPORTED_PROTOCOL": "the other side does not speak TLS 1.3",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the other side has no certificate, and this node wants one",
    "ALERT_HANDSHAKE_FAILURE": "the other side has no TLS settings in common with ours",
    "NO_SHARED_CIPHER": "the other side has no TLS settings in common with ours",
    "WRONG_VERSION_NUMBER": "the other side sends something that is not TLS",
    "HTTP_REQUEST": "the other side sends something that is not TLS",
    "DECRYPTION_FAILED_OR_BAD_RECORD_MAC": "the bytes of the other side were changed on their way",
}


def explain_verification(error: ssl.SSLCertVerificationError) -> str:
    """Say what is wrong with a certificate: the rest of a sentence about it, with OpenSSL's own words in brackets."""
    why = _VERIFICATION.get(error.verify_code, "cannot be accepted")
    return f"{why} ({error.verify_message})"


def explain(error: ssl.SSLError) -> str:
    """Say what went wrong, in words that a reader can act on, with OpenSSL's reason in brackets."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: the other side's certificate {explain_verification(error)}"
    name: str | None = error.reason
    if not name:
        return str(error)
    reason = name.replace("_", " ").lower()
    why = next((text for ending, text in _REASONS.items() if name.endswith(ending)), None)
    return f"{why} ({reason})" if why else reason


def make_context(*, server_side: bool, verify: bool = True) -> ssl.SSLContext:
    """Make a context for TLS 1.3 that has no certificate yet.

    Args:
      server_side: whether it is for the server of a connection.
      verify: whether the peer must have a certificate of an authority.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server_side else ssl.PROTOCOL_TLS_CLIENT)
    # Nodes have IDs and not host names. The handshake of this package looks whether a certificate names the ID.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if server_side:
        # Connections are never resumed: every one shows its certificates.
        context.num_tickets = 0
    return context


@functools.lru_cache(maxsize=1)
def client_context() -> ssl.SSLContext:
    """The client's context where certificates are not verified, and it has none; one per process."""
    return make_context(server_side=False, verify=False)


def client_tls() -> MemoryTLS:
    """Make the TLS object of the client of one connection, with `client_context`."""
    return MemoryTLS(client_context(), b"")


class MemoryTLS:
    """The TLS of one connection: it takes bytes and returns bytes, and knows of no socket.

    Args:
      context: the context of the server or of the client.
      own_fingerprint: the SHA-256 fingerprint of our certificate if we are the server, else empty.
      read_node_ids: reads the node IDs in a certificate (DER). With it the context must verify certificates; it is
        called with that of the peer when the handshake is done, and must not raise.
    """

    __slots__ = (
        "_broken",
        "_fingerprint",
        "_incoming",
        "_object",
        "_outgoing",
        "_own",
        "_peer_certificate",
        "_peer_node_ids",
        "_read_node_ids",
        "_shaken",
    )

    def __init__(
        self,
        context: ssl.SSLContext,
        own_fingerprint: bytes,
        read_node_ids: Callable[[bytes], frozenset[str]] | None = None,
    ) -> None:
        if read_node_ids is not None and context.verify_mode is not ssl.CERT_REQUIRED:
            raise ValueError("context: expected one that verifies certificates, got one that does not")
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=bool(own_fingerprint))
        self._own = own_fingerprint
        self._read_node_ids = read_node_ids
        self._fingerprint = b""
        self._peer_node_ids: frozenset[str] | None = None
        self._peer_certificate = b""
        self._shaken = False
        self._broken = False

    @property
    def fingerprint(self) -> bytes:
        """See `TLSChannel.fingerprint`."""
        return self._fingerprint

    @property
    def peer_node_ids(self) -> frozenset[str] | None:
        """The node IDs that the peer's certificate names; None if it was not verified, or not yet.

        Under TLS 1.3 the client's handshake is done before the server has looked at the client's certificate, so the
        server's refusal of it comes later, as an error of `receive`.
        """
        return self._peer_node_ids

    @property
    def peer_certificate(self) -> bytes:
        """See `TLSChannel.peer_certificate`."""
        return self._peer_certificate

    def start(self) -> bytes:
        """See `TLSChannel.start`.

        Raises:
          RemoteProtocolError: TLS does not work here at all, as when the system's OpenSSL is set up to forbid TLS 1.3.
            Not the peer's fault; but like one it ends this connection and nothing else.
        """
        try:
            self._shake()
        except ssl.SSLError as error:
            raise self._failed(error) from None
        return self._outgoing.read()

    def receive(self, data_untrusted: bytes) -> tuple[bytes, bytes]:
        """See `TLSChannel.receive`. After it has raised, `take_alert` has what the peer should still be told."""
        if self._broken:
            # After an alert OpenSSL would take more data for an ordinary end of the stream.
            raise RemoteProtocolError("TLS: expected nothing after an error, got data")
        self._incoming.write(data_untrusted)
        plain = b""
        try:
            if not self._shaken:
                self._shake()
            if self._shaken:
                plain = self._read()
        except ssl.SSLError as error:
            raise self._failed(error) from None
        return plain, self._outgoing.read()

    def send(self, data: bytes | bytearray | memoryview) -> bytes:
        """See `TLSChannel.send`.

        Once an error has been raised this returns nothing: the connection is lost and whoever reads from it knows why,
        while what wants to write may well be a task of somebody else.

        Raises:
          LocalProtocolError: the handshake is not done.
        """
        if self._broken:
            return b""
        if not self._shaken:
            raise LocalProtocolError("TLS: nothing can be sent before its handshake is done")
        view = memoryview(data)
        try:
            while view:
                view = view[self._object.write(view) :]
        except ssl.SSLError as error:
            raise self._failed(error) from None
        return self._outgoing.read()

    def take_alert(self) -> bytes:
        """Take the bytes that tell the peer's TLS what was wrong, to be written after an error if that is possible."""
        return self._outgoing.read()

    def _failed(self, error: ssl.SSLError) -> RemoteProtocolError:
        self._broken = True
        return RemoteProtocolError(f"TLS: {explain(error)}")

    def _shake(self) -> None:
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return
        self._shaken = True
        peer = self._object.getpeercert(binary_form=True) or b""
        self._fingerprint = self._own or hashlib.sha256(peer).digest()
        if self._read_node_ids is not None:
            self._peer_node_ids = self._read_node_ids(peer)
            self._peer_certificate = peer

    def _read(self) -> bytes:
        """Decrypt all that is there. The socket does not become readable again for bytes that OpenSSL has buffered."""
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
