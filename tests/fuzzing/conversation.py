"""The other side of a connection, as far as the fuzzer does not play it, and a session that is driven as at run time.

A conversation is data: two bytes that say how it is set up, then what the other side says. A stranger would never get
past the proof by chance, so a flag puts the correct one, computed with the real key, where it belongs.
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
    # Whoever speaks before it was answered is told off only if both came in one piece.
    *("in step '", "expected nothing before its 'link'", "expected nothing before this side", "expected 'link' once"),
    # Of two faults in one piece, the splitter's is found before the decoder's.
    "expected a frame of",
)
"""See `check_agreement`."""


class Setup(enum.IntFlag):
    """The first byte of a conversation: what is put in front of what the fuzzer says."""

    GREETING = 1
    """A valid greeting; else the fuzzer's first two lines are one."""
    PROOF = 2
    """The correct proof for whatever greeting was said."""
    OWN_REST = 4
    """The proof is over the fuzzer's next line, which has `;;` where the token belongs."""
    GREATER = 8
    """The other side's node ID is the greater one, so that it decides."""
    JSON = 16
    """It says that it will write JSON."""
    TLS_SERVER = 32
    """With TLS: this side is the server."""


def local_info(node_id: str, *, encryption: bool) -> LocalInfo:
    """What a node says of itself; the only place that knows the arguments."""
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
    """One side of a connection; the only place that knows the arguments."""
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
    """A valid greeting of the other side."""
    # The side with the smaller nonce is the TLS client.
    nonce = (b"\x01" if Setup.TLS_SERVER in setup else b"\xaa") * NONCE_SIZE
    node_id = "peer" if Setup.GREATER in setup else "else"
    return bytes(make_session(node_id, nonce, dialler=False, encryption=encryption).outgoing)


def proof_line(rest: bytes, theirs: Greeting, ours: Greeting, fingerprint: bytes = b"") -> bytes:
    """The correct proof of the other side over a line with `;;` where the token belongs; other lines stay."""
    method, marker, tail = rest.partition(b";;")
    if not marker or not rest.isascii():
        return rest
    token = auth.proof(KEY, theirs, ours, fingerprint, rest.decode("ascii"))
    return b"%b;%b;%b" % (method, token.encode("ascii"), tail)


def plain_rest(setup: Setup) -> bytes:
    """What the other side says with its proof, if the fuzzer does not say it."""
    framing = "json" if Setup.JSON in setup else "msgpack"
    return f"{HMAC_SHA256};;{framing};lost=".encode("ascii")


def greeting_of(data: bytes) -> Greeting | None:
    """The greeting with which the data begins, if there is one that a session would look at."""
    lines = data.split(b"\n", 2)
    if len(lines) < 3 or not (lines[0] + lines[1]).isascii():
        return None
    return Greeting(lines[0].decode("ascii"), lines[1].decode("ascii"))


def stream_of(setup: Setup, body: bytes, *, dialler: bool) -> bytes:
    """All that the other side says, without TLS, to a session of `LOCAL` (`dialler`: to one that dialled)."""
    if Setup.GREETING in setup:
        body = peer_greeting(setup) + body
    theirs = greeting_of(body)
    if Setup.PROOF not in setup or theirs is None:
        return body
    first, second, rest = body.split(b"\n", 2)
    return b"\n".join([first, second, with_proof(setup, rest, theirs, our_greeting(dialler=dialler))])


def with_proof(setup: Setup, body: bytes, theirs: Greeting, ours: Greeting, fingerprint: bytes = b"") -> bytes:
    """What the other side says behind the greeting, from its proof on."""
    line = plain_rest(setup)
    if Setup.OWN_REST in setup:
        line, _, body = body.partition(b"\n")
    return proof_line(line, theirs, ours, fingerprint) + b"\n" + body


@functools.cache
def our_greeting(*, dialler: bool, encryption: bool = False) -> Greeting:
    """What the session says first."""
    greeting = greeting_of(bytes(make_session(LOCAL, NONCE, dialler=dialler, encryption=encryption).outgoing) + b"\n")
    assert greeting is not None
    return greeting


class Driver:
    """Feeds a session and does as it asks, as `trio_mp._peers.connection.Connection` and the association do.

    Attributes:
      authenticated: whether the other side has proven itself.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.authenticated = False
        self._decides = False
        self._closed = False

    def run(self, pieces: Iterable[bytes]) -> Outcome:
        """What comes of the pieces."""
        return outcome_of(self.feed, pieces)

    def feed(self, piece: bytes) -> Iterator[object]:
        """The events of a piece, with each message on its own, each handled before the next."""
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
        # Nothing else holds what was received before the first frame.
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
