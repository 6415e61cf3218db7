"""Which other nodes this one has known, and where they listened: what a wait for a node that has gone goes by.

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
"""How many nodes are remembered; of more, those that were heard of last. A node that is not is waited for longer."""

LONGEST_ADDRESS = 300
"""The longest address that is remembered, in characters."""


class Directory(Protocol):
    """The family of nodes in the shared database, as who looks for nodes knows it; see `Database`."""

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
        # The addresses of each when it was seen last, those that were seen last behind the others.
        self._seen: dict[str, Addresses] = {}
        # Those among them that have had an entry. A node that never had one cannot be missed: two that are connected
        # and have no seeds know nothing of each other's databases.
        self._listed: set[str] = set()

    def connected(self, node_id: str, addresses: Iterable[str]) -> None:
        """A node is connected, and was dialled at one of these addresses. All that it says of itself counts more."""
        self._note(node_id, self._seen.get(node_id) or tuple(addresses))

    def disconnected(self, node_id: str) -> None:
        """The connection with a node is lost, and its entry may be about to go."""
        entry = self._directory.held_nodes().get(node_id)
        if entry is not None:
            self.listed({node_id: entry})

    def listed(self, entries_untrusted: Table) -> None:
        """These entries are in the family of nodes; others may have set anything there."""
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
        """Where that node listened when it was seen last; nothing if it was not seen, or listened nowhere."""
        return self._seen.get(node_id, ())

    async def has_gone(self, node_id: str) -> bool:
        """Whether the network once had an entry for that node, and has none now. A checkpoint."""
        if node_id not in self._listed:
            # It may be about to start for the first time.
            await trio.lowlevel.checkpoint()
            return False
        return await self._directory.find_listed(node_id) == {}
