"""Mutual TLS with certificates: reading them, the nodes that they name, and taking up new ones while a node runs."""

from __future__ import annotations

import datetime
import hashlib
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from .._errors import ConfigurationError
from .._events import fields
from .._ids import check_node_id, is_node_id
from .certificate_files import Certificate
from .tls import MemoryTLS, explain_verification, make_context

log = logging.getLogger("trio_mp.connection")

SCHEME = "trio-mp:"
"""A URI of a subject alternative name that begins like this goes on with a node ID."""

GLOBAL = "trio-mp-global:"
"""A URI of a subject alternative name that is this allows the nodes that the certificate names to be global."""

_WARN_BEFORE = datetime.timedelta(days=7)
_ATTEMPTS = 3
_RETRY = datetime.timedelta(seconds=1)

BOTH_USAGES = {"serverAuth": ExtendedKeyUsageOID.SERVER_AUTH, "clientAuth": ExtendedKeyUsageOID.CLIENT_AUTH}
"""What a certificate is for: either side of a connection may be the TLS server."""


def utc_now() -> datetime.datetime:
    """The time of day."""
    return datetime.datetime.now(datetime.UTC)


def _names_in(der_untrusted: bytes) -> tuple[list[str], list[str]]:
    """The DNS names and the URIs of a certificate (DER); none if it cannot be understood."""
    try:
        names = x509.load_der_x509_certificate(der_untrusted).extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
        return (
            names.value.get_values_for_type(x509.DNSName),
            names.value.get_values_for_type(x509.UniformResourceIdentifier),
        )
    except Exception:  # noqa: BLE001 - hostile, and cryptography raises many things, warnings among them
        return [], []


def may_be_global(der_untrusted: bytes) -> bool:
    """Whether a certificate (DER) allows the nodes that it names to be global: one of its URIs is `trio-mp-global:`."""
    return GLOBAL in _names_in(der_untrusted)[1]


def node_ids_in(der_untrusted: bytes) -> frozenset[str]:
    """The node IDs that a certificate (DER) names in its subject alternative name.

    They are its URIs `trio-mp:<node ID>` and its DNS names, letter by letter; a wildcard names nobody. A certificate
    that has none, or that cannot be understood, names nobody.
    """
    found, uris = _names_in(der_untrusted)
    found += [uri.removeprefix(SCHEME) for uri in uris if uri.startswith(SCHEME)]
    return frozenset(filter(is_node_id, found))


def first_node_id(certificate: Certificate) -> str:
    """The first node ID that a certificate names, in the order of the alphabet; empty if it names none.

    Raises:
      ConfigurationError: its file cannot be read.
    """
    leaf = _first_of(certificate.chain, _read_certificates(certificate.chain))
    return min(node_ids_in(leaf.public_bytes(serialization.Encoding.DER)), default="")


def _wrong_file(file: str, why: str) -> ConfigurationError:
    """The error about a file of certificates that the program gave."""
    return ConfigurationError(f"certificate: {file}: {why}")


def _read_file(file: str) -> bytes:
    """Read a file that the program gave. Raises `ConfigurationError` if that fails."""
    try:
        return Path(file).read_bytes()
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or error
        raise _wrong_file(file, f"cannot be read ({why}); give a PEM file that this process may read") from None


def _read_certificates(file: str) -> str:
    """The text of a PEM file that OpenSSL finds certificates in. Raises `ConfigurationError` if it does not."""
    # PEM allows any text around the certificates, so other characters are dropped and not refused.
    text = _read_file(file).decode("ascii", "ignore")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError) as error:
        if "PRIVATE KEY-----" in text:
            why = "expected certificates, got a private key; the order is Certificate(chain, key, authority)"
            raise _wrong_file(file, why) from None
        why = f"expected whole certificates in PEM, got something else ({error}); write the file again"
        raise _wrong_file(file, why) from None
    return text


def _first_of(file: str, text: str) -> x509.Certificate:
    """The first certificate in the text of a file. Raises `ConfigurationError` if it cannot be understood."""
    try:
        return x509.load_pem_x509_certificates(text.encode("ascii"))[0]
    except (ValueError, x509.InvalidVersion) as error:
        raise _wrong_file(file, f"the first certificate cannot be understood ({error}); make another") from None


def _read_key(pem: bytes, leaf: x509.Certificate) -> object:
    """The private key in a file, if it is that of the certificate and of a kind that can be used here; else None."""
    try:
        key = serialization.load_pem_private_key(pem, None)
        return key if key.public_key() == leaf.public_key() else None
    except Exception:  # noqa: BLE001 - OpenSSL has taken it; cryptography raises many things for what it does not know
        return None


def _all_in(pem: str) -> list[x509.Certificate]:
    """The certificates in the text of a file, but for those that cannot be understood here."""
    found: list[x509.Certificate] = []
    for part in pem.split("-----END CERTIFICATE-----")[:-1]:
        begin = part.rfind("-----BEGIN CERTIFICATE-----")
        text = f"{part[begin:]}-----END CERTIFICATE-----\n" if begin >= 0 else ""
        try:
            found.append(x509.load_pem_x509_certificate(text.encode("ascii")))
        except Exception:  # noqa: BLE001, S112 - one of many, and OpenSSL has found those that it can use
            continue
    return found


class _EncryptedError(Exception):
    """The key wants a passphrase."""


def _no_passphrase() -> str:
    # Without this OpenSSL would ask on the terminal.
    raise _EncryptedError


def _load_pair(context: ssl.SSLContext, chain: str, key: str) -> None:
    """Load a certificate and its key from files into a context. Raises `ConfigurationError` if they do not work."""
    try:
        context.load_cert_chain(chain, key, _no_passphrase)
    except _EncryptedError:
        why = "expected a private key without a passphrase, got an encrypted one; run openssl pkey -in KEY -out NEW"
        raise _wrong_file(key, why) from None
    except ssl.SSLError as error:
        if error.reason and ("MISMATCH" in error.reason or "NO_CERTIFICATE" in error.reason):
            why = f"expected the key of the certificate in {chain}, got another key; give that one"
            raise _wrong_file(key, why) from None
        if error.reason and ("TOO_SMALL" in error.reason or "TOO_WEAK" in error.reason):
            why = f"expected a certificate that this system's OpenSSL takes, got one too weak ({error}); make another"
            raise _wrong_file(chain, why) from None
        why = f"expected a whole private key in PEM, got something else ({error}); write the file again"
        raise _wrong_file(key, why) from None
    except OSError as error:
        raise _wrong_file(key, f"cannot be read any more ({error.strerror or error}); try again") from None


def _shake_with_itself(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[bytes, bytes]:
    """Connect two contexts in memory; returns the certificates (DER) that the server and the client have shown.

    So a certificate that no peer would accept is found when the node opens, and not by the first connection.

    Raises:
      ssl.SSLError: the two cannot be connected.
    """
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    at_server = server.wrap_bio(to_server, to_client, server_side=True)
    at_client = client.wrap_bio(to_client, to_server)
    for side in (at_client, at_server, at_client, at_server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            pass
    return at_client.getpeercert(binary_form=True) or b"", at_server.getpeercert(binary_form=True) or b""


_Stamp: TypeAlias = tuple[tuple[int, int, int] | None, ...]


def _stamp(file: str) -> tuple[int, int, int] | None:
    """The properties of a file that change when the file does; None if the file cannot be found.

    Links are followed, because Kubernetes replaces certificates by swapping a link to a whole directory.
    """
    try:
        status = Path(file).stat()
    except (OSError, ValueError):
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


@dataclass(frozen=True, slots=True)
class LoadedCertificate:
    """The contexts and keys that were made of one state of the files.

    Attributes:
      server, client: contexts for either side of a connection.
      fingerprint: the SHA-256 fingerprint of the certificate.
      expires: when the certificate expires.
      chain: the certificate and those between it and the authority, as DER.
      key: the private key of the certificate; None if it is of a kind that can be used for TLS only.
      anchors: the authorities that are trusted.
      stamp: the stamp of the files at that time; see `_stamp`.
    """

    server: ssl.SSLContext
    client: ssl.SSLContext
    fingerprint: bytes
    expires: datetime.datetime
    chain: tuple[bytes, ...]
    key: object
    anchors: tuple[x509.Certificate, ...]
    stamp: _Stamp


class CertificateTLS:
    """Makes the TLS objects of connections where both sides have a certificate.

    It is called with whether this side is the TLS server.

    Before each connection it looks whether the files have changed, which is quick, and takes up what is in them. Files
    that do not work (one is being written, one is still missing) get one line in the log for each change. Then what was
    loaded before stays in use, and the next connection tries again. Connections keep the certificate that they began
    with.

    Args:
      certificate: the files.
      node_id: the ID of this node.
      now: the clock.

    Raises:
      ConfigurationError: a file does not work. The text says which one, why, and what to do.
    """

    def __init__(
        self, certificate: Certificate, node_id: str, *, now: Callable[[], datetime.datetime] = utc_now
    ) -> None:
        self._certificate = certificate
        self._node_id = check_node_id(node_id)
        self._now = now
        self._loaded = self._load()
        self._complained: _Stamp | None = None
        self._tried = now()
        self._warned = False
        self._look_at_expiry()

    def __call__(self, server_side: bool) -> MemoryTLS:
        """Make the TLS object of one connection."""
        loaded = self.refresh()
        if server_side:
            return MemoryTLS(loaded.server, loaded.fingerprint, node_ids_in)
        return MemoryTLS(loaded.client, b"", node_ids_in)

    @property
    def loaded(self) -> LoadedCertificate:
        """The contexts and keys that are in use."""
        return self._loaded

    def refresh(self) -> LoadedCertificate:
        """Take up what is in the files, if they have changed and work; returns what is in use then."""
        stamp = self._stamps()
        # Files that did not work are read again once a second at most, because each connection of a stranger asks.
        if stamp != self._loaded.stamp and (stamp != self._complained or abs(self._now() - self._tried) >= _RETRY):
            self._tried = self._now()
            self._reload(stamp)
        self._look_at_expiry()
        return self._loaded

    def _reload(self, stamp: _Stamp) -> None:
        try:
            self._loaded = self._load()
        except Exception as error:  # noqa: BLE001 - cryptography raises many things, and whoever has connected cannot help it
            if stamp != self._complained:
                self._complained = stamp
                log.warning(
                    "%s (the files have changed; what was loaded before stays in use)",
                    error,
                    extra=fields("certificate", self._node_id),
                )
            return
        self._warned = False
        log.info(
            "certificate: %s loaded anew, valid until %s",
            self._certificate.chain,
            self._loaded.expires,
            extra=fields("certificate", self._node_id),
        )

    def _look_at_expiry(self) -> None:
        if not self._warned and self._loaded.expires - self._now() < _WARN_BEFORE:
            self._warned = True
            text = "certificate: %s expires on %s; replace it: the new one is taken up without a restart"
            log.warning(text, self._certificate.chain, self._loaded.expires, extra=fields("certificate", self._node_id))

    def _stamps(self) -> _Stamp:
        return tuple(map(_stamp, (self._certificate.chain, self._certificate.key, self._certificate.authority)))

    def _load(self) -> LoadedCertificate:
        for attempt in range(1, _ATTEMPTS + 1):
            # Before anything is read: what changes later has another stamp and is found by the next connection.
            stamp = self._stamps()
            try:
                return self._load_once(stamp)
            except ConfigurationError:
                if attempt == _ATTEMPTS or self._stamps() == stamp:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _load_once(self, stamp: _Stamp) -> LoadedCertificate:
        files = self._certificate
        chain, authority = _read_certificates(files.chain), _read_certificates(files.authority)
        key = _read_file(files.key)
        leaf = _first_of(files.chain, chain)
        der = leaf.public_bytes(serialization.Encoding.DER)
        self._check(leaf, der)
        server, client = make_context(server_side=True), make_context(server_side=False)
        for context in (server, client):
            context.load_verify_locations(cadata=authority)
            if not context.cert_store_stats()["x509_ca"]:
                why = "expected the certificate of an authority, got others; give one that may sign"
                raise _wrong_file(files.authority, why)
            _load_pair(context, files.chain, files.key)
        try:
            seen = _shake_with_itself(server, client)
        except ssl.SSLCertVerificationError as error:
            why = (
                f"with {files.authority} as authority the certificate {explain_verification(error)}; have that sign it"
            )
            raise _wrong_file(files.chain, f"{why}, and put the certificates in between into the file") from None
        except ssl.SSLError as error:
            raise _wrong_file(files.chain, f"TLS does not work with this certificate ({error}); make another") from None
        # The ssl module reads the files itself, after us. What it has read is what it showed in the handshake.
        if seen != (der, der):
            raise _wrong_file(files.chain, "the file was changed while it was read; try again")
        between = [one for one in _all_in(chain)[1:] if one.issuer != one.subject]
        return LoadedCertificate(
            server,
            client,
            hashlib.sha256(der).digest(),
            leaf.not_valid_after_utc,
            (der, *(one.public_bytes(serialization.Encoding.DER) for one in between)),
            _read_key(key, leaf),
            tuple(_all_in(authority)),
            stamp,
        )

    def _check(self, leaf: x509.Certificate, der: bytes) -> None:
        chain, now, start, end = (
            self._certificate.chain,
            self._now(),
            leaf.not_valid_before_utc,
            leaf.not_valid_after_utc,
        )
        if not start <= now <= end:
            why = f"the certificate expired on {end}" if now > end else f"the certificate is not valid before {start}"
            raise _wrong_file(chain, f"{why}; look at the clock ({now}), or make a new one")
        try:
            usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
            # A certificate that cannot be understood here may be good for OpenSSL: `_shake_with_itself` decides.
            usages = None
        lacking = [name for name, usage in BOTH_USAGES.items() if usages is not None and usage not in usages]
        if lacking:
            why = "either side of a connection may be the TLS server; make one for both serverAuth and clientAuth"
            raise _wrong_file(chain, f"the extended key usage lacks {' and '.join(lacking)}: {why}")
        if self._certificate.verify_node_id and self._node_id not in (named := node_ids_in(der)):
            names = ", ".join(sorted(named)) or "no node at all"
            todo = f"make one with the alternative name URI:{SCHEME}{self._node_id}, or turn verify_node_id off"
            why = f"expected a certificate that names this node, {self._node_id}, got one that names {names}"
            raise _wrong_file(chain, f"{why}; {todo}")
