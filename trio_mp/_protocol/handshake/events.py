"""The events of a session: frozen values, each of which says what a connection has received.

`Session.receive` returns them, in the order in which they happened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """What the other side said of itself in its greeting.

    Attributes:
      node_id: its node ID; unproven until the connection has authenticated.
      incarnation: the token of this run of it.
      methods, framings: the authentication methods it accepts and the framings it reads, in its order.
      tls: whether it wants TLS.
      heartbeat: it sends something at least this often, in seconds, between 0.1 and 60.
      limit: the largest message it takes, in bytes.
      provider: program and version.
      tool: whether it is a tool, which programs do not count among the nodes.
      words: what it understands beyond the first version of the protocol, such as `call`.
      stream: the token of the byte stream that the connection is to carry; empty if it is to carry messages.
    """

    node_id: str
    incarnation: str
    methods: tuple[str, ...]
    framings: tuple[str, ...]
    tls: bool
    heartbeat: float
    limit: int
    provider: str
    stream: str = ""
    words: frozenset[str] = frozenset()
    tool: bool = False


@dataclass(frozen=True, slots=True)
class Greeted:
    """The greetings have crossed: who the other side claims to be, and the ID of the connection."""

    peer: PeerInfo
    connection: str


@dataclass(frozen=True, slots=True)
class ProofWanted:
    """The side that dialled must prove itself now: call `Session.prove`."""


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The other side has proven itself.

    Attributes:
      lost: the ID of the last connection with us that it had in use and that ended there; may be empty.
      owes_proof: whether we have yet to prove ourselves (we were dialled).
    """

    lost: str
    owes_proof: bool


@dataclass(frozen=True, slots=True)
class LinkReceived:
    """The side that decides has chosen this connection."""


@dataclass(frozen=True, slots=True)
class OkReceived:
    """The other side has adopted this connection: data may be written."""


@dataclass(frozen=True, slots=True)
class RefusedByPeer:
    """The other side does not want this connection, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class Messages:
    """A batch: each message begins with the name of the port it is for."""

    batch: list[tuple[object, ...]]


Event: TypeAlias = Greeted | ProofWanted | Authenticated | LinkReceived | OkReceived | RefusedByPeer | Messages
