"""What a node does with ports and messages, as users see it; `_node/node.py` adds what is about other nodes."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, overload

import trio

from .._ports.dispatcher import Dispatcher
from .._ports.monitor import DeathScope, Monitor
from .._ports.port import Port, attach_mailbox, new_port
from .._ports.timer import Timer
from .._reason import NORMAL, Reason, exception_reason
from .._runtime import Runtime
from .._services.calls import call
from .._services.spawning import run_process

log = logging.getLogger("trio_mp")

_NOT_SYNC = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)


class Messaging:
    """The part of `Node` that is about ports and messages.

    Args:
      runtime: the runtime of the node.
    """

    def __init__(self, runtime: Any) -> None:
        # Whoever checks programs against this package need not look into what is not for users.
        self._runtime: Runtime = runtime
        self._dispatcher: Dispatcher = self._runtime.dispatcher
        self._queue = self._runtime.dispatcher.queue

    # Ports ---------------------------------------------------------------------------------------------------------

    def port(self, handler: Callable[..., Any] | None = None) -> Port:
        """A new port, which lives until it is killed or the node closes.

        Args:
          handler: takes all messages that no other handler does; as `port.on()(handler)`.

        Raises:
          TypeError: the handler is not callable.
          trio.ClosedResourceError: the node is closed or closing.
        """
        return new_port(self._dispatcher, self._runtime.next_name(), handler)

    @asynccontextmanager
    async def open_port(self) -> AsyncGenerator[Port, None]:
        """A port that lives as long as the block, with a mailbox: messages wait for `Port.receive`.

        If the port dies before, the block goes on; `receive` raises `PortDied`. Leaving the block waits until tasks of
        the port have unwound, unless it is cancelled. Entering and leaving are checkpoints.
        """
        port = new_port(self._dispatcher, self._runtime.next_name())
        attach_mailbox(port)
        try:
            await trio.lowlevel.checkpoint()
            yield port
        except Exception as error:
            self._dispatcher.die(port, exception_reason(error), error, heard=True)
            raise
        finally:
            unwound = trio.Event()
            self._runtime.watch_unwinding(port, unwound.set)
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
        port = new_port(self._dispatcher, self._runtime.next_name())
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
            handed over: treat what was sent as read-only. One that travels holds at most 131,072 lists and dicts, and
            1,250,000 values in them.

        A message to a port that is dead, or dies before it arrives, is dropped; so is one that is lost with a
        connection. Who monitors the port is told, before any later message arrives.

        Raises:
          TypeError, ValueError: not a port ID; or a value that cannot travel, or is too much, with its place in the
            message.
          RuntimeError: the port is on another node, and this node has no network.
          PortDied: this is called by a task of a port that has died.
          trio.ClosedResourceError: the node is closed.
        """
        # The short cut for ports of this node; all else is in the runtime.
        if port.__class__ is Port and port._lifecycle is self._dispatcher:  # pyright: ignore[reportAttributeAccessIssue]
            if self._runtime.closed or self._dispatcher.lingering:
                self._runtime.check_open()
            if self._dispatcher.parked is not None:
                self._dispatcher.wake()
            self._queue.append((port, message))
        else:
            self._runtime.send(port, message)

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
        self._runtime.check_open()
        scope = trio.CancelScope()
        message = self._runtime.fix(port, message)
        self._dispatcher.start_system_task(self._send_later, scope, seconds, port, message)
        return Timer(scope)

    async def _send_later(self, scope: trio.CancelScope, seconds: float, port: str, message: tuple[Any, ...]) -> None:
        with scope:
            await trio.sleep(seconds)
            try:
                self._runtime.send(port, message)
            except (TypeError, ValueError) as error:
                # It was checked at the call, but the peer's limit and its framing may have become known since.
                log.error("a message of send_after(%g, %r) cannot be sent: %s", seconds, port, error)
                self._runtime.message_lost(port, error)

    async def flush(self, node_or_port: str) -> None:
        """Wait until what was sent there has been handed to the operating system: the place to wait for a slow peer.

        It bounds what this node queues, not what waits in a mailbox over there: for that let the receiver answer, by
        `call` or by messages that allow so many more. What was dropped, and reported, before this is called is not
        reported again. A checkpoint. Cancelled, it changes nothing.

        Raises:
          trio.BrokenResourceError: some of it was dropped.
          TypeError, ValueError, RuntimeError, trio.ClosedResourceError: as `send`.
        """
        self._runtime.check_open()
        peer, _ = self._runtime.route(node_or_port)
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
        return await call(self._runtime, port, message)

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
        self._runtime.kill(port, reason)

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
            message = self._runtime.fix(action, message)

            def callback(*reason: object) -> None:
                self._runtime.notify(action, message, reason)

            return self._runtime.monitor(port, callback, self._runtime.owner())
        if any(is_kind(action) for is_kind in _NOT_SYNC) or not callable(action):
            raise TypeError(f"a monitor's action is a sync function or a port, not {action!r}")
        if message:
            raise TypeError("a monitor's message goes with a port to send it to, not with a function")
        return self._runtime.monitor(port, action, self._runtime.owner())

    def link(self, port: str, to: str | None = None) -> Monitor:
        """Kill a port, with the same reason, when another one dies abnormally or is lost. One way.

        The end of its node is an abnormal death. A node that closes tells the nodes that it is connected with, and
        dials nobody else for that. A link that kills a port of another node ends with the port that has set it, unless
        both ports of this node die together.

        Args:
          port: the port whose death matters.
          to: the port that is killed then; the running one by default.

        Raises:
          RuntimeError: there is no running port, and `to` was not given.
          ValueError: `to` is a node port.
          what `send` raises.
        """
        target = to if to is not None else self._runtime.owner()
        if target is None:
            raise RuntimeError("link() outside a port needs to be told which port to kill: link(port, to)")
        return self._runtime.link(port, target)

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
        owner = self._runtime.owner()

        def set_monitor(callback: Callable[..., object]) -> Monitor:
            return self._runtime.monitor(port, callback, owner)

        return DeathScope(str(port), set_monitor, lambda: self._dispatcher.cause, fail=fail)

    async def wait_death(self, port: str) -> Reason:
        """Wait until a port dies, or messages to it may have been lost; returns why. A checkpoint.

        Cancelled, it changes nothing. A port that died long ago gives `("no_such_port", …)`.

        Raises:
          what `send` raises.
        """
        died = trio.Event()
        with self._runtime.monitor(port, lambda *_: died.set(), None) as monitor:
            await died.wait()
        assert monitor.reason is not None
        return monitor.reason
