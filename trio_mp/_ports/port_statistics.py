"""What is counted of one port."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PortStatistics:
    """What a node has counted of one of its ports; see `Port.statistics`.

    Attributes:
      alive: whether the port is alive.
      received: how many messages and calls have come to it, those that still wait in it included. Messages on their
        way within the node are not there yet.
      waiting: how many messages wait in it: in its mailbox, or behind an async handler that runs.
      age: for how many seconds it is there, to a tenth of a second; None for the reply port of a call.
      mailbox: whether it has a mailbox.
      tasks: how many tasks of it run.
      monitors: how many monitors there are on it, of other nodes too, and of calls that wait for an answer.
    """

    alive: bool
    received: int
    waiting: int
    age: float | None
    mailbox: bool
    tasks: int
    monitors: int
