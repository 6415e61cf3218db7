"""`trio-mp cert`: the certificates of an authority and of nodes, and what is in a file."""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from .._errors import ConfigurationError
from .._transport.certificates import may_be_global, node_ids_in, utc_now
from .._transport.issuing import make_authority, make_certificate
from .exits import NO, OK, USAGE, CommandFailed
from .output import Output

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


def authority(arguments: argparse.Namespace) -> int:
    """Run `trio-mp cert authority`; returns its exit status. Raises as `_make`."""
    certificate, key = Path(arguments.certificate), Path(arguments.key)
    _make(
        arguments,
        (certificate, key),
        lambda file, key_file: make_authority(file, key_file, name=arguments.name, days=arguments.days),
    )
    Output(arguments).say(
        f"{certificate} goes to all nodes; {key} makes members of the network, so keep it where no node runs"
    )
    return OK


def node(arguments: argparse.Namespace) -> int:
    """Run `trio-mp cert node`; returns its exit status. Raises as `_make`."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", arguments.node_ids[0])
    chain, key = Path(arguments.chain or f"{name}.pem"), Path(arguments.key or f"{name}.key")

    def make(file: Path, key_file: Path) -> None:
        make_certificate(
            arguments.node_ids,
            file,
            key_file,
            authority=arguments.authority,
            authority_key=arguments.authority_key,
            days=arguments.days,
            may_be_global=arguments.may_be_global,
        )

    _make(arguments, (chain, key), make)
    setting = f'certificate = {{chain = "{chain}", key = "{key}", authority = "{arguments.authority}"}}'
    Output(arguments).say(f"in a profile: {setting}")
    return OK


def _make(arguments: argparse.Namespace, files: tuple[Path, Path], make: Callable[[Path, Path], None]) -> None:
    """Make a certificate and its key as these files.

    Raises:
      CommandFailed: one of the files is there already, and `--force` was not given; or something else is wrong.
      OSError: a file cannot be read or written.
    """
    try:
        if arguments.force:
            _replace(files, make)
        else:
            make(*files)
    except FileExistsError as error:
        raise CommandFailed(
            USAGE, f"{error.filename} is there already, and nothing was changed; --force replaces it"
        ) from None
    except (ValueError, TypeError) as error:
        raise CommandFailed(USAGE, str(error)) from None
    out = Output(arguments)
    for file in files:
        out.row({"made": str(file)}, f"made {file}")


def _replace(files: tuple[Path, Path], make: Callable[[Path, Path], None]) -> None:
    """Make both files beside the old ones first: what cannot be made replaces nothing."""
    with (
        tempfile.TemporaryDirectory(dir=files[0].parent) as first,
        tempfile.TemporaryDirectory(dir=files[1].parent) as second,
    ):
        made = Path(first) / files[0].name, Path(second) / files[1].name
        make(*made)
        for new, old in zip(made, files, strict=True):
            # A node that looks between the two finds that they do not fit, and looks again.
            new.replace(old)


# What is in a file ----------------------------------------------------------------------------------------------------


def show(arguments: argparse.Namespace) -> int:
    """Run `trio-mp cert show`; returns its exit status: `NO` if a certificate is not valid now.

    Raises:
      ConfigurationError: a file holds no certificate and no key, or one that cannot be understood.
      OSError: a file cannot be read.
    """
    out, valid = Output(arguments), True
    for file in arguments.files:
        found = list(_rows(file, Path(file).read_bytes()))
        if not found:
            raise ConfigurationError(f"{file}: expected certificates or a private key in PEM, got neither")
        for row in found:
            valid = valid and row.get("valid", True) is True
            if out.json:
                out.row(row)
            else:
                for name, value in row.items():
                    out.text(f"{f'{name}:':12}{_in_words(value)}")
                out.text("")
    return OK if valid else NO


def _in_words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) or "none" if isinstance(value, list) else str(value)


def _rows(file: str, content: bytes) -> Iterator[dict[str, object]]:
    for block in _BLOCK.finditer(content):
        try:
            if block[1] == b"CERTIFICATE":
                yield {"file": file, **_certificate(x509.load_pem_x509_certificate(block[0]))}
            elif block[1].endswith(b"PRIVATE KEY"):
                yield {"file": file, "kind": "private key", "key": _kind_of_key(block[0])}
        except (ValueError, TypeError) as error:
            raise ConfigurationError(f"{file}: expected whole PEM, got something else: {error}") from None


def _certificate(certificate: x509.Certificate) -> dict[str, object]:
    der = certificate.public_bytes(serialization.Encoding.DER)
    try:
        is_authority = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        is_authority = False
    now, expires = utc_now(), certificate.not_valid_after_utc
    days = (expires - now).days
    return {
        "kind": "certificate of an authority" if is_authority else "certificate of nodes",
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "nodes": sorted(node_ids_in(der)),
        "global": may_be_global(der),
        "valid": certificate.not_valid_before_utc <= now <= expires,
        "expires": f"{expires:%Y-%m-%d %H:%M} UTC ({f'in {days} days' if days >= 0 else f'{-days} days ago'})",
        "key": _kind_of(certificate.public_key()),
    }


def _kind_of_key(pem: bytes) -> str:
    try:
        return _kind_of(serialization.load_pem_private_key(pem, None).public_key())
    except TypeError:
        return "encrypted by a passphrase: nodes cannot use it"


def _kind_of(key: object) -> str:
    match key:
        case ec.EllipticCurvePublicKey():
            return f"EC, {key.curve.name}"
        case rsa.RSAPublicKey():
            return f"RSA, {key.key_size} bits"
        case ed25519.Ed25519PublicKey():
            return "Ed25519"
        case ed448.Ed448PublicKey():
            return "Ed448"
        case _:
            return type(key).__name__
