"""All that comes in over one connection: nothing else reads from its pipe, until a byte stream takes it over.

The reader waits, reads much, has it dispatched, and then flushes what the handlers sent: no task switch in between.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence

import trio

from .._ports.boundary import LocalPorts
from .._ports.context import Running
from .._protocol.handshake.events import Event, Messages
from .._protocol.handshake.session import Incoming, Session
from .._protocol.requests import says_nothing
from .._protocol.wire.framing import Batch
from .._transport.pipe import Pipe
from .traffic import Traffic
from .writer import Writer

READ_SIZE = 64 * 1024
"""What is read at once, in bytes, where there is no large frame."""

READ_SHARE = 8 * READ_SIZE
"""What is read and dispatched, in bytes, before other tasks have their turn."""


class Reader:
    """Reads one connection: first the handshake, whose events it hands on, then messages, which it has dispatched.

    Args:
      pipe: where from.
      session: takes the bytes of the handshake.
      dispatcher: the ports of this node.
      writer: what the session has to say goes out by it.
      ended: not empty once the connection has ended: nothing is read or dispatched any more.
      handle: takes the events of the handshake, in order.
      serve: takes messages to the node port.
      traffic: see below.

    Attributes:
      received_at: when something was received last, by Trio's clock.
      batches: how many were received that were more than a sign of life.
      traffic: counts what is received.
    """

    __slots__ = (
        *("_dispatcher", "_ended", "_handle", "_pipe", "_serve", "_session", "_writer", "batches", "received_at"),
        "traffic",
    )

    def __init__(
        self,
        pipe: Pipe,
        session: Session,
        dispatcher: LocalPorts,
        writer: Writer,
        ended: Sequence[str],
        handle: Callable[[Event], None],
        serve: Callable[[tuple[object, ...]], None],
        traffic: Traffic,
    ) -> None:
        self._pipe = pipe
        self._session = session
        self._dispatcher = dispatcher
        self._writer = writer
        self._ended = ended
        self._handle = handle
        self._serve = serve
        self.received_at = trio.current_time()
        self.batches = 0
        self.traffic = traffic

    async def read_handshake(self, running: Running) -> bool:
        """Read until the handshake is over, or the connection has ended. A checkpoint.

        Args:
          running: of the task that reads.

        Returns:
          Whether the other side has closed the connection.

        Raises:
          RemoteProtocolError, OSError, trio.ClosedResourceError: as `Session.receive` and the pipe do.
        """
        session = self._session
        while not self._ended and not session.open:
            await self._pipe.wait_readable()
            data = self._pipe.receive_nowait(READ_SIZE)
            if data is None:
                continue
            if not data:
                return True
            self.received_at = trio.current_time()
            self.traffic.bytes_in += len(data)
            # Refused: what comes now was sent before that was known; unread, it would reset our last bytes.
            for event in () if self._writer.is_finishing else session.receive(data):
                if self._ended:
                    break
                if isinstance(event, Messages):
                    self.traffic.messages_in += len(event.batch)
                    await self._dispatch_rest(running, event.batch, 0)
                else:
                    self._handle(event)
            self._dispatcher.run_pass(running)
            self._writer.flush()
        return False

    async def read_messages(self, running: Running) -> bool:
        """Read messages until the connection has ended. Call `read_handshake` first; otherwise as that."""
        incoming, dispatcher = self._session.start_receiving(), self._dispatcher
        while not self._ended:
            await self._pipe.wait_readable()
            share = READ_SHARE
            while share > 0:
                count, more, batches = self._receive(incoming)
                if count is None:
                    break
                if not count:
                    return True
                self.received_at = trio.current_time()
                traffic = self.traffic
                traffic.bytes_in += count
                for batch in batches:
                    if self._ended:
                        # What is left of it must not overtake, or be overtaken by, what comes another way.
                        break
                    # In line what most batches need, a coroutine for the others.
                    if len(batch) != 1 or (batch[0] and batch[0][0]) or not says_nothing(batch[0]):
                        self.batches += 1
                        traffic.messages_in += len(batch)
                    done = dispatcher.dispatch_batch(running, batch, 0, self._serve, self._ended)
                    if done < len(batch):
                        await self._dispatch_rest(running, batch, done)
                if self._ended or not more:
                    break
                share -= count
            dispatcher.run_pass(running)
            if self._session.outgoing or self._session.failure or self._writer.is_finishing:
                # What TLS answers, or cannot send; and the end, when all has been said.
                self._writer.flush()
        return False

    def _receive(self, incoming: Incoming) -> tuple[int | None, bool, list[Batch]]:
        """Take what has come, as far as one read brings it: a piece of its own or, of a large frame, into its place.

        Returns:
          How many bytes there were, None if nothing has come and 0 at the end; whether more may be there; the messages.
        """
        # The collector of cycles would look again and again at what is being decoded, in which there is none.
        collects = gc.isenabled()
        try:
            if collects:
                gc.disable()
            room = incoming.room()
            if room is None:
                data = self._pipe.receive_nowait(READ_SIZE)
                if not data:
                    return (None if data is None else 0), False, []
                return len(data), len(data) == READ_SIZE, incoming.receive(data)
            count = self._pipe.receive_into_nowait(room)
            return count, count == len(room), incoming.filled(count) if count else []
        finally:
            if collects:
                gc.enable()

    async def _dispatch_rest(self, running: Running, batch: Batch, done: int) -> None:
        """Dispatch the messages of a batch behind the first so many, a pass at a time; others have their turn between.

        A batch that comes with the end of the handshake comes here from its beginning.
        """
        dispatcher, ended = self._dispatcher, self._ended
        while done < len(batch):
            if done:
                dispatcher.run_pass(running)
                await trio.lowlevel.checkpoint()
                if ended:
                    return
                # What has come meanwhile has not been read, so its silence says nothing.
                self.received_at = trio.current_time()
            done = dispatcher.dispatch_batch(running, batch, done, self._serve, ended)
