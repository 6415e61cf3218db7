"""A deadline: something is done when a time is over, unless it is no longer due by then."""

from __future__ import annotations

from collections.abc import Callable

import trio

from .._ports.boundary import LocalPorts
from .own_errors import survives


class Deadline:
    """One deadline, which may begin again after it was cancelled or has expired.

    Args:
      dispatcher: where the task is started that waits.
      expired: called in that task when the time is over.
      fail: called with an error of this program that comes out of it; see `Survivor.fail`.
    """

    __slots__ = ("_dispatcher", "_expired", "_scope", "fail")

    def __init__(
        self, dispatcher: LocalPorts, expired: Callable[[], object], fail: Callable[[Exception], None]
    ) -> None:
        self.fail = fail
        self._dispatcher = dispatcher
        self._expired = expired
        # Of the task that waits; None while none does.
        self._scope: trio.CancelScope | None = None

    def begin(self, seconds: float) -> bool:
        """Let the time begin; returns False, and changes nothing, if it has begun already."""
        if self._scope is not None:
            return False
        self._scope = self._dispatcher.lifecycle.start_system_task(self._wait, seconds)
        return True

    def cancel(self) -> bool:
        """Call nothing any more; returns whether a time had begun, and was not over yet."""
        if self._scope is None:
            return False
        self._scope.cancel()
        self._scope = None
        return True

    @survives
    async def _wait(self, seconds: float) -> None:
        # The scope of this task, unless it was cancelled before it began; then `sleep` ends it.
        scope = self._scope
        await trio.sleep(seconds)
        # Cancelled in the same pass in which the time was over, the task would not notice.
        if self._scope is scope:
            self._scope = None
            self._expired()
