"""One read of a connection: into a piece of its own or, of a large frame, straight into its place."""

from __future__ import annotations

import gc

from .._protocol.handshake.events import Event
from .._protocol.handshake.session import Session
from .._transport.pipe import Pipe

READ_SIZE = 64 * 1024
"""What is read at once, in bytes, where there is no large frame."""

READ_SHARE = 8 * READ_SIZE
"""What is read and dispatched, in bytes, before other tasks have their turn."""


def receive(pipe: Pipe, session: Session, *, ignored: bool) -> tuple[int | None, bool, list[Event]]:
    """Give a session what has come, as far as one read brings it. Raises what the session and the pipe do.

    Args:
      pipe: where from.
      session: whose bytes they are.
      ignored: whether it is not to hear of them any more.

    Returns:
      How many bytes there were, None if nothing has come and 0 at the end; whether more may be there; the events.
    """
    if not gc.isenabled():
        return _receive(pipe, session, ignored)
    try:
        # The collector of cycles would look again and again at what is being decoded, in which there is none.
        gc.disable()
        return _receive(pipe, session, ignored)
    finally:
        gc.enable()


def _receive(pipe: Pipe, session: Session, ignored: bool) -> tuple[int | None, bool, list[Event]]:
    room = session.room()
    if room is None:
        data = pipe.receive_nowait(READ_SIZE)
        if not data:
            return (None if data is None else 0), False, []
        return len(data), len(data) == READ_SIZE, [] if ignored else session.receive(data)
    count = pipe.receive_into_nowait(room)
    return count, count == len(room), session.filled(count) if count and not ignored else []
