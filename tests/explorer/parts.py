"""The parts of a world: its bounds, and the values to which a state refers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from .process import Item

T = TypeVar("T")

LOWER, HIGHER, SECOND = range(3)
"""The processes: that of the lesser node ID, that of the greater one, which decides, and a second one of either ID."""

PORTS = ("p", "q", "r")
"""The port of each process, which is the name of its incarnation as well."""


@dataclass(frozen=True)
class Bounds:
    """How far to go.

    Attributes:
      connections: how many may ever be dialled, by either side. They are numbered in the order of dialling. That is
        sound, because only their identity matters: another numbering gives the same traces with other names.
      senders: for each process, how many messages it sends to the ports of the other node.
      monitors: how often one process sets a monitor.
      demonitors: how often a monitor is taken away.
      cuts: how often a connection is cut, in one direction or in both: from then on bytes vanish, and neither end
        notices.
      notices: how often one end of a healthy connection is given up.
      give_ups: how often no connection comes in time.
      beliefs: how often a process believes that the other node has gone, which is true only if it was killed.
      asks: how often a side that is idle asks to part.
      unanswered: how often a side that has asked stops waiting for the answer.
      queue_limit: how many messages may be queued; more are an overflow.
      second: the node of which a second process may be started, `LOWER` or `HIGHER`. If the first process is dead, that
        is a restart; else two processes have one ID.
      deaths: how many ports die.
      reactions: whether callbacks of monitors send and monitor.
      slow_writer: whether writing is a step of its own.
      promise_only: whether only the promise is checked, and not the other things that the runtime relies on.
    """

    connections: int = 3
    senders: tuple[int, int, int] = (3, 0, 0)
    monitors: int = 2
    demonitors: int = 0
    cuts: int = 1
    notices: int = 1
    give_ups: int = 0
    beliefs: int = 0
    asks: int = 0
    unanswered: int = 0
    queue_limit: int = 1 << 20
    second: int | None = None
    deaths: int = 0
    reactions: bool = True
    slow_writer: bool = False
    promise_only: bool = False


class Budget(NamedTuple):
    """How often each accident may still happen in a state; see `Bounds`."""

    demonitors: int
    cuts: int
    notices: int
    give_ups: int
    beliefs: int
    asks: int
    unanswered: int
    starts: int
    kills: int
    deaths: int


class Connection(NamedTuple):
    """A connection, as the network sees it. A pair holds a value for each end, that of the lesser node ID first.

    Attributes:
      processes: the processes at its ends.
      dialler: the end that has dialled.
      open: whether an end is open.
      cut: whether bytes that are written towards an end vanish.
      incoming: the items on their way to an end.
      greeted: whether the dialled end has read anything yet.
    """

    processes: tuple[int, int]
    dialler: int
    open: tuple[bool, bool]
    cut: tuple[bool, bool]
    incoming: tuple[tuple[Item, ...], tuple[Item, ...]]
    greeted: bool


class Sent(NamedTuple):
    """A message that was sent: its port, its monitor (0 for none), and whether it was delivered."""

    port: str
    monitor: int
    delivered: bool


class Table(Generic[T]):
    """Keeps each value once, under a number, so that a state is a few small numbers."""

    def __init__(self) -> None:
        self.values: list[T] = []
        self._numbers: dict[Any, int] = {}

    def number(self, value: T, key: Any) -> int:
        number = self._numbers.setdefault(key, len(self.values))
        if number == len(self.values):
            self.values.append(value)
        return number


def put(pair: tuple[T, T], end: int, value: T) -> tuple[T, T]:
    return (value, pair[1]) if end == LOWER else (pair[0], value)
