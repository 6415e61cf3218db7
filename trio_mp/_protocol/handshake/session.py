"""One connection, without the I/O: bytes in, events out; the handshake first, then frames.

TLS is an object that is passed in, so that encrypted connections need no task of their own and this stays pure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..._errors import RemoteProtocolError
from ..wire.buffer import LineBuffer
from ..wire.framing import Batch, MessageDecoder
from .events import Event, Messages
from .greeting import LocalInfo
from .handshake import Handshake, Step

GREETING_LIMIT = 160 * 1024
"""What a handshake may take up to the end of that of TLS, in bytes: OpenSSL allows 100 KiB of certificates."""

SECURE_LIMIT = 16 * 1024
"""What it may take from there on: three lines. TLS itself has messages that cost much and that never end."""


class TLSChannel(Protocol):
    """What a session asks of TLS. Errors of the other side raise `RemoteProtocolError`."""

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the server's certificate as seen from here; empty until the handshake is done."""
        ...

    @property
    def peer_node_ids(self) -> frozenset[str] | None:
        """The node IDs that the other side's certificate names; None if it was not verified, or not yet."""
        ...

    @property
    def peer_certificate(self) -> bytes:
        """The other side's certificate, as DER; empty if it was not verified, or not yet."""
        ...

    def start(self) -> bytes:
        """Begin the TLS handshake. Returns what is to be written."""
        ...

    def receive(self, data_untrusted: bytes) -> tuple[bytes, bytes]:
        """Take what was read; returns the plain bytes in it, and what is to be written for TLS itself."""
        ...

    def send(self, data: bytes | bytearray | memoryview) -> bytes:
        """Encrypt bytes. Returns what is to be written."""
        ...

    def take_alert(self) -> bytes:
        """The alert that is still to be written after `receive` has raised."""
        ...


class Incoming:
    """What comes in over one connection when its handshake is over: bytes in, messages out.

    Args:
      decoder: takes the frames apart.
      tls: decrypts them, if anything does.
      outgoing: what TLS answers is added here; see `Session.outgoing`.
    """

    __slots__ = ("_decoder", "_outgoing", "_tls")

    def __init__(self, decoder: MessageDecoder, tls: TLSChannel | None, outgoing: bytearray) -> None:
        self._decoder = decoder
        self._tls = tls
        self._outgoing = outgoing

    def receive(self, data_untrusted: bytes) -> list[Batch]:
        """Take what was read; the messages that are now complete, in batches. Raises as `Session.receive`."""
        if self._tls is None:
            return self._decoder.feed(data_untrusted)
        try:
            plain, reply = self._tls.receive(data_untrusted)
        except RemoteProtocolError:
            # TLS tells the other side what was wrong, if the caller can still write.
            self._outgoing += self._tls.take_alert()
            raise
        if reply:
            self._outgoing += reply
        return self._decoder.feed(plain)

    def feed(self, plain_untrusted: bytes) -> list[Batch]:
        """Take what was decrypted before the handshake was over, or needs no decryption; otherwise as `receive`."""
        return self._decoder.feed(plain_untrusted)

    def room(self) -> memoryview | None:
        """The place where the next bytes belong, if they may be received straight into it: part of a large frame.

        Only what is not encrypted has such a place. Say with `filled` what was received into it, before anything else.
        """
        return None if self._tls is not None else self._decoder.room()

    def filled(self, count: int) -> list[Batch]:
        """Take so many bytes that were received into `room`; otherwise as `receive`."""
        return self._decoder.filled(count)


class Session:
    """One side of one connection.

    Args:
      local: what this node says of itself.
      nonce: fresh random bytes (`handshake.NONCE_SIZE`).
      dialler: whether this side dialled.
      peer_address: the other side's address as seen here.
      make_tls: makes the TLS object when it is wanted; called with whether this side is the TLS server.

    Attributes:
      outgoing: bytes to be written before anything else; the caller takes them away.
      failure: why nothing can be sent any more, because of what the other side did; then it must be closed.
      incoming: takes what comes when the handshake is over; None before, and where a byte stream comes.
    """

    __slots__ = (
        *("_limit", "_lines", "_make_tls", "_secure", "_tls", "_unasked"),
        *("failure", "handshake", "incoming", "outgoing"),
    )

    def __init__(
        self,
        local: LocalInfo,
        nonce: bytes,
        *,
        dialler: bool,
        peer_address: str,
        make_tls: Callable[[bool], TLSChannel],
    ) -> None:
        self.handshake = Handshake(local, nonce, dialler=dialler, peer_address=peer_address)
        self.outgoing = bytearray(self.handshake.greeting.encode("ascii"))
        self._lines = LineBuffer()
        self._limit = local.limit
        # Made when the handshake is over: until then nobody knows which framing it reads.
        self.incoming: Incoming | None = None
        self._make_tls = make_tls
        self._tls: TLSChannel | None = None
        self._secure = False
        self.failure = ""
        # Bytes received in this part of the handshake: up to the end of that of TLS, or behind it.
        self._unasked = 0

    @property
    def encrypted(self) -> bool:
        """Whether what is sent must go through `send`."""
        return self._tls is not None

    @property
    def open(self) -> bool:
        """Whether the handshake is over and frames may be sent."""
        return self.handshake.step is Step.OPEN

    @property
    def peer_certificate(self) -> bytes:
        """The other side's verified certificate, as DER; empty if it has shown none."""
        return self._tls.peer_certificate if self._tls is not None else b""

    def want_stream(self, token: str) -> None:
        """Have the connection carry a byte stream. Only for who dials, before anything was written or received."""
        self.handshake.want_stream(token)
        self.outgoing[:] = self.handshake.greeting.encode("ascii")

    def hand_over(self) -> tuple[TLSChannel | None, bytes]:
        """What a byte stream goes on with when it is `open`: TLS, and what of the stream has been received already.

        Nothing may be received or sent through the session after that.
        """
        return self._tls, self._lines.take_rest()

    def _refused(self) -> bool:
        return self.handshake.step is Step.REFUSED

    def receive(self, data_untrusted: bytes) -> list[Event]:
        """Take what was read.

        The events are to be handled in order; what they ask for (`prove`, `link`, …) may be done while handling them.

        Raises:
          RemoteProtocolError: the other side did what the protocol does not allow. The connection must be closed, after
            what is in `outgoing` was written, as far as that goes.
        """
        if self.incoming is not None:
            return [Messages(batch) for batch in self.incoming.receive(data_untrusted)]
        if not self.open:
            # Counted by what came before: the last piece may hold what follows the handshake.
            limit = SECURE_LIMIT if self._secure else GREETING_LIMIT
            if self._unasked > limit:
                raise RemoteProtocolError(f"expected at most {limit} bytes in this part of the handshake, got more")
            self._unasked += len(data_untrusted)
        if self._tls is not None:
            return self._receive_secure(self._tls, data_untrusted)
        if self.handshake.step is Step.TLS:
            return self._receive_secure(self._begin_tls(), data_untrusted)
        return self._receive_plain(data_untrusted)

    def start_receiving(self) -> Incoming:
        """Have what is received from now on go past this object. Only when it is `open`, and not for a byte stream."""
        if self.incoming is None:
            self.incoming = Incoming(self.handshake.reads.make_decoder(self._limit), self._tls, self.outgoing)
        return self.incoming

    def _begin_tls(self) -> TLSChannel:
        self._tls = self._make_tls(self.handshake.tls_server)
        self.outgoing += self._tls.start()
        return self._tls

    def _receive_secure(self, tls: TLSChannel, data: bytes) -> list[Event]:
        try:
            plain, reply = tls.receive(data)
        except RemoteProtocolError:
            # TLS tells the other side what was wrong with its certificate, if the caller can still write.
            self.outgoing += tls.take_alert()
            raise
        self.outgoing += reply
        events: list[Event] = []
        if not self._secure and tls.fingerprint:
            self._secure = True
            self._unasked = 0
            events += self.handshake.tls_done(tls.fingerprint, tls.peer_node_ids)
        return events + self._receive_plain(plain)

    def _receive_plain(self, data: bytes) -> list[Event]:
        if self.open and self.handshake.streams:
            self._lines.feed(data)
            return []
        if self.open:
            return [Messages(batch) for batch in self.start_receiving().feed(data)]
        if self.handshake.step is Step.LINKED and data:
            raise RemoteProtocolError("expected nothing before its 'link' was answered, got data")
        events: list[Event] = []
        if self._refused():
            # Whatever comes behind a refusal does not make it another one.
            return events
        self._lines.feed(data)
        while (line := self._lines.next_line()) is not None:
            events += self.handshake.line_received(line)
            if self.handshake.step is Step.TLS:
                rest = self._lines.take_rest()
                if self.handshake.tls_server and not rest:
                    # The client speaks first. A stranger who does not is not to cost the memory that TLS takes.
                    return events
                return events + self._receive_secure(self._begin_tls(), rest)
            if self._refused():
                break
            if self.handshake.step in {Step.LINKED, Step.OPEN}:
                return events + self._receive_plain(self._lines.take_rest())
        return events

    def prove(self, lost: str) -> None:
        """Prove ourselves, saying which connection with this peer ended here last."""
        self.send(self.handshake.prove(lost).encode("ascii"))

    def link(self) -> None:
        """Choose this connection."""
        self.send(self.handshake.link().encode("ascii"))

    def accept(self) -> None:
        """Take up this connection, which the other side has chosen."""
        self.send(self.handshake.accept().encode("ascii"))

    def refuse(self, why: str) -> None:
        """Refuse this connection."""
        self.send(self.handshake.refuse(why).encode("ascii"))

    def say(self, word: str) -> None:
        """Write a message of one word to the node port of the other side."""
        framing = self.handshake.writes
        frame = framing.open_frame()
        framing.append(frame, "", (word,))
        framing.close_frame(frame, 1)
        self.send(frame)

    def send(self, data: bytes | bytearray | memoryview) -> None:
        """Add to `outgoing`, encrypted where the connection is."""
        if self._tls is None:
            self.outgoing += data
            return
        try:
            self.outgoing += self._tls.send(data)
        except RemoteProtocolError as error:
            self.failure = str(error)
