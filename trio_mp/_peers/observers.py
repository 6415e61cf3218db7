"""Who is told of what happens between a node and others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from .._protocol.database.records import Table


@dataclass(slots=True)
class Observers:
    """Who is told of what happens to a node. Each list is called in order.

    The function that assembles the node, in `_node/assembly.py`, fills these lists before anything runs: there one can
    read who is told of what.

    Attributes:
      up: called with the ID of a node when a connection with it is in use.
      down: called with the ID of a node when no connection with it is in use any more; after a loss when the monitors
        of its ports have fired, and before `up` is called for another connection.
      draining: called with the ID of a node that says that it drains, once for each connection in use.
      heard: called with the ID of a node that has heard that this one drains; all that it had queued has come before.
      wanted: called with the ID of a node when something waits for a connection with it, and there is none.
      explain: called with the ID of a node; says what is known about why there is no connection with it, for people.
      forgotten: called when peers were forgotten that nothing had bound to this node for long.
      listed: called with entries of the family of nodes, by node ID, when the database has heard of them.
      ended: called when the node has closed, whatever it was closed by.
    """

    up: list[Callable[[str], object]] = field(default_factory=list)
    down: list[Callable[[str], object]] = field(default_factory=list)
    draining: list[Callable[[str], object]] = field(default_factory=list)
    heard: list[Callable[[str], object]] = field(default_factory=list)
    wanted: list[Callable[[str], object]] = field(default_factory=list)
    explain: list[Callable[[str], list[str]]] = field(default_factory=list)
    forgotten: list[Callable[[], object]] = field(default_factory=list)
    listed: list[Callable[[Table], object]] = field(default_factory=list)
    ended: list[Callable[[], object]] = field(default_factory=list)
