"""Signatures of nodes, by their certificates: which keys can sign, and what is no signature of a node."""

from __future__ import annotations

import base64
import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings, strategies as st

from trio_mp import Certificate
from trio_mp._transport.certificates import CertificateTLS, utc_now
from trio_mp._transport.notary import LARGEST_PROOF, LONGEST_CHAIN, CertificateNotary

BOTH = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
DAY = datetime.timedelta(days=1)
KINDS = {
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "RSA": lambda: rsa.generate_private_key(65537, 2048),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
    "Ed448": ed448.Ed448PrivateKey.generate,
}


class Signer:
    """A certificate with its key, and the certificates above it, the authority's last."""

    def __init__(self, certificate: x509.Certificate, key: Any, above: list[x509.Certificate]) -> None:
        self.certificate, self.key, self.above = certificate, key, above

    def issue(
        self,
        name: str,
        kind: str = "P-256",
        *,
        ca: bool = False,
        path_length: int | None = None,
        usages: list[x509.ObjectIdentifier] = BOTH,
        key_usage: x509.KeyUsage | None = None,
        names: list[x509.GeneralName] | None = None,
        odd: bool = False,
        days: tuple[float, float] = (-1, 1),
    ) -> Signer:
        made, key = _make(name, kind, self, ca, path_length, usages, key_usage, names, odd, days)
        return Signer(made, key, [self.certificate, *self.above])

    def files(self, folder: Path, authority: Signer) -> Certificate:
        folder.mkdir(exist_ok=True)
        name = self.certificate.subject.rfc4514_string().removeprefix("CN=")
        chain, key, root = folder / f"{name}.pem", folder / f"{name}.key", folder / f"{name}.authority.pem"
        chain.write_bytes(b"".join(map(pem, [self.certificate, *self.above])))
        encodings = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        key.write_bytes(self.key.private_bytes(serialization.Encoding.PEM, *encodings))
        root.write_bytes(pem(authority.certificate))
        return Certificate(chain, key, root)


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _make(
    name: str,
    kind: str,
    issuer: Signer | None,
    ca: bool,
    path_length: int | None,
    usages: list[x509.ObjectIdentifier],
    key_usage: x509.KeyUsage | None,
    names: list[x509.GeneralName] | None,
    odd: bool,
    days: tuple[float, float],
) -> tuple[x509.Certificate, Any]:
    key: Any = KINDS[kind]()
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(issuer.certificate.subject if issuer else named(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(utc_now() + days[0] * DAY)
        .not_valid_after(utc_now() + days[1] * DAY)
        .add_extension(x509.BasicConstraints(ca, path_length), critical=True)
    )
    if not ca:
        uri: list[x509.GeneralName] = [x509.UniformResourceIdentifier(f"trio-mp:{name}")]
        builder = builder.add_extension(x509.SubjectAlternativeName(names or uri), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    if key_usage is not None:
        builder = builder.add_extension(key_usage, critical=True)
    if odd:
        builder = builder.add_extension(
            x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), critical=True
        )
    signer: Any = issuer.key if issuer else key
    own_hash = isinstance(signer, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    return builder.sign(signer, None if own_hash else hashes.SHA256()), key


def make_root(kind: str = "P-256", name: str = "root", days: tuple[float, float] = (-2, 2)) -> Signer:
    certificate, key = _make(name, kind, None, True, None, BOTH, None, None, False, days)
    return Signer(certificate, key, [])


def notary(folder: Path, signer: Signer, root: Signer, node_id: str, **settings: Any) -> CertificateNotary:
    return CertificateNotary(CertificateTLS(signer.files(folder, root), node_id), node_id, names_nodes=True, **settings)


@pytest.fixture(scope="module")
def root() -> Signer:
    return make_root()


@pytest.fixture
def verifier(tmp_path: Path, root: Signer) -> CertificateNotary:
    return notary(tmp_path / "verifier", root.issue("v"), root, "v")


def proof_of(signer: Signer, text: bytes, *chain: Signer) -> list[str]:
    """A signature that no notary would make."""
    signature = signer.key.sign(text, ec.ECDSA(hashes.SHA256()))
    ders = [one.certificate.public_bytes(serialization.Encoding.DER) for one in (signer, *chain)]
    return [base64.b64encode(part).decode() for part in (signature, *ders)]


@pytest.mark.parametrize("above", ["P-256", "RSA", "Ed25519"])
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_key_signs(tmp_path: Path, kind: str, above: str) -> None:
    root = make_root(above)
    owner = notary(tmp_path, root.issue("a", kind), root, "a")
    proof = owner.sign(b"text")
    assert len(proof) == 2
    verifier = notary(tmp_path, root.issue("v"), root, "v")
    assert verifier.check("a", b"text", proof) == ""
    assert verifier.check("a", b"texts", proof) == "was not signed by a"
    assert verifier.check("b", b"text", proof) == "was signed with a certificate that does not name b"


def test_certificates_in_between_travel_along(tmp_path: Path, root: Signer, verifier: CertificateNotary) -> None:
    middle = root.issue("middle", ca=True)
    lower = middle.issue("lower", "RSA", ca=True)
    proof = notary(tmp_path, lower.issue("a"), root, "a").sign(b"text")
    assert len(proof) == 4
    assert verifier.check("a", b"text", proof) == ""
    assert verifier.check("a", b"text", proof) == ""
    assert verifier.check("a", b"text", [*proof[:2], proof[3], proof[2]]) == ""
    assert "not signed by our authority" in verifier.check("a", b"text", proof[:3])


def wrong_chains(root: Signer) -> dict[str, tuple[list[str], str]]:
    other = make_root(name="root")
    leaf, member, short = root.issue("a"), root.issue("b"), root.issue("short", ca=True, path_length=0)
    no_signing = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    no_signature = x509.KeyUsage(False, False, True, False, False, False, False, False, False)
    below = short.issue("below", ca=True)
    unsigned = root.issue("unsigned", ca=True, key_usage=no_signing)
    one_sided, expired = root.issue("a", usages=BOTH[:1]), root.issue("a", days=(-1, -0.5))
    early, odd = root.issue("a", days=(0.5, 1)), root.issue("a", odd=True)
    old = root.issue("old", ca=True, days=(-1, -0.5))
    alone = _make("a", "P-256", None, False, None, BOTH, None, None, False, (-1, 1))
    foreign = "not signed by our authority"
    return {
        "another authority": (proof_of(other.issue("a"), b"text"), foreign),
        "by a member": (proof_of(member.issue("a"), b"text", member), foreign),
        "itself": (proof_of(Signer(*alone, []), b"text"), foreign),
        "too long a path": (proof_of(below.issue("a"), b"text", below, short), foreign),
        "may not sign": (proof_of(unsigned.issue("a"), b"text", unsigned), foreign),
        "one side": (proof_of(one_sided, b"text"), "not for both serverAuth and clientAuth"),
        "no signatures": (proof_of(root.issue("a", key_usage=no_signature), b"text"), "not for signatures"),
        "expired": (proof_of(expired, b"text"), "has expired"),
        "expired above": (proof_of(old.issue("a"), b"text", old), "has expired"),
        "early": (proof_of(early, b"text"), "not valid yet"),
        "critical": (proof_of(odd, b"text"), "critical extension 1.2.3.4 is not known here"),
        "another key": ([proof_of(member, b"text")[0], proof_of(leaf, b"text")[1]], "was not signed by a"),
    }


def test_what_is_no_signature_of_a_node(root: Signer, verifier: CertificateNotary) -> None:
    assert verifier.check("a", b"text", proof_of(root.issue("a"), b"text")) == ""
    for name, (proof, why) in wrong_chains(root).items():
        assert why in verifier.check("a", b"text", proof), name


def test_what_was_good_is_no_longer_when_it_has_expired(tmp_path: Path, root: Signer) -> None:
    later = datetime.timedelta()
    verifier = notary(tmp_path, root.issue("v"), root, "v", now=lambda: utc_now() + later)
    proof = proof_of(root.issue("a"), b"text")
    assert verifier.check("a", b"text", proof) == ""
    later = 1.1 * DAY
    assert "has expired" in verifier.check("a", b"text", proof)


def test_another_authority_is_taken_up(tmp_path: Path, root: Signer) -> None:
    other = make_root(name="another")
    certificate = root.issue("v").files(tmp_path, root)
    tls = CertificateTLS(certificate, "v")
    verifier = CertificateNotary(tls, "v", names_nodes=True)
    proof = proof_of(root.issue("a"), b"text")
    assert verifier.check("a", b"text", proof) == ""
    other.issue("v").files(tmp_path, other)
    verifier.refresh()
    assert "not signed by our authority" in verifier.check("a", b"text", proof)
    assert verifier.check("a", b"text", proof_of(other.issue("a"), b"text")) == ""


def test_who_cannot_sign_says_nothing(tmp_path: Path, root: Signer) -> None:
    certificate = root.issue("a").files(tmp_path, root)
    shared = Certificate(certificate.chain, certificate.key, certificate.authority, verify_node_id=False)
    assert CertificateNotary(CertificateTLS(shared, "x"), "x", names_nodes=False).sign(b"text") == []
    longest = root
    for number in range(LONGEST_CHAIN):
        longest = longest.issue(f"level {number}", ca=True)
    assert notary(tmp_path, longest.issue("b"), root, "b").sign(b"text") == []


def test_a_bounded_number_of_chains_is_remembered(
    root: Signer, verifier: CertificateNotary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_mp._transport.notary._CACHE", 3)
    proofs = [proof_of(root.issue("a"), b"text") for _ in range(5)]
    assert [verifier.check("a", b"text", proof) for proof in proofs * 2] == [""] * 10
    assert len(verifier._good) == 3


parts = st.text(max_size=20) | st.binary(max_size=60).map(lambda data: base64.b64encode(data).decode()) | st.integers()


@settings(max_examples=200)
@given(st.lists(parts, max_size=8), st.integers(0, 2000), st.integers(0, 255))
def test_whatever_comes_it_is_a_reason(hostile_files: Any, proof: Sequence[object], at: int, byte: int) -> None:
    verifier, good = hostile_files
    assert verifier.check("a", b"text", proof)
    der = bytearray(base64.b64decode(good[1]))
    der[at % len(der)] ^= byte
    changed = [good[0], base64.b64encode(der).decode()]
    assert (verifier.check("a", b"text", changed) == "") <= (byte == 0)
    assert verifier.check("a", b"text", ["x" * (LARGEST_PROOF + 1), good[1]]) == "is not signed"


@pytest.fixture(scope="module")
def hostile_files(tmp_path_factory: pytest.TempPathFactory) -> Any:
    root = make_root()
    verifier = notary(tmp_path_factory.mktemp("files"), root.issue("v"), root, "v")
    return verifier, proof_of(root.issue("a"), b"text")
