"""Byte streams that are being set up: two nodes have agreed on one, and its connection is awaited."""

from __future__ import annotations

import trio

from .._errors import RemoteProtocolError
from .._peers.peer import Peer
from .._peers.stream_handover import Handover
from .._protocol.handshake.events import PeerInfo
from .byte_stream import ByteStream


class PendingStream:
    """One stream, from the request for it until there is a connection for it.

    Args:
      name: the name of the port whose function gets the stream; both sides know the stream by it.
      token: what the connection has to say in its greeting.
      peer: the other node.
      opener: whether it was this side that has asked for the stream.
      grace: see `ByteStream`.

    Attributes:
      incarnation: which run of the peer it is about; empty until that is known.
      dials: whether it is this side that has to make the connection.
      stream: the stream, when it is there.
      over: whether nobody waits for it any more.
    """

    def __init__(self, name: str, token: str, peer: Peer, *, opener: bool, grace: float) -> None:
        self.name = name
        self.token = token
        self.peer = peer
        self.opener = opener
        self._grace = grace
        self.incarnation = "" if opener else peer.association.incarnation
        self.dials = opener
        self.stream: ByteStream | None = None
        self.over = False
        self._changed = trio.Event()

    def wake(self) -> None:
        """The other side has said something about it, or the stream is there."""
        self._changed.set()

    async def wait(self) -> None:
        """Wait for either."""
        await self._changed.wait()
        self._changed = trio.Event()

    def check(self, info: PeerInfo) -> None:
        """Raise `RemoteProtocolError` if whoever was dialled for it is not the peer."""
        if info.node_id != self.peer.id:
            raise RemoteProtocolError(f"expected {self.peer.id}, got {info.node_id}")
        if info.incarnation != self.incarnation:
            raise RemoteProtocolError(f"expected the run of {self.peer.id} that agreed on the stream, got another one")

    def turn_round(self) -> None:
        """The side that was to dial cannot: the other one is to. What the former may have made is of no use."""
        self.dials = not self.opener
        self.drop()

    def drop(self) -> None:
        """Break the stream off, if it is there: nobody will use it."""
        if self.stream is not None:
            self.stream.abort()
            self.stream = None

    def take_over(self, handover: Handover) -> ByteStream:
        """Make the stream of a connection, and hand it to who waits for it.

        The stream is broken off at once if nobody waits for it any more, or if the wrong side has dialled.
        """
        stream = ByteStream(
            handover.pipe, self.peer.id, self._grace, tls=handover.tls, received=handover.received
        )
        if self.over or self.stream is not None or handover.dialled is not self.dials:
            stream.abort()
        else:
            self.stream = stream
            self.wake()
        return stream


class PendingStreams:
    """All that are going on between this node and others."""

    def __init__(self) -> None:
        self._pending: dict[tuple[str, str], PendingStream] = {}
        # Those that a connection is welcome for, by who has to make it and what it has to say.
        self._expected: dict[tuple[str, str, str], PendingStream] = {}

    def add(self, pending: PendingStream) -> None:
        """Begin one."""
        self._pending[pending.peer.id, pending.name] = pending

    def expect(self, pending: PendingStream) -> None:
        """From now on a connection with its token is welcome, one, if its peer makes it."""
        self._expected[pending.peer.id, pending.incarnation, pending.token] = pending

    def remove(self, pending: PendingStream) -> None:
        """It is over."""
        pending.over = True
        del self._pending[pending.peer.id, pending.name]
        self._expected.pop((pending.peer.id, pending.incarnation, pending.token), None)

    def find(self, peer: Peer, name: str) -> PendingStream | None:
        """The one of this name with that peer, if there is one."""
        return self._pending.get((peer.id, name))

    def claim(self, info: PeerInfo) -> PendingStream | None:
        """The one that a connection is welcome for, if it is; no other connection is, after that.

        Args:
          info: what the other side has said of itself, and proven. Who has only overheard a token uses none up.
        """
        return self._expected.pop((info.node_id, info.incarnation, info.stream), None)
