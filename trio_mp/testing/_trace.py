"""The trace of a simulation: a hash of all events, and lines for people."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Iterable
from typing import TypeAlias

import trio

Line: TypeAlias = tuple[int, float, str, tuple[object, ...]]
"""The number of an event, its time, its kind, and its details."""

NOTABLE = frozenset({"fault", "heal", "node", "broken"})
"""The kinds of events that a shortened trace keeps longest."""

_BYTES = frozenset({"writes", "arrives"})

_KEPT = 20_000
_KEPT_NOTABLE = 2000
_LONGEST = 160


class Trace:
    """The events of a simulation, in order, with their times.

    Attributes:
      events: how many events there were.
      faults: how many faults of each kind were injected.
    """

    def __init__(self) -> None:
        self.events: int = 0
        self.faults: Counter[str] = Counter()
        self._hash = hashlib.sha256()
        self._start: float | None = None
        self._latest: deque[Line] = deque(maxlen=_KEPT)
        self._notable: deque[Line] = deque(maxlen=_KEPT_NOTABLE)

    @property
    def digest(self) -> str:
        """The SHA-256 of all events so far, in hex. It is equal for two runs if and only if they were the same."""
        return self._hash.hexdigest()

    def now(self) -> float:
        """Seconds since the first event."""
        now = trio.current_time()
        if self._start is None:
            self._start = now
        return now - self._start

    def record(self, kind: str, *details: object) -> None:
        """Record an event that happens now.

        Args:
          kind: a word.
          details: plain values that are the same in each run of the seed. An object whose text holds its address in
            memory is not.
        """
        now = self.now()
        self.events += 1
        self._hash.update(f"{now!r} {kind} {details!r}\n".encode("utf-8", "backslashreplace"))
        line = (self.events, now, kind, details)
        (self._notable if kind in NOTABLE else self._latest).append(line)
        if kind == "fault":
            self.faults[str(details[0])] += 1

    def record_bytes(self, kind: str, where: str, data: bytes) -> None:
        """Record that bytes were written, or have arrived, somewhere now. The digest covers every byte."""
        self._hash.update(data)
        self.record(kind, where, len(data))

    def shortened(self, about: Iterable[str] = (), lines: int = 60) -> str:
        """The latest events that name one of `about`, and the notable ones, as text. Single bytes are left out.

        Args:
          about: texts to look for, such as a node ID or a port ID.
          lines: how many lines to return at most.
        """
        words = tuple(about)
        spoken = (line for line in self._latest if line[2] not in _BYTES)
        latest = [line for line in spoken if not words or any(word in repr(line[3]) for word in words)]
        share = max(1, lines // 2)
        chosen = sorted([*list(self._notable)[-share:], *latest[-share:]], key=lambda line: line[0])
        return "\n".join(map(_print_line, chosen))


def _print_line(line: Line) -> str:
    number, now, kind, details = line
    text = f"{number:>7} {now:>10.4f}  {kind:<11} {' '.join(map(str, details))}"
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
