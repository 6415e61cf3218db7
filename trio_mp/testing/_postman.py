"""The postman: calls functions of the simulated network at later times, always in the same order."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable

import trio


class Postman:
    """Calls functions when their time has come, from one task. That is cheap, and fixes their order."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[], object]]] = []
        self._count = 0
        self._scope: trio.CancelScope | None = None

    def at(self, when: float, function: Callable[[], object]) -> None:
        """Call a function at a time of Trio's clock. Functions of the same time are called in the order of `at`."""
        self._count += 1
        heapq.heappush(self._heap, (when, self._count, function))
        if self._scope is not None and when < self._scope.deadline:
            self._scope.deadline = when

    async def run(self) -> None:
        """Call the functions when they are due, until cancelled."""
        heap = self._heap
        while True:
            with trio.CancelScope(deadline=heap[0][0] if heap else math.inf) as self._scope:
                await trio.sleep_forever()
            self._scope = None
            now = trio.current_time()
            while heap and heap[0][0] <= now:
                heapq.heappop(heap)[2]()
