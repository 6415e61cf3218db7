"""Ports in an order, given out page by page.

The order is that of one moment. Ports come and go while it is made and while its pages are asked for; queues and rates
change. If each page were cut from an order of its own, a port whose queue grows meanwhile would be shown twice, or not
at all. So the node keeps the order until the last page was asked for, or for a minute: 16 bytes for each port.

Sorting 100,000 ports at once would take 50 ms. They are sorted in runs of `RUN`, each within a slice, and the runs are
merged as far as pages are asked for: mostly only the first one is.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Callable, Sequence

from .._ports.port import Port
from .slices import STRIDE, Slices

RUN = 1000
"""How many ports are sorted at once: a fifth of a millisecond."""


class Ranking:
    """Ports in an order.

    Args:
      ports: the ports.
      keys: by what they are ordered, the smallest first; those of the same key stay in the order of `ports`. None if
          the order of `ports` is the one.
      is_there: says whether a port is alive, or dead and has not unwound.
    """

    def __init__(self, ports: list[Port], keys: array[float] | None, is_there: Callable[[Port], bool]) -> None:
        self._ports = ports
        self._is_there = is_there
        self._keys = keys
        # How far the order is known, and the indexes of the ports so far.
        self._known: Sequence[int] = range(len(ports))
        self._runs: list[array[int]] = []
        # The next index of each run, by its key.
        self._heads: list[tuple[float, int, int, int]] = []

    def __len__(self) -> int:
        return len(self._ports)

    async def sort(self, slices: Slices) -> None:
        """Sort the runs. A checkpoint, if that takes longer than a slice."""
        keys = self._keys
        if keys is None:
            return
        self._known = array("L")
        for start in range(0, len(self._ports), RUN):
            run = array("L", sorted(range(start, min(start + RUN, len(self._ports))), key=keys.__getitem__))
            heapq.heappush(self._heads, (keys[run[0]], run[0], len(self._runs), 0))
            self._runs.append(run)
            await slices.pause()

    async def page(self, start: int, limit: int, slices: Slices) -> tuple[list[tuple[Port, float | None]], int | None]:
        """The ports from this place on that are still there, so many at most; and where the next page begins.

        Each port comes with its key, or None where there are none.

        The place is None behind the last port. A checkpoint, if that takes longer than a slice.
        """
        found: list[tuple[Port, float | None]] = []
        place = start
        while place < len(self._ports) and len(found) < limit:
            index = self._index_at(place)
            place += 1
            port = self._ports[index]
            if self._is_there(port):
                found.append((port, self._keys[index] if self._keys is not None else None))
            if place % STRIDE == 0:
                await slices.pause()
        return found, place if place < len(self._ports) else None

    def _index_at(self, place: int) -> int:
        keys, known = self._keys, self._known
        if keys is not None:
            assert isinstance(known, array)
            while len(known) <= place:
                _, index, number, at = self._heads[0]
                known.append(index)
                run = self._runs[number]
                if at + 1 < len(run):
                    following = run[at + 1]
                    heapq.heapreplace(self._heads, (keys[following], following, number, at + 1))
                else:
                    heapq.heappop(self._heads)
        return known[place]
