"""A node as users see it, put together from the floors below."""

from __future__ import annotations

import logging
from contextlib import AbstractAsyncContextManager
from typing import Any

import trio

from .._ids import node_of
from .._ports.lifecycle import Job
from .._ports.port import Port, new_port
from .._protocol import requests
from .._protocol.wire import codec
from .._runtime import Runtime
from .._services.database import Database
from .._services.logs import LogCollector, LogService, check_level
from .._services.membership import MembershipService
from .._services.nodes import NodeChanges, watch_nodes
from .._services.spawning import Spawner, check_reference
from .._settings.environment import Environment
from .._settings.settings import Settings
from .._streams.pending import PendingStreams
from .._streams.service import Streams
from .messaging import Messaging


class Node(Messaging):
    """One membership in the network: its ports, and the way to all others. Made by `open_node`.

    Everything but `open_port`, `open_stream`, `flush`, `call` and `wait_death` is sync and never blocks. All of it
    belongs to the thread that runs Trio; from others use `trio.from_thread.run_sync(node.send, …)`.
    """

    def __init__(self, settings: Settings, environment: Environment) -> None:
        pending_streams = PendingStreams()
        super().__init__(Runtime(self, settings, environment, Spawner, pending_streams.claim))
        self._membership = MembershipService(self._runtime.network) if self._runtime.network is not None else None
        self._database = Database(self._runtime, self._membership)
        self._streams = Streams(self._runtime, pending_streams)
        self._logs = LogService(self._runtime, self.watch_nodes)

    def __repr__(self) -> str:
        return f"<Node {self.id}{' (closed)' if self._runtime.closed else ''}>"

    @property
    def id(self) -> str:
        """Its node ID."""
        return self._runtime.id

    @property
    def binds(self) -> tuple[str, ...]:
        """The addresses where it listens, with the real TCP ports."""
        return self._runtime.network.binds if self._runtime.network is not None else ()

    @property
    def peers(self) -> tuple[str, ...]:
        """The IDs of the nodes that it has a connection with, in use now."""
        return tuple(self._runtime.network.up_nodes()) if self._runtime.network is not None else ()

    @property
    def database(self) -> Database:
        """The database that all nodes of the network share."""
        return self._database

    # Spawning ------------------------------------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    def spawn(self, node_or_port: str, function: str, *arguments: Any, linked: bool = False) -> str:
        """Make a port on a node, perhaps this one, and have it initialised there by a function.

        Args:
          node_or_port: the node, or any port of it.
          function: `package.module:function`, in a module that is one of the `spawn_modules` over there; or
            `::function`, in its main program. It must be `@spawnable`.
          arguments: what it is called with, behind the new port; they travel as a message does.
          linked: tie the new port and the running one: the abnormal death of either, or the end or loss of the other's
            node, kills the one that is left.

        Returns:
          The new port's ID, at once: this node can send to it and monitor it before it exists. Pass it on to a third
          node only when the port has answered: what that one sends might come before the port, and what it sends next
          behind it. Nothing of the function's effects can be seen before this
          returns. If it cannot be done, monitors of the port fire with
          `("spawn_failed", …)`.

        Raises:
          RuntimeError: `linked`, and there is no running port.
          what `send` raises.
        """
        check_reference(function)
        peer, _ = self._runtime.route(node_or_port)
        running = self._runtime.owner()
        if linked and running is None:
            raise RuntimeError("spawn(linked=True) ties the new port to the running one, and there is none")
        name = self._runtime.next_name() if peer is None else self._runtime.next_spawned_name()
        linked_to = str.__str__(running) if linked and running is not None else ""
        if peer is None:
            port = new_port(self._dispatcher, name)
            # Other nodes may hear of it, and send, before it is initialised.
            self._dispatcher.hold(port)
            request = requests.Spawn(name, function, arguments, linked_to)
            self._dispatcher.enqueue(Job(self._initialise), (port, request))
            port_id = str.__str__(port)
        else:
            if linked:
                message = requests.spawn_linked(name, function, linked_to, arguments)
            else:
                message = requests.spawn(name, function, arguments)
            try:
                peer.send("", message)
            except (TypeError, ValueError):
                # The place as the caller counts.
                codec.plain_message(arguments, thorough=True, what="arguments")
                raise
            port_id = f"{node_of(node_or_port)}#{name}"
        if linked:
            self.link(port_id)
        return port_id

    def open_stream(
        self, node_or_port: str, function: str, *arguments: Any
    ) -> AbstractAsyncContextManager[trio.abc.HalfCloseableStream]:
        """A byte stream to a node, perhaps this one, for bulk data: `async with node.open_stream(…) as stream:`.

        It has a connection of its own, to the same address and proven and encrypted in the same way; it neither waits
        for messages nor delays them. Whichever of the two nodes can dial the other makes it.

        Args:
          node_or_port: the node, or any port of it.
          function: as for `spawn`, an async one that is `@spawnable`. Over there a new port runs it as
            `function(stream, *arguments)`, after the messages that were sent there before. Its return ends the stream;
            if it raises, or the port is killed, the stream breaks.
          arguments: as for `spawn`.

        Entering waits until the stream is there; leaving sends its end, as `aclose` does, and does not wait for the
        other side. If the block is left by an exception, or is cancelled, the stream breaks over there. Both are
        checkpoints. Cancelled while entering, nothing is left behind.

        The stream obeys Trio's rules. `receive_some` returns nothing only if the other side has said that this is the
        end; what ends the stream otherwise (a death, a crash, a lost node) raises `trio.BrokenResourceError`.

        Raises:
          PortDied: the function was refused, or its port died, or its node was lost, before the stream was there.
          OSError: neither node can dial the other; the text says what was tried.
          what `spawn` raises.
        """
        return self._streams.open(node_or_port, function, arguments)

    # The network ---------------------------------------------------------------------------------------------------

    def watch_nodes(self) -> AbstractAsyncContextManager[NodeChanges]:
        """Nodes that join the network and leave it: `async with node.watch_nodes() as changes:`.

        `changes` is an async iterator of `NodeChange`: at first the nodes that are there, this one among them, as if
        each had just joined; then each that joins or leaves, as it becomes known here. A node that has run anew leaves
        and joins. It says which nodes the network has; `peers` says which of them are connected with this one.

        Entering is a checkpoint, and waits while this node is not attached to the network; so does each step of the
        iterator. Cancelled, nothing is lost.

        Raises:
          trio.ClosedResourceError: the node is closed.
        """
        return watch_nodes(self._database)

    def collect_logs(self, level: int | str = logging.WARNING) -> LogCollector:
        """Have all nodes of the network, those that join later too, send this one their log records.

        Each is said again here, through the logger of the same name, whatever that one's level: with the ID of the node
        in front of its text, and in its attribute `node`. Records that come from others are not sent on.

        Nobody waits for it: where a node logs faster than its records can be sent, they are left out, and the next one
        says how many were. A node sends what its own loggers let through, and nothing at all if its setting
        `share_logs` is off. Two requests of one node are one, of the later one's level.

        Args:
          level: the lowest level that is wanted, as `logging` has it.

        Returns:
          A handle; its `cancel()` ends it, and it is a context manager that does so on exit. Not a checkpoint.

        Raises:
          ValueError, TypeError: that is no level.
          trio.ClosedResourceError: the node is closed.
        """
        return self._logs.collect(check_level(level))

    def _initialise(self, port: Port, request: requests.Spawn) -> None:
        # Dead already if the node was cancelled before this was reached.
        if port.alive:
            self._runtime.spawner.initialise(port, request, asker="")
            self._dispatcher.release(port)
