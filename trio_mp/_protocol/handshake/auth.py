"""The proofs over both greetings: who knows the secret, and that no one stands in between.

A token covers a label, both greetings in the order in which the side that proves itself sent and received them, the
fingerprint of the TLS server's certificate as that side sees it, and the rest of the line that carries the token. Every
part is preceded by its length, so no two inputs collide. By the method `hmac_sha256` it is an HMAC-SHA-256 with a key
stretched from the secret; by `tls_sha256`, where certificates have already proven who is there, a plain SHA-256, which
anybody could compute: it shows that the greetings, which travelled before TLS, are those that were sent.

- Reflection fails because the order of the greetings differs on the two sides and equal nonces are refused.
- Replay fails because a greeting holds a fresh nonce.
- A relay that ends TLS itself has a certificate of its own, so the fingerprints differ and the tokens do not match;
  one that strips TLS off changes the greetings and the label.

Sources: the shape is that of AnyEvent::MP's protocol version 1; binding the channel by the certificate's fingerprint
is the idea of RFC 5929's `tls-server-end-point`.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
from dataclasses import dataclass

HMAC_SHA256 = "hmac_sha256"
"""The name in a greeting of the method that proves the knowledge of a secret."""

TLS_SHA256 = "tls_sha256"
"""The name in a greeting of the method for connections whose certificates were verified, and that need no secret."""

NO_KEY = b""
"""Stands for a key where certificates alone prove who is there."""

MINIMUM_SECRET = 16
"""The shortest secret accepted, in bytes."""

_LABEL_PLAIN = b"trio_mp 1 hmac_sha256 plain"
_LABEL_TLS = b"trio_mp 1 hmac_sha256 tls"
_LABEL_CERTIFICATES = b"trio_mp 1 tls_sha256"
_SALT = b"trio_mp 1 secret"


@dataclass(frozen=True, slots=True)
class Greeting:
    """Two lines of a greeting, without their ends, as they travelled."""

    fields: str
    nonce: str

    def parts(self) -> tuple[bytes, bytes]:
        """Both lines as bytes."""
        return self.fields.encode("ascii"), self.nonce.encode("ascii")


@functools.lru_cache(maxsize=16)
def stretch_secret(secret: bytes) -> bytes:
    """The 32-byte key that stands for a secret, by scrypt (RFC 7914; N=2^14, r=8, p=1: about 50 ms and 16 MiB).

    Cached for the process, because it is slow on purpose: guessing a weak secret from a recorded handshake costs that
    much for every guess.
    """
    return hashlib.scrypt(secret, salt=_SALT, n=2**14, r=8, p=1, dklen=32)


def proof(key: bytes, own: Greeting, peer: Greeting, fingerprint: bytes, rest: str) -> str:
    """The token by which the side that sent `own` proves that it knows the key, in lower-case hex.

    Args:
      key: the stretched secret, or `NO_KEY`.
      own: the greeting of the side that proves itself.
      peer: the greeting that side received.
      fingerprint: SHA-256 of the TLS server's certificate as that side sees it; empty without TLS.
      rest: the line that carries the token, without the token.
    """
    label = _LABEL_TLS if fingerprint else _LABEL_PLAIN
    parts = (
        label if key else _LABEL_CERTIFICATES,
        *own.parts(),
        *peer.parts(),
        fingerprint,
        rest.encode("ascii"),
    )
    digest = hmac.new(key, digestmod=hashlib.sha256) if key else hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(4, "big"))
        digest.update(part)
    return digest.hexdigest()


def proves(token_untrusted: str, key: bytes, own: Greeting, peer: Greeting, fingerprint: bytes, rest: str) -> bool:
    """Whether the token is the `peer`'s proof towards us; compared in constant time."""
    expected = proof(key, peer, own, fingerprint, rest)
    return hmac.compare_digest(expected.encode("ascii"), token_untrusted.encode("utf-8", "replace"))


def connection_id(one: Greeting, other: Greeting) -> str:
    """The ID of a connection: the same on both sides, and never that of another connection."""
    digest = hashlib.sha256()
    for greeting in sorted((one.parts(), other.parts())):
        for part in greeting:
            digest.update(len(part).to_bytes(4, "big"))
            digest.update(part)
    return digest.hexdigest()[:32]
