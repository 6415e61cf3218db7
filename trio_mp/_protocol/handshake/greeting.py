"""The greeting: the two lines in which each side says, at once, who it is and what it can do.

The first line holds fields with `;` between them: first the five that every greeting has, then `key=value` in any
order. A reader skips keys that it does not know, so a new version may add some. The second line is the nonce, fresh
random bytes. Nothing in a greeting is proven: the proofs of `auth.py` cover both greetings afterwards.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from ..._errors import LocalProtocolError, RemoteProtocolError
from ..._ids import is_incarnation, is_node_id, is_token
from ..wire.framing import FRAMINGS
from .auth import HMAC_SHA256, TLS_SHA256, Greeting
from .events import PeerInfo

NONCE_SIZE = 33
"""Random bytes in a nonce; 33 make 44 characters of base64 without padding."""

MINIMUM_LIMIT = 64 * 1024
"""The smallest `limit=`, in bytes, that a node may announce."""

_MINIMUM_NONCE = 32
_HEARTBEATS = (0.1, 60.0)
_NUMBER = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?")


@dataclass(frozen=True, slots=True)
class LocalInfo:
    """What a node says of itself, and what it proves itself with.

    Attributes:
      node_id, incarnation: its own.
      keys: the stretched secrets (`auth.stretch_secret`): the first is used when dialling, each is accepted. Without
        any, certificates alone prove who is there.
      keys_from: the path of the file that holds the secrets, for texts about them; empty if the program gave them.
      encryption: whether connections are encrypted; the other side must say the same.
      certificates: whether TLS verifies certificates on both sides.
      verify_node_id: whether the other side's certificate must name its node ID.
      framings: the names of the framings that it reads and writes, the better one first.
      heartbeat: something will be sent at least this often, in seconds.
      limit: the largest message it takes, in bytes.
      provider: program and version.
      words: what it understands beyond the first version of the protocol.
      tool: whether it is a tool, which programs of other nodes do not count among the nodes.
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
    keys_from: str = ""
    words: tuple[str, ...] = ()
    tool: bool = False

    def __post_init__(self) -> None:
        """Raise `LocalProtocolError` for what would let anybody in."""
        if not self.keys and not (self.certificates and self.encryption):
            raise LocalProtocolError("expected a secret, or certificates and encryption, got neither")

    @property
    def method(self) -> str:
        """The one authentication method that is offered and accepted."""
        return HMAC_SHA256 if self.keys else TLS_SHA256


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


def write_greeting(local: LocalInfo, nonce: bytes, peer_address: str) -> Greeting:
    """The greeting of a node.

    Args:
      local: what the node says of itself.
      nonce: `NONCE_SIZE` fresh random bytes.
      peer_address: the other side's address as seen here; for its information only.
    """
    fields = [
        *("aemp", "1", local.node_id, local.method, ",".join(local.framings)),
        f"provider={local.provider}",
        f"peeraddr={peer_address}",
        *(["tls=1.0"] if local.encryption else []),
        f"incarnation={local.incarnation}",
        f"heartbeat={min(max(local.heartbeat, _HEARTBEATS[0]), _HEARTBEATS[1]):g}",
        f"limit={local.limit}",
        *([f"words={','.join(local.words)}"] if local.words else []),
        *(["kind=tool"] if local.tool else []),
    ]
    return Greeting(";".join(map(escape, fields)), base64.b64encode(nonce).decode("ascii"))


def with_stream(greeting: Greeting, token: str) -> Greeting:
    """The same greeting, of a connection that is to carry the byte stream of this token."""
    return Greeting(f"{greeting.fields};stream={token}", greeting.nonce)


def is_original(greeting: Greeting) -> bool:
    """Whether the greeting is one of AnyEvent::MP, which has the same first lines and knows of no incarnations."""
    return ";provider=AE-" in greeting.fields and ";incarnation=" not in greeting.fields


def parse_greeting(greeting: Greeting) -> PeerInfo:
    """What a peer says of itself in its greeting. Raises `RemoteProtocolError`: no node greets like that."""
    head = greeting.fields.split(";")
    if head[:2] != ["aemp", "1"] or len(head) < 5:
        raise RemoteProtocolError(f"expected a greeting of trio_mp, got {greeting.fields[:80]!r}")
    node_id, methods, framings, *pairs = map(unescape, head[2:])
    keys: dict[str, str] = {}
    for pair in pairs:
        key, _, value = pair.partition("=")
        keys[key] = value
    if is_original(greeting):
        provider = keys.get("provider", "")
        raise RemoteProtocolError(
            f"expected a node of trio_mp, got the node {node_id[:80]!r} of AnyEvent::MP ({provider[:40]!r}):"
            " nodes of trio_mp speak with their own kind only"
        )
    try:
        nonce = base64.b64decode(greeting.nonce, validate=True)
    except (binascii.Error, ValueError):
        nonce = b""
    if len(nonce) < _MINIMUM_NONCE:
        expected = f"expected a nonce of at least {_MINIMUM_NONCE} bytes in base64"
        raise RemoteProtocolError(f"{expected}, got {greeting.nonce[:80]!r}")
    if not is_node_id(node_id):
        raise RemoteProtocolError(f"expected a node ID, got {node_id[:80]!r}")
    incarnation = keys.get("incarnation", "")
    if not is_incarnation(incarnation):
        raise RemoteProtocolError(f"expected an incarnation, got {incarnation[:40]!r}")
    stream = keys.get("stream", "")
    if "stream" in keys and not is_token(stream):
        raise RemoteProtocolError(f"expected the token of a stream, got {stream[:40]!r}")
    low, high = _HEARTBEATS
    limit = int(_number(keys, "limit", "0"))
    if limit < MINIMUM_LIMIT:
        expected = f"expected limit= to be {MINIMUM_LIMIT} bytes or more"
        raise RemoteProtocolError(f"{expected}, got {limit}: raise the message_limit of that node")
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
        words=frozenset(filter(None, keys.get("words", "").split(","))),
        tool=keys.get("kind") == "tool",
    )


def _number(keys: dict[str, str], key: str, default: str) -> float:
    text = keys.get(key, default)
    if not _NUMBER.fullmatch(text):
        raise RemoteProtocolError(f"expected a number behind {key}=, got {text[:40]!r}")
    return float(text)
