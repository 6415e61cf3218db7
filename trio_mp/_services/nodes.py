"""The changes of the set of nodes in the network, for users."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from .._ids import is_node_id
from .._protocol.database.records import NODES
from .changes import Change, entries_of
from .database import Database


@dataclass(frozen=True, slots=True)
class NodeChange:
    """A node has joined the network, or left it.

    Attributes:
      node_id: the ID of the node.
      up: whether the node has joined; False if it has left.
    """

    node_id: str
    up: bool


def is_node(node_id: str, said: object) -> bool:
    """Whether an entry of the family of nodes makes sense: other nodes may have set anything there."""
    return is_node_id(node_id) and isinstance(said, list) and bool(said) and isinstance(said[0], str)


class NodeChanges:
    """An async iterator of `NodeChange`; made by `Node.watch_nodes`."""

    def __init__(self, changes: AsyncIterator[Change]) -> None:
        self._changes = changes
        self._waiting: deque[NodeChange] = deque()
        # The run of each node that was reported as being there.
        self._runs: dict[str, str] = {}

    def __aiter__(self) -> NodeChanges:
        """Return this iterator."""
        return self

    async def __anext__(self) -> NodeChange:
        """Wait for the next change. A checkpoint. Cancelled, no change is lost."""
        await trio.lowlevel.checkpoint()
        while not self._waiting:
            change = await anext(self._changes)
            entries = entries_of(change)
            # A node's entry begins with its incarnation; the addresses after it may change while the node runs.
            runs = {node_id: said[0] for node_id, said in entries.items() if is_node(node_id, said)}
            gone = [node_id for node_id in (*change.deleted, *entries) if node_id in self._runs]
            gone = [node_id for node_id in gone if runs.get(node_id) != self._runs[node_id]]
            come = [node_id for node_id, run in runs.items() if self._runs.get(node_id) != run]
            for node_id in gone:
                del self._runs[node_id]
                self._waiting.append(NodeChange(node_id, up=False))
            for node_id in come:
                self._runs[node_id] = runs[node_id]
                self._waiting.append(NodeChange(node_id, up=True))
        return self._waiting.popleft()


@asynccontextmanager
async def watch_nodes(database: Database) -> AsyncGenerator[NodeChanges, None]:
    """See `Node.watch_nodes`."""
    async with database.watch(NODES) as changes:
        yield NodeChanges(changes)
