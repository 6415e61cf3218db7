"""What the pool keeps: of each call, and of each worker that is up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import trio

from .assignment import HasLoad, Load
from .server import BoundedSender


class WorkItem:
    """One call of a function, from `Pool.submit` until it is finished.

    Args:
      function: the name by which it travels.
      asynchronous: whether it is async.
      arguments: what it is called with.
      idempotent: whether it may run twice.

    Attributes:
      value, error: what has become of it; both None if it was cancelled.
      finished: whether that is so.
      cancelled: whether it is to end, or has ended, for that.
      on_finish: called once when it is finished.
      worker, ticket: who has it; None and 0 while it waits, None alone while a worker that has ended is sorted out.
      seconds: how long it was expected to take when it was sent; None for an async one.
      lives: how many workers have ended with it.
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
        """Nothing more happens to it."""
        self.finished = True
        self.arguments = ()
        call, self.on_finish = self.on_finish, None
        if call is not None:
            call()


class HasBegun(Protocol):
    """Says whether a worker that has ended may have begun a task."""

    def __call__(self, ticket: int, *, asynchronous: bool) -> bool:
        """Whether it may have begun the task of this ticket, which is async or sync."""
        ...


class WorkerHandle(HasLoad):
    """A worker that is up, as the pool sees it.

    Args:
      name: what it is called, over all its lives.
      process: its process ID.
      sender: sends to it.

    Attributes:
      items: what it has been given and has not answered, by ticket, in order.
      answered_at: when it has answered last, or was given the first of its tasks, by Trio's clock.
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
