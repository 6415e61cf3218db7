"""Byte streams between nodes: how two nodes agree on a stream, and which of them dials the other.

    opener                                          the other node
    ──────────────────────────────────────────────  ─────────────────────────────────────────────────────────
    `stream`: a port name, a token, a function  ->  makes the port, expects a connection with the token
    dials, and greets with the token            <-  `stream_ready`
    if that fails: `stream_dial`                ->  dials, and greets with the token

The requests travel with the messages and keep their place among them. The opener monitors the port, so that it learns
of every failure of the other side as the port's death. Both monitor each other's node, for what goes wrong later.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from .._events import fields
from .._ids import PortReference, node_of, random_token
from .._peers.network import Network
from .._peers.peer import Peer
from .._ports.lifecycle import call_async
from .._ports.port import Port, lifecycle_of, new_port, state_of
from .._protocol.requests import OpenStream, stream_ready
from .._reason import describe, spawn_failed, stream_failed
from .._runtime import Runtime
from .._services.processes import start_process
from .._services.spawning import Spawner, check_reference
from .byte_stream import ByteStream
from .client import LookUp, OpeningHere, OpeningThere, StreamClient, dial
from .pending import PendingStream, PendingStreams

DIALS = 16
"""How many connections this node makes at the same time for byte streams that other nodes have asked for."""

log = logging.getLogger("trio_mp.spawn")


class Streams:
    """Sets up the byte streams of a node.

    Args:
      runtime: the node.
      spawner: finds the functions that get streams.
      pending: the streams that are being set up; the node's network looks there for those that others bring.
      look_up: asks the network where a node listens.
    """

    def __init__(self, runtime: Runtime, spawner: Spawner, pending: PendingStreams, look_up: LookUp) -> None:
        self._runtime = runtime
        self._spawner = spawner
        self.look_up = look_up
        self._pending = pending
        # For streams of other nodes: they wait for each other here, at most as long as for a connection.
        self._dials = trio.Semaphore(DIALS)

    @property
    def _network(self) -> Network:
        # Only code that has a peer comes here, and a node with peers has a network.
        assert self._runtime.network is not None
        return self._runtime.network

    # The side that opens -------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def open(
        self, node_or_port: str | PortReference, function: str, arguments: tuple[Any, ...]
    ) -> AsyncGenerator[trio.abc.HalfCloseableStream, None]:
        """See `Node.open_stream`."""
        runtime = self._runtime
        check_reference(function)
        if isinstance(node_or_port, PortReference):
            # Its node, whether it runs there now or not.
            node_or_port = node_or_port.port
        peer, _ = runtime.route(node_or_port)
        node_id = node_of(node_or_port)
        name = runtime.next_name() if peer is None else runtime.next_spawned_name()
        request = OpenStream(name, random_token(runtime.environment.entropy), function, arguments)
        opening: StreamClient
        if peer is None:
            opening = OpeningHere(runtime, node_id, request, self._start_here)
        else:
            opening = OpeningThere(runtime, node_id, request, peer, self._dial, self._pending)
        opening.ask()
        # The monitors are set behind the request, so that they find the port. No checkpoint is in between, in which the
        # port could be lost unnoticed.
        with runtime.monitor(opening.port, opening.died, None), runtime.monitor(node_id, opening.lost, None):
            stream = await opening.open()
            try:
                yield stream
            except BaseException:
                stream.abort()
                raise
            await stream.aclose()

    def ready(self, peer: Peer, name: str) -> None:
        """See `StreamService.ready`."""
        pending = self._pending.find(peer, name)
        if pending is not None and pending.opener:
            pending.incarnation = peer.association.incarnation
            pending.wake()

    # The side that is asked ----------------------------------------------------------------------------------------

    def serve(self, request: OpenStream, peer: Peer) -> Port | None:
        """See `StreamService.serve`. A refusal is logged, and kept for monitors that are set later."""
        if self._runtime.closing:
            return None
        port = new_port(self._runtime.lifecycle, request.name)
        grace = self._runtime.settings.shutdown_timeout
        pending = PendingStream(request.name, request.token, peer, opener=False, grace=grace)
        if self._start(port, request, self._run_there, pending, asker=peer.id):
            self._pending.add(pending)
            self._pending.expect(pending)
            peer.send("", stream_ready(request.name))
        return port

    def dial(self, peer: Peer, name: str) -> None:
        """See `StreamService.dial`."""
        pending = self._pending.find(peer, name)
        if pending is not None and not pending.opener:
            pending.turn_round()
            pending.wake()

    async def _dial(self, pending: PendingStream, seconds: float) -> str:
        return await dial(self._network, self.look_up, pending, seconds)

    async def _dial_for(self, pending: PendingStream, end: float) -> str:
        """Dial as `_dial` does, until a time of Trio's clock, as soon as fewer than `DIALS` others do."""
        with trio.move_on_at(end) as scope:
            await self._dials.acquire()
        if scope.cancelled_caught:
            return f"{DIALS} connections are being made at the request of other nodes, the limit"
        try:
            return await self._dial(pending, end - trio.current_time())
        finally:
            self._dials.release()

    def _start_here(self, port: Port, request: OpenStream, stream: ByteStream) -> bool:
        return self._start(port, request, self._run_here, stream, asker="")

    def _start(
        self, port: Port, request: OpenStream, run: Callable[..., Any], with_what: object, *, asker: str
    ) -> bool:
        """Start the task of a new port, or kill the port if its function may not be spawned; whether it started."""
        spawner, lifecycle = self._spawner, self._runtime.lifecycle
        try:
            function = spawner.find(request.function, remote=bool(asker))
            if not inspect.iscoroutinefunction(function):
                raise LookupError(f"{request.function} is not async: only an async function can use a byte stream")
        except LookupError as error:
            text = str(error.args[0])
            spawner.log_failure(asker, "a byte stream is refused: %s", text)
            spawner.refuse(request.name, text)
            lifecycle.die(port, spawn_failed(text))
            return False
        start_process(port, run, (with_what, function, *request.arguments))
        return True

    async def _run_here(self, port: Port, stream: ByteStream, function: Callable[..., Any], *arguments: Any) -> None:
        """The task of the port at the other end of a stream within this node."""
        try:
            await call_async(function, (stream, *arguments))
            await stream.aclose()
        except BaseException as error:
            stream.abort()
            if isinstance(error, Exception) and state_of(port).monitors:
                # A death without monitors is logged in any case.
                log.error(
                    "%s: the function of a byte stream failed",
                    port,
                    exc_info=error,
                    extra=fields("stream", node_of(port)),
                )
            raise

    async def _run_there(
        self, port: Port, pending: PendingStream, function: Callable[..., Any], *arguments: Any
    ) -> None:
        """The task of the port at the other end of a stream of another node."""
        tried = "no connection from that node"
        end = trio.current_time() + self._runtime.settings.handshake_timeout
        try:
            with trio.move_on_at(end):
                while pending.stream is None and not pending.dials:
                    await pending.wait()
            if pending.dials:
                tried = await self._dial_for(pending, end)
        except BaseException:
            # The stream may have come in the very moment in which this was cancelled.
            pending.drop()
            raise
        finally:
            self._pending.remove(pending)
        stream = pending.stream
        if stream is None:
            complain = self._runtime.errands.complain
            complain(pending.peer.id, "stream", log, "%s: no byte stream with %s: %s", port, pending.peer.id, tried)
            lifecycle_of(port).die(port, stream_failed(tried))
            return
        try:
            # `monitor` raises if the port was killed in the moment in which the stream came.
            with self._runtime.monitor(pending.peer.id, lambda *reason: stream.lose(describe(reason)), None):
                await self._run_here(port, stream, function, *arguments)
        except BaseException:
            stream.abort()
            raise
