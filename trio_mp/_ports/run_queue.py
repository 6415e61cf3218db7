"""The run queue of a node: messages and jobs to dispatch, writers to flush, and the pump that sleeps meanwhile.

Local messages, kills, and the firing of monitors wait in one queue. That keeps their order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

import trio

from .boundary import RemoteWriter
from .port import Port

WRONG_THREAD = (
    "expected a call from the thread that runs Trio, to which the node belongs, got one from another thread;"
    " use trio.from_thread.run_sync(node.send, …)"
)


class Job:
    """Work of the package that keeps its place among the messages: in the queue it stands where a port would."""

    __slots__ = ("_received", "function")
    # The dispatcher looks at these two first, in a port as in a job.
    _tags = None
    _default = None

    def __init__(self, function: Callable[..., None]) -> None:
        self.function = function
        # The dispatcher counts in a job as in a port: to ask first which one it is would cost more.
        self._received = 0


Target: TypeAlias = Port | Job


class RunQueue:
    """What a node has to do in its next passes. See `boundary.Passes` for what other rooms may use.

    Attributes:
      items: messages for local ports, and jobs with their arguments, in their order.
      writers: the writers to flush at the end of the pass.
      parked: the task of the pump while it sleeps and must be woken for new work; else None. `Node.send` reads it.
      ended: whether the pump is to end.
    """

    def __init__(self) -> None:
        self.items: deque[tuple[Any, tuple[Any, ...]]] = deque()
        self.writers: list[RemoteWriter] = []
        self.parked: trio.lowlevel.Task | None = None
        self.ended = False
        # The task of the pump while it sleeps and need not be woken, because a reader does its work.
        self._held: trio.lowlevel.Task | None = None
        self._flushed_early = False

    def __len__(self) -> int:
        return len(self.items)

    # Work ----------------------------------------------------------------------------------------------------------

    def enqueue(self, target: Target, message: tuple[Any, ...]) -> None:
        """Append a message for a local port, or a job with its arguments, to the queue."""
        if self.parked is not None:
            self.wake()
        self.items.append((target, message))

    def call_next(self, function: Callable[..., None], *arguments: Any) -> None:
        """See `Passes.call_next`."""
        self.items.appendleft((Job(function), arguments))
        self.wake()

    def call_behind(self, function: Callable[..., None], *arguments: Any) -> None:
        """See `Passes.call_behind`."""
        self.enqueue(Job(function), arguments)

    def mark_dirty(self, writer: RemoteWriter) -> None:
        """See `Passes.mark_dirty`."""
        self.writers.append(writer)
        if self.parked is not None:
            self.wake()

    def flush(self) -> None:
        """Flush all writers, also those that others mark meanwhile. This ends a pass."""
        self._flushed_early = False
        while self.writers:
            writers, self.writers = self.writers, []
            for writer in writers:
                writer.flush_dirty()

    def flush_early(self) -> None:
        """Flush all writers now, and not in the next pass, for a task that is about to wait for an answer.

        Only the first call of a pass does so: what other tasks send in that pass goes out together.
        """
        if not self._flushed_early:
            self._flushed_early = True
            for writer in self.writers:
                writer.flush_dirty()

    # The pump ------------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Let the pump run soon, if it sleeps. Raises `RuntimeError` in a thread that does not run Trio."""
        if self.parked is not None:
            try:
                trio.lowlevel.reschedule(self.parked)
            except RuntimeError:
                raise RuntimeError(WRONG_THREAD) from None
            self.parked = None

    def hold_pump(self) -> None:
        """Let the pump sleep although work comes: the caller does the work by `run_pass`, before other tasks run.

        Waking the pump for each answer that a handler sends would take a tenth of a round trip.
        """
        if self.parked is not None:
            self._held, self.parked = self.parked, None

    def release_pump(self) -> None:
        """See `Passes.release_pump`."""
        if self._held is not None:
            self.parked, self._held = self._held, None
        if self.items or self.writers:
            self.wake()

    def end_pump(self) -> None:
        """Let the pump end, and begin nothing of what waits."""
        self.ended = True
        self.wake()
