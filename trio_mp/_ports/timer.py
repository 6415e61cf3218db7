"""A message that is sent later, or again and again."""

from __future__ import annotations

import trio

from .port import Port, state_of


class Timer:
    """What `Node.send_after` and `Node.send_every` return. It ends with the port that asked for it, if one did."""

    __slots__ = ("_owner", "_scope")

    def __init__(self, owner: Port | None) -> None:
        # The cancel scope of the task that sends, once there is one; and the port that asked.
        self._scope: trio.CancelScope | None = None
        self._owner = owner

    def _begin(self, scope: trio.CancelScope) -> None:
        """A task sends, which this scope cancels."""
        self._scope = scope
        if self._owner is not None:
            state = state_of(self._owner)
            if state.alive:
                state.owned[self] = None
            else:
                # It died while its code asked: nothing would tell this timer any more.
                scope.cancel()

    def _ended(self) -> None:
        """Nothing more will be sent."""
        if self._owner is not None:
            state_of(self._owner).owned.pop(self, None)

    def cancel(self) -> None:
        """Send nothing any more. Does nothing if there is nothing more to send. Not a checkpoint."""
        self._ended()
        if self._scope is not None:
            self._scope.cancel()
