"""The handshake, line by line: the greeting, the proofs, and who may say what when."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable

import pytest
from hypothesis import given, strategies as st

from trio_mp._errors import LocalProtocolError, RemoteProtocolError
from trio_mp._protocol.handshake import auth
from trio_mp._protocol.handshake.auth import Greeting
from trio_mp._protocol.handshake.events import (
    Authenticated,
    Event,
    Greeted,
    LinkReceived,
    OkReceived,
    PeerInfo,
    ProofWanted,
    RefusedByPeer,
)
from trio_mp._protocol.handshake.greeting import (
    MINIMUM_LIMIT,
    NONCE_SIZE,
    LocalInfo,
    escape,
    parse_greeting,
    unescape,
    write_greeting,
)
from trio_mp._protocol.handshake.handshake import Handshake, Step

KEY = bytes(range(32))
LOST = "0123456789abcdef" * 2
FINGERPRINT = b"f" * 32

ALICE = LocalInfo("alice", "alicealicealice0", (KEY,), encryption=False, heartbeat=5, limit=2**26, provider="test 1;%")
BOB = LocalInfo("bob", "bobbobbobbobbob0", (KEY,), encryption=False, heartbeat=0.5, limit=2**20, provider="")
NONCES = {"alice": b"a" * NONCE_SIZE, "bob": b"b" * NONCE_SIZE}

text_of_a_line = st.text(st.characters(min_codepoint=32, max_codepoint=126))


def handshake(local: LocalInfo, *, dialler: bool) -> Handshake:
    return Handshake(local, NONCES[local.node_id], dialler=dialler, peer_address="unix:/run/mp;1")


def secure(local: LocalInfo) -> LocalInfo:
    return dataclasses.replace(local, encryption=True)


def hear(side: Handshake, text: str) -> list[Event]:
    """Give a side these lines; what came of them."""
    assert text.endswith("\n")
    return [event for line in text[:-1].split("\n") for event in side.line_received(line)]


def greeted(alice: LocalInfo = ALICE, bob: LocalInfo = BOB) -> tuple[Handshake, Handshake]:
    """Alice, who dialled Bob, and Bob, after their greetings."""
    dialler, dialled = handshake(alice, dialler=True), handshake(bob, dialler=False)
    hear(dialler, dialled.greeting)
    hear(dialled, dialler.greeting)
    return dialler, dialled


def decided(lost: str = "", lost_there: str = "") -> tuple[Handshake, Handshake]:
    """Both after the proofs."""
    dialler, dialled = greeted()
    hear(dialled, dialler.prove(lost))
    hear(dialler, dialled.prove(lost_there))
    return dialler, dialled


# The greeting ----------------------------------------------------------------------------------------------------


def test_the_pinned_greeting() -> None:
    assert handshake(secure(ALICE), dialler=True).greeting == (
        "aemp;1;alice;hmac_sha256;msgpack,json;provider=test 1%3b%25;peeraddr=unix:/run/mp%3b1;tls=1.0;"
        "incarnation=alicealicealice0;heartbeat=5;limit=67108864\n"
        "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFh\n"
    )
    assert handshake(BOB, dialler=False).greeting == (
        "aemp;1;bob;hmac_sha256;msgpack,json;provider=;peeraddr=unix:/run/mp%3b1;"
        "incarnation=bobbobbobbobbob0;heartbeat=0.5;limit=1048576\n"
        "YmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJi\n"
    )


def test_a_greeting_says_to_the_peer_what_it_says() -> None:
    side = handshake(BOB, dialler=False)
    assert side.peer is None
    [event] = hear(side, handshake(ALICE, dialler=True).greeting)
    peer = PeerInfo(
        node_id="alice",
        incarnation="alicealicealice0",
        methods=("hmac_sha256",),
        framings=("msgpack", "json"),
        tls=False,
        heartbeat=5.0,
        limit=2**26,
        provider="test 1;%",
    )
    assert isinstance(event, Greeted)
    assert event.peer == side.peer == peer


@pytest.mark.parametrize("tool", [True, False])
def test_a_tool_says_that_it_is_one(tool: bool) -> None:
    greeting = write_greeting(dataclasses.replace(ALICE, tool=tool), bytes(NONCE_SIZE), "here")
    assert (";kind=tool" in greeting.fields) == tool
    assert parse_greeting(greeting).tool is tool


def test_a_kind_that_is_not_known_is_ignored() -> None:
    greeting = write_greeting(ALICE, bytes(NONCE_SIZE), "here")
    assert not parse_greeting(Greeting(f"{greeting.fields};kind=robot", greeting.nonce)).tool


def test_both_sides_give_the_connection_the_same_id() -> None:
    dialler, dialled = handshake(ALICE, dialler=True), handshake(BOB, dialler=False)
    [here, wanted] = hear(dialler, dialled.greeting)
    [there] = hear(dialled, dialler.greeting)
    assert wanted == ProofWanted()
    assert isinstance(here, Greeted)
    assert isinstance(there, Greeted)
    assert here.connection == there.connection
    greetings = [Greeting(*side.greeting.split("\n")[:2]) for side in (dialler, dialled)]
    assert here.connection == auth.connection_id(*greetings)


@pytest.mark.parametrize("heartbeat", [0.1, 0.25, 1 / 3, 5, 59.999, 60, 1e-7, 1_234_567, 1e20, float("inf")])
def test_whatever_heartbeat_is_set_the_peer_can_read_it(heartbeat: float) -> None:
    _, dialled = greeted(dataclasses.replace(ALICE, heartbeat=heartbeat))
    assert dialled.peer is not None
    assert dialled.peer.heartbeat == pytest.approx(min(max(heartbeat, 0.1), 60), abs=0.001)


@pytest.mark.parametrize(
    "text, field",
    [
        ("plain text ~!", "plain text ~!"),
        ("a;b%c", "a%3bb%25c"),
        ("%3b", "%253b"),
        ("\n\x7f", "%0a%7f"),
        ("ä", "%c3%a4"),
        ("\ud800", "%ed%a0%80"),
    ],
)
def test_the_pinned_escapes(text: str, field: str) -> None:
    assert escape(text) == field


@given(st.text())
def test_what_was_escaped_is_printable_ascii_and_comes_back(text: str) -> None:
    field = escape(text)
    assert all(32 <= ord(character) < 127 for character in field)
    assert ";" not in field
    assert unescape(field) == text


@pytest.mark.parametrize(
    "field, text", [("%3B%3b", ";;"), ("100%", "100%"), ("%zz", "%zz"), ("%%41", "%A"), ("%ff", "�"), ("%2", "%2")]
)
def test_what_is_no_escape_stands_for_itself(field: str, text: str) -> None:
    assert unescape(field) == text


NONCE = base64.b64encode(bytes(32)).decode("ascii")


def parse(fields: str = "", *, head: str = "aemp;1;node;hmac_sha256;msgpack", nonce: str = NONCE) -> PeerInfo:
    return parse_greeting(Greeting(f"{head};incarnation=abcdefghABCDEFGH;limit=65536{fields}", nonce))


def test_the_least_that_a_greeting_must_say() -> None:
    assert parse() == PeerInfo(
        "node", "abcdefghABCDEFGH", ("hmac_sha256",), ("msgpack",), tls=False, heartbeat=5.0, limit=65536, provider=""
    )


def test_lists_keep_their_order_and_unknown_keys_are_ignored() -> None:
    peer = parse(
        ";future=1;;=;flag;provider=a=b;streams=x;tls=1.0",
        head="aemp;1;n%6fde;tls_sha256,hmac_sha256,cleartext;json,msgpack",
    )
    assert peer.methods == ("tls_sha256", "hmac_sha256", "cleartext")
    assert peer.framings == ("json", "msgpack")
    assert peer.node_id == "node"
    assert peer.provider == "a=b"
    assert peer.tls


@pytest.mark.parametrize("value", ["", "1", "1.1", "1.00", "yes"])
def test_tls_is_wanted_in_its_one_version_only(value: str) -> None:
    assert not parse(f";tls={value}").tls


@pytest.mark.parametrize(
    "claimed, read",
    [("5", 5.0), ("0.1", 0.1), ("0", 0.1), ("0.000001", 0.1), ("60", 60.0), ("60.5", 60.0), ("9" * 15, 60.0)],
)
def test_a_heartbeat_is_read_as_between_a_tenth_and_sixty_seconds(claimed: str, read: float) -> None:
    assert parse(f";heartbeat={claimed}").heartbeat == read


@pytest.mark.parametrize(
    "value", ["", "-1", "+5", "nan", "inf", "1e3", "5.", ".5", " 5", "5s", "1_0", "%d9%a3", "9" * 16]
)
@pytest.mark.parametrize("key", ["heartbeat", "limit"])
def test_what_is_no_number_is_refused(key: str, value: str) -> None:
    with pytest.raises(RemoteProtocolError, match=f"expected a number behind {key}=, got"):
        parse(f";{key}={value}")


@pytest.mark.parametrize("value", ["0", "1", str(MINIMUM_LIMIT - 1), "65535.999"])
def test_a_limit_too_small_is_refused(value: str) -> None:
    assert parse(f";limit={MINIMUM_LIMIT}").limit == MINIMUM_LIMIT
    with pytest.raises(RemoteProtocolError, match=r"bytes or more, got .*: raise the message_limit of that node"):
        parse(f";limit={value}")


def test_a_peer_without_a_limit_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match=r"bytes or more, got .*: raise the message_limit of that node"):
        parse_greeting(Greeting("aemp;1;node;hmac_sha256;msgpack;incarnation=abcdefghABCDEFGH", NONCE))


@pytest.mark.parametrize(
    "fields",
    [
        "",
        ";",
        "aemp",
        "aemp;1;node;hmac_sha256",
        "aemp;0;node;hmac_sha256;msgpack",
        "aemp;2;node;hmac_sha256;msgpack",
        "aemp;1.0;node;hmac_sha256;msgpack",
        "aemp;%31;node;hmac_sha256;msgpack",
        "AEMP;1;node;hmac_sha256;msgpack",
        " aemp;1;node;hmac_sha256;msgpack",
        "GET / HTTP/1.1",
        "SSH-2.0-OpenSSH_9.6",
    ],
)
def test_another_protocol_or_version_is_refused(fields: str) -> None:
    with pytest.raises(RemoteProtocolError, match="expected a greeting of trio_mp, got"):
        parse_greeting(Greeting(f"{fields}", NONCE))


@pytest.mark.parametrize("node_id", ["", "a b", "a#b", "%0a", "a%3bb", "%e4", "n" * 256])
def test_what_is_no_node_id_is_refused(node_id: str) -> None:
    with pytest.raises(RemoteProtocolError, match="expected a node ID, got"):
        parse(head=f"aemp;1;{node_id};hmac_sha256;msgpack")


@pytest.mark.parametrize("incarnation", ["", "short", "abcdefghABCDEFGH0", "abcdefghABCDEFG-", "abcdefghABCDEFG%0a"])
def test_what_is_no_incarnation_is_refused(incarnation: str) -> None:
    with pytest.raises(RemoteProtocolError, match="expected an incarnation, got"):
        parse(f";incarnation={incarnation}")


def test_a_missing_incarnation_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="expected an incarnation, got"):
        parse_greeting(Greeting("aemp;1;node;hmac_sha256;msgpack;limit=65536", NONCE))


@pytest.mark.parametrize("nonce", [NONCE, "", "short"])
@pytest.mark.parametrize(
    "fields",
    [
        "aemp;1;node1;tls_md6_64_256,cleartext;json,storable;peeraddr=127.0.0.1:5040;provider=AE-1.30",
        "aemp;1;an ID that none of ours has;hmac_sha3_512;cbor,json;provider=AE-2.01;mproto=1;gproto=1;tls=1.0",
        # Not in its place: no node says so, and it must do no harm.
        "aemp;1;node1;provider=AE-2.01;json",
    ],
)
def test_a_node_of_the_original_is_named(fields: str, nonce: str) -> None:
    with pytest.raises(RemoteProtocolError, match=r"expected a node of trio_mp, got the node '(node1|an ID)"):
        parse_greeting(Greeting(fields, nonce))


@pytest.mark.parametrize("token", ["", "short", "abcdefghABCDEFGH0", "abcdefghABCDEFG-", "abcdefghABCDEFG%0a"])
def test_what_is_no_token_of_a_stream_is_refused(token: str) -> None:
    assert parse(";stream=tokentokentoken0").stream == "tokentokentoken0"
    with pytest.raises(RemoteProtocolError, match="expected the token of a stream, got"):
        parse(f";stream={token}")


def test_who_dials_asks_for_a_stream_and_proves_that_it_has() -> None:
    dialler, dialled = handshake(ALICE, dialler=True), handshake(BOB, dialler=False)
    dialler.want_stream("tokentokentoken0")
    hear(dialler, dialled.greeting)
    [event] = hear(dialled, dialler.greeting)
    assert isinstance(event, Greeted)
    assert event.peer.stream == "tokentokentoken0"
    assert dialler.streams
    assert dialled.streams
    proof = dialler.prove("")
    hear(dialled, proof)
    assert dialled.step is Step.PROVE
    # Another token, and the proof does not hold.
    dialler, dialled = handshake(ALICE, dialler=True), handshake(BOB, dialler=False)
    dialler.want_stream("tokentokentoken0")
    hear(dialler, dialled.greeting)
    hear(dialled, dialler.greeting.replace("token0", "token1"))
    with pytest.raises(RemoteProtocolError, match="authentication failed"):
        hear(dialled, dialler.prove(""))


def test_who_is_dialled_may_not_ask_for_a_stream() -> None:
    dialler, dialled = handshake(ALICE, dialler=True), handshake(BOB, dialler=False)
    dialled.want_stream("tokentokentoken0")
    with pytest.raises(RemoteProtocolError, match="got a wish for a byte stream"):
        hear(dialler, dialled.greeting)


@pytest.mark.parametrize(
    "nonce",
    [
        "",
        "AAAA",
        base64.b64encode(bytes(31)).decode(),
        NONCE[:-1],
        NONCE + "A",
        NONCE[:-2] + "-=",
        " " + NONCE,
        NONCE[:20] + " " + NONCE[20:],
        NONCE + "\n",
        "=" * 44,
        "ä" * 44,
    ],
)
def test_a_nonce_that_is_too_short_or_no_base64_is_refused(nonce: str) -> None:
    assert parse(nonce=base64.b64encode(bytes(100)).decode()).node_id == "node"
    with pytest.raises(RemoteProtocolError, match="expected a nonce of at least 32 bytes"):
        parse(nonce=nonce)


def test_ones_own_nonce_sent_back_is_refused() -> None:
    side = handshake(ALICE, dialler=True)
    fields, nonce, _ = side.greeting.split("\n")
    with pytest.raises(RemoteProtocolError, match="our own nonce"):
        hear(side, f"{fields.replace('alice', 'bobby')}\n{nonce}\n")


@pytest.mark.parametrize("dialler", [True, False])
def test_ones_own_node_id_is_refused_before_any_token(dialler: bool) -> None:
    side = handshake(ALICE, dialler=dialler)
    twin = Handshake(dataclasses.replace(ALICE, incarnation="x" * 16), b"t" * 33, dialler=not dialler, peer_address="")
    with pytest.raises(RemoteProtocolError, match="node ID other than our own, got 'alice'"):
        hear(side, twin.greeting)
    with pytest.raises(LocalProtocolError):
        side.prove("")


@pytest.mark.parametrize(
    "methods, framings, match",
    [
        ("", "msgpack", "no authentication method in common"),
        ("hmac_md6_64_256,cleartext", "msgpack", "no authentication method in common; .*hmac_md6_64_256"),
        ("hmac_sha2567", "msgpack", "no authentication method in common"),
        ("HMAC_SHA256", "msgpack", "no authentication method in common"),
        ("hmac_sha256", "", "no framing in common"),
        ("hmac_sha256", "storable,JSON", "no framing in common: .*got .*storable"),
    ],
)
def test_nothing_in_common_is_refused(methods: str, framings: str, match: str) -> None:
    side = handshake(ALICE, dialler=True)
    greeting = handshake(BOB, dialler=False).greeting
    with pytest.raises(RemoteProtocolError, match=match):
        hear(side, greeting.replace(";hmac_sha256;msgpack,json;", f";{methods};{framings};"))
    assert side.peer is None


@pytest.mark.parametrize("here", [True, False])
def test_encryption_must_be_set_alike_on_both_sides(here: bool) -> None:
    alice = dataclasses.replace(ALICE, encryption=here)
    bob = dataclasses.replace(BOB, encryption=not here)
    dialler, dialled = handshake(alice, dialler=True), handshake(bob, dialler=False)
    ours, theirs = ("on", "off") if here else ("off", "on")
    with pytest.raises(RemoteProtocolError, match=f"encryption is {ours} here and {theirs} there"):
        hear(dialler, dialled.greeting)
    with pytest.raises(RemoteProtocolError, match=f"encryption is {theirs} here and {ours} there"):
        hear(dialled, dialler.greeting)


@pytest.mark.parametrize(
    "head",
    [
        "aemp;1;%0aforged: a line of the log;hmac_sha256;msgpack",
        "aemp;1;bob;%0aforged%1b[31m;msgpack",
        "aemp;1;bob;hmac_sha256;%0aforged%1b[31m",
        "%0aforged;1;bob;hmac_sha256;msgpack",
        "aemp;1;bob;" + "m" * 3000 + ";msgpack",
        "aemp;1;bob;hmac_sha256;" + "f" * 3000,
        "aemp;1;bob;hmac_sha256;msgpack;limit=%0aforged",
        "aemp;1;bob;hmac_sha256;msgpack;incarnation=%0aforged",
    ],
    ids=range(8),
)
def test_a_stranger_can_neither_forge_nor_flood_what_is_logged(head: str) -> None:
    side = handshake(ALICE, dialler=False)
    with pytest.raises(RemoteProtocolError) as caught:
        hear(
            side,
            f"{head};incarnation=bobbobbobbobbob0;limit=65536\n{NONCE}\n" if "=" not in head else f"{head}\n{NONCE}\n",
        )
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


# TLS -------------------------------------------------------------------------------------------------------------


def test_the_side_with_the_smaller_nonce_line_is_the_tls_client() -> None:
    dialler, dialled = greeted(secure(ALICE), secure(BOB))
    assert dialler.step is dialled.step is Step.TLS
    assert (dialler.tls_server, dialled.tls_server) == (False, True)
    # As bytes of the base64 text, in which "/" sorts before "A".
    small = Handshake(secure(ALICE), b"\xff" * NONCE_SIZE, dialler=True, peer_address="")
    great = Handshake(secure(BOB), b"\x00" * NONCE_SIZE, dialler=False, peer_address="")
    hear(small, great.greeting)
    hear(great, small.greeting)
    assert (small.tls_server, great.tls_server) == (False, True)


def test_nothing_is_said_in_clear_once_tls_is_wanted() -> None:
    expected = "in step 'tls' of the handshake: expected the end of the TLS handshake, got "
    for side in greeted(secure(ALICE), secure(BOB)):
        with pytest.raises(LocalProtocolError, match=f"{expected}our proof"):
            side.prove("")
        with pytest.raises(RemoteProtocolError, match=f"{expected}the line 'hmac"):
            side.line_received("hmac_sha256;;msgpack;lost=")


def test_the_proofs_begin_when_tls_is_done() -> None:
    dialler, dialled = greeted(secure(ALICE), secure(BOB))
    assert dialler.tls_done(FINGERPRINT, None) == [ProofWanted()]
    assert dialled.tls_done(FINGERPRINT, None) == []
    assert hear(dialled, dialler.prove("")) == [Authenticated("", owes_proof=True)]
    assert hear(dialler, dialled.prove("")) == [Authenticated("", owes_proof=False)]


def test_the_proofs_fail_where_another_certificate_is_seen() -> None:
    dialler, dialled = greeted(secure(ALICE), secure(BOB))
    dialler.tls_done(FINGERPRINT, None)
    dialled.tls_done(FINGERPRINT[::-1] + b"x", None)
    with pytest.raises(RemoteProtocolError, match="authentication failed"):
        hear(dialled, dialler.prove(""))


def test_tls_that_nobody_waits_for_is_a_mistake_of_ours() -> None:
    for side in (*greeted(), *decided(), handshake(ALICE, dialler=True)):
        with pytest.raises(LocalProtocolError):
            side.tls_done(FINGERPRINT, None)


# The proofs ------------------------------------------------------------------------------------------------------


def test_the_side_that_dialled_proves_itself_first() -> None:
    dialler, dialled = greeted()
    with pytest.raises(LocalProtocolError):
        dialled.prove("")
    assert hear(dialled, dialler.prove(LOST)) == [Authenticated(LOST, owes_proof=True)]
    assert hear(dialler, dialled.prove(LOST[::-1])) == [Authenticated(LOST[::-1], owes_proof=False)]
    assert dialler.step is dialled.step is Step.DECISION


def test_the_pinned_line_of_a_proof() -> None:
    dialler, dialled = greeted()
    own = Greeting(*dialler.greeting.split("\n")[:2])
    peer = Greeting(*dialled.greeting.split("\n")[:2])
    token = auth.proof(KEY, own, peer, b"", f"hmac_sha256;;msgpack;lost={LOST}")
    assert dialler.prove(LOST) == f"hmac_sha256;{token};msgpack;lost={LOST}\n"


@pytest.mark.parametrize("dialler_is_wrong", [True, False])
def test_another_secret_is_refused(dialler_is_wrong: bool) -> None:
    wrong = {"keys": (KEY[::-1],)}
    alice = dataclasses.replace(ALICE, **wrong) if dialler_is_wrong else ALICE  # type: ignore[arg-type]
    bob = BOB if dialler_is_wrong else dataclasses.replace(BOB, **wrong)  # type: ignore[arg-type]
    dialler, dialled = greeted(alice, bob)
    with pytest.raises(RemoteProtocolError, match="authentication failed"):
        hear(dialled, dialler.prove(""))
    with pytest.raises(LocalProtocolError):
        dialled.prove("")


def test_the_dialler_refuses_another_secret_too() -> None:
    dialler, _ = greeted()
    dialler.prove("")
    impostor = handshake(dataclasses.replace(BOB, keys=(KEY[::-1],)), dialler=True)
    hear(impostor, dialler.greeting)
    with pytest.raises(RemoteProtocolError, match="authentication failed"):
        hear(dialler, impostor.prove(""))


def test_ones_own_proof_sent_back_is_refused() -> None:
    dialler, _ = greeted()
    line = dialler.prove("")
    with pytest.raises(RemoteProtocolError, match="authentication failed"):
        hear(dialler, line)


def test_the_proof_of_an_earlier_connection_is_refused() -> None:
    dialler, dialled = greeted()
    recorded = dialler.greeting, dialler.prove("")
    later = Handshake(BOB, b"c" * NONCE_SIZE, dialler=False, peer_address="")
    hear(later, recorded[0])
    with pytest.raises(RemoteProtocolError, match="authentication failed"):
        hear(later, recorded[1])
    assert hear(dialled, recorded[1])


def test_a_changed_greeting_makes_the_proofs_fail() -> None:
    dialler, dialled = handshake(ALICE, dialler=True), handshake(BOB, dialler=False)
    hear(dialler, dialled.greeting)
    hear(dialled, dialler.greeting.replace("limit=67108864", "limit=67108865"))
    with pytest.raises(RemoteProtocolError, match="authentication failed"):
        hear(dialled, dialler.prove(""))


@pytest.mark.parametrize(
    "change",
    [
        lambda line: line.replace("msgpack", "json"),
        lambda line: line.replace("lost=", f"lost={LOST}"),
        lambda line: line.replace(";lost=", ""),
        lambda line: line + ";more=1",
        lambda line: line + " ",
        lambda line: line.replace(";", ";;", 1),
        lambda line: line.split(";")[0],
        lambda line: "hmac_sha256;;msgpack;lost=",
        lambda line: line.upper().replace("HMAC_SHA256", "hmac_sha256").replace("MSGPACK;LOST", "msgpack;lost"),
    ],
    ids=range(9),
)
def test_a_changed_line_of_a_proof_is_refused(change: Callable[[str], str]) -> None:
    dialler, dialled = greeted()
    with pytest.raises(RemoteProtocolError, match="authentication failed"):
        dialled.line_received(change(dialler.prove("")[:-1]))


@pytest.mark.parametrize("method", ["", "cleartext", "tls_sha256", "hmac_md6_64_256", "hmac_sha256 "])
def test_a_method_that_was_not_offered_is_refused(method: str) -> None:
    dialler, dialled = greeted()
    with pytest.raises(RemoteProtocolError, match="expected the authentication method"):
        hear(dialled, dialler.prove("").replace("hmac_sha256", method))


def proven(rest: str) -> str:
    """The line by which Alice, who knows the secret, proves herself to Bob, but with a rest of her own."""
    dialler, dialled = greeted()
    greetings = [Greeting(*side.greeting.split("\n")[:2]) for side in (dialler, dialled)]
    token = auth.proof(KEY, greetings[0], greetings[1], b"", f"hmac_sha256;;{rest}")
    return f"hmac_sha256;{token};{rest}\n"


@pytest.mark.parametrize("framing", ["", "storable", "msgpack,json", "MSGPACK", "msgpack;"])
def test_a_framing_that_was_not_offered_is_refused_even_from_who_knows_the_secret(framing: str) -> None:
    _, dialled = greeted()
    with pytest.raises(RemoteProtocolError, match="expected a framing that was offered, got"):
        hear(dialled, proven(f"{framing};lost="))


@pytest.mark.parametrize(
    "lost", ["0", LOST[:-1], LOST + "0", LOST.upper(), LOST + ";x=1", LOST[:-1] + "g", " ", ";lost=", "x" * 2000]
)
def test_a_lost_connection_without_a_connections_id_is_refused(lost: str) -> None:
    _, dialled = greeted()
    with pytest.raises(RemoteProtocolError, match="expected a connection ID, got") as caught:
        hear(dialled, proven(f"msgpack;lost={lost}"))
    assert len(str(caught.value)) < 100


def test_a_proof_must_say_what_was_lost() -> None:
    _, dialled = greeted()
    with pytest.raises(RemoteProtocolError):
        hear(dialled, proven("msgpack"))


# The decision ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialler_decides", [True, False])
def test_link_and_ok_open_the_connection(dialler_decides: bool) -> None:
    sides = decided()
    decider, other = sides if dialler_decides else sides[::-1]
    assert decider.link() == "link\n"
    assert other.line_received("link") == [LinkReceived()]
    assert (decider.step, other.step) == (Step.OK, Step.LINKED)
    assert other.accept() == "ok\n"
    assert (decider.step, other.step) == (Step.OK, Step.OPEN)
    assert decider.line_received("ok") == [OkReceived()]
    assert (decider.step, other.step) == (Step.OPEN, Step.OPEN)


@pytest.mark.parametrize("why", ["node ID in use", "50% full; sorry", "", "zwölf", "\n"])
def test_a_refusal_says_why(why: str) -> None:
    for refuser, refused in (decided(), decided()[::-1]):
        line = refuser.refuse(why)
        assert refuser.step is Step.REFUSED
        assert hear(refused, line) == [RefusedByPeer(why)]
        assert refused.step is Step.REFUSED


def test_the_answer_to_link_may_be_no() -> None:
    decider, other = decided()
    decider.link()
    other.line_received("link")
    assert hear(decider, other.refuse("closing")) == [RefusedByPeer("closing")]
    assert decider.step is other.step is Step.REFUSED


def test_a_refusal_and_a_link_may_cross() -> None:
    decider, other = decided()
    link = decider.link()
    refusal = other.refuse("node ID in use")
    assert hear(decider, refusal) == [RefusedByPeer("node ID in use")]
    with pytest.raises(RemoteProtocolError):
        hear(other, link)


STEPS: dict[Step, Callable[[], Handshake]] = {
    Step.GREETING: lambda: handshake(ALICE, dialler=True),
    Step.NONCE: lambda: advanced(handshake(ALICE, dialler=True), "aemp"),
    Step.TLS: lambda: greeted(secure(ALICE), secure(BOB))[0],
    Step.PROVE: lambda: greeted()[0],
    Step.PROOF: lambda: greeted()[1],
    Step.DECISION: lambda: decided()[0],
    Step.OK: lambda: linked()[0],
    Step.LINKED: lambda: linked()[1],
    Step.OPEN: lambda: opened()[0],
    Step.REFUSED: lambda: refused()[0],
}


def advanced(side: Handshake, line: str) -> Handshake:
    side.line_received(line)
    return side


def linked() -> tuple[Handshake, Handshake]:
    decider, other = decided()
    hear(other, decider.link())
    return decider, other


def opened() -> tuple[Handshake, Handshake]:
    decider, other = linked()
    hear(decider, other.accept())
    return decider, other


def refused() -> tuple[Handshake, Handshake]:
    refuser, other = decided()
    hear(other, refuser.refuse("why"))
    return refuser, other


ALLOWED: dict[str, tuple[Callable[[Handshake], object], set[Step]]] = {
    "prove": (lambda side: side.prove(""), {Step.PROVE}),
    "link": (Handshake.link, {Step.DECISION}),
    "accept": (Handshake.accept, {Step.LINKED}),
    "refuse": (lambda side: side.refuse("why"), {Step.DECISION, Step.LINKED}),
    "tls_done": (lambda side: side.tls_done(FINGERPRINT, None), {Step.TLS}),
}


@pytest.mark.parametrize("step", STEPS)
def test_the_makers_of_steps_make_them(step: Step) -> None:
    assert STEPS.keys() == set(Step)
    assert STEPS[step]().step is step


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("call", ALLOWED)
def test_what_this_side_says_out_of_turn_is_its_own_mistake(call: str, step: Step) -> None:
    side = STEPS[step]()
    action, allowed = ALLOWED[call]
    if step in allowed:
        action(side)
        assert side.step is not step
    else:
        with pytest.raises(LocalProtocolError, match=f"^in step '{step.value}' of the handshake: expected .*, got "):
            action(side)
        assert side.step is step


HEARD = {
    "link": {Step.DECISION},
    "ok": {Step.OK},
    "no;why": {Step.DECISION, Step.OK},
    "": set[Step](),
    "no": set[Step](),
    "link ": set[Step](),
    "Ok": set[Step](),
    "link;x": set[Step](),
}


@pytest.mark.parametrize("step", [step for step in Step if step not in {Step.GREETING, Step.NONCE}])
@pytest.mark.parametrize("line", HEARD)
def test_what_the_other_side_says_out_of_turn_is_its_mistake(line: str, step: Step) -> None:
    side = STEPS[step]()
    if step in HEARD[line]:
        assert side.line_received(line)
        assert side.step is not step
    else:
        with pytest.raises(RemoteProtocolError):
            side.line_received(line)
        assert side.step is step


@given(text_of_a_line.filter(lambda line: not line.startswith("no;")), st.sampled_from(Step))
def test_a_line_out_of_turn_is_shown_printable_and_cut_short(line: str, step: Step) -> None:
    if step is Step.GREETING:
        step = Step.NONCE
    with pytest.raises(RemoteProtocolError) as caught:
        STEPS[step]().line_received(f"{line}\x1b" * 50)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


# Certificates alone ----------------------------------------------------------------------------------------------


def certified(local: LocalInfo) -> LocalInfo:
    return dataclasses.replace(local, keys=(), certificates=True, encryption=True)


def test_with_certificates_alone_the_proof_is_a_plain_hash() -> None:
    dialler, dialled = greeted(certified(ALICE), certified(BOB))
    dialler.tls_done(FINGERPRINT, frozenset({"bob"}))
    dialled.tls_done(FINGERPRINT, frozenset({"alice", "carol"}))
    proof = dialler.prove("")
    assert proof.startswith("tls_sha256;")
    assert hear(dialled, proof) == [Authenticated("", owes_proof=True)]
    assert hear(dialler, dialled.prove("")) == [Authenticated("", owes_proof=False)]


def test_with_certificates_alone_a_changed_greeting_is_noticed() -> None:
    dialler, dialled = handshake(certified(ALICE), dialler=True), handshake(certified(BOB), dialler=False)
    hear(dialler, dialled.greeting.replace("limit=1048576", "limit=9999999"))
    hear(dialled, dialler.greeting)
    dialler.tls_done(FINGERPRINT, frozenset({"bob"}))
    dialled.tls_done(FINGERPRINT, frozenset({"alice"}))
    with pytest.raises(RemoteProtocolError, match="the greetings were changed on their way"):
        hear(dialled, dialler.prove(""))


def test_nobody_can_be_made_that_lets_everybody_in() -> None:
    for changes in ({"keys": ()}, {"keys": (), "encryption": True}, {"keys": (), "certificates": True}):
        with pytest.raises(LocalProtocolError, match="expected a secret, or certificates"):
            dataclasses.replace(ALICE, **changes)
