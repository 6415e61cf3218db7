"""The records that the pool keeps: one of each call, and one of each worker that is up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import trio

from .assignment import HasLoad, Load
from .server import BoundedSender


class WorkItem:
    """One call of a function, from `Pool.submit` until it is finished.

    Args:
      function: the name by which the function travels.
      asynchronous: whether the function is async.
      arguments: the arguments of the call.
      idempotent: whether the call may run twice.

    Attributes:
      value, error: the result of the call; both None if it was cancelled.
      finished: whether the result is known.
      cancelled: whether the call was cancelled, and has not ended in another way.
      on_finish: called once when the call is finished.
      worker, ticket: the worker that has the call, and its number there. While the call waits they are None and 0.
        While the pool sorts out a worker that has ended, only the worker is None.
      seconds: how long the call was expected to take when it was sent; None for an async one.
      lives: how many workers have ended after they had begun the call.
    """

    __slots__ = (
        *("arguments", "asynchronous", "cancelled", "error", "finished", "function", "idempotent", "lives"),
        *("on_finish", "seconds", "ticket", "value", "worker"),
    )

    def __init__(self, function: str, asynchronous: bool, arguments: tuple[Any, ...], idempotent: bool) -> None:
        self.function = function
        self.asynchronous = asynchronous
        self.arguments = arguments
        self.idempotent = idempotent
        self.value: object = None
        self.error: Exception | None = None
        self.finished = self.cancelled = False
        self.on_finish: Callable[[], None] | None = None
        self.worker: WorkerHandle | None = None
        self.ticket = 0
        self.seconds: float | None = None
        self.lives = 0

    def finish(self) -> None:
        """Note that the call has its result, and call `on_finish`."""
        self.finished = True
        self.arguments = ()
        call, self.on_finish = self.on_finish, None
        if call is not None:
            call()


class HasBegun(Protocol):
    """Says whether a worker that has ended may have begun a task."""

    def __call__(self, ticket: int, *, asynchronous: bool) -> bool:
        """Whether the worker may have begun the task of this ticket, which is async or sync."""
        ...


class WorkerHandle(HasLoad):
    """A worker that is up, as the pool sees it.

    Args:
      name: the worker's name, which its later lives have too.
      process: its process ID.
      sender: sends to the worker.

    Attributes:
      items: the calls that the worker has been given and has not answered, by ticket, in order.
      answered_at: when the worker has answered last, or got the first of its tasks, by Trio's clock.
    """

    def __init__(self, name: str, process: int, sender: BoundedSender) -> None:
        self.name = name
        self.process = process
        self.sender = sender
        self.load = Load()
        self.items: dict[int, WorkItem] = {}
        self.answered_at = trio.current_time()

    def __str__(self) -> str:
        return f"{self.name} (process {self.process})"
