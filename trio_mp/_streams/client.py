"""The side of a byte stream that has asked for the stream."""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import trio

from .._errors import PortDied
from .._ids import join_port
from .._peers.network import Network
from .._peers.peer import Peer
from .._ports.port import Port, new_port
from .._ports.run_queue import Job
from .._protocol.requests import OpenStream, dial_stream, kill, open_stream
from .._protocol.wire.values import plain_message
from .._reason import Reason, describe, is_normal, stream_failed
from .._runtime import Runtime
from .._transport.addresses import Address
from .._transport.memory import memory_pipe_pair
from .byte_stream import ByteStream
from .pending import PendingStream, PendingStreams

LookUp: TypeAlias = Callable[[str], Awaitable[tuple[Address, ...]]]

CAPACITY = 1024 * 1024
"""How many unread bytes a stream within one node holds, in each direction."""

NO_STREAM = stream_failed("")[:1]

GIVEN_UP = stream_failed("the node that asked for the stream no longer waits for it")


async def dial(network: Network, look_up: LookUp, pending: PendingStream, seconds: float) -> str:
    """Try to make the connection of a byte stream, at each address of the other node in turn.

    A checkpoint.

    Args:
      network: the network of this node.
      look_up: asks the network where a node listens.
      pending: the stream.
      seconds: how long all attempts together may take.

    Returns:
      What was tried, for people. Whether it has succeeded, `pending.stream` says.
    """
    tried: list[str] = []
    # Negative if this process has stood still past the deadline; Trio refuses such a number.
    seconds = max(0.0, seconds)
    end = trio.current_time() + seconds
    addresses = network.addresses_of(pending.peer.id)
    with trio.move_on_after(seconds / 4):
        listed = await look_up(pending.peer.id)
        addresses += [address for address in listed if address not in addresses]
    for number, address in enumerate(addresses):
        share = max(0.0, end - trio.current_time()) / (len(addresses) - number)
        why = f"no answer within {share:.1f} s"
        with trio.move_on_after(share):
            why = await network.dial_stream(address, pending)
        if pending.stream is not None:
            break
        tried.append(f"{address}: {why or 'the stream was given up'}")
    return "; ".join(tried) or "no address of that node is known"


class StreamClient(ABC):
    """A stream that this side has asked for, and the port whose function gets the other end.

    Args:
      runtime: the node that asks.
      node_id: the ID of the node of the port.
      request: the request for the stream.
    """

    def __init__(self, runtime: Runtime, node_id: str, request: OpenStream) -> None:
        self._runtime = runtime
        self._node_id = node_id
        self._request = request
        self.port = join_port(node_id, request.name)
        # Why the port has died, if it has.
        self._reason: Reason | None = None
        self._stream: ByteStream | None = None
        self._scope = trio.CancelScope()
        # What dialling has brought, for the text of an error.
        self._tried = ""

    @abstractmethod
    def ask(self) -> None:
        """Ask for the stream. The port can be monitored when this has returned."""

    @abstractmethod
    async def meet(self) -> ByteStream | None:
        """Wait until the stream is there; None if that takes too long. `open` cancels it when the port dies."""

    @abstractmethod
    def give_up(self) -> None:
        """Undo the request, because no task waits for the stream any more."""

    async def open(self) -> ByteStream:
        """Wait until the stream is there. A checkpoint. Raises `PortDied` or `OSError`."""
        try:
            with self._scope:
                self._stream = await self.meet()
            if self._stream is None:
                raise self._failure()
            return self._stream
        except BaseException:
            if self._reason is None:
                self.give_up()
            raise

    def _failure(self) -> Exception:
        there = "no connection within the handshake_timeout"
        if self._reason is not None:
            if self._reason[:1] != NO_STREAM:
                return PortDied(self.port, self._reason)
            there = describe(self._reason[1:])
        text = f"no byte stream with {self._node_id}; dialled from here: {self._tried}; from there: {there}"
        return OSError(errno.EHOSTUNREACH, text)

    def died(self, *reason: object) -> None:
        """Take up that the port has died. It ends the wait for a stream; a stream that is there learns only the reason.

        How the stream ends, the stream itself says: what the function there has sent may still be on its way.
        """
        self._reason = reason if self._reason is None else self._reason
        if self._stream is None:
            self._scope.cancel()
        elif not is_normal(reason):
            self._stream.explain(f"the port there has died: {describe(reason)}")

    def lost(self, *reason: object) -> None:
        """Take up that the other node is lost: the stream does not wait for it for long any more."""
        if self._stream is not None:
            self._stream.lose(describe(reason))


class OpeningThere(StreamClient):
    """A stream to another node.

    Args:
      runtime, node_id, request: see `StreamClient`.
      peer: the other node.
      dial: tries to make the connection of a pending stream, for so many seconds; returns what was tried, for people.
      pending_streams: all streams of this node that are being set up.
    """

    def __init__(
        self,
        runtime: Runtime,
        node_id: str,
        request: OpenStream,
        peer: Peer,
        dial: Callable[[PendingStream, float], Awaitable[str]],
        pending_streams: PendingStreams,
    ) -> None:
        super().__init__(runtime, node_id, request)
        self._dial = dial
        self._pending_streams = pending_streams
        grace = runtime.settings.shutdown_timeout
        self._pending = PendingStream(request.name, request.token, peer, opener=True, grace=grace)

    def ask(self) -> None:
        """See `StreamClient.ask`."""
        request = self._request
        try:
            self._pending.peer.send("", open_stream(request.name, request.token, request.function, request.arguments))
        except (TypeError, ValueError):
            # The error names the place as the caller counts, in `arguments` and not in the request.
            plain_message(request.arguments, thorough=True, what="arguments")
            raise

    async def meet(self) -> ByteStream | None:
        """See `StreamClient.meet`."""
        pending, pending_streams = self._pending, self._pending_streams
        timeout = self._runtime.settings.handshake_timeout
        pending_streams.add(pending)
        try:
            await pending.wait()
            # Half of the time is left for the other side, in case this one cannot dial.
            self._tried = await self._dial(pending, timeout / 2)
            if pending.stream is None:
                pending.turn_round()
                pending_streams.expect(pending)
                pending.peer.send("", dial_stream(pending.name))
                with trio.move_on_after(timeout):
                    await pending.wait()
            return pending.stream
        except BaseException:
            # The stream may have come in the very moment in which this was cancelled.
            pending.drop()
            raise
        finally:
            pending_streams.remove(pending)

    def give_up(self) -> None:
        """See `StreamClient.give_up`."""
        self._pending.drop()
        self._pending.peer.send("", kill(self._request.name, GIVEN_UP))


class OpeningHere(StreamClient):
    """A stream to a port of this node.

    Args:
      runtime, node_id, request: see `StreamClient`.
      start: starts the function; called with the port, the request and the port's end of the stream, it returns
        whether that went well.
    """

    def __init__(
        self, runtime: Runtime, node_id: str, request: OpenStream, start: Callable[[Port, OpenStream, ByteStream], bool]
    ) -> None:
        super().__init__(runtime, node_id, request)
        self._start = start
        self._begun = trio.Event()
        ours, theirs = memory_pipe_pair(capacity=CAPACITY)
        grace = runtime.settings.shutdown_timeout
        self._ends = ByteStream(ours, node_id, grace), ByteStream(theirs, node_id, grace)

    def ask(self) -> None:
        """See `StreamClient.ask`."""
        lifecycle = self._runtime.lifecycle
        for end in self._ends:
            lifecycle.start_system_task(end.carry)
        # A job, so that the function starts behind the messages that were sent to this node before.
        self._runtime.dispatcher.queue.enqueue(Job(self._begin), (new_port(lifecycle, self._request.name),))

    def _begin(self, port: Port) -> None:
        # The port is dead if the node was cancelled before this job ran, or if no task waits for the stream any more.
        if port.alive and self._start(port, self._request, self._ends[1]):
            self._begun.set()
        else:
            self.give_up()

    async def meet(self) -> ByteStream | None:
        """See `StreamClient.meet`."""
        await self._begun.wait()
        return self._ends[0]

    def give_up(self) -> None:
        """See `StreamClient.give_up`."""
        for end in self._ends:
            end.abort()
        self._runtime.lifecycle.kill_now(self._request.name, GIVEN_UP)
