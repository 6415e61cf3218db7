"""The handshake: from the first byte to the first frame.

One table, both sides. `us` and `them` say who speaks; between our own nodes the side that dialled proves itself first.

    step      what is awaited                        what follows
    ────────  ─────────────────────────────────────  ───────────────────────────────────────────────
    GREETING  them: fields of the greeting           NONCE
    NONCE     them: nonce                            TLS if both want it, else PROVE or PROOF
    TLS       the TLS handshake, by the session      dialled by us: PROVE, else PROOF
    PROVE     us: `prove`, our proof                 dialled by us: PROOF, else DECISION
    PROOF     them: their proof                      dialled by us: DECISION, else PROVE
    DECISION  them: `link` or `no`; us: `link`/`no`  them: LINKED; us: OK; `no`: REFUSED
    OK        them: `ok` or `no`                     OPEN; `no`: REFUSED
    LINKED    us: `accept` (`ok`), or `refuse`       OPEN; `no`: REFUSED

Which side may say `link` is the association's business; on a connection that is to carry a byte stream it is the side
that was dialled. The bytes of a stream begin where frames would: behind the `ok`, in both directions. Everything
that is wrong raises `RemoteProtocolError`.
"""

from __future__ import annotations

import base64
import binascii
import enum
import re
from dataclasses import dataclass

from ..._errors import LocalProtocolError, RemoteProtocolError
from ..._ids import is_incarnation, is_node_id, is_token
from ..wire.framing import FRAMINGS, MSGPACK
from . import auth
from .auth import HMAC_SHA256, NO_KEY, TLS_SHA256, Greeting
from .events import Authenticated, Event, Greeted, LinkReceived, OkReceived, PeerInfo, ProofWanted, RefusedByPeer

NONCE_SIZE = 33
"""Random bytes in a nonce; 33 make 44 characters of base64 without padding."""

MINIMUM_LIMIT = 64 * 1024
"""The smallest `limit=`, in bytes, that a node may announce."""

_MINIMUM_NONCE = 32
_HEARTBEATS = (0.1, 60.0)
_CONNECTION_ID = re.compile(r"(?:[0-9a-f]{32})?")
_NUMBER = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?")


@dataclass(frozen=True, slots=True)
class LocalInfo:
    """What a node says of itself, and what it proves itself with.

    Attributes:
      node_id, incarnation: its own.
      keys: the stretched secrets (`auth.stretch_secret`): the first is used when dialling, each is accepted. Without
        any, certificates alone prove who is there.
      encryption: whether connections are encrypted; the other side must say the same.
      certificates: whether TLS verifies certificates on both sides.
      verify_node_id: whether the other side's certificate must name its node ID.
      framings: the names of the framings that it reads and writes, the better one first.
      heartbeat: something will be sent at least this often, in seconds.
      limit: the largest message it takes, in bytes.
      provider: program and version.
    """

    node_id: str
    incarnation: str
    keys: tuple[bytes, ...]
    encryption: bool
    heartbeat: float
    limit: int
    provider: str
    certificates: bool = False
    verify_node_id: bool = True
    framings: tuple[str, ...] = tuple(FRAMINGS)

    def __post_init__(self) -> None:
        """Raise `LocalProtocolError` for what would let anybody in."""
        if not self.keys and not (self.certificates and self.encryption):
            raise LocalProtocolError("a node without a secret needs certificates, and encryption")

    @property
    def method(self) -> str:
        """The one authentication method that is offered and accepted."""
        return HMAC_SHA256 if self.keys else TLS_SHA256


class Step(enum.Enum):
    """Where a handshake stands; the table above."""

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


def escape(text: str) -> str:
    """A field as it travels: printable ASCII without `;`; what is neither is escaped as %xx, byte by byte."""
    return "".join(
        chr(byte) if 32 <= byte < 127 and byte not in b";%" else f"%{byte:02x}"
        for byte in text.encode("utf-8", "surrogatepass")
    )


def unescape(field: str) -> str:
    """The text of a field; what is not an escape stands for itself."""
    raw = re.sub(rb"%([0-9a-fA-F]{2})", lambda match: bytes([int(match[1], 16)]), field.encode("ascii"))
    return raw.decode("utf-8", "replace")


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
        # Whether this node dialled itself. Anybody can claim it, so nothing that lasts may follow from it.
        self.talks_to_itself = False
        # Whether the other side is a node of AnyEvent::MP: it means well, and cannot be spoken with.
        self.meets_original = False
        # Whether the connection is to carry a byte stream: who dialled says so.
        self.streams = False
        # The framings of either direction, once they are known.
        self.reads = self.writes = MSGPACK
        # Whoever is dialled answers with the key by which the other side has proven itself.
        self._key = local.keys[0] if local.keys else NO_KEY
        fields = [
            *("aemp", "1", local.node_id, local.method, ",".join(local.framings)),
            f"provider={local.provider}",
            f"peeraddr={peer_address}",
            *(["tls=1.0"] if local.encryption else []),
            f"incarnation={local.incarnation}",
            f"heartbeat={min(max(local.heartbeat, _HEARTBEATS[0]), _HEARTBEATS[1]):g}",
            f"limit={local.limit}",
        ]
        self._own = Greeting(";".join(map(escape, fields)), base64.b64encode(nonce).decode("ascii"))
        self._peer = Greeting("", "")
        self._fields = ""
        self._fingerprint = b""

    def want_stream(self, token: str) -> None:
        """Ask for a byte stream instead of messages. Only who dials may, and before it has said anything."""
        self._own = Greeting(f"{self._own.fields};stream={token}", self._own.nonce)
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

    def prove(self, lost: str) -> str:
        """Our proof, a line. `lost` is the ID of the last connection with this peer that ended here, or empty."""
        self._expect(Step.PROVE)
        method, rest = self.local.method, f"{self.writes.name};lost={lost}"
        token = auth.proof(self._key, self._own, self._peer, self._fingerprint, f"{method};;{rest}")
        self.step = Step.PROOF if self.dialler else Step.DECISION
        return f"{method};{token};{rest}\n"

    def link(self) -> str:
        """The line that chooses this connection."""
        self._expect(Step.DECISION)
        self.step = Step.OK
        return "link\n"

    def accept(self) -> str:
        """The line that answers `link`."""
        self._expect(Step.LINKED)
        self.step = Step.OPEN
        return "ok\n"

    def refuse(self, why: str) -> str:
        """The line that refuses this connection, once the other side has authenticated."""
        self._expect(Step.DECISION, Step.LINKED)
        self.step = Step.REFUSED
        return f"no;{escape(why)}\n"

    def _expect(self, *steps: Step) -> None:
        if self.step not in steps:
            raise LocalProtocolError(f"not in step {self.step.value!r} of the handshake")

    # What the other side says --------------------------------------------------------------------------------------

    def tls_done(self, fingerprint: bytes, node_ids: frozenset[str] | None) -> list[Event]:
        """The TLS handshake is done.

        Args:
          fingerprint: SHA-256 of the TLS server's certificate, as seen here.
          node_ids: those that the other side's certificate names, if it was verified; None if it was not.
        """
        self._expect(Step.TLS)
        assert self.peer is not None
        if self.local.certificates:
            if node_ids is None:
                raise RemoteProtocolError("its certificate was not verified")
            if self.local.verify_node_id and self.peer.node_id not in node_ids:
                named = ", ".join(sorted(node_ids)) or "no node"
                raise RemoteProtocolError(
                    f"its certificate is not for {self.peer.node_id}, which it says it is: it names {named[:200]!r}"
                )
        self._fingerprint = fingerprint
        return self._begin_proofs()

    def line_received(self, line_untrusted: str) -> list[Event]:
        """A line from the other side, without its end."""
        match self.step:
            case Step.GREETING:
                self._fields = line_untrusted
                self.step = Step.NONCE
                return []
            case Step.NONCE:
                return self._greeting_received(Greeting(self._fields, line_untrusted))
            case Step.PROOF:
                return self._proof_received(line_untrusted)
            case Step.DECISION if line_untrusted == "link":
                self.step = Step.LINKED
                return [LinkReceived()]
            case Step.OK if line_untrusted == "ok":
                self.step = Step.OPEN
                return [OkReceived()]
            case Step.DECISION | Step.OK if line_untrusted.startswith("no;"):
                self.step = Step.REFUSED
                return [RefusedByPeer(unescape(line_untrusted[3:]))]
            case _:
                pass
        raise RemoteProtocolError(f"unexpected in step {self.step.value!r}: {line_untrusted[:80]!r}")

    def _greeting_received(self, greeting: Greeting) -> list[Event]:
        self._peer = greeting
        self.meets_original = is_original(greeting)
        peer = parse_greeting(greeting)
        if greeting.nonce == self._own.nonce:
            raise RemoteProtocolError("it sent our own nonce back")
        if peer.node_id == self.local.node_id:
            self.talks_to_itself = peer.incarnation == self.local.incarnation
            who = "this node itself" if self.talks_to_itself else "another node"
            raise RemoteProtocolError(f"it has our own node ID, {peer.node_id!r}: it is {who}")
        if peer.tls != self.local.encryption:
            ours, theirs = ("on", "off") if self.local.encryption else ("off", "on")
            raise RemoteProtocolError(f"encryption is {ours} here and {theirs} there: set it alike on both sides")
        if peer.stream and self.dialler:
            raise RemoteProtocolError("it was dialled, and asks for a byte stream")
        self.streams = self.streams or bool(peer.stream)
        if self.local.method not in peer.methods:
            raise RemoteProtocolError(_no_common_method(self.local.method, peer.methods))
        common = [name for name in peer.framings if name in self.local.framings]
        if not common:
            raise RemoteProtocolError(f"no framing in common; it reads {','.join(peer.framings)[:80]!r}")
        self.writes = FRAMINGS[common[0]]
        self.peer = peer
        greeted: list[Event] = [Greeted(peer, auth.connection_id(self._own, self._peer))]
        if peer.tls:
            self.step = Step.TLS
            return greeted
        return greeted + self._begin_proofs()

    def _begin_proofs(self) -> list[Event]:
        self.step = Step.PROVE if self.dialler else Step.PROOF
        return [ProofWanted()] if self.dialler else []

    def _proof_received(self, line: str) -> list[Event]:
        method, _, rest = line.partition(";")
        token, _, rest = rest.partition(";")
        framing, marker, lost = rest.partition(";lost=")
        if method != self.local.method:
            raise RemoteProtocolError(f"an authentication method that was not offered: {method[:40]!r}")
        self._key = self._proven_key(token, f"{method};;{rest}")
        if framing not in self.local.framings:
            raise RemoteProtocolError(f"a framing that was not offered: {framing[:40]!r}")
        self.reads = FRAMINGS[framing]
        if not marker or not _CONNECTION_ID.fullmatch(lost):
            raise RemoteProtocolError(f"not a connection ID: {lost[:40]!r}")
        self.proven = True
        self.step = Step.DECISION if self.dialler else Step.PROVE
        return [Authenticated(lost, owes_proof=not self.dialler)]

    def _proven_key(self, token: str, line: str) -> bytes:
        """The key by which the other side has proven itself. Raises `RemoteProtocolError`: by none of ours."""
        for key in self.local.keys or (NO_KEY,):
            if auth.proves(token, key, self._own, self._peer, self._fingerprint, line):
                return key
        if self.local.keys:
            why = "its secret is another one than ours, or somebody stands in between"
            raise RemoteProtocolError(f"authentication failed: {why}")
        raise RemoteProtocolError("authentication failed: the greetings were changed on their way")


def _no_common_method(ours: str, theirs: tuple[str, ...]) -> str:
    if ours == HMAC_SHA256 and TLS_SHA256 in theirs:
        return "this node wants a secret, and that one uses certificates alone: set the secret alike on both sides"
    if ours == TLS_SHA256 and HMAC_SHA256 in theirs:
        return "that node wants a secret, and this one uses certificates alone: set the secret alike on both sides"
    return f"no authentication method in common; it accepts {','.join(theirs)[:80]!r}"


def is_original(greeting: Greeting) -> bool:
    """Whether the greeting is one of AnyEvent::MP, which has the same first lines and knows of no incarnations."""
    return ";provider=AE-" in greeting.fields and ";incarnation=" not in greeting.fields


def parse_greeting(greeting: Greeting) -> PeerInfo:
    """What a peer said of itself. Raises `RemoteProtocolError`."""
    head = greeting.fields.split(";")
    if head[:2] != ["aemp", "1"] or len(head) < 5:
        raise RemoteProtocolError(f"not a greeting of this protocol: {greeting.fields[:80]!r}")
    node_id, methods, framings, *pairs = map(unescape, head[2:])
    keys: dict[str, str] = {}
    for pair in pairs:
        key, _, value = pair.partition("=")
        keys[key] = value
    if is_original(greeting):
        provider = keys.get("provider", "")
        raise RemoteProtocolError(
            f"it is a node of AnyEvent::MP, {node_id[:80]!r} ({provider[:40]!r}): nodes of trio_mp speak with their own"
            " kind only"
        )
    try:
        nonce = base64.b64decode(greeting.nonce, validate=True)
    except (binascii.Error, ValueError):
        nonce = b""
    if len(nonce) < _MINIMUM_NONCE:
        raise RemoteProtocolError(f"a nonce that is not at least {_MINIMUM_NONCE} bytes in base64")
    if not is_node_id(node_id):
        raise RemoteProtocolError(f"not a node ID: {node_id[:80]!r}")
    incarnation = keys.get("incarnation", "")
    if not is_incarnation(incarnation):
        raise RemoteProtocolError(f"not an incarnation: {incarnation[:40]!r}")
    stream = keys.get("stream", "")
    if "stream" in keys and not is_token(stream):
        raise RemoteProtocolError(f"not the token of a stream: {stream[:40]!r}")
    low, high = _HEARTBEATS
    limit = int(_number(keys, "limit", "0"))
    if limit < MINIMUM_LIMIT:
        raise RemoteProtocolError(f"it takes messages of at most {limit} bytes; {MINIMUM_LIMIT} is the least allowed")
    return PeerInfo(
        node_id=node_id,
        incarnation=incarnation,
        methods=tuple(methods.split(",")),
        framings=tuple(framings.split(",")),
        tls=keys.get("tls") == "1.0",
        heartbeat=min(max(_number(keys, "heartbeat", "5"), low), high),
        limit=limit,
        provider=keys.get("provider", ""),
        stream=stream,
    )


def _number(keys: dict[str, str], key: str, default: str) -> float:
    text = keys.get(key, default)
    if not _NUMBER.fullmatch(text):
        raise RemoteProtocolError(f"{key}= is not a number: {text[:40]!r}")
    return float(text)
