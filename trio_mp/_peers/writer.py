"""All that goes out over one connection: nothing else writes to its pipe."""

from __future__ import annotations

from collections.abc import Callable

import trio

from .._ports.boundary import Deaths
from .._protocol.association.association import Association
from .._protocol.handshake.session import Session
from .._transport.pipe import Pipe
from .traffic import Traffic

WRITE_SHARE = 4 * 1024 * 1024
"""What is written in one go, in bytes, before other tasks have their turn."""

ENCRYPT_SHARE = 1024 * 1024
"""How much of the queue is encrypted at once, in bytes: it takes that memory a second time until it is written."""


class Writer:
    """Writes what the session has to say, and then, while the connection is in use, the queue of the peer.

    The queue holds each byte until the operating system has taken it. Of an encrypted connection it holds a part until
    all that the part has been encrypted to is written. So what the queue says of itself is true at any time.

    Args:
      pipe: where to.
      session: says what comes before the queue (the handshake, the answers of TLS, words between frames), and encrypts.
      deaths: while monitors are being fired nothing of the queue is written.
      ended: called with the reason when the pipe takes nothing any more.
      failed: called with the reason when TLS encrypts nothing any more, because of what the other side did.
      traffic: see below.

    Attributes:
      traffic: counts what is written.
      wrote: whether anything was written since this was set to False.
      said_all: whether the other side was told that nothing comes any more.
    """

    __slots__ = (
        *("_association", "_blocked", "_deaths", "_encrypts", "_ended", "_failed", "_finishing", "_flushed"),
        *("_in_session", "_pipe", "_session", "_stopped", "said_all", "traffic", "wrote"),
    )

    def __init__(
        self,
        pipe: Pipe,
        session: Session,
        deaths: Deaths,
        *,
        ended: Callable[[str], None],
        failed: Callable[[str], None],
        traffic: Traffic,
    ) -> None:
        self._pipe = pipe
        self._session = session
        self._deaths = deaths
        self.traffic = traffic
        self._ended = ended
        self._failed = failed
        # Whose queue this writes, while the connection is in use.
        self._association: Association | None = None
        self._encrypts = False
        # So many bytes of the queue have been encrypted, and wait in `session.outgoing`.
        self._in_session = 0
        # Woken when something was handed to the operating system, or never will be.
        self._flushed = trio.lowlevel.ParkingLot()
        self._blocked = trio.Event()
        self._finishing = self._stopped = False
        self.wrote = self.said_all = False

    @property
    def is_finishing(self) -> bool:
        """Whether `finish` was called."""
        return self._finishing

    @property
    def at_rest(self) -> bool:
        """Whether all that was to be written was handed to the operating system, and more may be written."""
        return not (self._finishing or self._stopped or self._in_session or self._session.outgoing)

    def write_queue_of(self, association: Association, flushed: trio.lowlevel.ParkingLot) -> None:
        """The connection is in use: from now on write what is queued for the peer, until `leave_queue`.

        Args:
          association: says when, and has the queue.
          flushed: woken whenever something of the queue was handed to the operating system.
        """
        self._association = association
        self._encrypts = self._session.encrypted
        self._flushed = flushed

    def leave_queue(self) -> None:
        """The connection is in use no more."""
        self._association = None
        self._in_session = 0

    def finish(self) -> None:
        """When all is written, tell the other side that this was all. Call `flush` next."""
        self._finishing = True

    def stop(self) -> None:
        """Write nothing any more."""
        self._stopped = True
        self._flushed.unpark_all()

    async def wait_written(self) -> None:
        """Wait until the session has nothing to say any more, or nothing is written any more."""
        while self._session.outgoing and not self._stopped:
            await self._flushed.park()

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Finish what the operating system did not take at once. Raises what `flush` and the pipe do."""
        while True:
            await self._blocked.wait()
            self._blocked = trio.Event()
            await self._pipe.wait_writable()
            self.flush()

    def flush(self) -> None:
        """Write as much as goes without blocking; `run` does the rest."""
        if self._stopped:
            return
        try:
            session, pipe, association = self._session, self._pipe, self._association
            outgoing = session.outgoing
            share = WRITE_SHARE
            while not session.failure:
                if outgoing:
                    sent = pipe.send_nowait(outgoing)
                    self.traffic.bytes_out += sent
                    self.wrote = True
                    if sent < len(outgoing):
                        del outgoing[:sent]
                        self._blocked.set()
                        break
                    outgoing.clear()
                    if self._in_session and association is not None:
                        association.outbox.queue.advance(self._in_session)
                        self._in_session = 0
                if share < 0:
                    # `run` goes on when others have had their turn.
                    self._blocked.set()
                    break
                if association is None or self._deaths.firing or not association.may_write:
                    break
                chunk = association.outbox.queue.next_chunk()
                if chunk is None:
                    break
                if self._encrypts:
                    chunk = chunk[:ENCRYPT_SHARE]
                    self._in_session = len(chunk)
                    association.outbox.queue.in_hand = True
                    session.send(chunk)
                else:
                    sent = pipe.send_nowait(chunk)
                    association.outbox.queue.advance(sent)
                    self.traffic.bytes_out += sent
                    self.wrote = True
                    if sent < len(chunk):
                        self._blocked.set()
                        break
                share -= len(chunk)
            else:
                self.stop()
                self._failed(session.failure)
                return
            if self._flushed:
                self._flushed.unpark_all()
            if self._finishing and not outgoing and not (association is not None and association.has_to_write):
                pipe.send_eof()
                self.said_all = True
                self.stop()
        except OSError as error:
            self.stop()
            self._ended(error.strerror or str(error))
