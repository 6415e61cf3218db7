"""What became of the numbers: which were lost, and when the sender was told. Pure: it reads no file and no clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Arrival:
    """A number that a receiver has handled, and when, in nanoseconds."""

    number: int
    time: int


@dataclass(frozen=True)
class Notice:
    """Something that the sender's program was told.

    Attributes:
      next: the number that it was about to send.
      time: when, in nanoseconds.
      about: the only number that the notice is about, or 0 if it is about all that were sent before.
      by: what told it.
    """

    next: int
    time: int
    about: int
    by: str

    def covers(self, number: int) -> bool:
        """Whether the notice says that this number may be lost."""
        return number == self.about if self.about else number < self.next


@dataclass(frozen=True)
class Verdict:
    """What became of the numbers of one run.

    Attributes:
      lost: how many numbers no receiver has handled.
      in_time: of these, how many the sender knew of before a later number was handled.
      late: how many it was told of, but after a later number had been handled.
      untold: how many it was never told of.
      twice: how many numbers were handled more than once.
      disordered: how many were handled for the first time after a greater one.
      notices: how many notices the sender got.
      by: what told the sender, each once, in order.
    """

    lost: int
    in_time: int
    late: int
    untold: int
    twice: int
    disordered: int
    notices: int
    by: tuple[str, ...]


def judge(count: int, arrivals: Sequence[Arrival], notices: Sequence[Notice]) -> Verdict:
    """Judge a run.

    A lost number leaves a hole. The hole is silent when a greater number is handled before the sender's program has got
    a notice that covers the lost one. If no greater number is handled, any notice is in time.

    Args:
      count: the numbers 1 to count were sent.
      arrivals: what the receivers have handled, in order.
      notices: what the sender was told, in order.
    """
    seen: set[int] = set()
    highest, disordered = 0, 0
    for arrival in arrivals:
        disordered += arrival.number < highest and arrival.number not in seen
        highest = max(highest, arrival.number)
        seen.add(arrival.number)
    first = _first_later(count, arrivals)
    in_time = late = untold = 0
    lost = [number for number in range(1, count + 1) if number not in seen]
    for number in lost:
        told = min((notice.time for notice in notices if notice.covers(number)), default=None)
        if told is None:
            untold += 1
        elif told <= first[number]:
            in_time += 1
        else:
            late += 1
    return Verdict(
        len(lost), in_time, late, untold, len(arrivals) - len(seen), disordered, len(notices),
        tuple(dict.fromkeys(notice.by for notice in notices)),
    )  # fmt: skip


def _first_later(count: int, arrivals: Sequence[Arrival]) -> list[float]:
    """Return, by number, the time at which the first greater number was handled; infinity if none was."""
    earliest = [float("inf")] * (count + 2)
    for arrival in arrivals:
        earliest[arrival.number] = min(earliest[arrival.number], arrival.time)
    first = [float("inf")] * (count + 2)
    for number in range(count, 0, -1):
        first[number] = min(first[number + 1], earliest[number + 1])
    return first
