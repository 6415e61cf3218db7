"""Which node of a process is the first: it alone takes from outside what two nodes cannot have alike."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager


class FirstNode:
    """Who of those that are open now has come first. Safe in all threads.

    The environment belongs to the process, so this does, too. It is free again when the node has closed: a program that
    opens its node again, after a failure, gets the same ID as before.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @contextmanager
    def claim(self) -> Generator[bool]:
        """Try to be the first until the end of the block; says whether that has succeeded. Never waits."""
        succeeded = self._lock.acquire(blocking=False)
        try:
            yield succeeded
        finally:
            if succeeded:
                self._lock.release()


FIRST_NODE = FirstNode()
"""Of this process."""
