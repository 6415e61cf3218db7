"""A node as users see it, put together from the floors below."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, overload

import trio

from ._ids import node_of
from ._node.core import Core
from ._node.environment import Environment
from ._node.keeper import Job
from ._node.monitor import DeathScope, Monitor
from ._node.port import Port, attach_mailbox, new_port
from ._node.settings import Settings
from ._node.timer import Timer
from ._protocol import codec
from ._protocol.requests import Spawn
from ._reason import NORMAL, Reason, exception_reason
from ._services.calls import call
from ._services.database import Database
from ._services.membership import MembershipService
from ._services.spawning import Spawner, check_reference, run_process
from ._services.streams import Streams

log = logging.getLogger("trio_mp")

_NOT_SYNC = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)


class Node:
    """One membership in the network: its ports, and the way to all others. Made by `open_node`.

    Everything but `open_port`, `open_stream`, `flush`, `call` and `wait_death` is sync and never blocks. All of it
    belongs to the thread that runs Trio; from others use `trio.from_thread.run_sync(node.send, …)`.
    """

    def __init__(self, settings: Settings, environment: Environment) -> None:
        self._core = Core(self, settings, environment, Spawner)
        self._dispatcher = self._core.dispatcher
        self._queue = self._core.dispatcher.queue
        self._membership = MembershipService(self._core.network) if self._core.network is not None else None
        self._database = Database(self._core, self._membership)
        self._streams = Streams(self._core)

    def __repr__(self) -> str:
        return f"<Node {self.id}{' (closed)' if self._core.closed else ''}>"

    @property
    def id(self) -> str:
        """Its node ID."""
        return self._core.id

    @property
    def binds(self) -> tuple[str, ...]:
        """The addresses where it listens, with the real TCP ports."""
        return self._core.network.binds if self._core.network is not None else ()

    @property
    def peers(self) -> tuple[str, ...]:
        """The IDs of the nodes that it has a connection with, in use now."""
        return tuple(self._core.network.up_nodes()) if self._core.network is not None else ()

    @property
    def database(self) -> Database:
        """The database that all nodes of the network share."""
        return self._database

    # Ports ---------------------------------------------------------------------------------------------------------

    def port(self, handler: Callable[..., Any] | None = None) -> Port:
        """A new port, which lives until it is killed or the node closes.

        Args:
          handler: takes all messages that no other handler does; as `port.on()(handler)`.

        Raises:
          TypeError: the handler is not callable.
          trio.ClosedResourceError: the node is closed or closing.
        """
        return new_port(self._dispatcher, self._core.next_name(), handler)

    @asynccontextmanager
    async def open_port(self) -> AsyncGenerator[Port, None]:
        """A port that lives as long as the block, with a mailbox: messages wait for `Port.receive`.

        If the port dies before, the block goes on; `receive` raises `PortDied`. Leaving the block waits until tasks of
        the port have unwound, unless it is cancelled. Entering and leaving are checkpoints.
        """
        port = new_port(self._dispatcher, self._core.next_name())
        attach_mailbox(port)
        try:
            await trio.lowlevel.checkpoint()
            yield port
        except Exception as error:
            self._dispatcher.die(port, exception_reason(error))
            raise
        finally:
            unwound = trio.Event()
            self._core.watch_unwinding(port, unwound.set)
            self._dispatcher.die(port, NORMAL)
        await unwound.wait()

    def start_port(self, async_function: Callable[..., Awaitable[object]], *arguments: Any) -> Port:
        """A port with a task of its own, as an Erlang process: `async_function(port, *arguments)`.

        It has a mailbox. When the function returns the port dies normally; when it raises, with `("die", …)`; when the
        port is killed the task is cancelled.

        Raises:
          trio.ClosedResourceError: the node is closed or closing.
        """
        if not callable(async_function):
            raise TypeError(f"start_port() takes an async function, not {async_function!r}")
        port = new_port(self._dispatcher, self._core.next_name())
        attach_mailbox(port)
        self._dispatcher.start_task(port, run_process, (port, async_function, arguments))
        return port

    # Messages ------------------------------------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    def send(self, port: str, *message: Any) -> None:
        """Send a message. Never blocks, never a checkpoint.

        Args:
          port: a port, a port ID, or a node ID for the node's own port.
          message: by custom the first element is a string, its tag. To a port on another node it travels as a
            snapshot taken now, and may hold str, int (64 bits), float, bool, None, bytes, list, tuple (arrives as a
            list), dict with str keys, and ports (arrive as their IDs). To a port on this node the very objects are
            handed over: treat what was sent as read-only.

        A message to a port that is dead, or dies before it arrives, is dropped; so is one that is lost with a
        connection. Who monitors the port is told, before any later message arrives.

        Raises:
          TypeError, ValueError: not a port ID; or a value that cannot travel, with its place in the message.
          RuntimeError: the port is on another node, and this node has no network.
          PortDied: this is called by a task of a port that has died.
          trio.ClosedResourceError: the node is closed.
        """
        # The short cut for ports of this node; all else is in the core.
        if port.__class__ is Port and port._host is self._dispatcher:  # pyright: ignore[reportAttributeAccessIssue]
            if self._core.closed or self._dispatcher.lingering:
                self._core.check_open()
            if self._dispatcher.parked is not None:
                self._dispatcher.wake()
            self._queue.append((port, message))
        else:
            self._core.send(port, message)

    def send_after(self, seconds: float, port: str, *message: Any) -> Timer:
        """Send a message later.

        Args:
          seconds: how much later, by Trio's clock.
          port, message: as for `send`; what travels is a snapshot taken now.

        Returns:
          A handle; its `cancel()` sees to it that the message is not sent.

        Raises:
          what `send` raises, now; ValueError: the number of seconds is negative or not a number.
        """
        if not isinstance(seconds, int | float):
            raise TypeError(f"a number of seconds is wanted, not {seconds!r}")
        if not seconds >= 0:
            raise ValueError(f"seconds must not be negative: {seconds!r}")
        self._core.check_open()
        timer = Timer()
        message = self._core.fix(port, message)
        self._dispatcher.start_system_task(self._send_later, timer, seconds, port, message)
        return timer

    async def _send_later(self, timer: Timer, seconds: float, port: str, message: tuple[Any, ...]) -> None:
        with timer.scope:
            await trio.sleep(seconds)
            try:
                self._core.send(port, message)
            except (TypeError, ValueError) as error:
                # It was checked at the call, but the peer's limit and its framing may have become known since.
                log.error("a message of send_after(%g, %r) cannot be sent: %s", seconds, port, error)

    async def flush(self, node_or_port: str) -> None:
        """Wait until what was sent there has been handed to the operating system: the place to wait for a slow peer.

        It bounds what this node queues, not what waits in a mailbox over there: for that let the receiver answer, by
        `call` or by messages that allow so many more. What was dropped, and reported, before this is called is not
        reported again. A checkpoint. Cancelled, it changes nothing.

        Raises:
          trio.BrokenResourceError: some of it was dropped.
          TypeError, ValueError, RuntimeError, trio.ClosedResourceError: as `send`.
        """
        self._core.check_open()
        peer, _ = self._core.route(node_or_port)
        if peer is None:
            await trio.lowlevel.checkpoint()
        else:
            await peer.wait_flushed()

    async def call(self, port: str, *message: Any) -> tuple[Any, ...]:
        """Send a message with a reply port appended, and wait for the reply.

        A checkpoint. Cancelled, the reply is no longer wanted: when it comes it is dropped.

        Returns:
          The reply, whole.

        Raises:
          PortDied: the port died first, or messages to it may have been lost.
          ValueError: it is a node port, and what is asked is not one of `info`, `time`, `up_nodes`, `known_nodes`:
            nothing else is answered there.
          what `send` raises.
        """
        return await call(self._core, port, message)

    # Death ---------------------------------------------------------------------------------------------------------

    def kill(self, port: str, *reason: Any) -> None:
        """Kill a port, here or on another node.

        It keeps its place among the messages sent before it, but what is still queued in the port is discarded.

        Args:
          port: a port or its ID.
          reason: none for a normal death, which leaves linked ports alone; else, by custom, an identifier and a text.

        Raises:
          ValueError: it is a node port, or the reason cannot travel.
          what `send` raises.
        """
        self._core.kill(port, reason)

    @overload
    def monitor(self, port: str, action: Callable[..., object], /) -> Monitor: ...
    @overload
    def monitor(self, port: str, action: str, /, *message: Any) -> Monitor: ...
    def monitor(self, port: str, action: Callable[..., object] | str, /, *message: Any) -> Monitor:
        """Be told, once, when a port dies or when messages to it may have been lost.

        Args:
          port: the port; or a node ID, for the loss of the connection with that node.
          action: a sync function, called with the reason's elements, in the context of the port that set the monitor;
            if it raises it kills that port (outside a port it crashes the node). Or a port, to which the message is
            sent with the reason's elements appended.
          message: what to send.

        The monitor ends with the port that set it. A port that does not exist fires it with `("no_such_port", …)`.

        Raises:
          TypeError: the action is neither.
          what `send` raises.
        """
        if isinstance(action, str):
            message = self._core.fix(action, message)

            def callback(*reason: object) -> None:
                self._core.notify(action, message, reason)

            return self._core.monitor(port, callback, self._core.owner())
        if any(is_kind(action) for is_kind in _NOT_SYNC) or not callable(action):
            raise TypeError(f"a monitor's action is a sync function or a port, not {action!r}")
        if message:
            raise TypeError("a monitor's message goes with a port to send it to, not with a function")
        return self._core.monitor(port, action, self._core.owner())

    def link(self, port: str, to: str | None = None) -> Monitor:
        """Kill a port, with the same reason, when another one dies abnormally or is lost. One way.

        Args:
          port: the port whose death matters.
          to: the port that is killed then; the running one by default.

        Raises:
          RuntimeError: there is no running port, and `to` was not given.
          ValueError: `to` is a node port.
          what `send` raises.
        """
        target = to if to is not None else self._core.owner()
        if target is None:
            raise RuntimeError("link() outside a port needs to be told which port to kill: link(port, to)")
        return self._core.link(port, target)

    def move_on_death(self, port: str) -> DeathScope:
        """A cancel scope that is tied to a port: the block is cancelled when the port dies or is lost.

        In the manner of `trio.move_on_after`: `with node.move_on_death(port) as scope:`. After the block the scope's
        `reason` says why, or is None. Entering it raises what `send` raises.
        """
        return self._death_scope(port, fail=False)

    def fail_on_death(self, port: str) -> DeathScope:
        """As `move_on_death`, but if the block was cancelled by the port's death it raises `PortDied`."""
        return self._death_scope(port, fail=True)

    def _death_scope(self, port: str, *, fail: bool) -> DeathScope:
        owner = self._core.owner()
        return DeathScope(str(port), lambda callback: self._core.monitor(port, callback, owner), fail=fail)

    async def wait_death(self, port: str) -> Reason:
        """Wait until a port dies, or messages to it may have been lost; returns why. A checkpoint.

        Cancelled, it changes nothing. A port that died long ago gives `("no_such_port", …)`.

        Raises:
          what `send` raises.
        """
        died = trio.Event()
        with self._core.monitor(port, lambda *_: died.set(), None) as monitor:
            await died.wait()
        assert monitor.reason is not None
        return monitor.reason

    # Spawning ------------------------------------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    def spawn(self, node_or_port: str, function: str, *arguments: Any, linked: bool = False) -> str:
        """Make a port on a node, perhaps this one, and have it initialised there by a function.

        Args:
          node_or_port: the node, or any port of it.
          function: `package.module:function`, in a module that is one of the `spawn_modules` over there; or
            `::function`, in its main program. It must be `@spawnable`.
          arguments: what it is called with, behind the new port; they travel as a message does.
          linked: tie the new port and the running one: the abnormal death of either, or the loss of the other's node,
            kills the one that is left.

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
        peer, _ = self._core.route(node_or_port)
        running = self._core.owner()
        if linked and running is None:
            raise RuntimeError("spawn(linked=True) ties the new port to the running one, and there is none")
        name = self._core.next_name()
        linked_to = str.__str__(running) if linked and running is not None else ""
        if peer is None:
            port = new_port(self._dispatcher, name)
            # Other nodes may hear of it, and send, before it is initialised.
            port.state.busy = True
            port.rearm()
            request = Spawn(name, function, arguments, linked_to)
            self._dispatcher.enqueue(Job(self._initialise), (port, request))
            port_id = str.__str__(port)
        else:
            head = ("spawn_linked", name, function, linked_to) if linked else ("spawn", name, function)
            try:
                peer.send("", (*head, *arguments))
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

    def _initialise(self, port: Port, request: Spawn) -> None:
        # Dead already if the node was cancelled before this was reached.
        if port.alive:
            self._core.spawner.initialise(port, request, remote=False)
            self._dispatcher.release(port)
