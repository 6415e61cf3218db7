"""A byte stream to another node, or to another port of this one: Trio's stream on top of a pipe.

What travels is chunks, and an end that is said; see `chunks.py`. On an encrypted connection all of that is
inside TLS, so one direction can be ended while the other goes on, which TLS itself does badly.
"""

from __future__ import annotations

import trio

from .._errors import RemoteProtocolError
from .._protocol.handshake.session import TLSChannel
from .._protocol.wire.chunks import CHUNK_LIMIT, END, ChunkReader, header
from .._transport.pipe import Pipe
from .conflict import ConflictDetector

READ_SIZE = 256 * 1024
"""How much is read at once, in bytes."""

SMALL = 64 * 1024
"""So much of a chunk is copied behind its length, in bytes: a length alone would wake the receiver for nothing."""

LEFTOVERS = 4 * 1024 * 1024
"""How much of what nobody wants any more is read after closing, in bytes."""


_NOTHING = memoryview(b"")

# The C library of Linux gives freed memory from 128 KiB on back to the kernel, until it has once seen a larger block
# come and go. Without this every read is one into fresh pages (measured: half of the throughput). No page is touched.
len(bytes(4 * 1024 * 1024))


class ByteStream(trio.abc.HalfCloseableStream):
    """One end of a byte stream.

    Args:
      pipe: what carries it; the stream closes it.
      with_whom: the other end, for texts of errors.
      grace: how long is waited for bytes when the other node was lost, and for the other end after closing, in seconds.
      tls: encrypts it, if anything does; its handshake is done.
      received: what was received of it already, decrypted.
    """

    def __init__(
        self, pipe: Pipe, with_whom: str, grace: float, *, tls: TLSChannel | None = None, received: bytes = b""
    ) -> None:
        self._pipe = pipe
        self._with_whom = with_whom
        self._grace = grace
        self._tls = tls
        self._reader = ChunkReader()
        self._reader.feed(received)
        # What has to be written before anything else: once bytes are in here they are as good as sent.
        self._outgoing = memoryview(b"")
        self._sending = ConflictDetector("sending through")
        self._receiving = ConflictDetector("receiving from")
        self._end_sent = False
        self._closed = ""
        # Why the stream has broken, if it has; and the error of TLS after which nothing can be sent or received.
        self._why_broken = ""
        self._failure = ""
        # Why nothing more may come: the other node, or the port there, is gone.
        self._lost = ""
        self._released = trio.Event()

    @property
    def closed(self) -> bool:
        """Whether its users have closed it."""
        return bool(self._closed)

    # Sending -------------------------------------------------------------------------------------------------------

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See `trio.abc.SendStream.send_all`.

        Cancelled, an unknown part of the data has been sent, or still will be before whatever is sent next.
        """
        with self._sending:
            self._check_sendable()
            await trio.lowlevel.checkpoint_if_cancelled()
            waits = self._sending.waits
            with memoryview(data) as given, given.cast("B") as view:
                await self._send(view)
            if self._sending.waits == waits:
                await trio.lowlevel.cancel_shielded_checkpoint()

    async def _send(self, view: memoryview) -> None:
        start, size = 0, len(view)
        await self._flush()
        while start < size:
            end = min(size, start + CHUNK_LIMIT)
            with view[start:end] as chunk:
                await self._send_chunk(chunk)
            start = end
            if start < size:
                await trio.lowlevel.checkpoint_if_cancelled()

    async def _send_chunk(self, chunk: memoryview) -> None:
        if len(chunk) <= SMALL:
            self._add(header(len(chunk)) + chunk)
        elif self._tls is not None:
            self._add(header(len(chunk)), chunk)
        else:
            self._add(header(len(chunk)) + chunk[:SMALL])
            with chunk[SMALL:] as rest:
                await self._flush(rest)
            return
        await self._flush()

    def _add(self, *parts: bytes | memoryview) -> None:
        """Have these bytes written before anything else, encrypted where the stream is."""
        if self._tls is not None:
            try:
                parts = tuple(self._tls.send(part) for part in parts)
            except RemoteProtocolError as error:
                raise self._failed(error) from None
        self._outgoing = memoryview(b"".join((self._outgoing, *parts)))

    async def _flush(self, rest: memoryview = _NOTHING) -> None:
        """Write what is to be written first, and then the rest of a chunk, which is not copied for that.

        If it is not all written, what is left has to be written before anything else.
        """
        sent = 0
        try:
            sent = self._push(rest, sent)
            if not self._outgoing and sent == len(rest):
                return
            with trio.CancelScope() as self._sending.scope:
                while self._outgoing or sent < len(rest):
                    await self._sending.wait(self._pipe.wait_writable)
                    sent = self._push(rest, sent)
                return
        finally:
            if sent < len(rest):
                self._outgoing = memoryview(b"".join((self._outgoing, rest[sent:])))
        raise self._out_of_patience()

    def _push(self, rest: memoryview, sent: int) -> int:
        """As `_flush`, as far as it goes without waiting; how much of the rest has been written."""
        if self._outgoing:
            self._outgoing = self._outgoing[self._send_nowait(self._outgoing) :]
        if sent < len(rest) and not self._outgoing:
            with rest[sent:] as unsent:
                sent += self._send_nowait(unsent)
        return sent

    def _send_nowait(self, data: memoryview) -> int:
        self._check_open()
        try:
            return self._pipe.send_nowait(data)
        except OSError as error:
            raise self._broken(error.strerror or str(error)) from error

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream.wait_send_all_might_not_block`."""
        with self._sending:
            self._check_sendable()
            await trio.lowlevel.checkpoint()
            self._check_sendable()
            await self._flush()
            with trio.CancelScope() as self._sending.scope:
                await self._sending.wait(self._pipe.wait_writable)
                self._check_open()
                return
            raise self._out_of_patience()

    async def send_eof(self) -> None:
        """See `trio.abc.HalfCloseableStream.send_eof`. The other end sees the end of the stream, and can still send.

        Cancelled, the end may have been sent, or not. A stream that has raised `trio.BrokenResourceError` before cannot
        be ended any more.
        """
        with self._sending:
            self._check_open()
            await trio.lowlevel.checkpoint()
            await self._send_end()

    async def _send_end(self) -> None:
        if not self._end_sent:
            if self._why_broken:
                # Whoever has missed something, and goes on as if nothing had happened, must not seem to have finished.
                raise self._broken(self._why_broken)
            self._end_sent = True
            self._add(END)
        await self._flush()

    def _check_sendable(self) -> None:
        self._check_open()
        if self._end_sent:
            raise trio.ClosedResourceError("the end of this stream has been sent")

    # Receiving -----------------------------------------------------------------------------------------------------

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """See `trio.abc.ReceiveStream.receive_some`.

        Nothing is returned only when the other end has said that there is no more: by `send_eof`, by `aclose`, or by
        the return of the function there. Cancelled, nothing has been received.

        Raises:
          trio.BrokenResourceError: the stream has ended before that, whatever has ended it.
        """
        if max_bytes is not None:
            if not isinstance(max_bytes, int):
                raise TypeError(f"max_bytes: expected an int or None, got {max_bytes!r}")
            if max_bytes < 1:
                raise ValueError(f"max_bytes: expected at least 1, got {max_bytes}")
        with self._receiving:
            self._check_open()
            await trio.lowlevel.checkpoint_if_cancelled()
            waits = self._receiving.waits
            data = self._take(max_bytes)
            if data is None:
                data = await self._wait_for_data(max_bytes)
            if self._receiving.waits == waits:
                # Now, and not before, that what has been taken cannot get lost, and to wait is enough where one waits.
                await trio.lowlevel.cancel_shielded_checkpoint()
            return data

    def _take(self, max_bytes: int | None) -> bytes | None:
        """What can be had without waiting."""
        while (data := self._reader.take(max_bytes)) is None and self._read():
            pass
        return data

    async def _wait_for_data(self, max_bytes: int | None) -> bytes:
        with trio.CancelScope() as self._receiving.scope:
            while True:
                await self._receiving.wait(self._pipe.wait_readable)
                data = self._take(max_bytes)
                if data is not None:
                    return data
        raise self._out_of_patience()

    def _read(self) -> bool:
        """Read what is there; whether anything was."""
        self._check_open()
        try:
            data = self._pipe.receive_nowait(READ_SIZE)
            if data is None:
                return False
            if not data:
                raise self._broken("the connection ended before the stream did")
            self._reader.feed(self._decrypt(data))
        except OSError as error:
            raise self._broken(error.strerror or str(error)) from error
        except RemoteProtocolError as error:
            raise self._failed(error) from None
        return True

    def _decrypt(self, data: bytes) -> bytes:
        if self._tls is None:
            return data
        plain, reply = self._tls.receive(data)
        if reply:
            # Only now and then: an exchange of keys. It goes out with what is sent next.
            self._outgoing = memoryview(b"".join((self._outgoing, reply)))
        return plain

    # Errors --------------------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError(self._closed)
        if self._failure:
            raise self._broken(self._failure)

    def _out_of_patience(self) -> Exception:
        """The error of who has waited too long, or was woken because it is closed."""
        return trio.ClosedResourceError(self._closed) if self._closed else self._broken("")

    def _failed(self, error: RemoteProtocolError) -> trio.BrokenResourceError:
        """TLS has found an error, and from now on neither takes nor gives anything, without another word."""
        self._failure = str(error)
        return self._broken(self._failure)

    def _broken(self, why: str) -> trio.BrokenResourceError:
        text = "; ".join(dict.fromkeys(filter(None, (why, self._lost))))
        self._why_broken = self._why_broken or why or text
        return trio.BrokenResourceError(f"the byte stream with {self._with_whom} is broken: {text}")

    def explain(self, why: str) -> None:
        """The port at the other end has died: what errors from now on are to say. What is on its way still arrives."""
        self._lost = self._lost or why

    def lose(self, why: str) -> None:
        """The other node is lost: what has arrived can be read, and from now on nothing is waited for for long.

        The connection of messages and that of the stream are two, and nothing is known about the latter: as long as
        bytes arrive it is alive.
        """
        self.explain(why)
        for turn in (self._sending, self._receiving):
            turn.patience = self._grace
            turn.limit(self._grace)

    # Closing -------------------------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """See `trio.abc.AsyncResource.aclose`. The other end sees the end of the stream, behind what was sent.

        Cancelled, or while another task is sending, or after a `trio.BrokenResourceError`, the stream is broken off
        instead: the other end gets an error.
        """
        if self._closed:
            await trio.lowlevel.checkpoint()
            return
        if self._sending.taken:
            self.abort()
            await trio.lowlevel.checkpoint()
            return
        try:
            with self._sending:
                await trio.lowlevel.checkpoint()
                await self._send_end()
                if not self._closed:
                    self._pipe.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            # As with Trio's own streams: who must know whether all has arrived waits for an answer.
            self.abort()
        except BaseException:
            self.abort()
            raise
        self._release("this stream is closed")
        self._receiving.limit(0)

    def abort(self, why: str = "this stream is closed") -> None:
        """Break it off: the other end gets an error, and does not take it for the end. Not a checkpoint."""
        self._release(why)
        self._pipe.close()

    def _release(self, why: str) -> None:
        self._closed = self._closed or why
        self._released.set()

    async def carry(self) -> None:
        """Wait until it is closed, and then read on for a moment: what is closed with input unread is reset.

        A reset would destroy what this end has sent, and the other one has not read yet.
        """
        try:
            await self._released.wait()
            if self._reader.ended:
                return
            with trio.move_on_after(self._grace):
                await self._receiving.wait_free()
                left = LEFTOVERS
                while left > 0:
                    await self._pipe.wait_readable()
                    data = self._pipe.receive_nowait(READ_SIZE)
                    if data is not None:
                        left -= len(data) or left
        except (trio.ClosedResourceError, OSError):
            pass
        finally:
            self.abort("this node is closed")
