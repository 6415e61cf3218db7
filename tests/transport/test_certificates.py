"""Certificates: making them, reading them, mutual TLS with them, and taking up new ones."""

from __future__ import annotations

import datetime
import hashlib
import logging
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from tls_helpers import shake_hands

from trio_mp._errors import ConfigurationError, RemoteProtocolError
from trio_mp._ids import is_node_id
from trio_mp._transport import tls
from trio_mp._transport.certificate_files import Certificate
from trio_mp._transport.certificates import CertificateTLS, may_be_global, node_ids_in
from trio_mp._transport.issuing import make_authority, make_certificate
from trio_mp._transport.throwaway import throwaway_contexts, throwaway_tls
from trio_mp._transport.tls import MemoryTLS

PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
BOTH = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]


class Files:
    """An authority in a directory, and the certificates that it makes there."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self.folder = folder
        self.authority, self.authority_key = folder / f"{name}.pem", folder / f"{name}.key"
        make_authority(self.authority, self.authority_key, name=name)

    def make(self, name: str, *node_ids: str, days: int = 365, may_be_global: bool = False) -> Certificate:
        chain, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        make_certificate(
            *(node_ids or name, chain, key),
            authority=self.authority,
            authority_key=self.authority_key,
            days=days,
            may_be_global=may_be_global,
        )
        return Certificate(chain, key, self.authority)

    def craft(
        self,
        name: str,
        names: list[x509.GeneralName],
        usages: list[x509.ObjectIdentifier] | None = BOTH,
        days: tuple[float, float] = (-1, 1),
    ) -> Certificate:
        """A certificate that `make_certificate` would not make."""
        issuer = x509.load_pem_x509_certificate(self.authority.read_bytes())
        signer = serialization.load_pem_private_key(self.authority_key.read_bytes(), None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.UTC)
        start, end = (now + datetime.timedelta(days=many) for many in days)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer.subject)
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(start).not_valid_after(end)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if usages is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        chain, key_file = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        chain.write_bytes(builder.sign(signer, hashes.SHA256()).public_bytes(PEM))
        encodings = PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        key_file.write_bytes(key.private_bytes(*encodings))
        return Certificate(chain, key_file, self.authority)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def others(tmp_path: Path) -> Files:
    return Files(tmp_path, "others")


def der_of(file: str | Path) -> bytes:
    return x509.load_pem_x509_certificate(Path(file).read_bytes()).public_bytes(DER)


def fingerprint_of(certificate: Certificate) -> bytes:
    return hashlib.sha256(der_of(certificate.chain)).digest()


def uri(node_id: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(f"trio-mp:{node_id}")


def bare(certificate: Certificate, *, server_side: bool, shown: bool = True, trusted: str = "") -> MemoryTLS:
    """A side that nothing was checked for."""
    context = tls.make_context(server_side=server_side)
    context.load_verify_locations(trusted or certificate.authority)
    if shown:
        context.load_cert_chain(certificate.chain, certificate.key)
    return MemoryTLS(context, fingerprint_of(certificate) if server_side else b"", node_ids_in)


def failures(client: MemoryTLS, server: MemoryTLS) -> tuple[str, str]:
    """What went wrong at the client and at the server; each still gets the alert of the other."""
    texts = {client: "", server: ""}
    waiting = {server: client.start(), client: server.start()}
    for side, other in [(server, client), (client, server)] * 3:
        data, waiting[side] = waiting[side], b""
        try:
            plain, reply = side.receive(data) if data and not texts[side] else (b"", b"")
            assert plain == b""
        except RemoteProtocolError as error:
            texts[side], reply = str(error), side.take_alert()
            assert side.send(b"too late") == b""
        waiting[other] += reply
    return texts[client], texts[server]


def serve(made: CertificateTLS, peer: CertificateTLS) -> MemoryTLS:
    """The server of a connection that works."""
    client, server = peer(False), made(True)
    assert shake_hands(client, server) == (b"", b"")
    assert client.fingerprint == server.fingerprint
    return server


# Making


def test_a_path_is_a_str_or_path(tmp_path: Path) -> None:
    certificate = Certificate(tmp_path / "a", "b", authority=tmp_path / "c", verify_node_id=False)
    assert certificate.chain == str(tmp_path / "a")
    assert certificate == Certificate(str(tmp_path / "a"), "b", str(tmp_path / "c"), False)
    assert certificate != Certificate("a", "b", "c")
    assert Certificate("a", "b", "c").verify_node_id
    with pytest.raises(AttributeError):
        certificate.chain = "d"  # type: ignore[misc]
    wrong: list[Any] = [None, 3, b"x"]
    for value in wrong:
        with pytest.raises(TypeError, match=f"key.*{value!r}"):
            Certificate("a", value, "c")
    with pytest.raises(TypeError, match="'yes'"):
        Certificate("a", "b", "c", verify_node_id="yes")  # type: ignore[arg-type]


def test_keys_are_for_their_owner_only_and_nothing_is_overwritten(files: Files) -> None:
    alice = files.make("alice")
    for key in (files.authority_key, Path(alice.key)):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = {path: path.read_bytes() for path in files.folder.iterdir()}
    with pytest.raises(FileExistsError) as caught:
        make_authority(files.folder / "new.pem", files.authority_key)
    assert caught.value.filename == str(files.authority_key)
    with pytest.raises(FileExistsError, match=r"alice\.pem"):
        files.make("alice")
    assert {path: path.read_bytes() for path in files.folder.iterdir()} == before


FULL = """
import resource, sys
from trio_mp._transport.issuing import make_authority
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
try:
    make_authority(sys.argv[1], sys.argv[2])
except OSError as error:
    print(error.filename)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
@pytest.mark.parametrize("room", [0, 10])
def test_a_full_disk_leaves_nothing(tmp_path: Path, room: int) -> None:
    paths = [str(tmp_path / "a.pem"), str(tmp_path / "a.key")]
    done = subprocess.run([sys.executable, "-c", FULL, *paths, str(room)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == paths[0]
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_made(files: Files, others: Files) -> None:
    for node_ids in ["", "a b", [], ["a", ""]]:
        with pytest.raises(ValueError, match="node ID"):
            make_certificate(node_ids, "a", "b", authority=files.authority, authority_key=files.authority_key)
    for days in (0, 1_000_000):
        with pytest.raises(ValueError, match="days"):
            files.make("alice", days=days)
    with pytest.raises(ValueError, match="name"):
        make_authority(files.folder / "x", files.folder / "y", name="")
    with pytest.raises(ValueError, match="expected the key"):
        make_certificate("alice", "a", "b", authority=files.authority, authority_key=others.authority_key)
    alice = files.make("alice")
    with pytest.raises(ValueError, match="of an authority"):
        make_certificate("bob", "a", "b", authority=alice.chain, authority_key=alice.key)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        make_certificate("bob", "a", "b", authority="nowhere", authority_key=alice.key)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")
@pytest.mark.parametrize("purpose", ["sslserver", "sslclient"])
def test_openssl_is_content_in_strict_mode(files: Files, purpose: str) -> None:
    alice = files.make("alice", "alice", "x" * 255)
    command = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", alice.authority, alice.chain]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# Reading


def test_the_node_ids_in_a_certificate(files: Files) -> None:
    ids = ["worker-1.example.org", "eg/worker:1", "a_b", "10.0.0.1", "Caps", "-x"]
    file = files.make("many", *ids).chain
    assert node_ids_in(der_of(file)) == set(ids)
    names = x509.load_der_x509_certificate(der_of(file)).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.DNSName) == ["worker-1.example.org", "Caps"]
    odd: list[x509.GeneralName] = [
        x509.DNSName("*.example.org"),
        x509.DNSName("exact.example.org"),
        x509.UniformResourceIdentifier("https://example.org"),
        x509.UniformResourceIdentifier("trio-mp:"),
        x509.UniformResourceIdentifier("trio-mp:a#b"),
        x509.UniformResourceIdentifier("trio-mp-global:other"),
        x509.RFC822Name("me@example.org"),
    ]
    assert node_ids_in(der_of(files.craft("odd", odd).chain)) == {"exact.example.org"}
    assert node_ids_in(der_of(files.craft("none", []).chain)) == frozenset()
    der = der_of(file)
    for bad in (b"", b"x", der[:-1], der + b"x", *(der[:at] + b"\xff" + der[at + 1 :] for at in range(len(der)))):
        assert all(map(is_node_id, node_ids_in(bad)))
    for bad in (b"", b"x", der[:-1], der + b"x"):
        assert node_ids_in(bad) == frozenset()


def test_who_may_be_global_by_a_certificate(files: Files) -> None:
    allowed = der_of(files.make("one", "a", "b", may_be_global=True).chain)
    assert may_be_global(allowed)
    assert node_ids_in(allowed) == {"a", "b"}
    assert not may_be_global(der_of(files.make("two", "trio-mp-global:", "c").chain))
    others = [x509.UniformResourceIdentifier("trio-mp-global:c"), x509.DNSName("trio-mp-global:")]
    for bad in (der_of(files.craft("three", others).chain), b"", b"x", allowed[:-1], allowed + b"x"):
        assert not may_be_global(bad)


# Mutual TLS


def test_two_nodes_of_one_authority(files: Files) -> None:
    one, two = files.make("alice"), files.make("both", "bob", "bobby")
    alice, bob = CertificateTLS(one, "alice"), CertificateTLS(two, "bob")
    for client, server, serving in ((alice(False), bob(True), two), (bob(False), alice(True), one)):
        assert client.peer_node_ids is server.peer_node_ids is None
        shake_hands(client, server, 100)
        assert client.fingerprint == server.fingerprint == fingerprint_of(serving)
        assert {client.peer_node_ids, server.peer_node_ids} == {frozenset({"alice"}), frozenset({"bob", "bobby"})}
        assert server.receive(client.send(b"hello"))[0] == b"hello"


def test_another_authority(files: Files, others: Files) -> None:
    ours, theirs = files.make("alice"), others.make("bob")
    alice, bob = CertificateTLS(ours, "alice"), CertificateTLS(theirs, "bob")
    unsigned = r"^TLS: certificate verify failed: the other side's certificate is not signed by our authority \(.+\)$"
    for client, server in ((alice(False), bob(True)), (bob(False), alice(True))):
        at_client, at_server = failures(client, server)
        assert re.match(unsigned, at_client)
        assert at_server == "TLS: the other side does not accept our certificate (tlsv1 alert unknown ca)"
    # A client that trusts both comes as far as the server's own check.
    everybody = files.folder / "everybody.pem"
    everybody.write_bytes(files.authority.read_bytes() + others.authority.read_bytes())
    trusting = CertificateTLS(Certificate(theirs.chain, theirs.key, everybody), "bob")
    at_client, at_server = failures(trusting(False), alice(True))
    assert re.match(unsigned, at_server)
    assert at_client == "TLS: the other side does not accept our certificate (tlsv1 alert unknown ca)"


def test_a_certificate_that_has_expired_or_is_for_one_side_only(files: Files) -> None:
    alice = CertificateTLS(files.make("alice"), "alice")
    expired = files.craft("expired", [uri("bob")], days=(-2, -1))
    at_client, at_server = failures(alice(False), bare(expired, server_side=True))
    assert "the other side's certificate has expired" in at_client
    assert at_server == "TLS: the other side does not accept our certificate (sslv3 alert certificate expired)"
    assert "the other side's certificate has expired" in failures(bare(expired, server_side=False), alice(True))[1]
    early = files.craft("early", [uri("bob")], days=(1, 2))
    assert "is not valid yet; compare the clocks" in failures(bare(early, server_side=False), alice(True))[1]
    serves = files.craft("serves", [uri("bob")], usages=BOTH[:1])
    assert "is not for both" in failures(bare(serves, server_side=False), alice(True))[1]


def test_a_peer_with_no_certificate(files: Files) -> None:
    certificate = files.make("alice")
    nobody = bare(certificate, server_side=False, shown=False)
    at_client, at_server = failures(nobody, CertificateTLS(certificate, "alice")(True))
    assert at_server.startswith("TLS: the other side has no certificate, and this node wants one (peer did not return")
    why = r"the other side wants a certificate, and this node has none \(.*certificate required\)"
    assert re.match(f"TLS: {why}", at_client)


def test_a_throwaway_certificate_is_no_certificate(files: Files) -> None:
    alice = CertificateTLS(files.make("alice"), "alice")
    client, server = throwaway_tls(False), throwaway_tls(True)
    shake_hands(client, server)
    assert client.peer_node_ids is server.peer_node_ids is None
    at_client, _ = failures(alice(False), throwaway_tls(True))
    assert at_client == (
        "TLS: certificate verify failed: the other side's certificate is not signed by our authority"
        " (self-signed certificate)"
    )
    with pytest.raises(ValueError, match="expected one that verifies certificates"):
        MemoryTLS(throwaway_contexts()[1], b"", node_ids_in)


# What is wrong with our own files


def replace(certificate: Certificate, **files: str) -> Certificate:
    fields = {"chain": certificate.chain, "key": certificate.key, "authority": certificate.authority} | files
    return Certificate(fields["chain"], fields["key"], fields["authority"])


def wrong_files(files: Files, others: Files) -> list[tuple[Certificate, str, str]]:
    """Certificates that do not work for alice, which file is to blame, and why."""
    good, bob, folder = files.make("alice"), files.make("bob"), files.folder
    stranger = others.make("stranger", "alice")
    (folder / "text").write_text("no PEM", encoding="utf-8")
    (folder / "half").write_bytes(Path(good.chain).read_bytes()[:300])
    (folder / "half.key").write_bytes(Path(good.key).read_bytes()[:100])
    key = serialization.load_pem_private_key(Path(good.key).read_bytes(), None)
    encodings = PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
    (folder / "locked.key").write_bytes(key.private_bytes(*encodings))
    text, half = str(folder / "text"), str(folder / "half")
    nowhere, half_key, locked = str(folder / "nowhere"), str(folder / "half.key"), str(folder / "locked.key")
    cases = [(replace(good, **{name: nowhere}), nowhere, "No such file") for name in ("chain", "key", "authority")]
    cases += [(replace(good, **{name: str(folder)}), str(folder), "cannot be read") for name in ("chain", "key")]
    cases += [(replace(good, **{name: text}), text, "PEM") for name in ("chain", "key", "authority")]
    cases += [(replace(good, **{name: half}), half, "expected whole certificates") for name in ("chain", "authority")]
    cases += [
        (replace(good, key=half_key), half_key, "expected a whole private key in PEM"),
        (replace(good, key="a\0b"), "a\0b", "null byte"),
        (replace(good, key=bob.key), bob.key, "expected the key of the certificate"),
        (replace(good, key=locked), locked, "got an encrypted one"),
        (replace(good, authority=good.chain), good.chain, "expected the certificate of an authority, got others"),
        (replace(good, authority=stranger.authority), good.chain, "is not signed by our authority"),
        (replace(stranger, authority=good.authority), stranger.chain, "is not signed by our authority"),
        (bob, bob.chain, "names this node, alice, got one that names bob"),
    ]
    for name, usage in (("serverAuth", BOTH[1]), ("clientAuth", BOTH[0])):
        one_sided = files.craft(name, [uri("alice")], usages=[usage])
        cases.append((one_sided, one_sided.chain, f"lacks {name}:"))
    for name, days, why in (("past", (-2, -1), "expired on"), ("future", (1, 2), "is not valid before")):
        mistimed = files.craft(name, [uri("alice")], days=days)
        cases.append((mistimed, mistimed.chain, why))
    nameless = files.craft("nameless", [])
    return [*cases, (nameless, nameless.chain, "got one that names no node at all")]


def test_what_is_wrong_with_our_own_files(files: Files, others: Files) -> None:
    for certificate, file, why in wrong_files(files, others):
        with pytest.raises(ConfigurationError) as caught:
            CertificateTLS(certificate, "alice")
        text = str(caught.value)
        assert text.startswith(f"certificate: {file}: "), text
        assert why in text
        assert ";" in text, "what is to be done"


def test_files_that_work_all_the_same(files: Files) -> None:
    bob = files.make("bob")
    CertificateTLS(Certificate(bob.chain, bob.key, bob.authority, verify_node_id=False), "alice")
    CertificateTLS(files.craft("any", [x509.DNSName("alice")], usages=None), "alice")
    # One file for both, with words around what is in it.
    both = files.folder / "both.pem"
    both.write_bytes("Schlüssel:\n".encode() + Path(bob.key).read_bytes() + Path(bob.chain).read_bytes())
    serve(CertificateTLS(Certificate(both, both, bob.authority), "bob"), CertificateTLS(bob, "bob"))


# Taking up new ones


def levels(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record.levelname for record in caplog.records if record.name == "trio_mp.connection"]
    caplog.clear()
    return found


def swap(link: Path, target: Path) -> None:
    """As Kubernetes does it: a new link under another name, renamed over the old one."""
    new = link.with_name("new-link")
    new.symlink_to(target)
    new.replace(link)


def test_a_link_to_another_directory(tmp_path: Path, files: Files, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trio_mp.connection")
    for name in ("first", "second"):
        made = files.make(f"{name}-alice", "alice")
        (tmp_path / name).mkdir()
        for file, source in (("chain", made.chain), ("key", made.key), ("authority", made.authority)):
            shutil.copy(source, tmp_path / name / file)
    data = tmp_path / "data"
    data.symlink_to(tmp_path / "first")
    linked = Certificate(data / "chain", data / "key", data / "authority")
    alice, bob = CertificateTLS(linked, "alice"), CertificateTLS(files.make("bob"), "bob")
    before = serve(alice, bob)
    begun, client = alice(True), bob(False)
    first = fingerprint_of(linked)
    swap(data, tmp_path / "second")
    assert serve(alice, bob).fingerprint == fingerprint_of(linked) != first
    # What had begun goes on with what it had.
    shake_hands(client, begun)
    assert client.fingerprint == begun.fingerprint == before.fingerprint == first
    assert levels(caplog) == ["INFO"]


def test_files_that_do_not_work_yet(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trio_mp.connection")
    old, new, bob = files.make("alice"), files.make("new", "alice"), CertificateTLS(files.make("bob"), "bob")
    alice, first = CertificateTLS(old, "alice"), fingerprint_of(old)
    chain, key = Path(new.chain).read_bytes(), Path(new.key).read_bytes()
    steps: list[tuple[str, Callable[[], object]]] = [
        ("half of it", lambda: Path(old.chain).write_bytes(chain[:200])),
        ("the old key", lambda: Path(old.chain).write_bytes(chain)),
        ("no key", lambda: Path(old.key).unlink()),
    ]
    for what, step in steps:
        step()
        assert serve(alice, bob).fingerprint == first, what
        assert serve(alice, bob).fingerprint == first, what
        assert levels(caplog) == ["WARNING"], what
    Path(old.key).write_bytes(key)
    assert serve(alice, bob).fingerprint == fingerprint_of(new) != first
    assert levels(caplog) == ["INFO"]
    serve(alice, bob)
    assert levels(caplog) == []


def test_a_new_authority(files: Files, others: Files) -> None:
    certificate = files.make("alice")
    own = replace(certificate, authority=str(files.folder / "trusted"))
    shutil.copy(certificate.authority, own.authority)
    alice, bob = CertificateTLS(own, "alice"), others.make("bob")
    trusted = certificate.authority
    assert failures(bare(bob, server_side=False, trusted=trusted), alice(True))[1]
    Path(own.authority).write_bytes(files.authority.read_bytes() + others.authority.read_bytes())
    assert failures(bare(bob, server_side=False, trusted=trusted), alice(True)) == ("", "")


def test_expiry_is_announced_once(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    times = [datetime.datetime.now(datetime.UTC)]
    certificate = files.make("alice", days=30)
    alice = CertificateTLS(certificate, "alice", now=lambda: times[-1])
    alice(True)
    assert levels(caplog) == []
    times.append(times[0] + datetime.timedelta(days=24))
    alice(True)
    alice(False)
    assert levels(caplog) == ["WARNING"]
    # Another one that is near its end is announced too.
    newer = files.make("newer", "alice", days=29)
    Path(newer.key).replace(certificate.key)
    Path(newer.chain).replace(certificate.chain)
    alice(True)
    alice(True)
    assert levels(caplog) == ["WARNING"]
    times.append(times[0] + datetime.timedelta(days=31))
    with pytest.raises(ConfigurationError, match="the certificate expired on"):
        CertificateTLS(certificate, "alice", now=lambda: times[-1])


def test_files_that_change_while_they_are_read(files: Files) -> None:
    certificate, bob = files.make("alice"), CertificateTLS(files.make("bob"), "bob")
    coming = [files.make(name, "alice") for name in ("second", "third")]
    moving = False

    def move() -> None:
        newer = coming.pop(0)
        Path(newer.key).replace(certificate.key)
        Path(newer.chain).replace(certificate.chain)

    def now() -> datetime.datetime:
        # The clock is looked at when the files were read and before OpenSSL reads them again.
        if moving and coming:
            move()
        return datetime.datetime.now(datetime.UTC)

    alice = CertificateTLS(certificate, "alice", now=now)
    move()
    moving = True
    # In one call: the second is read, the third is there when OpenSSL loads it.
    client, server = bob(False), alice(True)
    assert not coming
    shake_hands(client, server)
    assert server.fingerprint == fingerprint_of(certificate)
    assert client.fingerprint == server.fingerprint
