"""What a worker has begun, where the pool can still read it when the worker is dead.

A worker that is killed takes what it has queued with it. Of its tasks only one can be running, and perhaps the next one
has not begun: that one may run elsewhere, although nobody has said that it may run twice. So before it begins a task, a
worker writes its ticket into a file that is mapped into its memory. The pages belong to the kernel, and outlive it.

Tickets rise, and a worker begins sync tasks in their order. It counts an async one as begun when it takes it.
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
            # One store of the processor for each ticket: whoever is killed has written all of it, or nothing.
            self._words = memoryview(mmap.mmap(descriptor, 2 * _WORD)).cast("Q")
        finally:
            os.close(descriptor)

    def begin_sync(self, ticket: int) -> None:
        """A sync task begins."""
        self._words[_SYNC] = ticket

    def begin_async(self, ticket: int) -> None:
        """An async task begins."""
        self._words[_ASYNC] = ticket


def new_board(path: Path) -> None:
    """Make an empty board. An older one of that path stays as it is for who has it."""
    path.unlink(missing_ok=True)
    path.write_bytes(bytes(2 * _WORD))


class Begun:
    """What a worker that has ended had begun; see `HasBegun`.

    Args:
      path: its board.
    """

    def __init__(self, path: Path) -> None:
        words = memoryview(path.read_bytes()).cast("Q")
        self._tickets = (words[_SYNC], words[_ASYNC])

    def __call__(self, ticket: int, *, asynchronous: bool) -> bool:
        """Whether it may have begun the task of this ticket."""
        return ticket <= self._tickets[_ASYNC if asynchronous else _SYNC]
