"""What came of dialling."""

from __future__ import annotations

from dataclasses import dataclass

from .connection import Connection


@dataclass(frozen=True, slots=True)
class Dialled:
    """What came of dialling an address.

    Attributes:
      node_id: who is there, as far as it is known: this node, too.
      failure: why there is no connection with that node by way of this address; empty also if another is in use.
      connection: what was tried, if anybody answered.
      proven: whether it has proven to be that node.
      doubtful: whether the failure names a cause that is only likely if the same happens again: a process that was
        killed meanwhile looks no different.
      id_in_use: whether the other side refuses this node because another one has its ID.
    """

    node_id: str
    failure: str
    connection: Connection | None
    proven: bool = False
    doubtful: bool = False
    id_in_use: bool = False
