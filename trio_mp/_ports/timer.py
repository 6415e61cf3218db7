"""A message that is sent later."""

from __future__ import annotations

import trio


class Timer:
    """What `Node.send_after` returns."""

    __slots__ = ("_scope",)

    def __init__(self) -> None:
        self._scope = trio.CancelScope()

    @property
    def scope(self) -> trio.CancelScope:
        """Cancelled when the message is not to be sent."""
        return self._scope

    def cancel(self) -> None:
        """Do not send it. Does nothing if it was sent already. Not a checkpoint."""
        self._scope.cancel()
