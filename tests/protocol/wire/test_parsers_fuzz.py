"""Whatever bytes arrive, they are events or the other side's fault; nothing else ever comes of them."""

from __future__ import annotations

import base64
import functools
import re
from collections.abc import Callable
from typing import TypeAlias, TypeVar

import pytest
from hypothesis import example, given, strategies as st

from trio_mp._errors import RemoteProtocolError
from trio_mp._protocol.handshake import events
from trio_mp._protocol.handshake.auth import Greeting
from trio_mp._protocol.handshake.events import Authenticated, Event, LinkReceived, ProofWanted
from trio_mp._protocol.handshake.greeting import NONCE_SIZE, LocalInfo, parse_greeting, unescape
from trio_mp._protocol.handshake.handshake import Step
from trio_mp._protocol.handshake.session import Session, TLSChannel
from trio_mp._protocol.requests import parse
from trio_mp._protocol.wire import codec
from trio_mp._protocol.wire.buffer import LINE_LIMIT, FrameBuffer, LineBuffer
from trio_mp._protocol.wire.limits import MAXIMUM_DEPTH
from trio_mp._transport.throwaway import throwaway_tls

Result = TypeVar("Result")

EVENTS = (
    events.Greeted,
    events.ProofWanted,
    events.Authenticated,
    events.LinkReceived,
    events.OkReceived,
    events.RefusedByPeer,
    events.Messages,
)

ascii_lines = st.text(st.characters(min_codepoint=32, max_codepoint=126))


def whole(data: bytes) -> list[bytes]:
    return [data]


def in_lines(data: bytes) -> list[bytes]:
    return re.findall(rb"[^\n]*\n|[^\n]+", data)


def in_bytes(data: bytes) -> list[bytes]:
    return [bytes([byte]) for byte in data]


Cut: TypeAlias = Callable[[bytes], list[bytes]]
each_cut = pytest.mark.parametrize("cut", [whole, in_bytes])
each_cut_of_lines = pytest.mark.parametrize("cut", [whole, in_lines, in_bytes])


def unless_refused(function: Callable[[], Result]) -> Result | None:
    """What comes of it, or None if it is refused; anything else that is raised fails the test."""
    try:
        return function()
    except RemoteProtocolError as error:
        # It goes to the log, where it must forge no line.
        assert str(error).isprintable()  # noqa: PT017
        assert len(str(error)) < 1000  # noqa: PT017
        return None


# Bytes like those of a frame or a handshake, with something changed ----------------------------------------------


@st.composite
def mutated(draw: st.DrawFn, valid: bytes) -> bytes:
    """The bytes with a few of them changed, taken away, doubled, or with others put in."""
    data = bytearray(valid)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 8)))
        data[start:end] = draw(
            st.one_of(
                st.binary(max_size=8),
                st.just(bytes(data[start:end]) * 2),
                st.sampled_from([b"", b"\n", b";", b"%", b"=", b",", b"\x00", b"\xff" * 4, b"%0a", b"9" * 20]),
            )
        )
    return bytes(data)


VALID_MESSAGES = [
    (),
    ("", "ping"),
    ("p.1", "tag", 1, -1, 2**64 - 1, 1.5, None, True, b"\x00\xff", "ä"),
    ("p.1", [[], {}, {"a": [1, {"b": None}]}], "x" * 300, list(range(20))),
]


def valid_frame() -> bytes:
    frame = codec.open_frame()
    for name, *rest in VALID_MESSAGES[1:]:
        codec.append_message(frame, str(name), tuple(rest))
    codec.close_frame(frame, len(VALID_MESSAGES) - 1)
    return bytes(frame)


TRAVELS = {str, int, float, bool, bytes, type(None), list, tuple, dict}


def check_values(value: object, depth: int = 0) -> None:
    assert type(value) in TRAVELS
    assert depth <= MAXIMUM_DEPTH + 1
    if isinstance(value, list | tuple):
        for item in value:
            check_values(item, depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            assert type(key) is str
            check_values(item, depth + 1)


# Opcodes of MessagePack, so that arbitrary bytes are often well-formed and nest.
OPCODES = bytes.fromhex("80 81 82 83 90 91 92 93 a0 c0 c1 c2 c3 ca cb cc cd ce cf d0 d1 d2 d3 ff 00 7f")
PREFIXES = (
    *(
        "a161",
        "c400",
        "c401ff",
        "c50001",
        "c704ff",
        "c70cff",
        "c80008ff",
        "c900000004ff",
        "d4ff",
        "d501",
        "d6ff",
        "d7ff",
    ),
    *("d800", "d90161", "da000162", "db00000001", "dc0002", "dd00000001", "de0001", "dfffffffff", "00" * 4, "00" * 8),
    "91" * 60,
)
opcodes = st.sampled_from([*(bytes([opcode]) for opcode in OPCODES), *map(bytes.fromhex, PREFIXES)])
# Well-formed MessagePack of whatever it can say, of which only a part may travel.
scalars = st.sampled_from(
    [bytes.fromhex(code) for code in ("00", "ff", "c0", "c3", "a161", "a0", "c40161", "cf" + "ff" * 8)]
)
strangers = st.sampled_from(
    [bytes.fromhex(code) for code in ("c1", "a1ff", "d40100", "d6ff00000000", "c704ff00000000")]
)


def array_of(items: list[bytes]) -> bytes:
    return b"\xdc" + len(items).to_bytes(2, "big") + b"".join(items)


def map_of(pairs: list[tuple[bytes, bytes]]) -> bytes:
    return b"\xde" + len(pairs).to_bytes(2, "big") + b"".join(key + value for key, value in pairs)


packed = st.recursive(
    scalars | scalars | strangers,
    lambda inner: (
        st.lists(inner, max_size=4).map(array_of)
        | st.lists(st.tuples(st.just(b"\xa1a") | inner, inner), max_size=3).map(map_of)
        | st.builds(lambda item, depth: b"\x91" * depth + item, inner, st.integers(90, 110))
    ),
    max_leaves=10,
)
batches = st.lists(
    st.builds(lambda name, rest: array_of([name, *rest]), st.just(b"\xa0") | packed, st.lists(packed, max_size=3)),
    max_size=3,
)
payloads = st.one_of(
    st.binary(),
    batches.map(array_of),
    st.lists(opcodes).map(b"".join),
    st.lists(opcodes).map(lambda parts: b"\x91\x92\xa0" + b"".join(parts)),
    mutated(valid_frame()[4:]),
)


@given(payloads)
@example(valid_frame()[4:])
def test_any_payload_is_messages_of_values_that_travel_or_refused(payload: bytes) -> None:
    messages = unless_refused(lambda: codec.decode_frame(payload))
    for message in messages or []:
        assert not message or type(message[0]) is str
        check_values(message)
        parse(message[1:])
        # What came in can go out again.
        codec.append_message(bytearray(), "", message)


@each_cut
@given(data=st.one_of(st.binary(), payloads.map(lambda data: len(data).to_bytes(4, "big") + data)))
def test_any_bytes_are_frames_or_refused(cut: Cut, data: bytes) -> None:
    buffer = FrameBuffer(500, bytes)

    def feed() -> bytes:
        taken = b""
        for piece in cut(data):
            for frame in buffer.feed(piece):
                taken += len(frame).to_bytes(4, "big") + frame
        return taken

    taken = unless_refused(feed)
    if taken is not None:
        assert data.startswith(taken)
        assert len(buffer) == len(data) - len(taken)


@each_cut
@given(data=st.one_of(st.binary(), st.lists(ascii_lines).map(lambda lines: "\n".join(lines).encode())))
@example(data=b"x" * (LINE_LIMIT + 1))
def test_any_bytes_are_lines_or_refused(cut: Cut, data: bytes) -> None:
    buffer = LineBuffer()

    def feed() -> str:
        taken = ""
        for piece in cut(data):
            buffer.feed(piece)
            while (line := buffer.next_line()) is not None:
                taken += f"{line}\n"
        return taken

    taken = unless_refused(feed)
    if taken is not None:
        assert data == taken.encode() + buffer.take_rest()


@given(ascii_lines)
def test_any_field_is_text(field: str) -> None:
    unescape(field).encode()


def field_of(*keys: str) -> st.SearchStrategy[str]:
    return st.builds(
        "{}={}".format, st.sampled_from(keys), ascii_lines | st.sampled_from(["1.0", "5", "65536", "A" * 16])
    )


fields = st.one_of(
    ascii_lines,
    st.lists(
        st.sampled_from(["aemp", "1", "node", "hmac_sha256", "msgpack"])
        | field_of("incarnation", "limit", "heartbeat", "tls", "provider", "stream")
        | ascii_lines
    ).map(";".join),
    st.lists(field_of("incarnation", "limit", "heartbeat", "tls", "provider")).map(
        lambda pairs: ";".join(["aemp;1;node;hmac_sha256;msgpack;incarnation=abcdefghABCDEFGH;limit=65536", *pairs])
    ),
)
nonces = st.one_of(ascii_lines, st.binary(max_size=100).map(lambda nonce: base64.b64encode(nonce).decode()))


@given(st.builds(Greeting, fields, nonces))
def test_any_greeting_is_read_or_refused(greeting: Greeting) -> None:
    peer = unless_refused(lambda: parse_greeting(greeting))
    if peer is not None:
        assert 0.1 <= peer.heartbeat <= 60
        assert peer.limit >= 65536


# A session in each step of its handshake -------------------------------------------------------------------------


def no_tls(is_server: bool) -> TLSChannel:
    raise AssertionError("nobody asked for TLS")


def side(node_id: str, *, dialler: bool, encryption: bool) -> Session:
    local = LocalInfo(node_id, (node_id * 16)[:16], (b"k" * 32,), encryption, heartbeat=5, limit=65536, provider="fuzz")
    nonce = node_id[:1].encode() * NONCE_SIZE
    make_tls = throwaway_tls if encryption else no_tls
    return Session(local, nonce, dialler=dialler, peer_address="memory", make_tls=make_tls)


def take(session: Session) -> bytes:
    outgoing = bytes(session.outgoing)
    session.outgoing.clear()
    return outgoing


def handle(session: Session, event: Event, *, decides: bool) -> None:
    match event:
        case ProofWanted():
            session.prove("")
        case Authenticated(_, owes_proof):
            if owes_proof:
                session.prove("")
            if decides:
                session.link()
        case LinkReceived():
            session.accept()
        case _:
            pass


def run(session: Session, data: bytes, cut: Cut, *, decides: bool) -> bool:
    """Feed it; whether it took everything."""

    def feed() -> bool:
        for piece in cut(data):
            for event in session.receive(piece):
                assert isinstance(event, EVENTS)
                handle(session, event, decides=decides)
        return True

    return unless_refused(feed) is True


@functools.cache
def transcripts() -> tuple[bytes, ...]:
    """What each side of a plain conversation says: the dialler's first line to its frame, and the other's."""
    one, other = side("alice", dialler=True, encryption=False), side("bob", dialler=False, encryption=False)
    said = [b"", b""]
    for _ in range(5):
        for index, (speaker, listener) in enumerate([(one, other), (other, one)]):
            data = take(speaker)
            said[index] += data
            assert run(listener, data, whole, decides=listener is one)
    assert one.open
    assert other.open
    return tuple(data + valid_frame() * 2 for data in said)


@functools.cache
def boundaries(index: int) -> tuple[int, ...]:
    """Where in what this side says its greeting, its proof and its other lines end."""
    data = transcripts()[index]
    found = [0]
    for _ in range(4):
        found.append(data.index(b"\n", found[-1]) + 1)
    return tuple(found)


def listener_of(index: int) -> tuple[Session, bool]:
    """The side that hears what side `index` of the transcripts says, and whether it decides."""
    return (
        (side("bob", dialler=False, encryption=False), False)
        if index == 0
        else (side("alice", dialler=True, encryption=False), True)
    )


@pytest.mark.parametrize("index", [0, 1], ids=["the dialler speaks", "the dialled speaks"])
@pytest.mark.parametrize("cut", [in_lines, in_bytes])
def test_the_transcripts_are_valid(index: int, cut: Cut) -> None:
    session, decides = listener_of(index)
    lines = boundaries(index)[-1]
    assert run(session, transcripts()[index][:lines], cut, decides=decides)
    assert session.open
    assert run(session, transcripts()[index][lines:], cut, decides=decides)


@pytest.mark.parametrize("index", [0, 1], ids=["the dialler speaks", "the dialled speaks"])
@each_cut_of_lines
@given(data=st.data())
def test_a_changed_conversation_is_events_or_refused(index: int, cut: Cut, data: st.DataObject) -> None:
    session, decides = listener_of(index)
    valid = transcripts()[index]
    greeting, proof = boundaries(index)[2:4]
    start = data.draw(st.sampled_from(boundaries(index)), label="kept")
    changed = valid[:start] + data.draw(mutated(valid[start:]), label="changed")
    whole = run(session, changed, cut, decides=decides)
    if changed[:proof] != valid[:proof]:
        assert session.handshake.step not in {Step.DECISION, Step.OK, Step.LINKED, Step.OPEN}
        # A stranger gets no token: what was dialled said its greeting, and what dialled its proof.
        assert take(session).count(b"\n") <= (2 if index == 0 else 3)
    if changed[:greeting] != valid[:greeting]:
        assert session.handshake.step in {Step.GREETING, Step.NONCE, Step.PROOF, Step.PROVE} or not whole


def in_step(step: Step) -> Session:
    """One side of a conversation that has come to this step."""
    encryption = step is Step.TLS
    alice, bob = side("alice", dialler=True, encryption=encryption), side("bob", dialler=False, encryption=encryption)
    greeting = take(bob)
    if step is Step.GREETING:
        return alice
    if step is Step.NONCE:
        alice.receive(greeting.split(b"\n")[0] + b"\n")
        return alice
    bob.receive(take(alice))
    if step is Step.PROOF:
        return bob
    alice.receive(greeting)
    if step in {Step.PROVE, Step.TLS}:
        return alice
    alice.prove("")
    bob.receive(take(alice))
    bob.prove("")
    alice.receive(take(bob))
    if step is Step.DECISION:
        return alice
    if step is Step.REFUSED:
        alice.refuse("why")
        return alice
    alice.link()
    bob.receive(take(alice))
    if step is Step.LINKED:
        return bob
    bob.accept()
    if step is Step.OPEN:
        return bob
    return alice


WORDS = (
    *(b"\n", b"link", b"ok", b"no;", b"link\n", b"ok\n", b"no;why\n", b"tls=1.0;", b"limit=65536", b"%0a"),
    *(b"aemp;1;node;hmac_sha256;msgpack;", b"incarnation=abcdefghABCDEFGH;", b"A" * 44 + b"\n"),
    *(b"hmac_sha256;", b";msgpack;lost=", b"\x00\x00\x00\x01\x90", b"\x00\x00\x00\x02\x91\x90"),
    *(b"\x16\x03\x03\x00\x7a\x02", b"\x15\x03\x03\x00\x02\x02\x28"),
)
words = st.sampled_from(WORDS)
noise = st.one_of(st.binary(), st.lists(words | st.binary(max_size=4)).map(b"".join))


@pytest.mark.parametrize("step", Step)
@each_cut
@given(data=noise)
def test_noise_in_any_step_is_events_or_refused(step: Step, cut: Cut, data: bytes) -> None:
    session = in_step(step)
    assert session.handshake.step is step
    run(session, data, cut, decides=False)
    if step not in {Step.DECISION, Step.OK, Step.LINKED, Step.OPEN}:
        assert not session.open, "none of these words proves anything"


@each_cut
@given(
    number=st.integers(0, 5),
    place=st.integers(0, 5000),
    mask=st.integers(0, 255),
    more=st.binary(max_size=20),
    from_alice=st.booleans(),
)
def test_a_changed_encrypted_conversation_is_events_or_refused(
    cut: Cut, number: int, place: int, mask: int, more: bytes, from_alice: bool
) -> None:
    alice, bob = side("alice", dialler=True, encryption=True), side("bob", dialler=False, encryption=True)
    changed = False
    for turn in range(7):
        for speaker, listener in ((alice, bob), (bob, alice)):
            data = bytearray(take(speaker))
            if turn == number and from_alice == (speaker is alice) and data and (mask or more):
                place %= len(data)
                data[place] ^= mask
                data[place:place] = more
                changed = True
            if not run(listener, bytes(data), cut, decides=listener is alice):
                assert changed
                return
    assert changed or (alice.open and bob.open)
