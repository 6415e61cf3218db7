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

Which side may say `link` is the association's business. Everything that is wrong raises `RemoteProtocolError`.
"""

from __future__ import annotations

import base64
import binascii
import enum
import re
from dataclasses import dataclass

from .._errors import LocalProtocolError, RemoteProtocolError
from .._ids import is_incarnation, is_node_id
from . import auth
from .auth import HMAC_SHA256, Greeting
from .effects import Authenticated, Event, Greeted, LinkReceived, OkReceived, PeerInfo, ProofWanted, RefusedByPeer

NONCE_SIZE = 33
"""Random bytes in a nonce; 33 make 44 characters of base64 without padding."""

MINIMUM_LIMIT = 64 * 1024
"""The smallest `limit=`, in bytes, that a node may announce."""

MSGPACK = "msgpack"

_MINIMUM_NONCE = 32
_HEARTBEATS = (0.1, 60.0)
_CONNECTION_ID = re.compile(r"(?:[0-9a-f]{32})?")
_NUMBER = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?")


@dataclass(frozen=True, slots=True)
class LocalInfo:
    """What a node says of itself, and what it proves itself with.

    Attributes:
      node_id, incarnation: its own.
      key: the stretched secret (`auth.stretch_secret`).
      encryption: whether connections are encrypted; the other side must say the same.
      heartbeat: something will be sent at least this often, in seconds.
      limit: the largest message it takes, in bytes.
      provider: program and version.
    """

    node_id: str
    incarnation: str
    key: bytes
    encryption: bool
    heartbeat: float
    limit: int
    provider: str


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

    __slots__ = ("_fields", "_fingerprint", "_own", "_peer", "dialler", "local", "peer", "step", "talks_to_itself")

    def __init__(self, local: LocalInfo, nonce: bytes, *, dialler: bool, peer_address: str) -> None:
        self.local = local
        self.dialler = dialler
        self.step = Step.GREETING
        self.peer: PeerInfo | None = None
        # Whether this node dialled itself. Anybody can claim it; it only makes this side stop trying.
        self.talks_to_itself = False
        fields = [
            *("aemp", "1", local.node_id, HMAC_SHA256, MSGPACK),
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
        rest = f"{HMAC_SHA256};;{MSGPACK};lost={lost}"
        token = auth.proof(self.local.key, self._own, self._peer, self._fingerprint, rest)
        self.step = Step.PROOF if self.dialler else Step.DECISION
        return f"{HMAC_SHA256};{token};{MSGPACK};lost={lost}\n"

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

    def tls_done(self, fingerprint: bytes) -> list[Event]:
        """The TLS handshake is done; the SHA-256 fingerprint of the TLS server's certificate, as seen here."""
        self._expect(Step.TLS)
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
        peer = parse_greeting(greeting)
        if greeting.nonce == self._own.nonce:
            raise RemoteProtocolError("it sent our own nonce back")
        if peer.node_id == self.local.node_id:
            self.talks_to_itself = peer.incarnation == self.local.incarnation
            who = "this node itself" if self.talks_to_itself else "another node"
            raise RemoteProtocolError(f"it has our own node ID, {peer.node_id!r}: it is {who}")
        if HMAC_SHA256 not in peer.methods:
            raise RemoteProtocolError(f"no authentication method in common; it accepts {','.join(peer.methods)[:80]!r}")
        if MSGPACK not in peer.framings:
            raise RemoteProtocolError(f"no framing in common; it reads {','.join(peer.framings)[:80]!r}")
        if peer.tls != self.local.encryption:
            ours, theirs = ("on", "off") if self.local.encryption else ("off", "on")
            raise RemoteProtocolError(f"encryption is {ours} here and {theirs} there: set it alike on both sides")
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
        if method != HMAC_SHA256:
            raise RemoteProtocolError(f"an authentication method that was not offered: {method[:40]!r}")
        if not auth.proves(token, self.local.key, self._own, self._peer, self._fingerprint, f"{method};;{rest}"):
            raise RemoteProtocolError("authentication failed: its secret is another one than ours")
        if framing != MSGPACK:
            raise RemoteProtocolError(f"a framing that was not offered: {framing[:40]!r}")
        if not marker or not _CONNECTION_ID.fullmatch(lost):
            raise RemoteProtocolError(f"not a connection ID: {lost[:40]!r}")
        self.step = Step.DECISION if self.dialler else Step.PROVE
        return [Authenticated(lost, owes_proof=not self.dialler)]


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
    )


def _number(keys: dict[str, str], key: str, default: str) -> float:
    text = keys.get(key, default)
    if not _NUMBER.fullmatch(text):
        raise RemoteProtocolError(f"{key}= is not a number: {text[:40]!r}")
    return float(text)
