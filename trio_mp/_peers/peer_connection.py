"""A connection, as its peer knows it: what the decisions of the association are carried out with."""

from __future__ import annotations

from typing import Protocol

from .._protocol.handshake.events import PeerInfo
from .._protocol.handshake.session import Session
from .._transport.pipe import Pipe
from .reader import Reader
from .traffic import Traffic
from .writer import Writer


class PeerConnection(Protocol):
    """A connection, as far as its peer knows it.

    Attributes:
      cause: why it has ended, as a word of `CAUSES`; empty while it has not.
      traffic: what it has carried.
      transport: what carries it: `tcp` or `unix`.
    """

    info: PeerInfo | None
    session: Session
    address: str
    pipe: Pipe
    transport: str
    cause: str
    reader: Reader
    writer: Writer
    traffic: Traffic

    def flush(self) -> None:
        """Write what is queued, as far as it goes without blocking."""
        ...

    def say(self, word: str) -> None:
        """Write a message of this one word to the other node's port, behind all that was written of the queue."""
        ...

    def close(self, why: str) -> None:
        """Close at once."""
        ...

    def finish(self, why: str) -> None:
        """Write what `session` has to say, then close."""
        ...

    def close_gracefully(self, deadline: float) -> None:
        """Flush, then half-close, then read to the end; until a time of Trio's clock."""
        ...

    def opened(self) -> None:
        """The connection is in use."""
        ...

    def expect_answer(self, seconds: float) -> None:
        """The other side must have answered by then."""
        ...
