"""A message that is sent later."""

from __future__ import annotations

import trio


class Timer:
    """What `Node.send_after` returns."""

    __slots__ = ("_scope",)

    def __init__(self, scope: trio.CancelScope) -> None:
        # The cancel scope of the task that sends the message.
        self._scope = scope

    def cancel(self) -> None:
        """Do not send the message. Does nothing if it was sent already. Not a checkpoint."""
        self._scope.cancel()
