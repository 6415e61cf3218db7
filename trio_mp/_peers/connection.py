"""One connection at run time: how long it lives, why it ends, and what its handshake asks for.

The reader owns what comes in, the writer what goes out. The reader runs in the task of the connection.
"""

from __future__ import annotations

import contextlib
import logging

import trio

from .._errors import RemoteProtocolError
from .._ports.context import Running
from .._protocol.association.effects import Terms
from .._protocol.handshake.events import (
    Authenticated,
    Event,
    Greeted,
    LinkReceived,
    OkReceived,
    PeerInfo,
    ProofWanted,
    RefusedByPeer,
)
from .._protocol.handshake.greeting import NONCE_SIZE
from .._protocol.handshake.handshake import Step
from .._protocol.handshake.session import Session
from .._transport.pipe import Pipe
from .connection_host import ConnectionHost
from .own_errors import explain, survives
from .peer import Peer
from .reader import Reader
from .stream_handover import AwaitedStream, StreamHandshake
from .traffic import CLOSED, CLOSING, ERROR, FAULT, GIVEN_UP, PARTED, SILENT, Traffic
from .writer import Writer

log = logging.getLogger("trio_mp.connection")


class Connection:
    """One connection with another node, from the first byte to the last.

    Args:
      network: what it is part of.
      pipe: the bytes.
      dialler: whether this side dialled.
      address: where to, or where from, for people.
      transport: what carries it: `tcp` or `unix`.
      awaited: the byte stream that this side has dialled for, if it was for one. What others bring their greeting says.

    Attributes:
      stream: its handshake, once it is known to be for a byte stream; then it belongs to no peer.
      peer: who is at the other end, once that is proven (or claimed by somebody already known).
      was_up: whether it ever was in use.
      settled: set when it is in use, or handed over to a stream, or over.
      why: why it ended.
      cause: the same, as a word of `CAUSES`.
      traffic: what it has carried; together with all others with the peer, once it is in use.
      refused: why the other side refused it.
      fault: what the other side did that the protocol does not allow.
      closed: why it was closed, if it was: a list, for `Dispatcher.dispatch_batch`.
      error: an error of this program that has ended it before it was in use.
      reader, writer: all that comes in, and all that goes out.
    """

    def __init__(
        self,
        network: ConnectionHost[Connection],
        pipe: Pipe,
        *,
        dialler: bool,
        address: str,
        transport: str,
        awaited: AwaitedStream | None = None,
    ) -> None:
        self.network = network
        self.address = address
        self.transport = transport
        self.pipe = pipe
        pipe.busy_poll = network.settings.busy_poll
        self.session = Session(
            network.local,
            network.environment.entropy(NONCE_SIZE),
            dialler=dialler,
            peer_address=pipe.peer_address,
            make_tls=network.make_tls,
        )
        self.stream: StreamHandshake | None = None
        if awaited is not None:
            self.session.want_stream(awaited.token)
            self.stream = StreamHandshake(self, network.claim_stream, awaited)
        self.id = ""
        self.peer: Peer | None = None
        self.info: PeerInfo | None = None
        self.was_up = False
        self.settled = trio.Event()
        self.why = self.refused = self.fault = self.cause = ""
        self.error: Exception | None = None
        self.suspect = False
        self._running: Running | None = None
        self._scope = trio.CancelScope(deadline=trio.current_time() + network.settings.handshake_timeout)
        self.closed: list[str] = []
        self.traffic = Traffic()
        self.writer = Writer(
            pipe,
            self.session,
            network.dispatcher.lifecycle,
            ended=self._note_error,
            failed=self._cannot_encrypt,
            traffic=self.traffic,
        )
        self.reader = Reader(
            pipe, self.session, network.dispatcher, self.writer, self.closed, self._handle, self._serve, self.traffic
        )

    # Life ----------------------------------------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Handle the connection until it is over. What the other side does wrong ends it, and is in `fault`."""
        try:
            try:
                self._running = self.network.dispatcher.enter()
                with self._scope:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._write)
                        await self._read(self._running)
                        nursery.cancel_scope.cancel()
                if self._scope.cancelled_caught:
                    self._expired()
            finally:
                self.closed.append("over")
                self.writer.stop()
                self.pipe.close()
                self._note_end("the node is closing", CLOSING)
                if self.peer is not None:
                    self.peer.connection_ended(self.id, self.why)
        except Exception as error:  # noqa: BLE001 - whatever it is
            self.fail(error)

    def _expired(self) -> None:
        if self.why:
            return
        self.why = self.fault = "the other side did not finish the handshake in time"
        if self.peer is not None:
            self.peer.act(self.peer.association.choice_expired, self.id)

    async def _read(self, running: Running) -> None:
        try:
            self.flush()
            is_over = await self.reader.read_handshake(running)
            if self.stream is not None and self.session.open:
                await self._hand_over(self.stream)
            elif not is_over and not self.closed:
                is_over = await self.reader.read_messages(running)
            if is_over:
                self._note_end("the other side closed the connection", CLOSED)
        except RemoteProtocolError as error:
            self._note_end(str(error), FAULT)
            self.fault = str(error)
            with contextlib.suppress(OSError):
                self.pipe.send_nowait(self.session.outgoing)
        except trio.ClosedResourceError:
            pass
        except OSError as error:
            self._note_error(error.strerror or str(error))
        except Exception as error:  # noqa: BLE001 - an error of this program
            self.fail(error)
        finally:
            self.network.dispatcher.queue.release_pump()

    async def _hand_over(self, handshake: StreamHandshake) -> None:
        """Hand the connection over to the stream that it is for, and wait for the end of that."""
        # Our `ok` may have to wait, and the writer does that.
        await self.writer.wait_written()
        if self.closed:
            return
        stream = handshake.hand_over()
        self._scope.deadline = float("inf")
        self.settled.set()
        await stream.carry()
        self.closed.append("the stream is over")

    async def _write(self) -> None:
        try:
            await self.writer.run()
        except (trio.ClosedResourceError, OSError):
            # The reader finds it out too, and says so.
            return
        except Exception as error:  # noqa: BLE001 - an error of this program
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """See `Survivor.fail`. The connection ends, and if it is in use that is the loss of all that waits."""
        if self.peer is not None and self.peer.current is self:
            self.peer.fail(error)
        else:
            self.error = self.error or error
            self.close(explain(error))
            if self.peer is not None:
                self.peer.connection_ended(self.id, explain(error))

    def _note_end(self, why: str, cause: str) -> None:
        if not self.why and cause in {CLOSED, ERROR} and self.peer is not None and self.peer.current is self:
            # The other side may have given this node up, because nothing was heard from it.
            why += self.network.own_blocks.explain(self.peer.id, trio.current_time())
        self.why = self.why or why
        self.cause = self.cause or cause

    def _note_error(self, why: str) -> None:
        self._note_end(why, ERROR)

    def _cannot_encrypt(self, why: str) -> None:
        self.fault = why
        self._note_end(why, FAULT)
        self.close(why)

    # The handshake -------------------------------------------------------------------------------------------------

    def _serve(self, message: tuple[object, ...]) -> None:
        assert self.peer is not None
        assert self._running is not None
        # The port of the message before has nothing to do with it.
        self._running.port = None
        # What `survives` does, in line: each call comes through here, and each reply.
        try:
            self.network.node_port.serve(message, self.peer, self._running)
        except RemoteProtocolError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is
            self.fail(error)

    @survives
    def _handle(self, event: Event) -> None:
        """Do what an event of the handshake asks for."""
        if isinstance(event, Greeted):
            self.info, self.id = event.peer, event.connection
            if not self.session.handshake.dialler:
                self.network.progressed(self)
                if self.session.handshake.streams:
                    self.stream = StreamHandshake(self, self.network.claim_stream, None)
        if self.stream is not None:
            self.stream.handle(event)
            return
        match event:
            case Greeted(info):
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
                    raise RemoteProtocolError("expected nothing before this side, which decides, has spoken")
                self.proven()
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
            case _:
                raise AssertionError(f"expected an event of the handshake, got {event!r}")

    def proven(self) -> None:
        """Tell the network that the other side has proven itself."""
        self.network.authenticated(self)

    def _bind(self, peer: Peer | None) -> None:
        if self.peer is None and peer is not None:
            self.peer = peer
            if self._running is not None:
                self._running.source = peer.refusals
            peer.connections[self.id] = self
            peer.association.greeted(self.id)

    # What the peer wants -------------------------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    @survives
    def flush(self) -> None:
        """See `PeerConnection.flush`."""
        self.writer.flush()

    def opened(self) -> None:
        """See `PeerConnection.opened`."""
        self.was_up = True
        assert self.peer is not None
        self.peer.traffic.add(self.traffic)
        self.traffic = self.reader.traffic = self.writer.traffic = self.peer.traffic
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
        writer = self.writer
        if not writer.wrote and not writer.said_all and (association.is_asked or not association.outbox.queue.size):
            self.say("")
        writer.wrote = False
        silence, limit = now - self.reader.received_at, 3 * self.info.heartbeat
        if silence >= limit and self.suspect:
            self._note_end(f"nothing was heard from the other side for {silence:.1f} s", SILENT)
            self.close(self.why)
        self.suspect = silence >= limit - interval

    def say(self, word: str) -> None:
        """See `PeerConnection.say`. Only between frames: when the queue is empty, or is not written."""
        self.session.say(word)
        self.flush()

    def finish(self, why: str) -> None:
        """See `PeerConnection.finish`. The other side's last bytes are read to their end, or it would see a reset."""
        if not self.was_up and not self.closed:
            self.session.refuse(why)
        self._note_end(why, PARTED if self.was_up else GIVEN_UP)
        self.writer.finish()
        self._scope.deadline = min(
            self._scope.deadline, trio.current_time() + self.network.settings.handshake_timeout / 2
        )
        self.flush()

    def close_gracefully(self, deadline: float) -> None:
        """Flush, then half-close, then read to the end; until a time of Trio's clock."""
        self._note_end("this node is closing", CLOSING)
        self.writer.finish()
        self._scope.deadline = deadline
        self.flush()

    def close(self, why: str) -> None:
        """See `PeerConnection.close`. A stream that its users have closed ends by itself, and soon."""
        if self.stream is not None and self.stream.handed_over:
            self.stream.close(why)
        elif not self.closed:
            self.closed.append(why)
            self._note_end(why, GIVEN_UP)
            self.writer.stop()
            self.pipe.close()
