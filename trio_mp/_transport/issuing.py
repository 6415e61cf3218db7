"""Making certificates: of an authority, and of nodes that it signs."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias, TypeGuard

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from .._ids import check_node_id
from .certificate_files import StrPath, path_of
from .certificates import BOTH_USAGES, GLOBAL, SCHEME, utc_now

_SigningKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_LONGEST_COMMON_NAME = 64
_MAXIMUM_DAYS = 36_500
# The arguments in their order: signatures; non-repudiation; three about the exchange of keys; certificates;
# revocations; two more about the exchange of keys.
_AUTHORITY_USAGE = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
_NODE_USAGE = x509.KeyUsage(True, False, False, False, False, False, False, False, False)

# The last label must not be digits only: that would be the end of an IP address.
_DNS_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DNS_NAME = re.compile(rf"(?=.{{1,253}}\Z)({_DNS_LABEL}\.)*(?![0-9]+\Z){_DNS_LABEL}")


def make_authority(certificate: StrPath, key: StrPath, *, name: str = "trio_mp authority", days: int = 3650) -> None:
    """Make the certificate of an authority and its key, as new PEM files. The key can make members: keep it apart.

    Either both files are made or none. The one with the key is for its owner only.

    Raises:
      FileExistsError: one of the files is there already. It is left as it is.
      OSError: a file could not be written.
      ValueError, TypeError: `name` is not 1 to 64 characters, or `days` not 1 to 36500.
    """
    files = path_of("certificate", certificate), path_of("key", key)
    private = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(name, private, utc_now() + _duration(days))
        .issuer_name(_common_name(name))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_AUTHORITY_USAGE, critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(private.public_key()), critical=False)
    )
    _write_pair(*files, [builder.sign(private, hashes.SHA256())], private)


def make_certificate(
    node_ids: str | Iterable[str],
    chain: StrPath,
    key: StrPath,
    *,
    authority: StrPath,
    authority_key: StrPath,
    days: int = 365,
    may_be_global: bool = False,
) -> None:
    """Make the certificate of one node, or of several that are to share it, and its key, as new PEM files.

    Either both files are made or none. The one with the key is for its owner only. The certificate never outlives that
    of the authority.

    Args:
      node_ids: the IDs of the nodes that the certificate names.
      chain: where to write the certificate, with those of the authority that are not self-signed.
      key: where to write the private key of the certificate.
      authority: the authority's certificate.
      authority_key: the authority's private key.
      days: how many days the certificate is valid.
      may_be_global: whether these nodes may be global for all others, and not only for those whose seeds they are.

    Raises:
      FileExistsError: `chain` or `key` is there already. It is left as it is.
      OSError: a file could not be read or written.
      ValueError, TypeError: a node ID is not one, `days` is not 1 to 36500, or `authority` and `authority_key` are not
        the PEM files of an authority that is still valid.
    """
    files = path_of("chain", chain), path_of("key", key)
    names = [check_node_id(name) for name in (node_ids if _is_several(node_ids) else [node_ids])]
    if not names:
        raise ValueError("node_ids: expected at least one node ID, got none")
    expires = utc_now() + _duration(days)
    above, signing_key = _read_authority(path_of("authority", authority), path_of("authority_key", authority_key))
    issuer = above[0]
    own_identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    private = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(names[0][:_LONGEST_COMMON_NAME], private, min(expires, issuer.not_valid_after_utc))
        .issuer_name(issuer.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_NODE_USAGE, critical=True)
        .add_extension(x509.ExtendedKeyUsage(BOTH_USAGES.values()), critical=False)
        .add_extension(_alternative_names(names, may_be_global), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier(own_identifier, None, None), critical=False)
    )
    made = builder.sign(signing_key, hashes.SHA256())
    _write_pair(*files, [made, *(one for one in above if one.issuer != one.subject)], private)


def _is_several(node_ids: object) -> TypeGuard[Iterable[object]]:
    return isinstance(node_ids, Iterable) and not isinstance(node_ids, str | bytes)


def _common_name(name: object) -> x509.Name:
    if not isinstance(name, str) or not 1 <= len(name) <= _LONGEST_COMMON_NAME:
        raise ValueError(f"name: expected 1 to {_LONGEST_COMMON_NAME} characters, got {name!r}")
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _duration(days: object) -> datetime.timedelta:
    if not isinstance(days, int) or not 1 <= days <= _MAXIMUM_DAYS:
        raise ValueError(f"days: expected a whole number from 1 to {_MAXIMUM_DAYS}, got {days!r}")
    return datetime.timedelta(days=days)


def _builder(name: str, key: ec.EllipticCurvePrivateKey, expires: datetime.datetime) -> x509.CertificateBuilder:
    # From yesterday on: the clocks of other machines may be behind.
    return (
        x509.CertificateBuilder()
        .subject_name(_common_name(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(utc_now() - datetime.timedelta(days=1))
        .not_valid_after(expires)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _alternative_names(node_ids: list[str], may_be_global: bool) -> x509.SubjectAlternativeName:
    names: list[x509.GeneralName] = []
    for node_id in dict.fromkeys(node_ids):
        names.append(x509.UniformResourceIdentifier(SCHEME + node_id))
        if _DNS_NAME.fullmatch(node_id):
            names.append(x509.DNSName(node_id))
    if may_be_global:
        names.append(x509.UniformResourceIdentifier(GLOBAL))
    return x509.SubjectAlternativeName(names)


def _read_authority(file: str, key_file: str) -> tuple[list[x509.Certificate], _SigningKey]:
    try:
        certificates = x509.load_pem_x509_certificates(Path(file).read_bytes())
        constraints = certificates[0].extensions.get_extension_for_class(x509.BasicConstraints).value
        certificates[0].extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except (ValueError, x509.ExtensionNotFound) as error:
        raise ValueError(f"{file}: expected the certificate of an authority in PEM, got {error}") from None
    if not constraints.ca or certificates[0].not_valid_after_utc <= utc_now():
        raise ValueError(f"{file}: expected the certificate of an authority that is still valid, got another one")
    try:
        key = serialization.load_pem_private_key(Path(key_file).read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{key_file}: expected a private key in PEM, without a passphrase, got {error}") from None
    if not isinstance(key, _SigningKey) or key.public_key() != certificates[0].public_key():
        raise ValueError(f"{key_file}: expected the key, ECDSA or RSA, of the authority in {file}, got another one")
    return certificates, key


def _write_pair(
    file: str, key_file: str, certificates: list[x509.Certificate], key: ec.EllipticCurvePrivateKey
) -> None:
    encodings = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    chain_pem = b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    made: list[str] = []
    path = ""
    try:
        for path, data, mode in ((file, chain_pem, 0o644), (key_file, key.private_bytes(*encodings), 0o600)):
            descriptor = os.open(path, flags, mode)
            made.append(path)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
                stream.flush()
                # Some file systems find out only now that they are full.
                os.fsync(descriptor)
    except BaseException as error:
        for one in made:
            Path(one).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            raise OSError(error.errno, error.strerror, path) from None
        raise
