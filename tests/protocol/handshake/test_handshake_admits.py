"""Whom the handshake admits: names in certificates, which of several secrets, and what is said where nothing fits."""

from __future__ import annotations

import dataclasses

import pytest

from trio_mp._errors import LocalProtocolError, RemoteProtocolError
from trio_mp._protocol.handshake.events import Authenticated, ProofWanted
from trio_mp._protocol.handshake.greeting import NONCE_SIZE, LocalInfo
from trio_mp._protocol.handshake.handshake import Handshake

ALICE = LocalInfo(
    "alice", "alicealicealice0", (), encryption=True, heartbeat=5, limit=2**20, provider="", certificates=True
)
BOB = dataclasses.replace(ALICE, node_id="bob", incarnation="bobbobbobbobbob0")
FINGERPRINT = bytes(32)


def before_tls(alice: LocalInfo = ALICE) -> Handshake:
    """Alice, who dialled Bob, when TLS is about to begin."""
    dialler = Handshake(alice, b"a" * NONCE_SIZE, dialler=True, peer_address="")
    for line in Handshake(BOB, b"b" * NONCE_SIZE, dialler=False, peer_address="").greeting.splitlines():
        dialler.line_received(line)
    return dialler


@pytest.mark.parametrize(
    "node_ids, named",
    [((), "'no node'"), (("carol",), "'carol'"), (("dave", "carol"), "'carol, dave'")],
)
def test_a_certificate_for_another_node_is_refused_and_says_for_whom_it_is(
    node_ids: tuple[str, ...], named: str
) -> None:
    with pytest.raises(RemoteProtocolError, match=f"expected a certificate for bob, .* got one for {named}$"):
        before_tls().tls_done(FINGERPRINT, frozenset(node_ids))


def test_a_certificate_that_names_many_nodes_is_cut_short() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        before_tls().tls_done(FINGERPRINT, frozenset(f"node{number}" for number in range(1000)))
    assert len(str(caught.value)) < 300


def test_a_certificate_that_names_the_node_among_others_is_enough() -> None:
    assert before_tls().tls_done(FINGERPRINT, frozenset({"carol", "bob"})) == [ProofWanted()]


def test_a_certificate_must_have_been_verified_even_where_its_names_do_not_matter() -> None:
    carefree = dataclasses.replace(ALICE, verify_node_id=False)
    with pytest.raises(RemoteProtocolError, match="expected a verified certificate, got none"):
        before_tls(carefree).tls_done(FINGERPRINT, None)
    assert before_tls(carefree).tls_done(FINGERPRINT, frozenset()) == [ProofWanted()]


@pytest.mark.parametrize("certificates, encryption", [(False, False), (False, True), (True, False)])
def test_a_node_without_a_secret_needs_certificates_and_encryption(certificates: bool, encryption: bool) -> None:
    with pytest.raises(LocalProtocolError, match="expected a secret, or certificates and encryption, got neither"):
        dataclasses.replace(ALICE, certificates=certificates, encryption=encryption)


# Several secrets, and what is said where nothing fits ----------------------------------------------------------------

OLD, NEW = b"o" * 32, b"n" * 32


def with_keys(local: LocalInfo, *keys: bytes) -> LocalInfo:
    return dataclasses.replace(local, keys=keys, certificates=False, encryption=False)


def greeted(dialler: LocalInfo, dialled: LocalInfo) -> tuple[Handshake, Handshake]:
    """Both sides after the greetings."""
    one = Handshake(dialler, b"a" * NONCE_SIZE, dialler=True, peer_address="")
    two = Handshake(dialled, b"b" * NONCE_SIZE, dialler=False, peer_address="")
    for line in two.greeting.splitlines():
        one.line_received(line)
    for line in one.greeting.splitlines():
        two.line_received(line)
    return one, two


@pytest.mark.parametrize(
    "dialler_has, dialled_has", [((NEW, OLD), (NEW,)), ((NEW,), (OLD, NEW)), ((OLD,), (NEW, OLD)), ((OLD, NEW), (OLD,))]
)
def test_who_dials_uses_its_first_secret_and_who_is_dialled_answers_with_the_same(
    dialler_has: tuple[bytes, ...], dialled_has: tuple[bytes, ...]
) -> None:
    dialler, dialled = greeted(with_keys(ALICE, *dialler_has), with_keys(BOB, *dialled_has))
    assert dialled.line_received(dialler.prove("").strip()) == [Authenticated("", owes_proof=True)]
    assert dialler.line_received(dialled.prove("").strip()) == [Authenticated("", owes_proof=False)]


def test_the_second_secret_is_not_used_when_dialling() -> None:
    dialler, dialled = greeted(with_keys(ALICE, NEW, OLD), with_keys(BOB, OLD))
    with pytest.raises(RemoteProtocolError, match="another secret than ours"):
        dialled.line_received(dialler.prove("").strip())


def test_who_refuses_a_secret_says_in_which_file_its_own_is() -> None:
    _, dialled = greeted(with_keys(ALICE, NEW), dataclasses.replace(with_keys(BOB, OLD), keys_from="/etc/app/secret"))
    dialler, _ = greeted(with_keys(ALICE, NEW), with_keys(BOB, OLD))
    with pytest.raises(RemoteProtocolError, match=r"another secret .*; ours is in the secret_file /etc/app/secret$"):
        dialled.line_received(dialler.prove("").strip())


def test_a_node_does_not_take_another_one_for_itself() -> None:
    dialler, dialled = greeted(with_keys(ALICE, NEW), with_keys(BOB, NEW))
    assert not dialler.talks_to_itself
    assert not dialled.talks_to_itself
    for incarnation, itself in ((ALICE.incarnation, True), (BOB.incarnation, False)):
        other = dataclasses.replace(with_keys(ALICE, NEW), incarnation=incarnation)
        one = Handshake(with_keys(ALICE, NEW), b"a" * NONCE_SIZE, dialler=True, peer_address="")
        fields, nonce = Handshake(other, b"b" * NONCE_SIZE, dialler=False, peer_address="").greeting.splitlines()
        one.line_received(fields)
        with pytest.raises(RemoteProtocolError, match="node ID other than our own"):
            one.line_received(nonce)
        assert one.talks_to_itself is itself


@pytest.mark.parametrize(
    "ours, theirs, message",
    [
        ((NEW,), "tls_sha256", "this node wants a secret, and that one uses certificates alone"),
        ((), "hmac_sha256", "that node wants a secret, and this one uses certificates alone"),
        ((NEW,), "tls_anon,cleartext", "in common; expected 'hmac_sha256', got 'tls_anon,cleartext'"),
        ((), "tls_anon", "in common; expected 'tls_sha256', got 'tls_anon'"),
    ],
)
def test_no_method_in_common_says_what_to_do(ours: tuple[bytes, ...], theirs: str, message: str) -> None:
    one = Handshake(dataclasses.replace(ALICE, keys=ours), b"a" * NONCE_SIZE, dialler=True, peer_address="")
    fields, nonce = Handshake(BOB, b"b" * NONCE_SIZE, dialler=False, peer_address="").greeting.splitlines()
    one.line_received(fields.replace("tls_sha256", theirs))
    with pytest.raises(RemoteProtocolError, match=message):
        one.line_received(nonce)
