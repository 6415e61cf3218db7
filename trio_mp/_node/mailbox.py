"""The mailbox of a process-style port: messages wait until the port's task takes them, in any order it likes."""

from __future__ import annotations

from collections.abc import Callable

import trio

from .._errors import PortDied
from .._reason import NORMAL, Reason
from .backlog import Backlog
from .handlers import Pattern, matches

YIELD_INTERVAL = 0.001
"""A task that finds one message after the other waiting lets others run at least this often, in seconds."""


class Mailbox:
    """Messages that wait, and the one task that may wait for them.

    Args:
      port: the ID of its port.
      messages: where messages wait.
      clock: a monotonic clock in seconds, for fairness only.
    """

    __slots__ = ("_clock", "_handed", "_messages", "_pattern", "_port", "_reason", "_task", "_yielded")

    def __init__(self, port: str, messages: Backlog, clock: Callable[[], float]) -> None:
        self._port = port
        self._messages = messages
        self._clock = clock
        self._task: trio.lowlevel.Task | None = None
        self._pattern: Pattern = ()
        self._handed: list[tuple[object, ...]] = []
        self._reason: Reason | None = None
        self._yielded = 0.0

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, message: tuple[object, ...], received: bool) -> str:
        """Hand a message to the task that waits for it, or keep it; returns as `Backlog.append` does."""
        if self._task is not None and matches(self._pattern, message):
            self._handed.append(message)
            self._wake(self._task)
            return ""
        return self._messages.append(message, received)

    def die(self, reason: Reason) -> None:
        """The port is dead: what waits is dropped, and who waits is told."""
        self._reason = reason
        self._messages.clear()
        if self._task is not None:
            self._wake(self._task)

    def _wake(self, task: trio.lowlevel.Task) -> None:
        self._task = None
        trio.lowlevel.reschedule(task)

    def _death(self) -> PortDied:
        # A new one each time: an exception that is raised again collects tracebacks.
        return PortDied(self._port, self._reason or NORMAL)

    async def receive(self, pattern: Pattern) -> tuple[object, ...]:
        """See `Port.receive`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        now = self._clock()
        if now - self._yielded >= YIELD_INTERVAL:
            await trio.lowlevel.cancel_shielded_checkpoint()
            self._yielded = self._clock()
        if self._reason is not None:
            raise self._death()
        if self._task is not None:
            raise trio.BusyResourceError(f"another task is already receiving from {self._port}")
        message = self._take(pattern)
        if message is not None:
            return message
        self._task = trio.lowlevel.current_task()
        self._pattern = pattern
        # A new list each time: before this task runs again, another one may already be waiting.
        handed = self._handed = []

        def abort(_: object) -> trio.lowlevel.Abort:
            self._task = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        self._yielded = self._clock()
        if not handed:
            raise self._death()
        return handed[0]

    def _take(self, pattern: Pattern) -> tuple[object, ...] | None:
        messages = self._messages
        if not pattern:
            return messages.pop()[0] if messages else None
        for index, message in enumerate(messages):
            if matches(pattern, message):
                return messages.pop(index)[0]
        return None
