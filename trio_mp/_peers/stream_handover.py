"""Connections for byte streams: proven as all others are, then handed over to whoever awaits the stream.

Such a connection belongs to no association. It is taken up in the words of the others: the side that was dialled looks
whether somebody awaits the stream, and says `link` or `no`; the other side answers `ok`; behind that the bytes of the
stream begin. What happens to those is not known here: the network is told, when it is made, who awaits streams.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from .._protocol.handshake.events import (
    Authenticated,
    Event,
    Greeted,
    LinkReceived,
    PeerInfo,
    ProofWanted,
    RefusedByPeer,
)
from .._protocol.handshake.session import Session, TLSChannel
from .._transport.pipe import Pipe


@dataclass(frozen=True, slots=True)
class Handover:
    """What a byte stream goes on with when the handshake is over.

    Attributes:
      pipe: the bytes; from now on nobody else reads or writes it.
      tls: encrypts them, if anything does; its handshake is done.
      received: what was received of the stream already, decrypted.
      dialled: whether this side dialled.
    """

    pipe: Pipe
    tls: TLSChannel | None
    received: bytes
    dialled: bool


class CarriedStream(Protocol):
    """A byte stream that has a connection; see `ByteStream`."""

    @property
    def closed(self) -> bool:
        """Whether its users have closed it. Then it ends by itself, and soon."""
        ...

    def abort(self, why: str) -> None:
        """Break it off. Not a checkpoint."""
        ...

    async def carry(self) -> None:
        """Wait until the connection is of no more use to the stream."""
        ...


class AwaitedStream(Protocol):
    """A byte stream that two nodes have agreed on, and that has no connection yet; see `PendingStream`."""

    token: str

    def check(self, info: PeerInfo) -> None:
        """Raise `RemoteProtocolError` if whoever was dialled for the stream is not the node it was agreed on with."""
        ...

    def take_over(self, handover: Handover) -> CarriedStream:
        """Make the stream of a connection."""
        ...


ClaimStream: TypeAlias = Callable[[PeerInfo], AwaitedStream | None]
"""Finds the stream that a connection is welcome for, by what its other side has said of itself, and proven; or None."""


class StreamParty(Protocol):
    """The connection whose handshake this is; see `Connection`."""

    session: Session
    pipe: Pipe
    refused: str
    fault: str

    def close(self, why: str) -> None:
        """Close at once."""
        ...

    def finish(self, why: str) -> None:
        """Refuse the connection, then close it."""
        ...

    def proven(self) -> None:
        """Tell the network that the other side has proven itself."""
        ...


class StreamHandshake:
    """The handshake of a connection for a byte stream.

    Args:
      connection: which.
      claim: finds who awaits the stream that the other side brings.
      awaited: the stream that this side has dialled for; None if the other side has dialled.
    """

    def __init__(self, connection: StreamParty, claim: ClaimStream, awaited: AwaitedStream | None) -> None:
        self._connection = connection
        self._claim = claim
        self._awaited = awaited
        self._info: PeerInfo | None = None
        self._stream: CarriedStream | None = None

    @property
    def handed_over(self) -> bool:
        """Whether the connection is the stream's."""
        return self._stream is not None

    def handle(self, event: Event) -> None:
        """Do what an event of the handshake asks for."""
        connection, session = self._connection, self._connection.session
        match event:
            case Greeted(info):
                if self._awaited is not None:
                    self._awaited.check(info)
                self._info = info
            case ProofWanted():
                session.prove("")
            case Authenticated(_, owes_proof):
                if owes_proof:
                    session.prove("")
                    self._answer()
            case LinkReceived():
                session.accept()
            case RefusedByPeer(why):
                connection.refused = why
                connection.close(f"the other side does not want this stream: {why}")
            case _:
                # `ok`: what follows is the stream.
                pass

    def _answer(self) -> None:
        """The other side has proven itself: is its stream wanted?"""
        assert self._info is not None
        self._connection.proven()
        self._awaited = self._claim(self._info)
        if self._awaited is not None:
            self._connection.session.link()
        else:
            self._connection.fault = f"{self._info.node_id} brings a byte stream for which nobody waits (any more)"
            self._connection.finish("no such stream")

    def hand_over(self) -> CarriedStream:
        """Give the connection to whoever awaits the stream. Only when the session is open, and all of it written."""
        assert self._awaited is not None
        tls, received = self._connection.session.hand_over()
        dialled = self._connection.session.handshake.dialler
        self._stream = self._awaited.take_over(Handover(self._connection.pipe, tls, received, dialled))
        return self._stream

    def close(self, why: str) -> None:
        """Break the stream off, unless its users have closed it."""
        if self._stream is not None and not self._stream.closed:
            self._stream.abort(why)
