"""The proofs over both greetings."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import struct

import pytest
from hypothesis import given, strategies as st

from trio_mp._protocol.handshake import auth
from trio_mp._protocol.handshake.auth import Greeting

KEY = bytes(range(32))
ALICE = Greeting("aemp;1;alice;hmac_sha256;msgpack", "QUFB")
BOB = Greeting("aemp;1;bob;hmac_sha256;msgpack", "QkJC")
FINGERPRINT = bytes(range(100, 132))
REST = "hmac_sha256;;msgpack;lost="

PROOF_PLAIN = "646d365539f927b41ef343c54af534d20f560e25cd447f6d9933d9044b06c4c4"
PROOF_TLS = "f3aff197d2c5c09afe882afa5c0c6ac4c019c2fb6b1cf5f1ce0f9d868a663ac1"

lines = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
greetings = st.builds(Greeting, lines, lines)


def with_lengths(*parts: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


def test_the_pinned_proof_without_tls() -> None:
    data = (
        b"\x00\x00\x00\x1btrio_mp 1 hmac_sha256 plain"
        b"\x00\x00\x00\x20aemp;1;alice;hmac_sha256;msgpack"
        b"\x00\x00\x00\x04QUFB"
        b"\x00\x00\x00\x1eaemp;1;bob;hmac_sha256;msgpack"
        b"\x00\x00\x00\x04QkJC"
        b"\x00\x00\x00\x00"
        b"\x00\x00\x00\x1ahmac_sha256;;msgpack;lost="
    )
    assert hmac.new(KEY, data, "sha256").hexdigest() == PROOF_PLAIN
    assert auth.proof(KEY, ALICE, BOB, b"", REST) == PROOF_PLAIN


def test_the_pinned_proof_with_tls() -> None:
    data = (
        b"\x00\x00\x00\x19trio_mp 1 hmac_sha256 tls"
        b"\x00\x00\x00\x20aemp;1;alice;hmac_sha256;msgpack"
        b"\x00\x00\x00\x04QUFB"
        b"\x00\x00\x00\x1eaemp;1;bob;hmac_sha256;msgpack"
        b"\x00\x00\x00\x04QkJC"
        b"\x00\x00\x00\x20" + FINGERPRINT + b"\x00\x00\x00\x1ahmac_sha256;;msgpack;lost="
    )
    assert hmac.new(KEY, data, "sha256").hexdigest() == PROOF_TLS
    assert auth.proof(KEY, ALICE, BOB, FINGERPRINT, REST) == PROOF_TLS


def test_the_pinned_key_of_a_secret() -> None:
    # The same comes of `openssl kdf -keylen 32 -kdfopt n:16384 -kdfopt r:8 -kdfopt p:1 … SCRYPT`.
    secret = b"correct horse battery staple"
    key = auth.stretch_secret(secret)
    assert key.hex() == "d59df125be04b868c0f67763a61e21499359234223902c7c68fac007bbecc8b5"
    assert auth.stretch_secret(bytes(bytearray(secret))) is key, "it is stretched once for the process"
    assert auth.stretch_secret(secret + b"!") != key
    assert auth.MINIMUM_SECRET == 16


def test_the_pinned_connection_id_is_the_same_on_both_sides() -> None:
    data = with_lengths(*ALICE.parts(), *BOB.parts())
    assert hashlib.sha256(data).hexdigest()[:32] == "2944c155f1213dcb5bc3e0b01fd79a26"
    assert auth.connection_id(ALICE, BOB) == auth.connection_id(BOB, ALICE) == "2944c155f1213dcb5bc3e0b01fd79a26"


@given(greetings, greetings, greetings)
def test_another_connection_has_another_id(one: Greeting, other: Greeting, third: Greeting) -> None:
    assert auth.connection_id(one, other) == auth.connection_id(other, one)
    if third not in {one, other}:
        assert auth.connection_id(one, other) != auth.connection_id(one, third)
        assert auth.connection_id(one, other) != auth.connection_id(third, third)


@given(greetings, greetings, st.sampled_from([b"", FINGERPRINT]), lines)
def test_a_proof_convinces_the_other_side(one: Greeting, other: Greeting, fingerprint: bytes, rest: str) -> None:
    token = auth.proof(KEY, one, other, fingerprint, rest)
    assert len(token) == 64
    assert set(token) <= set("0123456789abcdef")
    # What is `own` to one is `peer` to the other.
    assert auth.proves(token, KEY, other, one, fingerprint, rest)


@given(greetings, greetings, st.sampled_from([b"", FINGERPRINT]), lines)
def test_ones_own_proof_sent_back_convinces_nobody(
    one: Greeting, other: Greeting, fingerprint: bytes, rest: str
) -> None:
    token = auth.proof(KEY, one, other, fingerprint, rest)
    assert auth.proves(token, KEY, one, other, fingerprint, rest) == (one == other)


def test_a_proof_holds_for_one_pair_of_greetings_only() -> None:
    token = auth.proof(KEY, ALICE, BOB, FINGERPRINT, REST)
    fresh = dataclasses.replace(BOB, nonce="QkJD")
    assert auth.proves(token, KEY, BOB, ALICE, FINGERPRINT, REST)
    assert not auth.proves(token, KEY, fresh, ALICE, FINGERPRINT, REST)
    assert not auth.proves(token, KEY, BOB, dataclasses.replace(ALICE, nonce="QUFC"), FINGERPRINT, REST)


@pytest.mark.parametrize(
    "changed",
    [
        {"key": bytes(32)},
        {"own": dataclasses.replace(BOB, fields="aemp;1;carol;hmac_sha256;msgpack")},
        {"own": dataclasses.replace(BOB, nonce="")},
        {"peer": dataclasses.replace(ALICE, fields=ALICE.fields + ";tls=1.0")},
        {"peer": dataclasses.replace(ALICE, nonce="QUFB=")},
        {"own": ALICE, "peer": BOB},
        {"own": Greeting(BOB.fields + BOB.nonce, "")},
        {"own": Greeting(ALICE.nonce + BOB.fields, BOB.nonce), "peer": Greeting(ALICE.fields, "")},
        {"fingerprint": b""},
        {"fingerprint": FINGERPRINT[:-1]},
        {"fingerprint": FINGERPRINT[:-1] + b"\x00"},
        {"rest": "hmac_sha256;;json;lost="},
        {"rest": REST + "0" * 32},
        {"rest": ""},
    ],
    ids="+".join,
)
def test_whatever_was_tampered_with_the_proof_fails(changed: dict[str, object]) -> None:
    @dataclasses.dataclass
    class Claim:
        key: bytes = KEY
        own: Greeting = BOB
        peer: Greeting = ALICE
        fingerprint: bytes = FINGERPRINT
        rest: str = REST

    token = auth.proof(KEY, ALICE, BOB, FINGERPRINT, REST)
    honest, claim = Claim(), Claim(**changed)  # type: ignore[arg-type]
    assert auth.proves(token, honest.key, honest.own, honest.peer, honest.fingerprint, honest.rest)
    assert not auth.proves(token, claim.key, claim.own, claim.peer, claim.fingerprint, claim.rest)


def test_the_label_differs_with_and_without_tls() -> None:
    """Not only the fingerprint: a proof over an empty one under the label of TLS is not the plain proof."""
    data = with_lengths(b"trio_mp 1 hmac_sha256 tls", *ALICE.parts(), *BOB.parts(), b"", REST.encode())
    token = hmac.new(KEY, data, "sha256").hexdigest()
    assert not auth.proves(token, KEY, BOB, ALICE, b"", REST)


@pytest.mark.parametrize(
    "token",
    [
        "",
        PROOF_PLAIN[:-1],
        PROOF_PLAIN + "0",
        PROOF_PLAIN[:-1] + "5",
        "0" + PROOF_PLAIN[1:],
        PROOF_PLAIN.upper(),
        " " + PROOF_PLAIN,
        "ä" * 64,
        "\ud800",
    ],
)
def test_a_token_that_is_nearly_right_is_wrong(token: str) -> None:
    assert auth.proves(PROOF_PLAIN, KEY, BOB, ALICE, b"", REST)
    assert not auth.proves(token, KEY, BOB, ALICE, b"", REST)


@pytest.mark.parametrize("answer", [True, False])
def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch, answer: bool) -> None:
    compared: list[tuple[object, object]] = []

    def compare_digest(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return answer

    monkeypatch.setattr(hmac, "compare_digest", compare_digest)
    assert auth.proves("a guess", KEY, BOB, ALICE, b"", REST) is answer
    assert compared == [(PROOF_PLAIN.encode(), b"a guess")]
