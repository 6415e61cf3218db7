"""Signing for this node with the key of its certificate, and verifying what other nodes have signed with theirs.

A certificate that comes in a message was shown in no TLS handshake, so OpenSSL has not verified it, and Python's `ssl`
cannot verify one outside a handshake. This module is stricter than a TLS library has to be: it refuses a certificate
with a critical extension that it does not know, such as constraints of names.
"""

from __future__ import annotations

import base64
import binascii
import datetime
from collections.abc import Callable, Iterable, Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.x509.oid import ExtensionOID

from .certificates import BOTH_USAGES, CertificateTLS, may_be_global, node_ids_in, utc_now

LONGEST_CHAIN = 5
"""How many certificates may come with a signature: the node's own, and those between it and the authority."""

LARGEST_PROOF = 24 * 1024
"""How long a signature and its certificates may be, in characters of base64: they must fit into one entry."""

_CACHE = 1024
_KNOWN = frozenset(
    {
        *(ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE, ExtensionOID.EXTENDED_KEY_USAGE),
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    }
)
_PSS = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)


class _RefusedError(Exception):
    """The notary does not believe what was signed. The text is the rest of a sentence about it, after its subject."""


class CertificateNotary:
    """See `Notary`.

    Args:
      tls: knows the present contents of the node's files.
      node_id: the ID of this node.
      names_nodes: whether the certificates of other nodes must name these.
      now: the clock.
    """

    def __init__(
        self, tls: CertificateTLS, node_id: str, *, names_nodes: bool, now: Callable[[], datetime.datetime] = utc_now
    ) -> None:
        self.names_nodes = names_nodes
        self._node_id = node_id
        self._tls = tls
        self._now = now
        # Chains that were found good, each with its first certificate and the end of its validity. The chain that was
        # used last comes last. They are kept because each record of the database may bring one, mostly one that came
        # before.
        self._good: dict[tuple[bytes, ...], tuple[x509.Certificate, datetime.datetime]] = {}
        self._anchors: tuple[x509.Certificate, ...] = ()

    @property
    def may_be_global(self) -> bool:
        """See `Notary.may_be_global`."""
        return may_be_global(self._tls.loaded.chain[0])

    @property
    def certificate(self) -> bytes:
        """See `Notary.certificate`."""
        return self._tls.loaded.chain[0]

    def refresh(self) -> None:
        """See `Notary.refresh`."""
        self._tls.refresh()

    def allows_global(self, der: bytes) -> bool:
        """See `Notary.allows_global`."""
        return may_be_global(der)

    def sign(self, text: bytes) -> list[str]:
        """See `Notary.sign`."""
        loaded = self._tls.loaded
        if self._node_id not in node_ids_in(loaded.chain[0]):
            return []
        match loaded.key:
            case rsa.RSAPrivateKey() as key:
                signature = key.sign(text, _PSS, hashes.SHA256())
            case ec.EllipticCurvePrivateKey() as key:
                signature = key.sign(text, ec.ECDSA(hashes.SHA256()))
            case ed25519.Ed25519PrivateKey() | ed448.Ed448PrivateKey() as key:
                signature = key.sign(text)
            case _:
                return []
        proof = [base64.b64encode(part).decode("ascii") for part in (signature, *loaded.chain)]
        return proof if len(loaded.chain) <= LONGEST_CHAIN and sum(map(len, proof)) <= LARGEST_PROOF else []

    def check(self, node_id: str, text: bytes, proof_untrusted: Sequence[object]) -> str:
        """See `Notary.check`."""
        try:
            signature, *chain = _decode(proof_untrusted)
            leaf = self._verified(tuple(chain))
            if node_id not in node_ids_in(chain[0]):
                raise _RefusedError(f"was signed with a certificate that does not name {node_id}")
            _verify_signature(leaf, signature, text)
        except _RefusedError as error:
            return str(error)
        except InvalidSignature:
            return f"was not signed by {node_id}"
        except Exception as error:  # noqa: BLE001 - hostile, and cryptography raises many things, warnings among them
            return f"was signed with a certificate that cannot be understood ({type(error).__name__})"
        return ""

    def _verified(self, chain: tuple[bytes, ...]) -> x509.Certificate:
        """The first certificate of a chain that leads to an authority. Raises `_RefusedError` and others."""
        anchors = self._tls.loaded.anchors
        if anchors is not self._anchors:
            self._anchors = anchors
            self._good.clear()
        known = self._good.pop(chain) if chain in self._good else None
        leaf, until = known or _follow(chain, anchors, self._now())
        if until < self._now():
            raise _RefusedError("was signed with a certificate that has expired")
        self._good[chain] = leaf, until
        if len(self._good) > _CACHE:
            del self._good[next(iter(self._good))]
        return leaf


def _decode(proof: Sequence[object]) -> list[bytes]:
    texts = [part for part in proof if isinstance(part, str)]
    if len(texts) != len(proof) or not 2 <= len(texts) <= LONGEST_CHAIN + 1 or sum(map(len, texts)) > LARGEST_PROOF:
        raise _RefusedError("is not signed")
    try:
        return [base64.b64decode(text, validate=True) for text in texts]
    except (binascii.Error, ValueError):
        raise _RefusedError("is not signed") from None


def _follow(
    chain: tuple[bytes, ...], anchors: Iterable[x509.Certificate], now: datetime.datetime
) -> tuple[x509.Certificate, datetime.datetime]:
    """Follow a chain to an authority; returns its first certificate, and until when all certificates are valid."""
    leaf, *between = [x509.load_der_x509_certificate(der) for der in chain]
    _check_leaf(leaf)
    current, path, below = leaf, [leaf], 0
    while True:
        issuer = next((one for one in anchors if _has_issued(one, current, below)), None)
        if issuer is not None:
            path.append(issuer)
            break
        issuer = next((one for one in between if one not in path and _has_issued(one, current, below)), None)
        if issuer is None:
            raise _RefusedError("was signed with a certificate that is not signed by our authority")
        path.append(issuer)
        current, below = issuer, below + 1
    for one in path:
        _check_extensions(one)
        if now < one.not_valid_before_utc:
            raise _RefusedError("was signed with a certificate that is not valid yet; compare the clocks")
    return leaf, min(one.not_valid_after_utc for one in path)


def _has_issued(issuer: x509.Certificate, certificate: x509.Certificate, below: int) -> bool:
    """Whether an authority has issued a certificate that has so many other authorities below it."""
    try:
        constraints = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        if not constraints.ca or (constraints.path_length is not None and constraints.path_length < below):
            return False
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    try:
        return issuer.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return True


def _check_leaf(leaf: x509.Certificate) -> None:
    for extension in leaf.extensions:
        match extension.value:
            case x509.ExtendedKeyUsage() as usages if not all(usage in usages for usage in BOTH_USAGES.values()):
                raise _RefusedError("was signed with a certificate that is not for both serverAuth and clientAuth")
            case x509.KeyUsage(digital_signature=False):
                raise _RefusedError("was signed with a certificate that is not for signatures")
            case _:
                pass


def _check_extensions(certificate: x509.Certificate) -> None:
    for extension in certificate.extensions:
        if extension.critical and extension.oid not in _KNOWN:
            name = extension.oid.dotted_string
            raise _RefusedError(f"was signed with a certificate whose critical extension {name} is not known here")


def _verify_signature(leaf: x509.Certificate, signature: bytes, text: bytes) -> None:
    match leaf.public_key():
        case rsa.RSAPublicKey() as key:
            key.verify(signature, text, _PSS, hashes.SHA256())
        case ec.EllipticCurvePublicKey() as key:
            key.verify(signature, text, ec.ECDSA(hashes.SHA256()))
        case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey() as key:
            key.verify(signature, text)
        case _:
            raise _RefusedError("was signed with a key of an unknown kind")
