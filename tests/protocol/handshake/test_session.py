"""Two sessions that talk in memory, and those who stand in between."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Callable
from typing import cast

import pytest
from hypothesis import given, strategies as st
from tls_helpers import Deaf

from trio_mp._errors import LocalProtocolError, RemoteProtocolError
from trio_mp._protocol.handshake import auth
from trio_mp._protocol.handshake.events import (
    Authenticated,
    Event,
    Greeted,
    LinkReceived,
    Messages,
    OkReceived,
    ProofWanted,
    RefusedByPeer,
)
from trio_mp._protocol.handshake.greeting import NONCE_SIZE, LocalInfo
from trio_mp._protocol.handshake.handshake import Step
from trio_mp._protocol.handshake.session import GREETING_LIMIT, SECURE_LIMIT, Session, TLSChannel
from trio_mp._protocol.wire import codec
from trio_mp._protocol.wire.buffer import LARGE, LINE_LIMIT
from trio_mp._protocol.wire.framing import FRAME_TARGET, JSON
from trio_mp._transport.throwaway import throwaway_contexts, throwaway_tls
from trio_mp._transport.tls import MemoryTLS

LOST = "0123456789abcdef" * 2
LIMIT = 2**20
SERVER_FINGERPRINT = hashlib.sha256(b"the certificate").digest()
MALLORYS_FINGERPRINT = hashlib.sha256(b"another certificate").digest()
SMALL, GREAT = bytes(NONCE_SIZE), b"\xaa" * NONCE_SIZE
"""Two nonces: who sends the smaller one is the TLS client."""


class FakeTLS:
    """TLS with hardly any cryptography: three handshake messages that carry a fingerprint, then every byte is flipped.

    Errors of the other side raise `RemoteProtocolError`, as those of the real one do.
    """

    HELLO, CERTIFICATE, FINISHED = b"\x16C", b"\x16S", b"\x16F"

    def __init__(self, is_server: bool, certificate: bytes = SERVER_FINGERPRINT) -> None:
        self.fingerprint = b""
        self.peer_node_ids: frozenset[str] | None = None
        self.peer_certificate = b""
        self._certificate = certificate
        self._is_server = is_server
        # What comes next, and how many bytes belong to it.
        self._awaited = [(self.HELLO, 0), (self.FINISHED, 0)] if is_server else [(self.CERTIFICATE, len(certificate))]
        self._waiting = bytearray()

    def start(self) -> bytes:
        return b"" if self._is_server else self.HELLO

    def receive(self, data_untrusted: bytes) -> tuple[bytes, bytes]:
        self._waiting += data_untrusted
        reply = b""
        while self._awaited:
            head, extra = self._awaited[0]
            size = len(head) + extra
            if not head.startswith(bytes(self._waiting[: len(head)])):
                raise RemoteProtocolError("TLS: this is none")
            if len(self._waiting) < size:
                return b"", reply
            content = bytes(self._waiting[len(head) : size])
            del self._waiting[:size]
            del self._awaited[0]
            reply += {self.HELLO: self.CERTIFICATE + self._certificate, self.CERTIFICATE: self.FINISHED}.get(head, b"")
            if not self._awaited:
                self.fingerprint = content or self._certificate
        plain = self._flip(self._waiting)
        self._waiting.clear()
        return plain, reply

    def send(self, data: bytes | bytearray | memoryview) -> bytes:
        assert self.fingerprint, "sent before the handshake was done"
        return self._flip(data)

    def take_alert(self) -> bytes:
        return b""

    @staticmethod
    def _flip(data: bytes | bytearray | memoryview) -> bytes:
        return bytes(byte ^ 0xFF for byte in data)


def no_tls(is_server: bool) -> TLSChannel:
    raise AssertionError("nobody asked for TLS")


def info(node_id: str, **changes: object) -> LocalInfo:
    local = LocalInfo(
        node_id=node_id,
        incarnation=(node_id * 16)[:16],
        keys=(b"k" * 32,),
        encryption=False,
        heartbeat=5,
        limit=LIMIT,
        provider="test",
    )
    return dataclasses.replace(local, **changes)  # type: ignore[arg-type]


class Side:
    """A session that does as it is asked, and what it was told.

    Args:
      lost: what it says it lost.
      decides: whether it says `link` when both have proven themselves.
    """

    def __init__(
        self,
        local: LocalInfo,
        nonce: bytes,
        *,
        dialler: bool,
        lost: str = "",
        decides: bool = False,
        make_tls: Callable[[bool], TLSChannel] = no_tls,
    ) -> None:
        self.session = Session(local, nonce, dialler=dialler, peer_address="memory", make_tls=make_tls)
        self.events: list[Event] = []
        self.decides = decides
        self.accepts = True
        self._lost = lost

    @property
    def step(self) -> Step:
        return self.session.handshake.step

    def take(self) -> bytes:
        """What it would write."""
        outgoing = bytes(self.session.outgoing)
        self.session.outgoing.clear()
        return outgoing

    def hear(self, data: bytes, size: int | None = None) -> None:
        """Give it bytes, in pieces of this size or at once."""
        for start in range(0, len(data), size or len(data) or 1):
            for event in self.session.receive(data[start : start + (size or len(data))]):
                self.events.append(event)
                self._handle(event)

    def _handle(self, event: Event) -> None:
        match event:
            case ProofWanted():
                self.session.prove(self._lost)
            case Authenticated(_, owes_proof):
                if owes_proof:
                    self.session.prove(self._lost)
                if self.decides:
                    self.session.link()
            case LinkReceived() if self.accepts:
                self.session.accept()
            case _:
                pass

    def send(self, *messages: tuple[object, ...]) -> None:
        self.session.send(frame(*messages))

    @property
    def received(self) -> list[tuple[object, ...]]:
        return [message for event in self.events if isinstance(event, Messages) for message in event.batch]


def frame(*messages: tuple[object, ...]) -> bytearray:
    data = codec.open_frame()
    for name, *rest in messages:
        codec.append_message(data, cast("str", name), tuple(rest))
    codec.close_frame(data, len(messages))
    return data


def pair(
    *,
    make_tls: Callable[[bool], TLSChannel] | None = None,
    dialler_serves: bool = False,
    dialler_decides: bool = True,
    alice: LocalInfo | None = None,
    bob: LocalInfo | None = None,
    lost: tuple[str, str] = ("", ""),
) -> tuple[Side, Side]:
    """Alice, who dials, and Bob; encrypted if there is TLS to do it."""
    encryption, make = make_tls is not None, make_tls or no_tls
    nonces = (GREAT, SMALL) if dialler_serves else (SMALL, GREAT)
    dialler = Side(
        dataclasses.replace(alice or info("alice"), encryption=encryption),
        nonces[0],
        dialler=True,
        lost=lost[0],
        decides=dialler_decides,
        make_tls=make,
    )
    dialled = Side(
        dataclasses.replace(bob or info("bob"), encryption=encryption),
        nonces[1],
        dialler=False,
        lost=lost[1],
        decides=not dialler_decides,
        make_tls=make,
    )
    return dialler, dialled


def talk(one: Side, other: Side, size: int | None = None) -> None:
    """Carry bytes to and fro until nobody has any to send."""
    while True:
        forth, back = one.take(), other.take()
        if not forth and not back:
            return
        other.hear(forth, size)
        one.hear(back, size)


CHANNELS: dict[str, Callable[[bool], TLSChannel] | None] = {
    "plain": None,
    "fake TLS": FakeTLS,
    "TLS": throwaway_tls,
}
each_channel = pytest.mark.parametrize("make_tls", CHANNELS.values(), ids=CHANNELS)
each_tls = pytest.mark.parametrize("make_tls", [FakeTLS, throwaway_tls], ids=["fake TLS", "TLS"])
each_size = pytest.mark.parametrize("size", [None, 1, 7], ids=["whole", "byte by byte", "in sevens"])
either_serves = pytest.mark.parametrize("dialler_serves", [True, False], ids=["dialler serves", "dialled serves"])
either_decides = pytest.mark.parametrize("dialler_decides", [True, False], ids=["dialler decides", "dialled decides"])


# What goes well --------------------------------------------------------------------------------------------------


@each_channel
@each_size
@either_serves
@either_decides
def test_two_sides_open_a_connection_and_talk(
    make_tls: Callable[[bool], TLSChannel] | None, size: int | None, dialler_serves: bool, dialler_decides: bool
) -> None:
    alice, bob = pair(
        make_tls=make_tls, dialler_serves=dialler_serves, dialler_decides=dialler_decides, lost=(LOST, "")
    )
    talk(alice, bob, size)
    assert alice.session.open
    assert bob.session.open
    assert alice.session.encrypted == bob.session.encrypted == (make_tls is not None)
    [greeted, wanted, authenticated, last] = alice.events
    assert isinstance(greeted, Greeted)
    assert greeted.peer.node_id == "bob"
    assert wanted == ProofWanted()
    assert authenticated == Authenticated("", owes_proof=False)
    assert last == (OkReceived() if dialler_decides else LinkReceived())
    [greeted_there, authenticated, last] = bob.events
    assert isinstance(greeted_there, Greeted)
    assert greeted_there.peer.node_id == "alice"
    assert greeted_there.connection == greeted.connection
    assert authenticated == Authenticated(LOST, owes_proof=True)
    assert last == (LinkReceived() if dialler_decides else OkReceived())

    alice.send(("p.1", "one"), ("p.1", "two"))
    alice.send(("p.2", b"\x00" * 100_000))
    bob.send(("", "ping"))
    talk(alice, bob, size and size * 1000)
    assert bob.received == [("p.1", "one"), ("p.1", "two"), ("p.2", b"\x00" * 100_000)]
    assert alice.received == [("", "ping")]


@each_channel
@each_size
@either_decides
def test_frames_right_behind_ok_are_not_lost(
    make_tls: Callable[[bool], TLSChannel] | None, size: int | None, dialler_decides: bool
) -> None:
    alice, bob = pair(make_tls=make_tls, dialler_decides=dialler_decides)
    decider, other = (alice, bob) if dialler_decides else (bob, alice)
    while not other.session.open:
        decider.hear(other.take(), size)
        other.hear(decider.take(), size)
    assert decider.step is Step.OK
    other.send(("p.1", "first"))
    other.send(("p.1", "second"))
    decider.hear(other.take(), size)
    assert decider.events[-3:] == [OkReceived(), Messages([("p.1", "first")]), Messages([("p.1", "second")])]


def test_what_is_sent_in_clear_is_the_pinned_transcript() -> None:
    alice, bob = pair()
    transcript = b""
    for _ in range(4):
        data = alice.take()
        transcript += data
        bob.hear(data)
        alice.hear(bob.take())
    lines = transcript.decode().splitlines()
    assert lines[0].startswith("aemp;1;alice;hmac_sha256;msgpack,json;")
    assert lines[1] == "A" * 44
    method, token, framing, lost = lines[2].split(";")
    assert (method, framing, lost) == ("hmac_sha256", "msgpack", "lost=")
    assert len(token) == 64
    assert lines[3:] == ["link"]


def test_the_certificate_of_the_other_side_is_that_of_its_tls() -> None:
    alice, bob = pair(make_tls=FakeTLS)
    assert alice.session.peer_certificate == b""
    talk(alice, bob)
    assert alice.session._tls is not None
    cast(FakeTLS, alice.session._tls).peer_certificate = b"a certificate"
    assert alice.session.peer_certificate == b"a certificate"


@each_tls
def test_nothing_but_the_greeting_travels_in_clear(make_tls: Callable[[bool], TLSChannel]) -> None:
    alice, bob = pair(make_tls=make_tls)
    greeting = alice.take()
    transcript = b""
    alice.hear(bob.take())
    bob.hear(greeting)
    while data := alice.take() + bob.session.outgoing:
        transcript += data
        bob.hear(data[: len(data) - len(bob.session.outgoing)])
        alice.hear(bob.take())
    alice.send(("p.1", "a secret text"))
    transcript += alice.take()
    assert alice.session.open
    for word in (b"hmac_sha256", b"link", b"lost=", b"a secret text"):
        assert word not in transcript


@each_size
@either_decides
def test_either_side_may_refuse_once_both_have_proven_themselves(size: int | None, dialler_decides: bool) -> None:
    for decider_refuses in (True, False):
        alice, bob = pair(dialler_decides=dialler_decides)
        refuser, other = (alice, bob) if dialler_decides is decider_refuses else (bob, alice)
        alice.decides = bob.decides = False
        talk(alice, bob, size)
        assert {alice.step, bob.step} == {Step.DECISION}
        refuser.session.refuse("node ID in use; sorry")
        talk(alice, bob, size)
        assert other.events[-1] == RefusedByPeer("node ID in use; sorry")
        assert {alice.step, bob.step} == {Step.REFUSED}


@each_size
def test_link_may_be_answered_with_no(size: int | None) -> None:
    alice, bob = pair()
    alice.decides = False
    talk(alice, bob)
    alice.session.link()
    bob.accepts = False
    bob.hear(alice.take(), size)
    assert bob.step is Step.LINKED
    bob.session.refuse("closing")
    alice.hear(bob.take(), size)
    assert alice.events[-1] == RefusedByPeer("closing")


# What one side gets wrong ----------------------------------------------------------------------------------------


@each_channel
@each_size
def test_a_dialler_with_another_secret_gets_no_token(
    make_tls: Callable[[bool], TLSChannel] | None, size: int | None
) -> None:
    alice, bob = pair(make_tls=make_tls, alice=info("alice", keys=(b"guess" * 6,)))
    with pytest.raises(RemoteProtocolError, match="authentication failed"):
        talk(alice, bob, size)
    assert bob.take() == b""
    assert [type(event) for event in bob.events] == [Greeted]
    with pytest.raises(LocalProtocolError):
        bob.session.prove("")
    assert not bob.session.open


def test_a_stranger_who_dials_is_told_the_greeting_and_nothing_else() -> None:
    _, bob = pair()
    stranger, _ = pair()
    said = bob.take()
    bob.hear(stranger.take())
    assert bob.step is Step.PROOF
    with pytest.raises(RemoteProtocolError, match="authentication failed"):
        bob.hear(b"hmac_sha256;" + b"0" * 64 + b";msgpack;lost=\n")
    assert said.count(b"\n") == 2
    assert bob.take() == b""


@each_channel
@each_size
def test_a_dialled_side_with_another_secret_is_refused(
    monkeypatch: pytest.MonkeyPatch, make_tls: Callable[[bool], TLSChannel] | None, size: int | None
) -> None:
    """It must skip its own check, since otherwise it would not answer at all."""
    alice, impostor = pair(make_tls=make_tls, bob=info("bob", keys=(b"guess" * 6,)))
    while impostor.step is not Step.DECISION:
        alice.hear(impostor.take(), size)
        with monkeypatch.context() as patched:
            patched.setattr(auth, "proves", lambda *_: True)
            impostor.hear(alice.take(), size)
    with pytest.raises(RemoteProtocolError, match="authentication failed"):
        alice.hear(impostor.take(), size)
    assert impostor.step is Step.DECISION
    assert [type(event) for event in alice.events] == [Greeted, ProofWanted]


@pytest.mark.parametrize(
    "line",
    [
        b"link\n",
        b"ok\n",
        b"no;why\n",
        b"hmac_sha256;;msgpack;lost=\n",
        b"tls_sha256;" + b"0" * 64 + b";msgpack;lost=\n",
        b"\n",
        bytes(frame(("p.1", "a message"))) + b"\n",
    ],
)
@each_size
def test_who_has_not_proven_itself_can_say_nothing_else(line: bytes, size: int | None) -> None:
    for index in (0, 1):
        sides = pair()
        side, other = sides[index], sides[1 - index]
        greeting = other.take()
        side.hear(greeting, size)
        with pytest.raises(RemoteProtocolError):
            side.hear(line, size)
        assert not side.session.open
        assert not side.received


@each_size
def test_data_before_its_link_was_answered_is_refused(size: int | None) -> None:
    alice, bob = pair()
    alice.decides = False
    talk(alice, bob)
    alice.session.link()
    alice.send(("p.1", "too early"))
    bob.accepts = False
    with pytest.raises(RemoteProtocolError, match="expected nothing before its 'link' was answered"):
        bob.hear(alice.take(), size)
    assert not bob.session.open


def test_not_even_one_byte_may_follow_link() -> None:
    alice, bob = pair()
    alice.decides = False
    talk(alice, bob)
    alice.session.link()
    assert bob.session.receive(alice.take()) == [LinkReceived()]
    assert bob.session.receive(b"") == []
    with pytest.raises(RemoteProtocolError, match="expected nothing before its 'link' was answered"):
        bob.session.receive(b"\x00")


@each_size
def test_data_instead_of_ok_is_refused(size: int | None) -> None:
    alice, bob = pair()
    talk_until_ok_is_due(alice, bob)
    with pytest.raises(RemoteProtocolError):
        alice.hear(bytes(frame(("p.1", "\n" * 20))), size)


def talk_until_ok_is_due(alice: Side, bob: Side) -> None:
    while alice.step is not Step.OK:
        bob.hear(alice.take())
        alice.hear(bob.take())
    alice.take()


@pytest.mark.parametrize("step", [Step.GREETING, Step.NONCE, Step.PROOF])
@each_size
def test_a_line_too_long_or_not_ascii_is_refused_in_every_step(step: Step, size: int | None) -> None:
    for bad, match in ((b"x" * (LINE_LIMIT + 1), "a line of at most"), (b"\xc3\xa4\n", "a line of printable ASCII")):
        alice, bob = pair()
        greeting = alice.take()
        bob.hear({Step.GREETING: b"", Step.NONCE: greeting.split(b"\n")[0] + b"\n", Step.PROOF: greeting}[step])
        assert bob.step is step
        with pytest.raises(RemoteProtocolError, match=match):
            bob.hear(bad, size)


def test_a_frame_at_the_limit_passes_and_one_past_it_is_refused_before_its_bytes_come() -> None:
    largest = LIMIT + FRAME_TARGET + codec.FRAME_HEADER
    for size in (largest, largest + 1):
        alice, bob = pair()
        talk(alice, bob)
        header = size.to_bytes(4, "big")
        if size == largest:
            assert bob.session.receive(header) == []
        else:
            with pytest.raises(RemoteProtocolError, match="expected a frame of at most"):
                bob.session.receive(header)


def test_the_largest_message_allowed_fits_behind_a_frame_that_is_nearly_full() -> None:
    alice, bob = pair()
    talk(alice, bob)
    alice.send(("p.1", b"x" * (FRAME_TARGET - 100)), ("p.1", b"y" * (LIMIT - 20)))
    talk(alice, bob)
    assert len(bob.received) == 2


@each_channel
def test_a_frame_that_does_not_decode_is_the_other_sides_fault(
    make_tls: Callable[[bool], TLSChannel] | None,
) -> None:
    alice, bob = pair(make_tls=make_tls)
    talk(alice, bob)
    alice.session.send(b"\x00\x00\x00\x01\xc1")
    with pytest.raises(RemoteProtocolError, match="expected a frame that decodes"):
        bob.hear(alice.take())


LARGE_MESSAGE = ("p.1", b"x" * 2 * LARGE)


def room_of(side: Side) -> memoryview | None:
    """Where the next bytes belong, if they may be received straight into it."""
    return side.session.incoming.room() if side.session.incoming is not None else None


@pytest.mark.parametrize("cut", [4, 100, LARGE, 2 * LARGE])
def test_what_comes_of_a_large_message_is_received_straight_into_its_place(cut: int) -> None:
    alice, bob = pair()
    talk(alice, bob)
    alice.send(LARGE_MESSAGE)
    alice.send(("p.1", "behind"))
    data = alice.take()
    bob.hear(data[:cut])
    while (room := room_of(bob)) is not None:
        assert not bob.received
        count = min(len(room), 100_000)
        room[:count] = data[cut : cut + count]
        cut += count
        bob.events += [Messages(batch) for batch in bob.session.start_receiving().filled(count)]
    assert bob.received == [LARGE_MESSAGE]
    bob.hear(data[cut:])
    assert bob.received == [LARGE_MESSAGE, ("p.1", "behind")]


def test_a_large_frame_that_does_not_decode_is_the_other_sides_fault() -> None:
    alice, bob = pair()
    talk(alice, bob)
    alice.send(LARGE_MESSAGE)
    data = alice.take()
    bob.hear(data[:4] + b"\xc1" + data[5:-2])
    assert bytes(room_of(bob) or b"") == bytes(2)
    assert bob.session.start_receiving().filled(1) == []
    with pytest.raises(RemoteProtocolError, match="expected a frame that decodes"):
        bob.session.start_receiving().filled(1)


class AskedForNewKeys(FakeTLS):
    """TLS of which the other side wants new keys in the middle of the messages, as TLS 1.3 allows: it answers."""

    answer = b""

    def receive(self, data_untrusted: bytes) -> tuple[bytes, bytes]:
        plain, reply = super().receive(data_untrusted)
        return plain, reply + self.answer


def test_what_tls_answers_in_the_middle_of_messages_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    alice, bob = pair(make_tls=AskedForNewKeys)
    talk(alice, bob)
    monkeypatch.setattr(AskedForNewKeys, "answer", b"new keys")
    for number, receive in enumerate((bob.session.receive, bob.session.start_receiving().receive), 1):
        alice.send(("p.1", "x"))
        assert receive(alice.take())
        assert bob.session.outgoing == b"new keys" * number


@each_tls
def test_what_is_encrypted_has_no_room(make_tls: Callable[[bool], TLSChannel]) -> None:
    alice, bob = pair(make_tls=make_tls)
    talk(alice, bob)
    alice.send(LARGE_MESSAGE)
    data = alice.take()
    bob.hear(data[:LARGE])
    assert room_of(bob) is None
    bob.hear(data[LARGE:])
    assert bob.received == [LARGE_MESSAGE]


def test_before_the_first_frame_there_is_no_room() -> None:
    alice, bob = pair()
    for _ in range(4):
        for side, other in ((alice, bob), (bob, alice)):
            assert room_of(side) is None
            side.hear(other.take(), 1)
    assert alice.session.open
    assert room_of(alice) is None


def test_json_has_no_room() -> None:
    reader = JSON.make_decoder(4 * LARGE)
    data = bytearray()
    JSON.append(data, "p.1", ("x" * 2 * LARGE,))
    assert reader.feed(bytes(data[:-2])) == []
    assert reader.room() is None
    with pytest.raises(LocalProtocolError, match="no room"):
        reader.filled(1)
    assert reader.feed(b"]") == [[("p.1", "x" * 2 * LARGE)]]


@pytest.mark.parametrize("call", ["prove", "link", "accept", "refuse"])
def test_what_a_program_says_out_of_turn_is_its_own_mistake_and_is_not_sent(call: str) -> None:
    alice, bob = pair()
    talk(alice, bob)
    for side in (alice, bob, *pair()):
        side.take()
        argument = [""] if call in {"prove", "refuse"} else []
        with pytest.raises(LocalProtocolError):
            getattr(side.session, call)(*argument)
        assert side.take() == b""


# Who stands in between -------------------------------------------------------------------------------------------


class Mallory:
    """Stands between Alice, who dials, and Bob; ends TLS towards both if they speak it, and passes on what she reads.

    Args:
      to_bob, to_alice: what she makes of their greetings, which travel in clear.
      tls: makes her end of TLS towards Alice, and towards Bob.
    """

    def __init__(
        self,
        alice: Side,
        bob: Side,
        *,
        to_bob: Callable[[bytes], bytes] = bytes,
        to_alice: Callable[[bytes], bytes] = bytes,
        tls: tuple[TLSChannel | None, TLSChannel | None] = (None, None),
    ) -> None:
        self.sides = alice, bob
        self.tls = tls
        self.read: list[bytes] = []
        self._held = [b"", b""]
        alices, bobs = to_bob(alice.take()), to_alice(bob.take())
        starts = [channel.start() if channel is not None else b"" for channel in tls]
        bob.hear(alices + starts[1])
        alice.hear(bobs + starts[0])

    def relay(self) -> None:
        """Carry bytes to and fro until nobody has any to send."""
        while any([self._carry(0, 1), self._carry(1, 0)]):
            pass

    def _carry(self, source: int, target: int) -> bool:
        data = self.sides[source].take()
        near, far = self.tls[source], self.tls[target]
        plain, reply = near.receive(data) if near is not None and data else (data, b"")
        self._held[target] += plain
        moved = bool(data or reply)
        self.sides[source].hear(reply)
        if (far is None or far.fingerprint) and self._held[target]:
            plain, self._held[target] = self._held[target], b""
            self.read.append(plain)
            self.sides[target].hear(far.send(plain) if far is not None else plain)
            moved = True
        return moved


def test_a_wire_in_between_is_no_one() -> None:
    alice, bob = pair()
    Mallory(alice, bob).relay()
    assert alice.session.open
    assert bob.session.open


def mallorys_tls(real: bool, is_server: bool) -> TLSChannel:
    if not real:
        return FakeTLS(is_server, MALLORYS_FINGERPRINT)
    server, client, fingerprint = mallorys_contexts()
    return MemoryTLS(server, fingerprint) if is_server else MemoryTLS(client, b"")


mallorys_contexts = throwaway_contexts.__wrapped__


@pytest.mark.parametrize("real", [False, True], ids=["fake TLS", "TLS"])
@either_serves
def test_who_ends_tls_in_between_cannot_pass_on_the_proofs(real: bool, dialler_serves: bool) -> None:
    alice, bob = pair(make_tls=throwaway_tls if real else FakeTLS, dialler_serves=dialler_serves)
    mallory = Mallory(alice, bob, tls=(mallorys_tls(real, not dialler_serves), mallorys_tls(real, dialler_serves)))
    with pytest.raises(RemoteProtocolError, match="authentication failed"):
        mallory.relay()
    # She did read Alice's proof, which holds for Mallory's certificate, or for one that Bob has not seen.
    assert mallory.read[0].startswith(b"hmac_sha256;")
    assert bob.step is Step.PROOF
    assert not bob.received


def test_the_same_relay_passes_where_the_certificates_are_the_same() -> None:
    """So it is the fingerprint, and nothing else about the relay, that the test before fails on."""
    alice, bob = pair(make_tls=FakeTLS)
    Mallory(alice, bob, tls=(FakeTLS(True), FakeTLS(False))).relay()
    assert alice.session.open
    assert bob.session.open


def without_tls(greeting: bytes) -> bytes:
    assert b";tls=1.0" in greeting
    return greeting.replace(b";tls=1.0", b"")


def with_tls(greeting: bytes) -> bytes:
    return greeting.replace(b";incarnation", b";tls=1.0;incarnation")


def test_who_strips_tls_off_is_refused_by_both_sides() -> None:
    for sides in (pair(make_tls=FakeTLS), pair(make_tls=FakeTLS)[::-1]):
        stripped = without_tls(sides[0].take())
        with pytest.raises(RemoteProtocolError, match="encryption is on here and off there"):
            sides[1].hear(stripped)
        assert sides[1].step is Step.NONCE


def test_who_strips_tls_off_towards_one_side_only_cannot_pass_on_the_proofs() -> None:
    alice, _ = pair(make_tls=FakeTLS)
    _, bob = pair()
    mallory = Mallory(alice, bob, to_bob=without_tls, to_alice=with_tls, tls=(FakeTLS(True), None))
    with pytest.raises(RemoteProtocolError, match="authentication failed"):
        mallory.relay()
    assert mallory.read[0].startswith(b"hmac_sha256;")
    assert bob.step is Step.PROOF


@pytest.mark.parametrize(
    "old, new",
    [
        (b"limit=1048576", b"limit=1048577"),
        (b"heartbeat=5", b"heartbeat=6"),
        (b"peeraddr=memory", b"peeraddr=elsewhere"),
        (b";provider=test", b""),
        (b";incarnation=alicealicealicea", b";incarnation=malloryMALLORY00"),
        (b";alice;", b";carol;"),
        (b"hmac_sha256", b"cleartext,hmac_sha256"),
        (b"AAAAA\n", b"AAAAB\n"),
    ],
)
def test_a_changed_greeting_is_noticed(old: bytes, new: bytes) -> None:
    alice, bob = pair()

    def change(greeting: bytes) -> bytes:
        assert old in greeting
        return greeting.replace(old, new, 1)

    mallory = Mallory(alice, bob, to_bob=change)
    with pytest.raises(RemoteProtocolError, match="authentication failed"):
        mallory.relay()


@pytest.mark.parametrize("index", [0, 1])
def test_a_mirror_is_refused_before_any_token(index: int) -> None:
    side = pair()[index]
    greeting = side.take()
    with pytest.raises(RemoteProtocolError, match="our own nonce"):
        side.hear(greeting)
    assert side.take() == b""


def test_a_mirror_with_another_name_and_nonce_gets_nowhere_with_the_proof_it_sends_back() -> None:
    alice, _ = pair()
    greeting = alice.take()
    alice.hear(greeting.replace(b"alice", b"mirror").replace(b"A" * 44, b"B" * 44).replace(b"mirror" * 3, b"alice" * 3))
    proof = alice.take()
    assert proof.startswith(b"hmac_sha256;")
    with pytest.raises(RemoteProtocolError, match="authentication failed"):
        alice.hear(proof)


def test_two_connections_of_one_node_cannot_be_played_against_each_other() -> None:
    """Mallory dials Alice, who has dialled her, and lets each of Alice's sides answer the other under a false name."""
    dialling, _ = pair()
    listening = Side(info("alice"), GREAT, dialler=False)
    with pytest.raises(RemoteProtocolError, match="node ID other than our own"):
        Mallory(dialling, listening).relay()
    dialling, _ = pair()
    listening = Side(info("alice"), GREAT, dialler=False)

    def rename(greeting: bytes) -> bytes:
        return greeting.replace(b";alice;", b";carol;")

    mallory = Mallory(dialling, listening, to_bob=rename, to_alice=rename)
    with pytest.raises(RemoteProtocolError, match="authentication failed"):
        mallory.relay()


@each_channel
def test_a_recorded_conversation_cannot_be_played_again(make_tls: Callable[[bool], TLSChannel] | None) -> None:
    alice, bob = pair(make_tls=make_tls)
    recorded: list[bytes] = []
    while data := alice.take():
        recorded.append(data)
        bob.hear(data)
        alice.hear(bob.take())
    assert bob.session.open
    later = Side(
        info("bob", encryption=make_tls is not None), b"\xab" * NONCE_SIZE, dialler=False, make_tls=make_tls or no_tls
    )
    with pytest.raises(RemoteProtocolError, match="TLS" if make_tls is throwaway_tls else "authentication failed"):
        later.hear(b"".join(recorded))
    assert not later.session.open


@each_tls
def test_what_is_no_tls_is_refused(make_tls: Callable[[bool], TLSChannel]) -> None:
    for dialler_serves in (True, False):
        alice, bob = pair(make_tls=make_tls, dialler_serves=dialler_serves)
        bob.hear(alice.take())
        with pytest.raises(RemoteProtocolError, match="TLS"):
            bob.hear(b"GET / HTTP/1.1\r\n\r\n")


@each_tls
@either_serves
@given(sizes=st.lists(st.integers(1, 700), min_size=1))
def test_a_conversation_is_the_same_in_pieces_of_any_size(
    make_tls: Callable[[bool], TLSChannel], dialler_serves: bool, sizes: list[int]
) -> None:
    alice, bob = pair(make_tls=make_tls, dialler_serves=dialler_serves)
    size = itertools.cycle(sizes)
    while forth := alice.take():
        while forth:
            cut = next(size)
            bob.hear(forth[:cut])
            forth = forth[cut:]
        alice.hear(bob.take())
    assert [type(event) for event in bob.events] == [Greeted, Authenticated, LinkReceived]
    assert alice.events[-1] == OkReceived()


@pytest.mark.parametrize("behind", ["", "\xff\n", "ok\n", "no;again\n"])
def test_what_follows_a_refusal_is_ignored(behind: str) -> None:
    alice, bob = pair()
    bob.accepts = False
    talk(alice, bob)
    bob.session.refuse("for a reason")
    data = bob.take() + behind.encode("latin-1")
    assert alice.session.receive(data) == [RefusedByPeer("for a reason")]
    assert alice.session.receive(b"\0\n and more") == []


# Byte streams ----------------------------------------------------------------------------------------------------


@each_channel
@each_size
@either_serves
def test_what_follows_the_handshake_of_a_stream_is_handed_over(
    make_tls: Callable[[bool], TLSChannel] | None, size: int | None, dialler_serves: bool
) -> None:
    alice, bob = pair(make_tls=make_tls, dialler_serves=dialler_serves, dialler_decides=False)
    alice.session.want_stream("tokentokentoken0")
    while not alice.session.open:
        alice.hear(bob.take(), size)
        if not alice.session.open:
            bob.hear(alice.take(), size)
    # Behind the `ok`, in one piece with it.
    noise = bytes(range(256)) + b"\nlink\n"
    alice.session.send(noise)
    bob.hear(alice.take(), size)
    assert bob.session.open
    tls, rest = bob.session.hand_over()
    assert rest == noise
    assert (tls is not None) == (make_tls is not None)
    assert [event for event in bob.events if isinstance(event, Messages)] == []
    channel, rest = alice.session.hand_over()
    assert rest == b""
    if tls is not None and channel is not None:
        assert channel.receive(tls.send(b"back"))[0] == b"back"


# What the runtime relies on ------------------------------------------------------------------------------------------


@each_channel
def test_a_word_for_the_node_port(make_tls: Callable[[bool], TLSChannel] | None) -> None:
    alice, bob = pair(make_tls=make_tls)
    talk(alice, bob)
    alice.session.say("idle")
    talk(alice, bob)
    assert bob.received == [("", "idle")]


def test_too_much_in_the_handshake_is_refused() -> None:
    alice, _ = pair()
    alice.session._unasked = GREETING_LIMIT + 1
    with pytest.raises(RemoteProtocolError, match="bytes in this part of the handshake, got more"):
        alice.hear(b"x")


def test_what_tls_refuses_to_send_is_kept_as_the_failure() -> None:
    alice, bob = pair(make_tls=FakeTLS)
    talk(alice, bob)

    class Refusing(FakeTLS):
        def send(self, data: bytes | bytearray | memoryview) -> bytes:
            raise RemoteProtocolError("too many records")

    alice.session._tls = Refusing(False)
    alice.send(("port", "hello"))
    assert alice.session.failure == "too many records"
    assert alice.take() == b""


def make_deaf_session(nonce: bytes) -> Session:
    info = LocalInfo("ab"[nonce[0] & 1], "i" * 16, (b"k" * 32,), True, 5, 1 << 20, "p")
    return Session(info, nonce, dialler=False, peer_address="", make_tls=lambda _: Deaf())


def test_a_session_that_cannot_send_says_so_and_raises_nothing() -> None:
    session, other = make_deaf_session(b"\0" * 33), make_deaf_session(b"\1" * 33)
    session.receive(bytes(other.outgoing))
    session.receive(b"")
    session.send(b"x")
    assert session.failure == "TLS: no"


def test_tls_messages_without_end_before_authentication() -> None:
    session, other = make_deaf_session(b"\0" * 33), make_deaf_session(b"\1" * 33)
    session.receive(bytes(other.outgoing))

    def flood() -> None:
        for _ in range(2 * SECURE_LIMIT // 1000):
            session.receive(b"x" * 1000)

    with pytest.raises(RemoteProtocolError, match="in this part of the handshake, got more"):
        flood()
