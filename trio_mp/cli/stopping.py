"""How a command that runs until it is stopped hears that it is to stop."""

from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

import trio


@contextmanager
def cancelled_by_sigterm() -> Generator[trio.CancelScope]:
    """Give a scope that the first SIGTERM cancels, for the length of the block. Enter the scope inside the block.

    It may be entered late, or not at all: a scope that is cancelled before is cancelled on entry. The second SIGTERM
    ends the process at once, for a program that does not unwind. To be used in the main thread, in a task of Trio's.
    """
    scope = trio.CancelScope()
    token = trio.lowlevel.current_trio_token()

    def cancel(number: int, _: FrameType | None) -> None:
        signal.signal(number, before)
        token.run_sync_soon(scope.cancel)

    before = signal.signal(signal.SIGTERM, cancel)
    try:
        yield scope
    finally:
        signal.signal(signal.SIGTERM, before)
