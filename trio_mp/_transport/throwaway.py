"""The throw-away certificate that goes with a secret: made once for each process, if possible without a disk.

This module is loaded on demand: the library that makes certificates takes 9 MiB, which nodes that do not encrypt need
not have.
"""

from __future__ import annotations

import datetime
import functools
import hashlib
import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .tls import MemoryTLS, client_context, client_tls, make_context


def throwaway_tls(server_side: bool) -> MemoryTLS:
    """Make the TLS object of one connection with the throw-away certificate. Raises what `throwaway_contexts` does."""
    if not server_side:
        return client_tls()
    server, _, fingerprint = throwaway_contexts()
    return MemoryTLS(server, fingerprint)


@functools.lru_cache(maxsize=1)
def throwaway_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext, bytes]:
    """The server's context, the client's, and the SHA-256 fingerprint of the certificate; one set per process.

    Raises:
      OSError: where the certificate can only be handed over through a file, that file could not be written.
    """
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
    server = make_context(server_side=True, verify=False)
    chain_pem = certificate.public_bytes(serialization.Encoding.PEM)
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        load_through_pipes(server, chain_pem, key_pem)
    except OSError:
        # No /dev/fd here: Windows, a FreeBSD without fdescfs, a chroot without /proc, a security policy.
        load_through_file(server, chain_pem, key_pem)
    return server, client_context(), hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).digest()


def load_through_pipes(context: ssl.SSLContext, chain_pem: bytes, key_pem: bytes) -> None:
    """Load a certificate and its key, which the ssl module takes from files only, without a disk.

    Raises `OSError` where that is not possible.
    """
    # Not a memfd: only Linux has that, and a limit on the size of files holds for it, too. Two pipes, because the bytes
    # of a pipe can be read once, and the certificate and the key are read one after the other.
    with _pipe_with(chain_pem) as chain, _pipe_with(key_pem) as key:
        context.load_cert_chain(chain, key)


@contextmanager
def _pipe_with(data: bytes) -> Iterator[str]:
    """The path of a pipe from which `data` can be read once. It must be less than 4 KiB, which every pipe holds."""
    reading, writing = os.pipe()
    try:
        try:
            os.write(writing, data)
        finally:
            os.close(writing)
        yield f"/dev/fd/{reading}"
    finally:
        os.close(reading)


def load_through_file(context: ssl.SSLContext, chain_pem: bytes, key_pem: bytes) -> None:
    """Load a certificate and its key through a temporary file, which only the user can read. It is removed at once.

    Raises:
      OSError: the file could not be written. The text says what, where and what to do.
    """
    where: str | None = None
    try:
        with tempfile.TemporaryDirectory() as where:
            path = Path(where) / "throwaway.pem"
            path.touch(mode=0o600)
            path.write_bytes(key_pem + chain_pem)
            context.load_cert_chain(path)
    except ssl.SSLError:
        raise
    except OSError as error:
        text = f"the throw-away certificate of TLS could not be written ({error.strerror or error})"
        text += "; make room, or set TMPDIR to a directory that can be written to"
        raise OSError(error.errno, text, where) from error
