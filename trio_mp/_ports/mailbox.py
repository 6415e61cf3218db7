"""The mailbox of a process-style port: messages wait until the port's task takes them, in any order it likes."""

from __future__ import annotations

from collections.abc import Callable, Container

import trio
from trio.lowlevel import checkpoint_if_cancelled

from .._errors import PortDied
from .._reason import Reason
from .backlog import Backlog
from .handlers import Pattern, matches

YIELD_INTERVAL = 0.001
"""A task that finds one message after the other waiting lets others run at least this often, in seconds."""


class Mailbox:
    """Messages that wait, and the one task that may wait for them.

    Args:
      port: the ID of the port to which the mailbox belongs.
      messages: where messages wait.
      clock: a monotonic clock in seconds, for fairness only.
      overflow: called with a text that says why when there is no room for a message.
    """

    __slots__ = (
        *("_cause", "_clock", "_handed", "_iterates", "_latest", "_messages", "_overflow", "_pattern", "_port"),
        *("_quietly", "_reason", "_task", "_yielded", "_yielding"),
    )

    def __init__(
        self, port: str, messages: Backlog, clock: Callable[[], float], overflow: Callable[[str], None]
    ) -> None:
        self._port = port
        self._messages = messages
        self._clock = clock
        self._overflow = overflow
        self._task: trio.lowlevel.Task | None = None
        self._pattern: Pattern = ()
        self._handed: list[tuple[object, ...]] = []
        self._reason: Reason | None = None
        self._quietly = False
        self._cause: Exception | None = None
        self._yielded = 0.0
        # How many tasks have begun to receive, and let others run first.
        self._yielding = 0
        # Whether the latest receive was by an iteration; None if there was none.
        self._iterates: bool | None = None
        # The task that has waited here last.
        self._latest: trio.lowlevel.Task | None = None

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def size(self) -> int:
        """How many bytes of memory those messages take that were received from other nodes."""
        return self._messages.size

    @property
    def was_asked(self) -> bool:
        """Whether a task has ever received from it."""
        return self._iterates is not None

    @property
    def is_waited_at(self) -> bool:
        """Whether a task waits for a message."""
        return self._task is not None

    @property
    def is_in_hand(self) -> bool:
        """Whether a task that iterates has taken a message, and has not asked for the next one. It has not ended."""
        if self._iterates is not True or self._task is not None:
            return False
        # Trio takes coroutines of other compilers, too, which have no such attribute.
        ended = self._latest is not None and getattr(self._latest.coro, "cr_frame", True) is None
        return not ended

    @property
    def has_work(self) -> bool:
        """Whether messages wait in it, or a task that iterates has one in hand."""
        return len(self._messages) > 0 or self.is_in_hand

    def is_read_by(self, tasks: Container[trio.lowlevel.Task]) -> bool:
        """Whether it is one of these tasks that has waited here last."""
        return self._latest is not None and self._latest in tasks

    def put(self, *message: object, received: bool = False) -> None:
        """Hand a message to the task that waits for it, or keep it.

        It takes a message as a handler does, so that the dispatcher can call it as the port's default handler.
        """
        task = self._task
        # Comparing may run the program's code, which may end the wait, or the port.
        if task is not None and matches(self._pattern, message) and task is self._task:
            self._handed.append(message)
            self._wake(task)
            return
        full = self._messages.append(message, received)
        if full:
            self._overflow(full)

    def die(self, reason: Reason, *, quietly: bool, cause: Exception | None) -> None:
        """Close the mailbox of a port that has died: drop the messages, and wake the task that waits for one.

        Args:
          reason: why the port has died.
          quietly: whether an iteration ends without an exception.
          cause: the exception that has killed the port, for the task that waits now. It is not kept for later ones:
            its traceback would keep frames, and all that they hold, alive.
        """
        self._reason = reason
        self._quietly = quietly
        self._cause = cause if self._task is not None or self._yielding else None
        # A limit of 0 refuses what a dispatch that is going on may still put in.
        self._messages = Backlog(0, 0)
        self._latest = None
        if self._task is not None:
            self._wake(self._task)

    def _wake(self, task: trio.lowlevel.Task) -> None:
        self._task = None
        trio.lowlevel.reschedule(task)

    def __aiter__(self) -> Mailbox:
        return self

    @trio.lowlevel.enable_ki_protection
    async def receive(self, pattern: Pattern = (), *, iterates: bool = True) -> tuple[object, ...]:
        """See `Port.receive`.

        Args:
          pattern: which messages.
          iterates: whether to raise `StopAsyncIteration`, and not `PortDied`, if the port has died quietly.
        """
        self._iterates = iterates
        await checkpoint_if_cancelled()  # imported by name, because looking it up in a module costs a measurable time
        if self._clock() - self._yielded >= YIELD_INTERVAL:
            self._yielding += 1
            await trio.lowlevel.cancel_shielded_checkpoint()
            self._yielding -= 1
            self._yielded = self._clock()
        if self._task is not None:
            raise trio.BusyResourceError(f"another task is already receiving from {self._port}")
        message = self._find(pattern) if pattern else self._messages.pop_first()
        if message is not None:
            return message
        # Only a living port is waited for: a dead one gets no message, and nothing would wake the task.
        if self._reason is None:
            handed = await self._wait(pattern)
            if handed:
                return handed[0]
        assert self._reason is not None
        if self._quietly and iterates:
            raise StopAsyncIteration
        cause, self._cause = self._cause, None
        # Each call raises a new exception, because one that is raised again collects tracebacks.
        raise PortDied(self._port, self._reason) from cause

    # The same function and not one that calls it: that would be one more coroutine for each message.
    __anext__ = receive

    async def _wait(self, pattern: Pattern) -> list[tuple[object, ...]]:
        """Wait for a message or for the death of the port; returns a list with the message, empty after a death."""
        self._task = self._latest = trio.lowlevel.current_task()
        self._pattern = pattern
        # Each wait has a list of its own, because another task may begin to wait before this one runs again.
        handed = self._handed = []

        def abort(_: object) -> trio.lowlevel.Abort:
            # It has taken nothing.
            self._task, self._iterates = None, False
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        self._yielded = self._clock()
        return handed

    def _find(self, pattern: Pattern) -> tuple[object, ...] | None:
        for index, message in enumerate(self._messages):
            if matches(pattern, message):
                return self._messages.pop(index)[0]
        return None
