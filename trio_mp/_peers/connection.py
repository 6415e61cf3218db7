"""One connection at run time: one reader, one writer, one session.

The reader waits, reads much, dispatches what came, and then flushes what the handlers sent: no task switch in between.
The writer only finishes what the kernel did not take at once.
"""

from __future__ import annotations

import contextlib
import logging

import trio

from .._errors import RemoteProtocolError
from .._ports.context import Running, running_variable
from .._protocol.association.effects import Terms
from .._protocol.handshake.events import (
    Authenticated,
    Event,
    Greeted,
    LinkReceived,
    Messages,
    OkReceived,
    PeerInfo,
    ProofWanted,
    RefusedByPeer,
)
from .._protocol.handshake.handshake import NONCE_SIZE, Step
from .._protocol.handshake.session import Session
from .._protocol.requests import says_nothing
from .._transport.pipe import Pipe
from .connection_host import ConnectionHost
from .own_errors import explain, survives
from .peer import Peer
from .probe import Probe
from .reading import READ_SHARE, receive

WRITE_SHARE = 4 * 1024 * 1024
"""What is written in one go, in bytes, before other tasks have their turn."""

log = logging.getLogger("trio_mp.connection")


class Connection:
    """One connection with another node, from the first byte to the last.

    Args:
      network: what it is part of.
      pipe: the bytes.
      dialler: whether this side dialled.
      address: where to, or where from, for people.

    Attributes:
      peer: who is at the other end, once that is proven (or claimed by somebody already known).
      was_up: whether it ever was in use.
      settled: set when it is in use, or over.
      why: why it ended.
      refused: why the other side refused it.
      fault: what the other side did that the protocol does not allow.
      closed: why it was closed, if it was: a list, for `Dispatcher.dispatch_batch`.
      error: an error of this program that has ended it before it was in use.
      batches: how many were received that were more than a sign of life.
    """

    def __init__(self, network: ConnectionHost[Connection], pipe: Pipe, *, dialler: bool, address: str) -> None:
        self.network = network
        self.address = address
        self.pipe = pipe
        pipe.busy_poll = network.settings.busy_poll
        self.session = Session(
            network.local,
            network.environment.entropy(NONCE_SIZE),
            dialler=dialler,
            peer_address=pipe.peer_address,
            make_tls=network.make_tls,
        )
        self.id = ""
        self.peer: Peer | None = None
        self.info: PeerInfo | None = None
        self.was_up = False
        self.settled = trio.Event()
        self.why = self.refused = self.fault = ""
        self.error: Exception | None = None
        self.received_at = trio.current_time()
        self.sent = self.said_all = False
        # Messages of the queue that were encrypted and have not all been handed to the operating system.
        self.unsent = 0
        self.batches = 0
        self.suspect = False
        self._running: Running | None = None
        self._scope = trio.CancelScope(deadline=self.received_at + network.settings.handshake_timeout)
        self.closed: list[str] = []
        self._finishing = self._send_failed = False
        self._blocked = trio.Event()
        self.probe = Probe(self, network.dispatcher)

    # Reading -------------------------------------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    @survives
    async def run(self) -> None:
        """Handle the connection until it is over. What the other side does wrong ends it, and is in `fault`."""
        self._running = Running(self.network.dispatcher.public, None, trio.lowlevel.current_task())
        running_variable.set(self._running)
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    await self._read(self._running)
                    nursery.cancel_scope.cancel()
            if self._scope.cancelled_caught:
                self._expired()
        finally:
            self.closed.append("over")
            self.pipe.close()
            self.probe.cancel()
            if self.peer is not None:
                self.peer.connection_ended(self.id, self.why or "the node is closing")

    def _expired(self) -> None:
        if self.why:
            return
        self.why = self.fault = "it did not finish the handshake in time"
        if self.peer is not None:
            self.peer.act(self.peer.association.choice_expired, self.id)

    @survives
    async def _read(self, running: Running) -> None:
        dispatcher = self.network.dispatcher
        self.flush()
        try:
            while not self.closed:
                await self.pipe.wait_readable()
                share = READ_SHARE
                while share > 0:
                    # Refused: what comes now was sent before it was known; unread, it would reset our last bytes.
                    refused = self._finishing and not self.was_up
                    count, more, events = receive(self.pipe, self.session, ignored=refused)
                    if count is None:
                        break
                    if not count:
                        self._note_end("it closed the connection")
                        return
                    self.received_at = trio.current_time()
                    if not await self._received(running, events) or not more:
                        break
                    share -= count
                dispatcher.run_pass(running)
                if self.session.outgoing or self.session.failure or self._finishing:
                    # What TLS answers, or cannot send, and what a connection has to say that is not in use.
                    self.flush()
        except RemoteProtocolError as error:
            self._note_end(str(error))
            self.fault = str(error)
            with contextlib.suppress(OSError):
                self.pipe.send_nowait(self.session.outgoing)
        except trio.ClosedResourceError:
            pass
        except OSError as error:
            self._note_end(error.strerror or str(error))
        finally:
            dispatcher.release_pump()

    def fail(self, error: Exception) -> None:
        """See `Survivor.fail`. The connection ends, and if it is in use that is the loss of all that waits."""
        if self.peer is not None and self.peer.current is self:
            self.peer.fail(error)
        else:
            self.error = self.error or error
            self.close(explain(error))
            if self.peer is not None:
                self.peer.connection_ended(self.id, explain(error))

    def _note_end(self, why: str) -> None:
        self.why = self.why or why

    async def _received(self, running: Running, events: list[Event]) -> bool:
        """Handle what was read; whether to go on reading."""
        for event in events:
            if self.closed:
                # It has ended: what is left of it must not overtake, or be overtaken by, what comes another way.
                return False
            if isinstance(event, Messages):
                await self._dispatch(running, event.batch)
            else:
                self._handle(event)
        return not self.closed

    async def _dispatch(self, running: Running, batch: list[tuple[object, ...]]) -> None:
        dispatcher = self.network.dispatcher
        if len(batch) != 1 or not says_nothing(batch[0]):
            self.batches += 1
        index = 0
        while True:
            dispatcher.hold_pump()
            index = dispatcher.dispatch_batch(running, batch, index, self._serve, self.closed)
            if index >= len(batch):
                return
            dispatcher.run_pass(running)
            await trio.lowlevel.checkpoint()
            if self.closed:
                return
            # What has come meanwhile has not been read, so its silence says nothing.
            self.received_at = trio.current_time()

    @survives
    def _serve(self, message: tuple[object, ...]) -> None:
        assert self.peer is not None
        assert self._running is not None
        # The port of the message before has nothing to do with it.
        self._running.port = None
        self.network.node_port.serve(message, self.peer, self._running)

    @survives
    def _handle(self, event: Event) -> None:
        """An event of the handshake."""
        match event:
            case Greeted(info, connection):
                self.info, self.id = info, connection
                # Nothing is kept for a node that only claims to be one: see Authenticated.
                self._bind(self.network.peers.get(info.node_id))
            case ProofWanted():
                self.session.prove(self.peer.association.last_ended if self.peer is not None else "")
            case Authenticated(lost, owes_proof):
                assert self.info is not None
                peer = self.network.peer(self.info.node_id)
                self._bind(peer)
                if owes_proof:
                    self.session.prove(peer.association.last_ended)
                if peer.association.decides and self.session.handshake.step is not Step.DECISION:
                    raise RemoteProtocolError("it went on before this side, which decides, had spoken")
                self.network.authenticated(self)
                terms = Terms(self.info.incarnation, self.info.limit, self.session.handshake.writes)
                peer.act(peer.association.authenticated, self.id, lost, terms)
            case LinkReceived():
                assert self.peer is not None
                self.peer.act(self.peer.association.link_received, self.id)
            case OkReceived():
                assert self.peer is not None
                self.peer.act(self.peer.association.ok_received, self.id)
            case RefusedByPeer(why):
                self.refused = why
                self.close(why)
            case Messages():
                raise AssertionError("dispatched elsewhere")

    def _bind(self, peer: Peer | None) -> None:
        if self.peer is None and peer is not None:
            self.peer = peer
            peer.connections[self.id] = self
            peer.association.greeted(self.id)

    # Writing -------------------------------------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    @survives
    def flush(self) -> None:
        """See `PeerConnection.flush`."""
        if self.closed or self._send_failed:
            return
        try:
            self._flush()
        except OSError as error:
            # The reader will find the end, after what the other side has sent before: that is still to be delivered.
            self._note_end(error.strerror or str(error))
            self._send_failed = True

    def _flush(self) -> None:
        session, pipe, peer = self.session, self.pipe, self.peer
        share = WRITE_SHARE
        while True:
            if session.failure:
                self.fault = session.failure
                self.close(self.fault)
                return
            if session.outgoing:
                sent = pipe.send_nowait(session.outgoing)
                del session.outgoing[:sent]
                self.sent = True
                if session.outgoing:
                    self._blocked.set()
                    return
                if self.unsent and peer is not None:
                    self.unsent = 0
                    peer.progressed()
            chunk = peer.next_chunk(self) if peer is not None else None
            if chunk is None or peer is None:
                break
            if session.encrypted:
                queue = peer.association.queue
                before = queue.written
                session.send(chunk)
                queue.advance(len(chunk))
                self.unsent = queue.written - before
            else:
                sent = pipe.send_nowait(chunk)
                peer.association.queue.advance(sent)
                self.sent = True
                if sent < len(chunk):
                    self._blocked.set()
                    peer.progressed()
                    return
            share -= len(chunk)
            if share < 0:
                # The writer goes on when others have had their turn.
                self._blocked.set()
                break
        if peer is not None:
            peer.progressed()
        if self._finishing and not session.outgoing:
            self._say_all()

    def _say_all(self) -> None:
        """Nothing but what is queued is to be said any more."""
        peer = self.peer
        if peer is None or peer.current is not self or not peer.association.has_to_write:
            self.pipe.send_eof()
            self.said_all = True
            self._send_failed = True

    @trio.lowlevel.enable_ki_protection
    @survives
    async def _write(self) -> None:
        """Finish what the kernel did not take at once."""
        try:
            while True:
                await self._blocked.wait()
                self._blocked = trio.Event()
                await self.pipe.wait_writable()
                self.flush()
        except (trio.ClosedResourceError, OSError):
            # The reader finds it out too, and says so.
            return

    # What the peer wants -------------------------------------------------------------------------------------------

    def opened(self) -> None:
        """See `PeerConnection.opened`."""
        self.was_up = True
        self.settled.set()
        self._scope.deadline = float("inf")
        if self.network.closes_at is not None:
            # It was on its way when this node began to close. What waited for it goes out, and nothing else: the other
            # side must not go on believing in a node whose ports are all dead.
            self.close_gracefully(self.network.closes_at)

    def expect_answer(self, seconds: float) -> None:
        """See `PeerConnection.expect_answer`."""
        self._scope.deadline = min(self._scope.deadline, trio.current_time() + seconds)

    @survives
    def beat(self, now: float, interval: float) -> None:
        """Every `interval` seconds: send something if nothing was sent; see whether the other side does."""
        if not self.was_up or self.closed or self.peer is None or self.info is None:
            return
        if self.peer.current is self:
            self.peer.beat(now)
        association = self.peer.association
        if not self.sent and not self.said_all and (association.is_asked or not association.queue.size):
            self.say("")
        self.sent = False
        silence, limit = now - self.received_at, 3 * self.info.heartbeat
        if silence >= limit and self.suspect:
            self.close(f"nothing was heard from it for {silence:.1f} s")
        self.suspect = silence >= limit - interval

    @property
    def at_rest(self) -> bool:
        """See `PeerConnection.at_rest`."""
        return not (self._finishing or self._send_failed or self.unsent or self.session.outgoing)

    def say(self, word: str) -> None:
        """See `PeerConnection.say`. Only between frames: when the queue is empty, or is not written."""
        self.session.say(word)
        self.flush()

    def finish(self, why: str) -> None:
        """See `PeerConnection.finish`. The other side's last bytes are read to their end, or it would see a reset."""
        if not self.was_up and not self.closed:
            self.session.refuse(why)
        self._note_end(why)
        self._finishing = True
        self._scope.deadline = min(
            self._scope.deadline, trio.current_time() + self.network.settings.handshake_timeout / 2
        )
        self.flush()

    def close_gracefully(self, deadline: float) -> None:
        """Flush, then half-close, then read to the end; until a time of Trio's clock."""
        self._note_end("this node is closing")
        self._finishing = True
        self._scope.deadline = deadline
        self.flush()

    def close(self, why: str) -> None:
        """See `PeerConnection.close`."""
        if not self.closed:
            self.closed.append(why)
            self._note_end(why)
            self.pipe.close()
