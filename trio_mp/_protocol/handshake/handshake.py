"""The handshake: from the first byte to the first frame.

One table, `STEPS`, for both sides. Each side sends its greeting, two lines, at once. Between our own nodes the side
that dialled proves itself first: a stranger who dials gets no token to guess against. Then one side chooses the
connection (`link`) and the other takes it up (`ok`), or either refuses it (`no`).

Which side may say `link` is the association's business; on a connection that is to carry a byte stream it is the side
that was dialled. The bytes of a stream begin where frames would: behind the `ok`, in both directions. Everything
that is wrong raises `RemoteProtocolError`.
"""

from __future__ import annotations

import enum
import re

from ..._errors import LocalProtocolError, RemoteProtocolError
from ..transitions import Row, TransitionTable
from ..wire.framing import FRAMINGS, MSGPACK
from . import auth
from .auth import HMAC_SHA256, NO_KEY, TLS_SHA256, Greeting
from .events import Authenticated, Event, Greeted, LinkReceived, OkReceived, PeerInfo, ProofWanted, RefusedByPeer
from .greeting import LocalInfo, escape, is_original, parse_greeting, unescape, with_stream, write_greeting

_CONNECTION_ID = re.compile(r"(?:[0-9a-f]{32})?")


class Step(enum.Enum):
    """Where a handshake stands: what is to come next, or how it has ended."""

    GREETING = "greeting"
    NONCE = "nonce"
    TLS = "tls"
    PROVE = "prove"
    PROOF = "proof"
    DECISION = "decision"
    OK = "ok"
    LINKED = "linked"
    OPEN = "open"
    REFUSED = "refused"


class StepEvent(enum.Enum):
    """What happens in a handshake: what the other side ("their") or this one ("our") says."""

    THEIR_FIELDS = "the fields of their greeting"
    THEIR_NONCE = "their nonce"
    TLS_DONE = "the end of the TLS handshake"
    OUR_PROOF = "our proof"
    THEIR_PROOF = "their proof"
    OUR_LINK = "our `link`"
    THEIR_LINK = "their `link`"
    OUR_OK = "our `ok`"
    THEIR_OK = "their `ok`"
    OUR_NO = "our `no`"
    THEIR_NO = "their `no`"


def it_is_encrypted(handshake: Handshake) -> bool:
    """Both sides want TLS: if only one does, their greetings do not fit."""
    return handshake.local.encryption


def it_is_plain(handshake: Handshake) -> bool:
    """Neither side wants TLS."""
    return not handshake.local.encryption


def we_have_dialled(handshake: Handshake) -> bool:
    """This side dialled, so it proves itself first."""
    return handshake.dialler


def they_have_dialled(handshake: Handshake) -> bool:
    """The other side dialled, so it proves itself first."""
    return not handshake.dialler


STEPS: TransitionTable[Step, StepEvent, Handshake] = TransitionTable(
    Row(Step.GREETING, StepEvent.THEIR_FIELDS, Step.NONCE),
    Row(Step.NONCE, StepEvent.THEIR_NONCE, Step.TLS, it_is_encrypted),
    Row(Step.NONCE, StepEvent.THEIR_NONCE, Step.PROVE, it_is_plain, we_have_dialled),
    Row(Step.NONCE, StepEvent.THEIR_NONCE, Step.PROOF, it_is_plain, they_have_dialled),
    # The session runs the TLS handshake and reports its end.
    Row(Step.TLS, StepEvent.TLS_DONE, Step.PROVE, we_have_dialled),
    Row(Step.TLS, StepEvent.TLS_DONE, Step.PROOF, they_have_dialled),
    Row(Step.PROVE, StepEvent.OUR_PROOF, Step.PROOF, we_have_dialled),
    Row(Step.PROOF, StepEvent.THEIR_PROOF, Step.PROVE, they_have_dialled),
    Row(Step.PROVE, StepEvent.OUR_PROOF, Step.DECISION, they_have_dialled),
    Row(Step.PROOF, StepEvent.THEIR_PROOF, Step.DECISION, we_have_dialled),
    Row(Step.DECISION, StepEvent.OUR_LINK, Step.OK),
    Row(Step.DECISION, StepEvent.THEIR_LINK, Step.LINKED),
    Row(Step.OK, StepEvent.THEIR_OK, Step.OPEN),
    Row(Step.LINKED, StepEvent.OUR_OK, Step.OPEN),
    # Who has said `link` may be refused; who has read it may refuse.
    Row(Step.DECISION, StepEvent.OUR_NO, Step.REFUSED),
    Row(Step.DECISION, StepEvent.THEIR_NO, Step.REFUSED),
    Row(Step.OK, StepEvent.THEIR_NO, Step.REFUSED),
    Row(Step.LINKED, StepEvent.OUR_NO, Step.REFUSED),
)


class Handshake:
    """One side's view of one handshake, line by line.

    Args:
      local: what this node says of itself.
      nonce: `NONCE_SIZE` fresh random bytes.
      dialler: whether this side dialled.
      peer_address: the other side's address as seen here; for its information only.
    """

    __slots__ = (
        *("_fields", "_fingerprint", "_key", "_own", "_peer"),
        *("dialler", "local", "meets_original", "peer", "proven", "reads", "step", "streams"),
        *("talks_to_itself", "writes"),
    )

    def __init__(self, local: LocalInfo, nonce: bytes, *, dialler: bool, peer_address: str) -> None:
        self.local = local
        self.dialler = dialler
        self.step = Step.GREETING
        self.peer: PeerInfo | None = None
        # Whether the other side has proven to be who it says it is.
        self.proven = False
        # Whether this node dialled itself. Any stranger can claim that, so nothing that lasts may follow from it.
        self.talks_to_itself = False
        # Whether the other side is a node of AnyEvent::MP: no attacker, but a node that we cannot talk to.
        self.meets_original = False
        # Whether the connection is to carry a byte stream: who dialled says so.
        self.streams = False
        # The framings of either direction, once they are known.
        self.reads = self.writes = MSGPACK
        # The side that was dialled answers with the key by which the other side has proven itself.
        self._key = local.keys[0] if local.keys else NO_KEY
        self._own = write_greeting(local, nonce, peer_address)
        self._peer = Greeting("", "")
        self._fields = ""
        self._fingerprint = b""

    def want_stream(self, token: str) -> None:
        """Ask for a byte stream instead of messages. Only who dials may, and before it has said anything."""
        self._own = with_stream(self._own, token)
        self.streams = True

    # What this side says -------------------------------------------------------------------------------------------

    @property
    def greeting(self) -> str:
        """Both lines of our greeting, with their ends."""
        return f"{self._own.fields}\n{self._own.nonce}\n"

    @property
    def tls_server(self) -> bool:
        """Whether this side is the TLS server: the one with the greater nonce line."""
        return self._own.nonce > self._peer.nonce

    @property
    def secret_number(self) -> int:
        """By which of our secrets the other side has proven itself, from 1 on; 0 if by none, or not yet.

        The first is the one by which this node dials.
        """
        return self.local.keys.index(self._key) + 1 if self.proven and self.local.keys else 0

    def prove(self, lost: str) -> str:
        """Our proof, a line. `lost` is the ID of the last connection with this peer that ended here, or empty."""
        self._say(StepEvent.OUR_PROOF)
        method, rest = self.local.method, f"{self.writes.name};lost={lost}"
        token = auth.proof(self._key, self._own, self._peer, self._fingerprint, f"{method};;{rest}")
        return f"{method};{token};{rest}\n"

    def link(self) -> str:
        """The line that chooses this connection."""
        self._say(StepEvent.OUR_LINK)
        return "link\n"

    def accept(self) -> str:
        """The line that answers `link`."""
        self._say(StepEvent.OUR_OK)
        return "ok\n"

    def refuse(self, why: str) -> str:
        """The line that refuses this connection, once the other side has authenticated."""
        self._say(StepEvent.OUR_NO)
        return f"no;{escape(why)}\n"

    def _say(self, event: StepEvent) -> None:
        """Move on because this side says something. Raises `LocalProtocolError` if it is not its turn."""
        if not self._move(event):
            raise LocalProtocolError(f"{self._expected()}, got {event.value}")

    def _move(self, event: StepEvent) -> bool:
        """Go on to the step that follows; whether there is one."""
        after = STEPS.after(self.step, event, self)
        if after is None:
            return False
        self.step = after
        return True

    def _expected(self) -> str:
        return f"in step {self.step.value!r} of the handshake: expected {STEPS.expected(self.step)}"

    # What the other side says --------------------------------------------------------------------------------------

    def tls_done(self, fingerprint: bytes, node_ids: frozenset[str] | None) -> list[Event]:
        """The TLS handshake is done.

        Args:
          fingerprint: SHA-256 of the TLS server's certificate, as seen here.
          node_ids: those that the other side's certificate names, if it was verified; None if it was not.
        """
        if self.step is not Step.TLS:
            raise LocalProtocolError(f"{self._expected()}, got {StepEvent.TLS_DONE.value}")
        assert self.peer is not None
        if self.local.certificates:
            if node_ids is None:
                raise RemoteProtocolError("expected a verified certificate, got none")
            if self.local.verify_node_id and self.peer.node_id not in node_ids:
                named = ", ".join(sorted(node_ids)) or "no node"
                raise RemoteProtocolError(
                    f"expected a certificate for {self.peer.node_id}, which it says it is, got one for {named[:200]!r}"
                )
        self._fingerprint = fingerprint
        self._move(StepEvent.TLS_DONE)
        return self._wanted()

    def line_received(self, line_untrusted: str) -> list[Event]:
        """A line from the other side, without its end."""
        match self.step:
            case Step.GREETING:
                self._fields = line_untrusted
                self._move(StepEvent.THEIR_FIELDS)
                return []
            case Step.NONCE:
                return self._greeting_received(Greeting(self._fields, line_untrusted))
            case Step.PROOF:
                return self._proof_received(line_untrusted)
            case _:
                return self._answer_received(line_untrusted)

    def _answer_received(self, line: str) -> list[Event]:
        if line == "link" and self._move(StepEvent.THEIR_LINK):
            return [LinkReceived()]
        if line == "ok" and self._move(StepEvent.THEIR_OK):
            return [OkReceived()]
        if line.startswith("no;") and self._move(StepEvent.THEIR_NO):
            return [RefusedByPeer(unescape(line[3:]))]
        raise RemoteProtocolError(f"{self._expected()}, got the line {line[:80]!r}")

    def _greeting_received(self, greeting: Greeting) -> list[Event]:
        self._peer = greeting
        self.meets_original = is_original(greeting)
        peer = parse_greeting(greeting)
        if greeting.nonce == self._own.nonce:
            raise RemoteProtocolError("expected a nonce of the other side, got our own nonce back")
        if peer.node_id == self.local.node_id:
            self.talks_to_itself = peer.incarnation == self.local.incarnation
            who = "this node itself" if self.talks_to_itself else "another node"
            raise RemoteProtocolError(f"expected a node ID other than our own, got {peer.node_id!r} from {who}")
        if peer.tls != self.local.encryption:
            ours, theirs = ("on", "off") if self.local.encryption else ("off", "on")
            raise RemoteProtocolError(f"encryption is {ours} here and {theirs} there: set it alike on both sides")
        if peer.stream and self.dialler:
            raise RemoteProtocolError("expected messages from a node that was dialled, got a wish for a byte stream")
        self.streams = self.streams or bool(peer.stream)
        if self.local.method not in peer.methods:
            raise RemoteProtocolError(_no_common_method(self.local.method, peer.methods))
        common = [name for name in peer.framings if name in self.local.framings]
        if not common:
            ours, theirs = ",".join(self.local.framings), ",".join(peer.framings)
            raise RemoteProtocolError(f"no framing in common: expected one of {ours!r}, got {theirs[:80]!r}")
        self.writes = FRAMINGS[common[0]]
        self.peer = peer
        greeted: list[Event] = [Greeted(peer, auth.connection_id(self._own, self._peer))]
        self._move(StepEvent.THEIR_NONCE)
        return greeted + self._wanted()

    def _wanted(self) -> list[Event]:
        """The event that asks this side for its proof, if it is its turn."""
        return [ProofWanted()] if self.step is Step.PROVE else []

    def _proof_received(self, line: str) -> list[Event]:
        method, _, rest = line.partition(";")
        token, _, rest = rest.partition(";")
        framing, marker, lost = rest.partition(";lost=")
        if method != self.local.method:
            raise RemoteProtocolError(f"expected the authentication method {self.local.method!r}, got {method[:40]!r}")
        self._key = self._proven_key(token, f"{method};;{rest}")
        if framing not in self.local.framings:
            raise RemoteProtocolError(f"expected a framing that was offered, got {framing[:40]!r}")
        self.reads = FRAMINGS[framing]
        if not marker or not _CONNECTION_ID.fullmatch(lost):
            raise RemoteProtocolError(f"expected a connection ID, got {lost[:40]!r}")
        self.proven = True
        self._move(StepEvent.THEIR_PROOF)
        return [Authenticated(lost, owes_proof=not self.dialler)]

    def _proven_key(self, token: str, line: str) -> bytes:
        """The key by which the other side has proven itself. Raises `RemoteProtocolError`: by none of ours."""
        for key in self.local.keys or (NO_KEY,):
            if auth.proves(token, key, self._own, self._peer, self._fingerprint, line):
                return key
        if self.local.keys:
            why = "the other side has another secret than ours, or somebody stands in between"
            where = f"; ours is in the secret_file {self.local.keys_from}" if self.local.keys_from else ""
            raise RemoteProtocolError(f"authentication failed: {why}{where}")
        raise RemoteProtocolError("authentication failed: the greetings were changed on their way")


def _no_common_method(ours: str, theirs: tuple[str, ...]) -> str:
    if ours == HMAC_SHA256 and TLS_SHA256 in theirs:
        return "this node wants a secret, and that one uses certificates alone: set the secret alike on both sides"
    if ours == TLS_SHA256 and HMAC_SHA256 in theirs:
        return "that node wants a secret, and this one uses certificates alone: set the secret alike on both sides"
    return f"no authentication method in common; expected {ours!r}, got {','.join(theirs)[:80]!r}"
