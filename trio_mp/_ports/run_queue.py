"""The run queue of a node: what waits to be dispatched, who waits to be flushed, and the pump that sleeps until then.

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
    """Work of the runtime that keeps its place among the messages; stands where a port would."""

    __slots__ = ("function",)
    # What the dispatcher looks at first in a port.
    _tags = None
    _default = None

    def __init__(self, function: Callable[..., None]) -> None:
        self.function = function


Target: TypeAlias = Port | Job


class RunQueue:
    """What a node has to do in its next passes. See `boundary.Passes` for what other rooms may use.

    Attributes:
      items: messages for local ports, and jobs with their arguments, in their order.
      writers: who is to be flushed at the end of the pass.
      parked: the task of the pump, while it sleeps and whoever adds work has to wake it. `Node.send` looks at it.
    """

    def __init__(self) -> None:
        self.items: deque[tuple[Any, tuple[Any, ...]]] = deque()
        self.writers: list[RemoteWriter] = []
        self.parked: trio.lowlevel.Task | None = None
        # The same task, while it sleeps and need not be woken.
        self._held: trio.lowlevel.Task | None = None
        self._flushed_early = False

    def __len__(self) -> int:
        return len(self.items)

    # Work ----------------------------------------------------------------------------------------------------------

    def enqueue(self, target: Target, message: tuple[Any, ...]) -> None:
        """Put a message for a local port, or a job with its arguments, behind what waits."""
        if self.parked is not None:
            self.wake()
        self.items.append((target, message))

    def call_next(self, function: Callable[..., None], *arguments: Any) -> None:
        """See `Passes.call_next`."""
        self.items.appendleft((Job(function), arguments))
        self.wake()

    def mark_dirty(self, writer: RemoteWriter) -> None:
        """See `Passes.mark_dirty`."""
        self.writers.append(writer)
        if self.parked is not None:
            self.wake()

    def flush(self) -> None:
        """Flush all writers, those too that are marked meanwhile. This ends a pass."""
        self._flushed_early = False
        while self.writers:
            writers, self.writers = self.writers, []
            for writer in writers:
                writer.flush_dirty()

    def flush_early(self) -> None:
        """Flush now what else the pump would flush in the next pass, for a task that is about to wait for the answer.

        Once for each pass: what other tasks send may go out together.
        """
        if not self._flushed_early:
            self._flushed_early = True
            for writer in self.writers:
                writer.flush_dirty()

    # The pump ------------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Make the pump run soon, if it sleeps. Raises `RuntimeError` in a thread that does not run Trio."""
        if self.parked is not None:
            try:
                trio.lowlevel.reschedule(self.parked)
            except RuntimeError:
                raise RuntimeError(WRONG_THREAD) from None
            self.parked = None

    def hold_pump(self) -> None:
        """Let the pump sleep, whatever there is to do: the caller does it, by `run_pass`, before others run.

        To wake a task for each answer that a handler sends would be a tenth of a round trip.
        """
        if self.parked is not None:
            self._held, self.parked = self.parked, None

    def release_pump(self) -> None:
        """See `Passes.release_pump`."""
        if self._held is not None:
            self.parked, self._held = self._held, None
        if self.items or self.writers:
            self.wake()

    def forget_pump(self) -> None:
        """The pump was cancelled while it slept, and is not woken any more."""
        self.parked = self._held = None
