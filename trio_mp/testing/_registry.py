"""What the programs of the hammer have registered in the database, and what every node must find there at rest."""

from __future__ import annotations

from typing import Any

from .._ids import node_of
from .._ports.port import Port
from .._protocol.database.entries import read_port
from ._network import SimulatedNetwork
from ._rules import Rule
from ._witness import Witness


class Registry:
    """The ports that programs of one seed have registered.

    Args:
      network: the simulated network.
    """

    def __init__(self, network: SimulatedNetwork) -> None:
        self._network = network
        # By run, family and key: the port. What a run has registered last is what counts.
        self._entries: dict[tuple[str, str, str], str] = {}
        # All that there ever was.
        self._ever: set[tuple[str, str, str]] = set()

    def register(self, witness: Witness, family: str, port: Port | str, key: str | None = None) -> None:
        """Register a port, as `Database.register` does."""
        text = str(port)
        witness.node.database.register(family, port, witness.run, key=key)
        name = text if key is None else key
        self._entries[witness.run, family, name] = text
        self._ever.add((family, name, text))
        self._network.trace.record("registers", witness.run, family, name, text)

    def expected(self, family: str) -> dict[str, str]:
        """The entries that there are when all nodes agree: keys, and the ports that live."""
        oracle, found = self._network.oracle, dict[str, str]()
        owners: dict[str, bytes] = {}
        for (run, of, key), port in self._entries.items():
            owner = run.rpartition("/")[0].encode()
            # Of several nodes that have set a key, that with the greatest ID is believed.
            if of == family and oracle.lives(run) and oracle.port_lives(port) and owner >= owners.get(key, b""):
                found[key], owners[key] = port, owner
        return found

    def read(self, family: str, table: dict[str, Any]) -> dict[str, str]:
        """The ports that a table of the database names, by key. Each must have been registered.

        Raises:
          PromiseBroken: one was not.
        """
        read = {key: entry[0] for key, value in table.items() if (entry := read_port(key, value)) is not None}
        for key, port in read.items():
            self.check_entry(family, key, port)
        return read

    def check_entry(self, family: str, key: str, port: str) -> None:
        """Check that a port was registered under a key, at some time."""
        if (family, key, port) not in self._ever:
            self._network.oracle.fail(Rule.ENTRIES, f"{port} was never registered as {key} in {family}", port)

    def check_gone(self, witness: Witness, family: str, port: str) -> None:
        """Check that a node that has registered a port has no entry of it: the port has died.

        Raises:
          PromiseBroken: it has.
        """
        if not self._network.oracle.lives(witness.run) or node_of(port) != witness.node.id:
            return
        own = witness.node.database._replica.owned(family)
        if any(entry is not None and entry[0] == port for entry in (read_port(*item) for item in own.items())):
            self._network.oracle.fail(Rule.ENTRIES, f"{port} is dead, and its node has an entry for it", port)
