"""A node's network: where it listens, whom it dials, who its peers are."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

import trio

from .._events import fields
from .._ports.blocked import Lately
from .._ports.boundary import LocalPorts
from .._protocol.handshake.greeting import LocalInfo
from .._protocol.handshake.handshake import Step
from .._protocol.handshake.session import TLSChannel
from .._protocol.membership.permissions import Notary
from .._settings.environment import Environment
from .._settings.settings import Settings
from .._transport.addresses import Address, InheritedBind, TCPAddress, parse_address
from .._transport.admission import CROWD, Admission, source_of
from .._transport.pipe import Listener, Pipe
from .._transport.unix_sockets import socket_name
from .connection import Connection
from .dialled import Dialled
from .errands import Errands
from .limited_log import LimitedLog
from .node_port import NodePort
from .observers import Observers
from .own_blocks import OwnBlocks
from .peer import Peer
from .secret_file import Secrets
from .stream_handover import AwaitedStream, ClaimStream
from .traffic import Traffic

EXPLAINED = 5
"""How many seeds, and how many nodes, the reason of a loss names."""

ACCEPT_SHARE = 64
"""How many connections are accepted before other tasks have their turn."""

log = logging.getLogger("trio_mp.connection")


class Network:
    """Who a node's peers are, and how they are reached.

    Args:
      dispatcher: the ports of this node.
      settings, environment: the node's.
      local: what the node says of itself in a greeting.
      errands: bounds what is done for others, and what is logged of them.
      observers: are told of connections, and of peers that are forgotten.
      notary: reads and verifies certificates, where there are some.
      make_tls: makes the TLS object of one connection; called with whether this side is the TLS server.
      claim_stream: finds who awaits the byte stream that a connection is for.
      lately: says how the loop was blocked, if the watchdog has seen it.

    Attributes:
      peers: all nodes that have authenticated or to which something was sent, by node ID.
      binds: where it listens.
      failures: why seeds could not be used the last time, by what they are called.
      node_port: serves the requests of other nodes; see `serve_by`.
      past: what has gone over the connections with nodes that are forgotten.
      delay, greatest_delay: how late this node's beat woke, in seconds, the last time and at worst: so long did other
        tasks keep the thread. None before the first beat.
      own_blocks: the times when nothing of this node ran for so long that others gave it up.
    """

    node_port: NodePort

    def __init__(
        self,
        dispatcher: LocalPorts,
        settings: Settings,
        environment: Environment,
        local: LocalInfo,
        *,
        errands: Errands,
        observers: Observers,
        notary: Notary | None,
        make_tls: Callable[[bool], TLSChannel],
        claim_stream: ClaimStream,
        lately: Lately,
    ) -> None:
        self.dispatcher = dispatcher
        self.settings = settings
        self.environment = environment
        self.local = local
        self.secrets: tuple[bytes, ...] = settings.secret
        self.errands = errands
        self.observers = observers
        self.notary = notary
        self.make_tls = make_tls
        self.claim_stream = claim_stream
        self.peers: dict[str, Peer] = {}
        self.binds: tuple[str, ...] = ()
        self.failures: dict[str, str] = {}
        self.past = Traffic()
        self.delay: float | None = None
        self.greatest_delay: float | None = None
        self.own_blocks = OwnBlocks(dispatcher, settings.heartbeat, lately, environment.wall_clock)
        self._listeners: list[Listener] = []
        # Connections of others that have not authenticated.
        self._strangers: Admission[Connection] = Admission()
        self._limited_log = LimitedLog(log, trio.current_time(), dispatcher.id)
        # A dict for its order: that of a set of objects differs from run to run, and simulations are repeated.
        self._connections: dict[Connection, None] = {}
        # When everything has to be closed, by Trio's clock; None while the node is not closing.
        self.closes_at: float | None = None
        # Those that make new connections: cancelled when the node closes.
        self._accepting = trio.CancelScope()
        self._nursery: trio.Nursery | None = None
        # A shield: what cancels the node's block does not reach the network before `stop`.
        self._outreach = trio.CancelScope(shield=True)
        self._ended = trio.lowlevel.ParkingLot()

    def serve_by(self, node_port: NodePort) -> None:
        """Have the requests of other nodes served by this; it is assembled last, as it serves with everything else."""
        self.node_port = node_port

    def peer(self, node_id: str) -> Peer:
        """What is kept about that node; it is not this one."""
        peer = self.peers.get(node_id)
        if peer is None:
            peer = Peer(self.dispatcher, self.settings, node_id, self.observers, self.why_missing)
            self.peers[node_id] = peer
        return peer

    def use_secrets(self, secrets: Secrets) -> None:
        """Go by these secrets in all handshakes that begin from now on. Connections and handshakes that exist go on."""
        self.secrets = secrets.secrets
        self.local = dataclasses.replace(self.local, keys=secrets.keys)

    def up_nodes(self) -> list[str]:
        """The IDs of the nodes with a connection in use, without tools."""
        return [peer.id for peer in self.peers.values() if peer.current is not None and not peer.is_tool]

    def is_connected(self, node_id: str) -> bool:
        """Whether a connection with a node is in use, or chosen."""
        peer = self.peers.get(node_id)
        return peer is not None and bool(peer.association.incarnation)

    def is_there(self, dialled: Dialled) -> bool:
        """Whether dialling has found a node of this network: by that connection, or because another one is in use.

        The other one counts only for a node that has proven who it is: else any stranger at an address could send this
        node away to another one.
        """
        return not dialled.failure or (dialled.proven and self.is_connected(dialled.node_id))

    def why_missing(self, node_id: str) -> str:
        """Why there may be no connection with a node, for people."""
        parts = [text for explain in self.observers.explain for text in explain(node_id)]
        current = [other.current for other in self.peers.values() if other.current is not None]
        in_use = {connection.address for connection in current}
        parts += [f"the seed {seed}: {why}" for seed, why in self.failures.items() if seed not in in_use]
        if current:
            parts += [f"connected with {', '.join(self.up_nodes()[:EXPLAINED])}"]
        return "; ".join(parts[:EXPLAINED])

    async def listen(self) -> None:
        """Listen where the settings say. A checkpoint. Raises `OSError`, `ConfigurationError`."""
        try:
            # Inherited sockets come last: closed, because another place cannot be had, they would be gone for good.
            for bind in sorted(self.settings.binds or (), key=lambda bind: isinstance(bind, InheritedBind)):
                if isinstance(bind, InheritedBind):
                    self._listeners += self.environment.transport.listen_inherited(bind)
                else:
                    self._listeners += await self.environment.transport.listen(bind)
        except BaseException:
            await self._close_listeners()
            raise
        self.binds = tuple(listener.address for listener in self._listeners)

    async def listen_beside(self, dialled: Address, pipe: Pipe) -> None:
        """Listen where nodes that reach the other end of a pipe reach this one, unless the settings say where.

        A checkpoint. Where it cannot, it listens nowhere, and says so in the log.
        """
        name = socket_name(self.dispatcher.id)
        await self._listen_late(partial(self.environment.transport.listen_beside, dialled, pipe, name))

    async def listen_anywhere(self) -> None:
        """Listen at a free port of all interfaces, unless the settings say where, or it listens already.

        A checkpoint. For the first nodes of a network in which nobody knows an address before.
        """
        await self._listen_late(partial(self.environment.transport.listen, TCPAddress("*", 0)))

    async def _listen_late(self, listen: Callable[[], Awaitable[list[Listener]]]) -> None:
        if self.settings.binds is not None or self._listeners or self._nursery is None:
            await trio.lowlevel.checkpoint()
            return
        try:
            listeners = await listen()
        except OSError as error:
            why = error.strerror or str(error)
            log.warning(
                "this node listens nowhere, so others cannot dial it: %s",
                why,
                extra=fields("listening", self.dispatcher.id),
            )
            return
        if self._listeners or self._accepting.cancel_called:
            # Two seeds at once; or too late.
            for listener in listeners:
                await listener.aclose()
            return
        self._listeners = listeners
        self.binds = tuple(listener.address for listener in listeners)
        for listener in listeners:
            self._nursery.start_soon(self._accept, listener)

    async def run(self, tasks: Iterable[Callable[[], Awaitable[None]]]) -> None:
        """Accept connections, run these tasks, and see that connections stay alive, until `close` or `stop`."""
        try:
            with self._outreach:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._accept_all)
                    for task in tasks:
                        nursery.start_soon(task)
                    nursery.start_soon(self._keep_alive)
        finally:
            # Also when the node is cancelled or has crashed.
            await self._close_listeners()

    async def _keep_alive(self) -> None:
        interval = self.settings.heartbeat / 2
        before = trio.current_time()
        self.own_blocks.begin(before)
        while True:
            due = trio.current_time() + interval
            await trio.sleep_until(due)
            now = trio.current_time()
            self.delay = max(0.0, now - due)
            self.greatest_delay = max(self.delay, self.greatest_delay or 0.0)
            self.own_blocks.beat(now)
            # Silence is judged only after a read has found nothing: whoever has something to read, such as what came
            # while this process stood still, is woken in the next pass at the latest, and has read when that is over.
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
            for connection in tuple(self._connections):
                if now - before > 2 * interval:
                    # This process was stopped, or computed for long: silence begins anew.
                    connection.reader.received_at = now
                connection.beat(now, interval)
            before = now
            self._limited_log.summarise(now)
            forgotten = [peer for peer in self.peers.values() if peer.is_forgotten(now)]
            for peer in forgotten:
                self.past.add(peer.traffic)
                self.past.written += peer.queue.delivered
                del self.peers[peer.id]
            if forgotten:
                for tell in self.observers.forgotten:
                    tell()

    # Accepting -----------------------------------------------------------------------------------------------------

    async def _accept_all(self) -> None:
        with self._accepting:
            async with trio.open_nursery() as self._nursery:
                for listener in self._listeners:
                    self._nursery.start_soon(self._accept, listener)
                # There may be more, later.
                await trio.sleep_forever()

    async def _accept(self, listener: Listener) -> None:
        while True:
            try:
                pipe = await listener.accept()
            except trio.ClosedResourceError:
                # Somebody has dialled in the pass in which the node closes: this task was to run already, so it was not
                # cancelled, and its listener was closed before its turn.
                if self._accepting.cancel_called:
                    return
                raise
            self._let_in(listener, pipe)
            # A flood is got rid of faster than it comes; else a friend waits behind it, unseen.
            for number in range(ACCEPT_SHARE):
                more = listener.accept_nowait()
                if more is None:
                    break
                self._let_in(listener, more, crowd=number >= CROWD)

    def _let_in(self, listener: Listener, pipe: Pipe, *, crowd: bool = False) -> None:
        if self._outreach.cancel_called:
            # The node has been stopped in the pass in which this came: perhaps no task can run it any more.
            pipe.close()
            return
        source = source_of(pipe.peer_address)
        if self._strangers.refuses(source, self.environment.jitter(), crowd=crowd):
            self._limited_log.omit(trio.current_time())
            pipe.close()
            return
        try:
            address, transport = _describe(listener, pipe), _kind_of(listener.address)
            connection = Connection(self, pipe, dialler=False, address=address, transport=transport)
        except Exception as error:  # noqa: BLE001 - whatever it is, others want to be accepted, too
            text = "an error in this program, when a connection was accepted"
            self._limited_log.warn(trio.current_time(), text, error=error)
            pipe.close()
            return
        leaving = self._strangers.enter(connection, source)
        if leaving is not None:
            leaving.fault = "too many connections are in their handshake, and this one had to leave"
            leaving.close(leaving.fault)
        self.dispatcher.lifecycle.start_system_task(self._run, connection)

    def authenticated(self, connection: Connection) -> None:
        """The other side of a connection has proven itself: it is no stranger any more."""
        self._strangers.authenticated(connection)
        handshake = connection.session.handshake
        if handshake.secret_number > 1 and handshake.peer is not None:
            # Who replaces a secret sees by this line which nodes still dial with another one than this node.
            log.info(
                "%s has proven itself by secret %d of our %d; this node dials with the first",
                *(handshake.peer.node_id, handshake.secret_number, len(handshake.local.keys)),
                extra=fields("secret", self.dispatcher.id, peer=handshake.peer.node_id),
            )

    def progressed(self, connection: Connection) -> None:
        """See `ConnectionHost.progressed`."""
        self._strangers.progressed(connection)

    async def _run(self, connection: Connection) -> None:
        """Run a connection until it is over, and log what was wrong with it."""
        self._connections[connection] = None
        try:
            await connection.run()
        finally:
            if connection.error is not None:
                # Bounded, as all that strangers may cause.
                text = "%s: an error in this program has ended the connection"
                self._limited_log.warn(trio.current_time(), text, connection.address, error=connection.error)
            self._connections.pop(connection, None)
            connection.settled.set()
            self._ended.unpark_all()
        if connection.was_up:
            if connection.fault:
                self._complain_of(connection)
        elif not connection.session.handshake.dialler:
            self._strangers.leave(connection)
            self._complain_of_stranger(connection)

    def _complain_of(self, connection: Connection) -> None:
        """A node has done what the protocol does not allow."""
        assert connection.peer is not None
        text = "%s: %s"
        self.errands.complain(connection.peer.id, "fault", log, text, connection.address, connection.fault)

    def _complain_of_stranger(self, connection: Connection) -> None:
        """Log what was wrong with a connection that others have opened, and that never was in use."""
        if connection.session.handshake.talks_to_itself:
            # No warning, but strangers can cause this line, too.
            if self._limited_log.allows(trio.current_time()):
                log.info(
                    "%s: the other side is this node itself",
                    connection.address,
                    extra=fields("stranger", self.dispatcher.id, peer=self.dispatcher.id),
                )
        elif connection.fault and connection.session.handshake.meets_original:
            # It tries again every few seconds, for as long as both run.
            text, source = "%s: %s", source_of(connection.pipe.peer_address)
            self._limited_log.warn_once(trio.current_time(), source, text, connection.address, connection.fault)
        elif connection.fault:
            self._limited_log.warn(trio.current_time(), "%s: %s", connection.address, connection.fault)

    # Dialling ------------------------------------------------------------------------------------------------------

    async def dial(self, address: Address) -> Dialled:
        """Dial, and wait until the connection is in use, or over.

        Not a task of the caller's: cancelled, it goes on, so that what is queued can be flushed.
        """
        pipe: Pipe | None = None
        with trio.move_on_after(self.settings.handshake_timeout):
            try:
                pipe = await self.environment.transport.dial(address)
            except OSError as error:
                return Dialled("", error.strerror or str(error), None)
        if pipe is None:
            return Dialled("", f"no answer within {self.settings.handshake_timeout:g} s", None)
        if self._outreach.cancel_called:
            # Nobody would close one that is made now, and closing would wait for it.
            pipe.close()
            return Dialled("", "this node is closing", None)
        connection = Connection(self, pipe, dialler=True, address=str(address), transport=_kind_of(str(address)))
        self.dispatcher.lifecycle.start_system_task(self._run, connection)
        await connection.settled.wait()
        handshake = connection.session.handshake
        if handshake.talks_to_itself:
            return Dialled(self.dispatcher.id, connection.why, connection)
        node_id = handshake.peer.node_id if handshake.peer is not None else ""
        if connection.was_up:
            return Dialled(node_id, "", connection, proven=True)
        if connection.refused:
            # Another connection with that node was chosen, or is about to be.
            in_use = connection.refused == "node ID in use"
            failure = f"the other side refuses this node, whose ID {self.dispatcher.id} is in use" if in_use else ""
            return Dialled(node_id, failure, connection, proven=True, id_in_use=in_use)
        if handshake.step is Step.PROOF and not connection.fault:
            # It does not say why: that is in its log.
            hint = "is the secret the same on both sides?"
            if self.local.keys_from:
                hint += f" ours is in the secret_file {self.local.keys_from}"
            if not self.secrets:
                hint = "does our certificate name this node, and is its authority trusted there?"
            return Dialled(node_id, f"{connection.why} during authentication ({hint})", connection, doubtful=True)
        return Dialled(node_id, connection.why, connection, proven=handshake.proven)

    def addresses_of(self, node_id: str) -> list[Address]:
        """Where that node listens, as far as is known from the connection with it."""
        peer = self.peers.get(node_id)
        current = peer.current if peer is not None else None
        if current is None or not current.session.handshake.dialler:
            return []
        return [parse_address(current.address)]

    async def dial_stream(self, address: Address, awaited: AwaitedStream) -> str:
        """Make the connection for a byte stream. A checkpoint. If it is cancelled, the connection is closed.

        Returns:
          Why that has failed, or an empty text if the connection was handed over to the stream.
        """
        try:
            pipe = await self.environment.transport.dial(address)
        except OSError as error:
            return error.strerror or str(error)
        transport = _kind_of(str(address))
        connection = Connection(self, pipe, dialler=True, address=str(address), transport=transport, awaited=awaited)
        self.dispatcher.lifecycle.start_system_task(self._run, connection)
        try:
            await connection.settled.wait()
        finally:
            assert connection.stream is not None
            if not connection.stream.handed_over:
                connection.close("the connection took too long")
        return "" if connection.stream.handed_over else connection.why or "the other side closed the connection"

    # Closing -------------------------------------------------------------------------------------------------------

    async def stop_listening(self) -> None:
        """Accept no more connections. A checkpoint."""
        self._accepting.cancel()
        await self._close_listeners()

    async def _close_listeners(self) -> None:
        with trio.CancelScope(shield=True):
            for listener in self._listeners:
                await listener.aclose()

    def stop(self) -> None:
        """Let `run` end now. Tasks of connections go on."""
        self._outreach.cancel()

    async def close(self, deadline: float) -> None:
        """Flush what is queued, half-close every connection and read it to its end; until a time of Trio's clock.

        A checkpoint. What waits for a connection that is not up yet is given the chance to get one.
        """
        self.closes_at = deadline
        with trio.CancelScope(deadline=deadline):
            async with trio.open_nursery() as nursery:
                for peer in self.peers.values():
                    nursery.start_soon(self._close_peer, peer, deadline)
        self.stop()
        for connection in tuple(self._connections):
            if connection.was_up:
                # Also one that has come up while others were waited for.
                connection.close_gracefully(deadline)
            else:
                connection.close("this node is closing")
        while self._connections:
            await self._ended.park()

    async def _close_peer(self, peer: Peer, deadline: float) -> None:
        # Also what was sent after this side had asked to part: the answer may be that it can be written after all.
        while peer.association.outbox.queue.size and not peer.association.may_write:
            await peer.up.park()
        if peer.current is not None:
            peer.current.close_gracefully(deadline)


def _describe(listener: Listener, pipe: Pipe) -> str:
    """An accepted connection, for the log. Who connects to a Unix socket mostly has no address."""
    return f"a connection to {listener.address} from {pipe.peer_address.removeprefix('unix:') or 'this machine'}"


def _kind_of(address: str) -> str:
    return "unix" if address.startswith("unix:") else "tcp"
