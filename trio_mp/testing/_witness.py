"""The witness: tells the oracle what a node of a simulation does and sees."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
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
    """Wraps a node, so that the oracle of its network sees what the node does.

    Messages that are sent with the witness carry a stamp: the run that sent them, the port that they are for, and their
    number. Handlers of ports that the witness makes do not see the stamp.

    Args:
      network: the simulated network.
      node: one of its nodes.

    Attributes:
      run: this run of the node, such as `"a/1"`.
      oracle: the oracle of the network.
    """

    def __init__(self, network: SimulatedNetwork, node: Node) -> None:
        self.network = network
        self.node = node
        self.oracle: Oracle = network.oracle
        self.run: str = network.run_of(node)
        self._calls = 0
        node._runtime.dispatcher.tell_expired = self._call_dropped
        node._runtime.observers.draining.append(self._hears_of_drain)

    # Ports ---------------------------------------------------------------------------------------------------------

    def port(self, handler: Callable[..., Any] | None = None, *, reply: bool = False, cancel: bool = False) -> Port:
        """Make a port that takes all stamped messages. The handler gets them without their stamp.

        Args:
          handler: a sync or async function; None if the port only counts its messages.
          reply, cancel: as for `Port.on`.
        """
        port = self.node.port()
        self.adopt(port)

        @port.on(reply=reply, cancel=cancel)
        def take(*stamped: Any) -> Any:
            message = self.unwrap(port, stamped)
            result = handler(*message) if handler is not None else None
            return self._follow(port, stamped, result) if inspect.iscoroutine(result) else result

        return port

    async def _follow(self, port: Port, stamped: tuple[Any, ...], result: Coroutine[Any, Any, Any]) -> Any:
        with self.work(port, stamped):
            return await result

    @contextmanager
    def work(self, port: Port, stamped: tuple[Any, ...]) -> Iterator[None]:
        """Tell the oracle that a handler or a task works at a message, for the length of the block."""
        _, run, number, *_ = stamped
        self.oracle.work_begins(str(port), run, number)
        try:
            yield
        finally:
            self.oracle.work_ends(str(port), run, number)

    def adopt(self, port: Port) -> None:
        """Tell the oracle of a port of this node, and later of the port's death."""
        self.oracle.port_made(self.run, str(port))
        if not port.alive:
            # The port has died before its task began. The oracle is told now.
            self.oracle.port_died(str(port), state_of(port).reason)
            return
        # The monitor has no owner. One that belonged to the port, as in a spawned function, would end with the port and
        # tell nothing.
        self.node._runtime.monitor(port, lambda *reason: self.oracle.port_died(str(port), reason), None)

    def unwrap(self, port: Port, stamped: tuple[Any, ...]) -> tuple[Any, ...]:
        """Take the stamp off a message that a port of this node has got, and tell the oracle of the delivery."""
        stamp, run, number, sent_to, *message = stamped
        assert stamp == _STAMP
        self.oracle.delivered_to(str(port), run, number, sent_to)
        return tuple(message)

    def _call_dropped(self, port: Port, stamped: tuple[Any, ...]) -> None:
        """Tell the oracle that a port of this node has not begun a call."""
        if stamped[:1] == (_STAMP,):
            self.oracle.call_dropped(str(port), *stamped[1:3])

    # Messages ------------------------------------------------------------------------------------------------------

    def send(self, port: str, *message: Any) -> None:
        """Send a stamped message, as `Node.send` does."""
        port = str(port)
        losses = losses_of(self.node, node_of(port))
        self.node.send(port, *self._stamp(port), *message)
        self.oracle.message_sent(self.run, port, losses)
        self._look_at_queue(node_of(port))

    def _stamp(self, port: str) -> tuple[str, str, int, str]:
        return _STAMP, self.run, self.oracle.next_number(self.run, port), port

    async def call(self, port: str, *message: Any) -> tuple[Any, ...]:
        """Call a port, as `Node.call` does. The oracle checks that the call ends."""
        port = str(port)
        stamp = self._stamp(port)
        self._calls += 1
        number = self._calls
        self.oracle.call_begins(self.run, number, port)
        # Nothing else runs before `call` has sent the message.
        self.oracle.call_sent(self.run, number, port)
        self.oracle.message_sent(self.run, port, losses_of(self.node, node_of(port)))
        try:
            reply = await self.node.call(port, *stamp, *message)
            self.oracle.call_answered(self.run, number)
            return reply
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

    def _hears_of_drain(self, node_id: str) -> None:
        """Tell the oracle that the run of another node drains that this one is connected with, if that run lives."""
        peer = self.node._runtime.network.peers[node_id] if self.node._runtime.network is not None else None
        if peer is not None and self.network.is_run_alive(node_id, peer.association.incarnation):
            self.oracle.drain_heard(self.run, self.network.run_of(self.network.nodes[node_id]))

    # The database --------------------------------------------------------------------------------------------------

    async def follow_nodes(self) -> None:
        """Follow the nodes of the network, and tell the oracle of those that have ended, until cancelled."""
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
        """Set a monitor with a callback, as `Node.monitor` does."""

        def fire(*reason: object) -> None:
            self.oracle.fire_begins(monitor, reason)
            if callback is not None:
                callback(*reason)
            self.oracle.fire_ends(monitor)

        monitor = self.node.monitor(str(port), fire)
        self.oracle.monitor_set(self.run, monitor)
        return monitor

    def link(self, port: str, to: str) -> Monitor:
        """Link two ports, as `Node.link` does."""
        monitor = self.node.link(str(port), str(to))
        self.oracle.monitor_set(self.run, monitor)
        return monitor


def losses_of(node: Node, other: str) -> int:
    """How often a node has lost what it had queued for another one."""
    network = node._runtime.network
    peer = network.peers.get(other) if network is not None else None
    return peer.queue.losses if peer is not None else 0
