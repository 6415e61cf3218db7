"""A byte stream to another node, or to another port of this one: Trio's stream on top of a pipe.

A stream travels as chunks and an explicit end; see `chunks.py`. On an encrypted connection these are inside TLS, so one
direction can end while the other goes on, which TLS itself does badly.
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
"""How much of a chunk is copied behind its length, in bytes: a length alone would wake the receiver for nothing."""

LEFTOVERS = 4 * 1024 * 1024
"""How much a closed stream still reads and drops, in bytes, so that the other end is not reset; see `carry`."""


_NOTHING = memoryview(b"")

# The C library of Linux gives freed memory from 128 KiB on back to the kernel, until it has once seen a larger block
# come and go. Without this every read is one into fresh pages (measured: half of the throughput). No page is touched.
len(bytes(4 * 1024 * 1024))


class ByteStream(trio.abc.HalfCloseableStream):
    """One end of a byte stream.

    Args:
      pipe: carries the bytes; the stream closes it.
      with_whom: the ID of the node at the other end, for the texts of errors.
      grace: how long the stream waits for bytes after the other node was lost, and for the other end after it was
        closed here, in seconds.
      tls: encrypts the stream, and has done its handshake; None if the stream is not encrypted.
      received: bytes of the stream that were received before it was made, decrypted.
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
        # Bytes to write before all others. Encrypted bytes cannot be taken back: the other end expects each of them.
        self._outgoing = memoryview(b"")
        self._sending = ConflictDetector("sending through")
        self._receiving = ConflictDetector("receiving from")
        self._end_sent = False
        self._closed = ""
        # Why the stream has broken, if it has. And the error of TLS, after which nothing can be sent or received.
        self._why_broken = ""
        self._failure = ""
        # Why nothing more may come, because the other node, or the port there, is gone; for the texts of errors.
        self._lost = ""
        self._released = trio.Event()

    @property
    def closed(self) -> bool:
        """Whether this end has been closed."""
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
        """Put bytes behind those that are to be written before all others; encrypt them if the stream is encrypted."""
        if self._tls is not None:
            try:
                parts = tuple(self._tls.send(part) for part in parts)
            except RemoteProtocolError as error:
                raise self._failed(error) from None
        self._outgoing = memoryview(b"".join((self._outgoing, *parts)))

    async def _flush(self, rest: memoryview = _NOTHING) -> None:
        """Write the bytes that go first, and then the rest of a chunk, which is copied only if it is not all written.

        However this ends, what is left of the chunk goes before anything else: its length has been sent.
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
        """Write as `_flush` does, as far as that goes without waiting; returns how much of the rest was written."""
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
                # A program that caught this error and goes on must not seem to the other end to have finished.
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
                # The checkpoint comes last and is shielded, because data that has been taken must not get lost. A call
                # that had to wait has been a checkpoint already.
                await trio.lowlevel.cancel_shielded_checkpoint()
            return data

    def _take(self, max_bytes: int | None) -> bytes | None:
        """Take data as far as it can be had without waiting; None if there is none yet."""
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
        """Read from the pipe without waiting; returns whether there was anything."""
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
            # TLS answers only now and then, to an exchange of keys. The answer goes out with what is sent next.
            self._outgoing = memoryview(b"".join((self._outgoing, reply)))
        return plain

    # Errors --------------------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError(self._closed)
        if self._failure:
            raise self._broken(self._failure)

    def _out_of_patience(self) -> Exception:
        """The error for a task whose wait was cut short: the stream was closed meanwhile, or it waited too long."""
        return trio.ClosedResourceError(self._closed) if self._closed else self._broken("")

    def _failed(self, error: RemoteProtocolError) -> trio.BrokenResourceError:
        """Keep an error of TLS, after which it takes and gives nothing any more; returns the error to raise."""
        self._failure = str(error)
        return self._broken(self._failure)

    def _broken(self, why: str) -> trio.BrokenResourceError:
        text = "; ".join(dict.fromkeys(filter(None, (why, self._lost))))
        self._why_broken = self._why_broken or why or text
        return trio.BrokenResourceError(f"the byte stream with {self._with_whom} is broken: {text}")

    def explain(self, why: str) -> None:
        """Let later errors say why the port at the other end has died. What is on its way still arrives."""
        self._lost = self._lost or why

    def lose(self, why: str) -> None:
        """Let no task wait long from now on, because the other node is lost. What has arrived can still be read.

        Messages and the stream have a connection each, and that of the stream may be well: as long as bytes arrive, it
        is alive.
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
            # No error, as with Trio's own streams: a program that must know whether all arrived waits for an answer.
            self.abort()
        except BaseException:
            self.abort()
            raise
        self._release("this stream is closed")
        self._receiving.limit(0)

    def abort(self, why: str = "this stream is closed") -> None:
        """Break the stream off: the other end gets an error instead of the end of the stream. Not a checkpoint."""
        self._release(why)
        self._pipe.close()

    def _release(self, why: str) -> None:
        self._closed = self._closed or why
        self._released.set()

    async def carry(self) -> None:
        """Wait until the stream is closed, then read on for a moment, since a socket closed with unread input is reset.

        A reset would destroy what this end has sent and the other one has not read yet.
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
