"""What the shared database has its runtime do, as values; see `replica.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from ..schema import Send
from .records import Difference, Table


@dataclass(frozen=True, slots=True)
class Opened:
    """The table of a family that was subscribed to is known from now on; see `Replica.table`."""

    family: str


@dataclass(frozen=True, slots=True)
class Changed:
    """The table of a family that was subscribed to has changed."""

    family: str
    change: Difference


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to the question of this number."""

    ticket: int
    table: Table


@dataclass(frozen=True, slots=True)
class Grace:
    """Call `Replica.expire` with these when what is kept, or waited for, need not be any longer.

    Attributes:
      node_id: who has said it, or is to say it: a lost global node, for example; or this node itself.
      token: which time it is.
    """

    node_id: str
    token: int


@dataclass(frozen=True, slots=True)
class Ignored:
    """A message came that cannot be used: from a connection that is over, or from who may not say that."""

    from_id: str
    why: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A record came that is not taken, as no honest node sends it or a clock is wrong: somebody should look into it."""

    from_id: str
    why: str


Effect: TypeAlias = Send | Opened | Changed | Answer | Grace | Ignored | Refused
