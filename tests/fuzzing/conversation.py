"""The parts of a connection's other side that the fuzzer does not play, and a session that is driven as at run time.

A conversation is bytes: two that say how it is set up, then those that the other side sends. No random input gets past
the proof by chance, so a flag puts the correct proof, computed with the real key, in its place.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Iterable, Iterator

from trio_mp._errors import RemoteProtocolError
from trio_mp._protocol.handshake import auth
from trio_mp._protocol.handshake.auth import HMAC_SHA256, Greeting
from trio_mp._protocol.handshake.events import (
    Authenticated,
    Event,
    Greeted,
    LinkReceived,
    Messages,
    ProofWanted,
    RefusedByPeer,
)
from trio_mp._protocol.handshake.greeting import NONCE_SIZE, LocalInfo
from trio_mp._protocol.handshake.handshake import Step
from trio_mp._protocol.handshake.session import Session, TLSChannel
from trio_mp._protocol.requests import parse
from trio_mp._protocol.wire.buffer import LINE_LIMIT
from trio_mp._transport.throwaway import throwaway_tls

from .cutting import Outcome, outcome_of

KEY = bytes(range(32))
LOCAL = "local"
LIMIT = 65536
NONCE = b"\x55" * NONCE_SIZE

SOONER = (
    # A side that speaks before it was answered causes an error only if both came in one piece.
    *("in step '", "expected nothing before its 'link'", "expected nothing before this side", "expected 'link' once"),
    # Of two faults in one piece, the splitter's is found before the decoder's.
    "expected a frame of",
)
"""The `sooner` of `check_agreement`."""


class Setup(enum.IntFlag):
    """The first byte of a conversation: the parts that are put before the fuzzer's bytes."""

    GREETING = 1
    """Put a valid greeting; without this the fuzzer's first two lines are the greeting."""
    PROOF = 2
    """Put the correct proof for the greeting, whoever made that."""
    OWN_REST = 4
    """The proof is over the fuzzer's next line, which has `;;` where the token belongs."""
    GREATER = 8
    """The other side's node ID is the greater one, so that it decides."""
    JSON = 16
    """The other side says that it will write JSON."""
    TLS_SERVER = 32
    """With TLS: this side is the server."""


def local_info(node_id: str, *, encryption: bool) -> LocalInfo:
    """Return a node's information for the greeting. No other place knows the arguments of `LocalInfo`."""
    return LocalInfo(
        node_id=node_id,
        incarnation="ABCDEFGHabcdefgh",
        keys=(KEY,),
        encryption=encryption,
        heartbeat=5,
        limit=LIMIT,
        provider="fuzz",
    )


def make_session(node_id: str, nonce: bytes, *, dialler: bool, encryption: bool = False) -> Session:
    """Return one side of a connection. No other place knows the arguments of `Session`."""
    return Session(
        local_info(node_id, encryption=encryption),
        nonce,
        dialler=dialler,
        peer_address="memory",
        make_tls=throwaway_tls if encryption else _no_tls,
    )


def _no_tls(_is_server: bool) -> TLSChannel:
    raise AssertionError("nobody asked for TLS")


@functools.cache
def peer_greeting(setup: Setup, *, encryption: bool = False) -> bytes:
    """Return a valid greeting of the other side."""
    # The side with the smaller nonce is the TLS client.
    nonce = (b"\x01" if Setup.TLS_SERVER in setup else b"\xaa") * NONCE_SIZE
    node_id = "peer" if Setup.GREATER in setup else "else"
    return bytes(make_session(node_id, nonce, dialler=False, encryption=encryption).outgoing)


def proof_line(rest: bytes, theirs: Greeting, ours: Greeting, fingerprint: bytes = b"") -> bytes:
    """Put the other side's correct token into a line with `;;` in its place; return any other line as it is."""
    method, marker, tail = rest.partition(b";;")
    if not marker or not rest.isascii():
        return rest
    token = auth.proof(KEY, theirs, ours, fingerprint, rest.decode("ascii"))
    return b"%b;%b;%b" % (method, token.encode("ascii"), tail)


def plain_rest(setup: Setup) -> bytes:
    """Return the rest of the other side's proof line, if the fuzzer does not make it."""
    framing = "json" if Setup.JSON in setup else "msgpack"
    return f"{HMAC_SHA256};;{framing};lost=".encode("ascii")


def greeting_of(data: bytes) -> Greeting | None:
    """Return the greeting at the beginning of the data, if there is one that a session would parse; else None."""
    lines = data.split(b"\n", 2)
    if len(lines) < 3 or not (lines[0] + lines[1]).isascii():
        return None
    return Greeting(lines[0].decode("ascii"), lines[1].decode("ascii"))


def stream_of(setup: Setup, body: bytes, *, dialler: bool) -> bytes:
    """Return all that the other side says, without TLS, to a session of `LOCAL`; `dialler` if that session dialled."""
    if Setup.GREETING in setup:
        body = peer_greeting(setup) + body
    theirs = greeting_of(body)
    if Setup.PROOF not in setup or theirs is None:
        return body
    first, second, rest = body.split(b"\n", 2)
    return b"\n".join([first, second, with_proof(setup, rest, theirs, our_greeting(dialler=dialler))])


def with_proof(setup: Setup, body: bytes, theirs: Greeting, ours: Greeting, fingerprint: bytes = b"") -> bytes:
    """Return what the other side says behind the greeting, from its proof on."""
    line = plain_rest(setup)
    if Setup.OWN_REST in setup:
        line, _, body = body.partition(b"\n")
    return proof_line(line, theirs, ours, fingerprint) + b"\n" + body


@functools.cache
def our_greeting(*, dialler: bool, encryption: bool = False) -> Greeting:
    """Return the greeting of the session."""
    greeting = greeting_of(bytes(make_session(LOCAL, NONCE, dialler=dialler, encryption=encryption).outgoing) + b"\n")
    assert greeting is not None
    return greeting


class Driver:
    """Feeds a session and answers its events, as `trio_mp._peers.connection.Connection` and the association do.

    Attributes:
      authenticated: whether the other side has proven itself.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.authenticated = False
        self._decides = False
        self._closed = False

    def run(self, pieces: Iterable[bytes]) -> Outcome:
        """Feed the pieces; return the outcome."""
        return outcome_of(self.feed, pieces)

    def feed(self, piece: bytes) -> Iterator[object]:
        """Feed a piece; yield its events and messages one by one, each handled before the next."""
        if self._closed:
            return
        for event in self.session.receive(piece):
            if isinstance(event, Messages):
                assert self.session.open
                for message in event.batch:
                    # An empty message has no port's name.
                    yield (message, parse(message[1:]) if message and not message[0] else None)
                continue
            yield event
            if isinstance(event, RefusedByPeer):
                self._closed = True
                return
            self._handle(event)
        # No other buffer holds bytes that were received before the first frame.
        assert len(self.session._lines) <= LINE_LIMIT

    def _handle(self, event: Event) -> None:
        session = self.session
        match event:
            case Greeted(peer, _):
                self._decides = session.handshake.local.node_id.encode() > peer.node_id.encode()
            case ProofWanted():
                session.prove("")
            case Authenticated(_, owes_proof):
                self.authenticated = True
                if owes_proof:
                    session.prove("")
                if self._decides:
                    if session.handshake.step is not Step.DECISION:
                        raise RemoteProtocolError("expected nothing before this side, which decides, has spoken")
                    session.link()
            case LinkReceived():
                if self._decides:
                    raise RemoteProtocolError("expected 'link' once, from the side that decides")
                session.accept()
            case _:
                pass
