"""The proofs over both greetings: who knows the secret, and that no one stands in between.

A token is HMAC-SHA-256, with a key stretched from the secret, over a label, both greetings in the order in which the
side that proves itself sent and received them, the fingerprint of the TLS server's certificate as that side sees it,
and the rest of the line that carries the token. Every part is preceded by its length, so no two inputs collide.

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
"""The name of the method in a greeting."""

MINIMUM_SECRET = 16
"""The shortest secret accepted, in bytes."""

_LABEL_PLAIN = b"trio_mp 1 hmac_sha256 plain"
_LABEL_TLS = b"trio_mp 1 hmac_sha256 tls"
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
      key: the stretched secret.
      own: the greeting of the side that proves itself.
      peer: the greeting that side received.
      fingerprint: SHA-256 of the TLS server's certificate as that side sees it; empty without TLS.
      rest: the line that carries the token, without the token.
    """
    parts = (
        _LABEL_TLS if fingerprint else _LABEL_PLAIN,
        *own.parts(),
        *peer.parts(),
        fingerprint,
        rest.encode("ascii"),
    )
    mac = hmac.new(key, digestmod=hashlib.sha256)
    for part in parts:
        mac.update(len(part).to_bytes(4, "big"))
        mac.update(part)
    return mac.hexdigest()


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
