"""The board of a worker: the tasks that it has begun, written where the pool can read them when the worker is dead.

The queue of a worker dies with it. The tasks in it that have not begun may run on another worker, even if the program
has not said that they may run twice. So before a worker begins a task, it writes the task's ticket into a file that is
mapped into its memory. The pages of the file belong to the kernel, and outlive the worker.

Tickets rise, and a worker begins sync tasks in their order. It counts an async task as begun when it takes the task.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

_SYNC, _ASYNC = 0, 1
_WORD = 8


class TicketBoard:
    """The worker's side of the file.

    Args:
      path: an empty board, made by `new_board`.
    """

    def __init__(self, path: str) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            # One store of the processor for each ticket: a worker that is killed has written all of it, or nothing.
            self._words = memoryview(mmap.mmap(descriptor, 2 * _WORD)).cast("Q")
        finally:
            os.close(descriptor)

    def begin_sync(self, ticket: int) -> None:
        """Write that a sync task begins."""
        self._words[_SYNC] = ticket

    def begin_async(self, ticket: int) -> None:
        """Write that an async task begins."""
        self._words[_ASYNC] = ticket


def new_board(path: Path) -> None:
    """Make an empty board. A process that has an older board of that path keeps the older file."""
    path.unlink(missing_ok=True)
    path.write_bytes(bytes(2 * _WORD))


class Begun:
    """Says which tasks a worker that has ended had begun; see `HasBegun`.

    Args:
      path: the worker's board.
    """

    def __init__(self, path: Path) -> None:
        words = memoryview(path.read_bytes()).cast("Q")
        self._tickets = (words[_SYNC], words[_ASYNC])

    def __call__(self, ticket: int, *, asynchronous: bool) -> bool:
        """Whether the worker may have begun the task of this ticket."""
        return ticket <= self._tickets[_ASYNC if asynchronous else _SYNC]
