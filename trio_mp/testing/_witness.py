"""A node of a simulation that tells the oracle what it does and what it sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from .._ids import node_of
from .._node.node import Node
from .._ports.monitor import Monitor
from .._ports.port import Port, state_of
from .._protocol.database.records import NODES
from .._services.nodes import is_node
from ._network import SimulatedNetwork
from ._oracle import Oracle

_STAMP = "witness"


class Witness:
    """A node, seen by the oracle of its network.

    What goes through it carries a stamp: the run that sent it, the port it is for, and its number. Handlers made here
    do not see it.

    Args:
      network: the network.
      node: one of its nodes.

    Attributes:
      run: this run of the node, such as `"a/1"`.
    """

    def __init__(self, network: SimulatedNetwork, node: Node) -> None:
        self.network = network
        self.node = node
        self.oracle: Oracle = network.oracle
        self.run: str = network.run_of(node)
        self._calls = 0

    # Ports ---------------------------------------------------------------------------------------------------------

    def port(self, handler: Callable[..., Any] | None = None) -> Port:
        """A new port that takes all stamped messages; the handler gets what was sent.

        Args:
          handler: a sync or async function; None for one that only counts.
        """
        port = self.node.port()
        self.adopt(port)

        @port.on()
        def take(*stamped: Any) -> Any:
            message = self.unwrap(port, stamped)
            return handler(*message) if handler is not None else None

        return port

    def adopt(self, port: Port) -> None:
        """Tell the oracle of a port of this node, and of its death."""
        self.oracle.port_made(self.run, str(port))
        if not port.alive:
            # It has died before its task began, and so cannot set a monitor.
            self.oracle.port_died(str(port), state_of(port).reason)
            return
        # With no owner: set inside the port itself, as a spawned function would, it would end with it and tell nothing.
        self.node._runtime.monitor(port, lambda *reason: self.oracle.port_died(str(port), reason), None)

    def unwrap(self, port: Port, stamped: tuple[Any, ...]) -> tuple[Any, ...]:
        """What was sent, from what a port of this node has got; the oracle is told that it was delivered."""
        stamp, run, number, sent_to, *message = stamped
        assert stamp == _STAMP
        self.oracle.delivered_to(str(port), run, number, sent_to)
        return tuple(message)

    # Messages ------------------------------------------------------------------------------------------------------

    def send(self, port: str, *message: Any) -> None:
        """As `Node.send`."""
        port = str(port)
        self.node.send(port, *self._stamp(port), *message)
        self.oracle.message_sent(self.run, port)
        self._look_at_queue(node_of(port))

    def _stamp(self, port: str) -> tuple[str, str, int, str]:
        return _STAMP, self.run, self.oracle.next_number(self.run, port), port

    async def call(self, port: str, *message: Any) -> tuple[Any, ...]:
        """As `Node.call`; the oracle sees to it that it ends."""
        port = str(port)
        stamp = self._stamp(port)
        self._calls += 1
        number = self._calls
        self.oracle.call_begins(self.run, number, port)
        # Nothing else runs before `call` has sent it.
        self.oracle.message_sent(self.run, port)
        try:
            return await self.node.call(port, *stamp, *message)
        except (TypeError, ValueError, RuntimeError, trio.ClosedResourceError):
            self.oracle.message_withdrawn(self.run, port)
            raise
        finally:
            self.oracle.call_ends(self.run, number)

    def _look_at_queue(self, node_id: str) -> None:
        core = self.node._runtime
        peer = core.network.peers.get(node_id) if core.network is not None else None
        if peer is not None:
            settings = core.settings
            self.oracle.queued(
                self.run, node_id, peer.association.outbox.queue.size, settings.queue_limit, settings.message_limit
            )

    # The database --------------------------------------------------------------------------------------------------

    async def follow_nodes(self) -> None:
        """Follow which nodes there are, and tell the oracle of those that are said to be gone; until cancelled."""
        runs: dict[str, str] = {}
        async with self.node.database.watch(NODES) as changes:
            async for change in changes:
                now = {node_id: said[0] for node_id, said in change.table.items() if is_node(node_id, said)}
                for node_id in [node_id for node_id, run in runs.items() if now.get(node_id) != run]:
                    lives = self.network.is_run_alive(node_id, runs[node_id])
                    self.oracle.told_of_end(self.run, node_id, lives=lives)
                runs = now

    # Monitors ------------------------------------------------------------------------------------------------------

    def monitor(self, port: str, callback: Callable[..., object] | None = None) -> Monitor:
        """As `Node.monitor` with a function."""

        def fire(*reason: object) -> None:
            self.oracle.fire_begins(monitor, reason)
            if callback is not None:
                callback(*reason)
            self.oracle.fire_ends(monitor)

        monitor = self.node.monitor(str(port), fire)
        self.oracle.monitor_set(self.run, monitor)
        return monitor

    def link(self, port: str, to: str) -> Monitor:
        """As `Node.link`."""
        monitor = self.node.link(str(port), str(to))
        self.oracle.monitor_set(self.run, monitor)
        return monitor
