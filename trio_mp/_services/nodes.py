"""The changes of the set of nodes in the network, for users."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass

import trio

from .._ids import is_node_id
from .._protocol.database.records import NODES, TOOLS
from .changes import Change, FamilyWatch, entries_of
from .database import Database


@dataclass(frozen=True, slots=True)
class NodeChange:
    """A node has joined the network, or left it.

    Attributes:
      node_id: the ID of the node.
      up: whether the node has joined; False if it has left.
      tool: whether it is a tool; see `Node.watch_nodes`.
    """

    node_id: str
    up: bool
    tool: bool = False


def is_node(node_id: str, said: object) -> bool:
    """Whether an entry of the family of nodes makes sense: other nodes may have set anything there."""
    return is_node_id(node_id) and isinstance(said, list) and bool(said) and isinstance(said[0], str)


class NodeChanges:
    """An async iterator of `NodeChange`; made by `Node.watch_nodes`."""

    def __init__(self, watches: Sequence[tuple[FamilyWatch, bool]], news: trio.lowlevel.ParkingLot) -> None:
        # Each watch, and whether it is that of the tools.
        self._watches = watches
        self._news = news
        self._waiting: deque[NodeChange] = deque()
        # The run of each node that was reported as being there, and whether it is a tool.
        self._runs: dict[tuple[str, bool], str] = {}
        self._reading = False

    def __aiter__(self) -> NodeChanges:
        """Return this iterator."""
        return self

    async def __anext__(self) -> NodeChange:
        """Wait for the next change. A checkpoint. Cancelled, no change is lost."""
        if self._reading:
            raise trio.BusyResourceError("another task waits for the changes of this watch")
        self._reading = True
        try:
            await trio.lowlevel.checkpoint()
            while not self._waiting:
                if not self._take():
                    await self._news.park()
            return self._waiting.popleft()
        finally:
            self._reading = False

    def _take(self) -> bool:
        """Take the changes that the watches have. Returns whether there was one."""
        found = False
        for watch, tools in self._watches:
            change = watch.take()
            if change is not None:
                self._note(change, tools)
                found = True
        return found

    def _note(self, change: Change, tool: bool) -> None:
        entries = entries_of(change)
        # A node's entry begins with its incarnation; the addresses after it may change while the node runs.
        runs = {node_id: said[0] for node_id, said in entries.items() if is_node(node_id, said)}
        gone = [node_id for node_id in (*change.deleted, *entries) if (node_id, tool) in self._runs]
        gone = [node_id for node_id in gone if runs.get(node_id) != self._runs[node_id, tool]]
        come = [node_id for node_id, run in runs.items() if self._runs.get((node_id, tool)) != run]
        for node_id in gone:
            del self._runs[node_id, tool]
            self._waiting.append(NodeChange(node_id, up=False, tool=tool))
        for node_id in come:
            self._runs[node_id, tool] = runs[node_id]
            self._waiting.append(NodeChange(node_id, up=True, tool=tool))


@asynccontextmanager
async def watch_nodes(database: Database, *, tools: bool = False) -> AsyncGenerator[NodeChanges, None]:
    """See `Node.watch_nodes`."""
    news = trio.lowlevel.ParkingLot()
    await trio.lowlevel.checkpoint()
    with ExitStack() as following:
        families = [(NODES, False), (TOOLS, True)] if tools else [(NODES, False)]
        watches = [(following.enter_context(database._follow(name, news)), tool) for name, tool in families]
        yield NodeChanges(watches, news)
