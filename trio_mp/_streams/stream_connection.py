"""A connection that carries a byte stream, or may turn out to."""

from __future__ import annotations

from typing import Protocol

import trio

from .._peers.connection import Connection
from .._peers.connection_host import ConnectionHost
from .._peers.own_errors import survives
from .._ports.context import Running
from .._protocol.handshake.events import (
    Authenticated,
    Event,
    Greeted,
    LinkReceived,
    PeerInfo,
    ProofWanted,
    RefusedByPeer,
)
from .._transport.pipe import Pipe
from .byte_stream import ByteStream
from .pending import PendingStream, PendingStreams


class StreamConnectionHost(ConnectionHost[Connection], Protocol):
    """What such a connection asks of the network."""

    pending_streams: PendingStreams


class StreamConnection(Connection):
    """A connection that somebody else has made, or that we make for a byte stream.

    What somebody else has made is what its greeting says: mostly a connection for messages, and then this adds
    nothing. One for a stream belongs to no association; it is proven in the same way, and taken up in the same words:
    the side that was dialled looks whether it expects the stream, and says `link` or `no`, the other one answers `ok`,
    and behind that the bytes of the stream begin.

    Args:
      network, pipe, address: see `Connection`.
      pending: the stream that we make it for.

    Attributes:
      settled: set when the stream has been handed over, or never will be.
    """

    def __init__(
        self, network: StreamConnectionHost, pipe: Pipe, *, address: str, pending: PendingStream | None = None
    ) -> None:
        super().__init__(network, pipe, dialler=pending is not None, address=address)
        self._all_pending = network.pending_streams
        self._pending = pending
        self._stream: ByteStream | None = None
        self._written = trio.Event()
        if pending is not None:
            self.session.want_stream(pending.token)

    @survives
    def _handle(self, event: Event) -> None:
        if isinstance(event, Greeted):
            self.network.progressed(self)
            if not self.session.handshake.streams:
                super()._handle(event)
                return
            if self._pending is not None:
                self._pending.check(event.peer)
            self.info, self.id = event.peer, event.connection
            return
        if not self.session.handshake.streams:
            super()._handle(event)
            return
        match event:
            case ProofWanted():
                self.session.prove("")
            case Authenticated(_, owes_proof):
                if owes_proof:
                    self.session.prove("")
                    assert self.info is not None
                    self._answer(self.info)
            case LinkReceived():
                self.session.accept()
            case RefusedByPeer(why):
                self.refused = why
                self.close(f"it does not want this stream: {why}")
            case _:
                # `ok`: what follows is the stream.
                pass

    def _answer(self, info: PeerInfo) -> None:
        """The other side has proven itself: is its stream wanted?"""
        self.network.authenticated(self)
        self._pending = self._all_pending.claim(info)
        if self._pending is not None:
            self.session.link()
        else:
            self.fault = f"{info.node_id} brings a byte stream that nobody expects, or not any more"
            self.finish("no such stream")

    async def _received(self, running: Running, events: list[Event]) -> bool:
        goes_on = await super()._received(running, events)
        if not self.session.handshake.streams or not self.session.open:
            return goes_on
        self.flush()
        # Our `ok` may have to wait, and the writer does that.
        await self._written.wait()
        await self._carry()
        return False

    @survives
    def flush(self) -> None:
        """See `PeerConnection.flush`."""
        super().flush()
        if self.session.open and (self._send_failed or not self.session.outgoing):
            self._written.set()

    async def _carry(self) -> None:
        """Hand the stream to who waits for it, and wait for its end."""
        assert self._pending is not None
        tls, received = self.session.hand_over()
        grace = self.network.settings.shutdown_timeout
        stream = ByteStream(self.pipe, self._pending.peer.id, grace, tls=tls, received=received)
        self._stream = stream
        self._scope.deadline = float("inf")
        self._pending.deliver(stream, dialled=self.session.handshake.dialler)
        self.settled.set()
        await stream.carry()
        self.closed.append("the stream is over")

    def close(self, why: str) -> None:
        """See `PeerConnection.close`. A stream that its users have closed ends by itself, and soon."""
        if self._stream is None:
            super().close(why)
        elif not self._stream.closed:
            self._stream.abort(why)
