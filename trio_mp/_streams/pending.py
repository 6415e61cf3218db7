"""Byte streams that are being set up: two nodes have agreed on a stream, and wait for its connection."""

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
      token: a random text by which the greeting of the connection names the stream.
      peer: the other node.
      opener: whether this side has asked for the stream.
      grace: see `ByteStream`.

    Attributes:
      incarnation: the run of the peer that has agreed on the stream; empty until that is known.
      dials: whether this side has to make the connection.
      stream: the stream; None until there is a connection.
      over: whether no task waits for the stream any more.
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
        """Wake the task that waits, because the other side has answered, or the stream is there."""
        self._changed.set()

    async def wait(self) -> None:
        """Wait until `wake` is called. A checkpoint."""
        await self._changed.wait()
        self._changed = trio.Event()

    def check(self, info: PeerInfo) -> None:
        """Raise `RemoteProtocolError` if the node that was dialled for the stream is not the peer, or another run."""
        if info.node_id != self.peer.id:
            raise RemoteProtocolError(f"expected {self.peer.id}, got {info.node_id}")
        if info.incarnation != self.incarnation:
            raise RemoteProtocolError(f"expected the run of {self.peer.id} that agreed on the stream, got another one")

    def turn_round(self) -> None:
        """Let the other side dial, because the one that was to dial cannot. A stream that it has made is dropped."""
        self.dials = not self.opener
        self.drop()

    def drop(self) -> None:
        """Break the stream off, if it is there, because nobody will use it."""
        if self.stream is not None:
            self.stream.abort()
            self.stream = None

    def take_over(self, handover: Handover) -> ByteStream:
        """Make a stream of a connection, and hand it to the task that waits for it.

        The stream is broken off at once if no task waits for it any more, or if the wrong side has dialled.
        """
        stream = ByteStream(handover.pipe, self.peer.id, self._grace, tls=handover.tls, received=handover.received)
        if self.over or self.stream is not None or handover.dialled is not self.dials:
            stream.abort()
        else:
            self.stream = stream
            self.wake()
        return stream


class PendingStreams:
    """All streams that are being set up between this node and others."""

    def __init__(self) -> None:
        self._pending: dict[tuple[str, str], PendingStream] = {}
        # The streams for which a connection is welcome, by the node and the run that must make it, and by the token
        # that it must name.
        self._expected: dict[tuple[str, str, str], PendingStream] = {}

    def add(self, pending: PendingStream) -> None:
        """Add a stream, whose setting up begins."""
        self._pending[pending.peer.id, pending.name] = pending

    def expect(self, pending: PendingStream) -> None:
        """Welcome one connection that names the token of a stream, if the stream's peer makes it."""
        self._expected[pending.peer.id, pending.incarnation, pending.token] = pending

    def remove(self, pending: PendingStream) -> None:
        """Forget a stream, for which no task waits any more."""
        pending.over = True
        del self._pending[pending.peer.id, pending.name]
        self._expected.pop((pending.peer.id, pending.incarnation, pending.token), None)

    def find(self, peer: Peer, name: str) -> PendingStream | None:
        """The stream of this name with that peer; None if there is none."""
        return self._pending.get((peer.id, name))

    def claim(self, info: PeerInfo) -> PendingStream | None:
        """The stream for which a connection is welcome; None if it is not. No second connection is welcome for it.

        Args:
          info: what the other side has said of itself, and proven. So a stranger that has overheard a token, but
            is another node, cannot use it up.
        """
        return self._expected.pop((info.node_id, info.incarnation, info.stream), None)
