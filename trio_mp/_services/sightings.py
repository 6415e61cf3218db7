"""The nodes that this one has seen, and where they listened. By this a wait for a node finds out that it has gone.

That a node has gone is only a suspicion. The network having no entry for it may be a mistake, or a moment in which it
moves or restarts. So each wait judges anew, and it dials every known address of the node before it ends. Nothing of the
judgement is kept here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import trio

from .._ids import is_node_id
from .._protocol.database.records import Table
from .._protocol.membership.messages import ADDRESS_LIMIT, Addresses

REMEMBERED = 1000
"""How many nodes are remembered, those that were seen last. Messages wait longer for a node that is forgotten."""

LONGEST_ADDRESS = 300
"""The longest address that is remembered, in characters."""


class Directory(Protocol):
    """The family of nodes in the shared database, for code that looks for nodes; see `ListedNodes`."""

    def held_nodes(self) -> Table:
        """The entries of nodes that this node itself holds: those of all nodes if it is global."""
        ...

    async def find_listed(self, node_id: str) -> Table | None:
        """Ask the network for the entry of a node: a table without it if there is none, None if nobody can be asked.

        A checkpoint.
        """
        ...


class Sightings:
    """Which nodes were connected, or listed in the database, as far as this node has noticed.

    Args:
      directory: the entries of nodes.
    """

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        # The addresses of each node when it was seen last. The node that was seen last is the last one.
        self._seen: dict[str, Addresses] = {}
        # Those among them that have had an entry. Only these can be missed: two nodes without seeds that are connected
        # know nothing of each other's databases, so an entry that is missing means nothing there.
        self._listed: set[str] = set()

    def connected(self, node_id: str, addresses: Iterable[str]) -> None:
        """Note that a node is connected, and was dialled at these addresses. What it said of itself counts more."""
        self._note(node_id, self._seen.get(node_id) or tuple(addresses))

    def disconnected(self, node_id: str) -> None:
        """Note the entry of a node whose connection is lost, because that entry may be about to go."""
        entry = self._directory.held_nodes().get(node_id)
        if entry is not None:
            self.listed({node_id: entry})

    def listed(self, entries_untrusted: Table) -> None:
        """Note entries of the family of nodes, in which other nodes may have set anything."""
        for node_id, said in entries_untrusted.items():
            if is_node_id(node_id) and isinstance(said, list):
                heard = [text for text in said[1:] if isinstance(text, str) and len(text) <= LONGEST_ADDRESS]
                self._note(node_id, tuple(heard[:ADDRESS_LIMIT]))
                self._listed.add(node_id)

    def _note(self, node_id: str, addresses: Addresses) -> None:
        self._seen.pop(node_id, None)
        self._seen[node_id] = addresses
        if len(self._seen) > REMEMBERED:
            oldest = next(iter(self._seen))
            del self._seen[oldest]
            self._listed.discard(oldest)

    def __contains__(self, node_id: str) -> bool:
        return node_id in self._seen

    def addresses(self, node_id: str) -> Addresses:
        """The addresses of that node when it was seen last; empty if it was not seen, or listened nowhere."""
        return self._seen.get(node_id, ())

    async def has_gone(self, node_id: str) -> bool:
        """Whether the network once had an entry for that node, and has none now. A checkpoint."""
        if node_id not in self._listed:
            # A node that never had an entry may be about to start for the first time.
            await trio.lowlevel.checkpoint()
            return False
        return await self._directory.find_listed(node_id) == {}
