"""The public interface of a node. Each method is a door: what it does is in the room that it leads to."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar, overload

import trio

from .._channels.ends import ChannelReceiver, ChannelSender
from .._groups.group import Group, GroupBlock, check_group
from .._groups.singleton import TurnTaker, check_singleton
from .._ids import PortReference, node_of
from .._inspection.inspector import Inspector
from .._peers.peer import Peer
from .._ports.instruments import Instrument
from .._ports.losses import LossListener, Lost
from .._ports.monitor import DeathScope, Monitor
from .._ports.port import OnBad, Port, check_on_bad, new_port, refuse_bad
from .._ports.timer import Timer
from .._protocol.drain import Drained, Unfinished
from .._reason import Reason
from .._services.calls import UNTYPED
from .._services.database import Database
from .._services.deaths import death_scope, wait_death
from .._services.later import callback_of, send_after, send_every
from .._services.logs import LogCollector, check_level
from .._services.nodes import NodeChanges, watch_nodes
from .._services.processes import open_port, start_port
from .._services.starting import Started, start, start_on
from .._services.statistics import NodeStatistics, measure
from .._settings.environment import Environment
from .._settings.settings import Settings
from .._supervision.arguments import DEFAULT_BACKOFF, AutoShutdownName, Backoff, Epochs, StrategyName, check_supervisor
from .._supervision.block import SupervisorBlock
from .._supervision.reference import ChildRef
from .._supervision.supervisor import Supervisor
from .._workers.opening import NodeOpener, check_workers, open_workers
from .._workers.workers import Workers
from .assembly import assemble

T = TypeVar("T")


class Node:
    """One membership in the network: its ports, and the way to all others. Made by `open_node`.

    A method that is not async never blocks, and is no checkpoint. `watch_nodes` and each `open_…` return an async
    context manager. All of it belongs to the thread that runs Trio; from others use
    `trio.from_thread.run_sync(node.send, …)`.
    """

    def __init__(self, settings: Settings, environment: Environment, context: Any, open_node: NodeOpener) -> None:
        parts = assemble(self, settings, environment)
        self._open_node = open_node
        self._context = context
        # `send` reads these five directly: an attribute or a call more is a measurable part of what it costs.
        self._runtime = parts.runtime
        self._lifecycle = parts.runtime.lifecycle
        self._queue = parts.runtime.dispatcher.queue
        self._items = parts.runtime.dispatcher.queue.items
        self._routes: dict[Any, tuple[Peer | None, str]] = parts.runtime.routes
        self._calls = parts.calls
        self._spawner = parts.spawner
        self._streams = parts.streams
        self._channels = parts.channels
        self._database = parts.database
        self._membership = parts.membership
        self._logs = parts.logs
        self._inspections = parts.inspections
        self._watchdog = parts.watchdog
        self._drains = parts.drains
        self._tasks = parts.tasks

    def __repr__(self) -> str:
        return f"<Node {self.id}{' (closed)' if self._runtime.closed else ''}>"

    @property
    def id(self) -> str:
        """The ID of this node."""
        return self._runtime.id

    @property
    def binds(self) -> tuple[str, ...]:
        """The addresses where this node listens, with the real TCP ports."""
        return self._runtime.network.binds if self._runtime.network is not None else ()

    @property
    def peers(self) -> tuple[str, ...]:
        """The IDs of the nodes with which this node has a connection in use now, without tools."""
        return tuple(self._runtime.network.up_nodes()) if self._runtime.network is not None else ()

    @property
    def database(self) -> Database:
        """The database that all nodes of the network share."""
        return self._database

    @property
    def context(self) -> Any:
        """The object that `open_node` was given as `context`, or None: the program's own, and never sent.

        Functions that others spawn find in `current_node().context` what they need of their program.
        """
        return self._context

    def statistics(self) -> NodeStatistics:
        """What this node has counted, also on a closed node. Not a checkpoint.

        It takes microseconds for each other node, and less than one for each port with a mailbox.
        """
        return measure(self._runtime, self._calls)

    def add_instrument(self, instrument: Instrument) -> None:
        """Have a `trio_mp.abc.Instrument` watch this node until its end. Not a checkpoint. Raises `TypeError`."""
        self._lifecycle.instruments.add(instrument)

    def remove_instrument(self, instrument: Instrument) -> None:
        """Have an instrument watch this node no more. Not a checkpoint. Raises `KeyError` if it does not watch it."""
        self._lifecycle.instruments.remove(instrument)

    # Ports ---------------------------------------------------------------------------------------------------------

    def port(self, handler: Callable[..., Any] | None = None, *, on_bad: OnBad = "die") -> Port:
        """A new port, which lives until it is killed or the node closes.

        Args:
          handler: takes all messages that no other handler does; as `port.on()(handler)`.
          on_bad: what follows when no handler takes a message, or its number of elements does not fit the handler:
            `"die"`, the port dies; `"refuse"`, it lives, and who has sent the message is told. A call gets
            `CallError("bad_message", text)`; for a message that was sent plainly the node that has sent it is told
            (`on_lost`). A `TypeError` from inside the handler kills the port all the same.

        Raises:
          TypeError: the handler is not callable.
          ValueError: `on_bad` is neither.
          trio.ClosedResourceError: the node is closed or closing.
        """
        refuses = on_bad != "die" and check_on_bad("port", on_bad)
        port = new_port(self._lifecycle, self._runtime.next_name(), handler)
        return refuse_bad(port) if refuses else port

    def open_port(self, *, on_bad: OnBad = "die") -> AbstractAsyncContextManager[Port]:
        """A port that lives as long as the block, with a mailbox: messages wait for `Port.receive`.

        If the port dies before the block ends, the block goes on, and `receive` raises `PortDied`. Leaving the block
        waits until tasks of the port have unwound, unless it is cancelled. Entering and leaving are checkpoints.

        Args:
          on_bad: as for `port`. What no handler takes goes to the mailbox, and is never bad.

        Raises:
          ValueError: `on_bad` is neither `"die"` nor `"refuse"`.
        """
        return open_port(self._runtime, refuses=check_on_bad("open_port", on_bad))

    def start_port(
        self, async_function: Callable[..., Awaitable[object]], *arguments: Any, on_bad: OnBad = "die"
    ) -> Port:
        """A port with a task of its own, as an Erlang process: `async_function(port, *arguments)`.

        It has a mailbox. When the function returns the port dies normally; when it raises, with `("die", …)`; when the
        port is killed the task is cancelled.

        Args:
          async_function, arguments: what runs.
          on_bad: as for `port`. What no handler takes goes to the mailbox, and is never bad.

        Raises:
          ValueError: `on_bad` is neither `"die"` nor `"refuse"`.
          trio.ClosedResourceError: the node is closed or closing.
        """
        refuses = check_on_bad("start_port", on_bad)
        return start_port(self._runtime, async_function, arguments, refuses=refuses)

    async def start(self, async_function: Callable[..., Awaitable[object]], *arguments: Any) -> Started[Port]:
        """As `start_port`, but wait until the port says that it has started, as `trio.Nursery.start` does.

        It runs `async_function(port, *arguments, task_status=…)`, and returns when that calls
        `task_status.started(value)`. What the port has sent before to ports of this node has arrived by then.

        A checkpoint. Cancelled, the port is killed with `("start_cancelled", …)`, and this waits until its tasks have
        unwound, for at most `shutdown_timeout`; if the port has failed by itself meanwhile, its exception is raised.

        Returns:
          The port, and the value. The port may have died since it has started.

        Raises:
          RuntimeError: the function returned without calling `started`.
          PortDied: the port was killed before it had started.
          whatever else the function raises before it has called `started`, or other code of the port does.
          TypeError: it is not a function.
          trio.ClosedResourceError: the node is closed or closing.
        """
        return await start(self._runtime, async_function, arguments)

    # Messages ------------------------------------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    def send(self, port: str | ChildRef, *message: Any) -> None:
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
          TypeError, ValueError: `port` is no port ID; or a value cannot travel, or is too much, and the text names its
            place in the message.
          RuntimeError: the port is on another node, and this node has no network.
          PortDied: this is called by a task of a port that has died.
          trio.ClosedResourceError: the node is closed.
        """
        # The hot path, without calls that can be spared: `Runtime.send` and `Peer.send` say the same.
        lifecycle = self._lifecycle
        if port.__class__ is Port and port._lifecycle is lifecycle:  # pyright: ignore[reportAttributeAccessIssue]
            if lifecycle.lingering:
                self._runtime.check_open()
            if self._queue.parked is not None:
                self._queue.wake()
            self._items.append((port, message))
            return
        if lifecycle.lingering:
            self._runtime.check_open()
        try:
            peer, name = self._routes[port]
        except (KeyError, TypeError):
            peer, name = self._runtime.route(port)
        if peer is None:
            self._runtime.send_here(name, message)
            return
        try:
            if peer.queue.append(name, message, peer.outbox.send_limit):
                peer.queued()
        except (TypeError, ValueError):
            raise
        except Exception as error:  # noqa: BLE001 - an error of this package, whatever it is
            peer.fail(error)

    def send_after(self, seconds: float, port: str | ChildRef, *message: Any) -> Timer:
        """Send a message later. Returns a handle; its `cancel()` sees to it that the message is not sent.

        Args:
          seconds: how much later, by Trio's clock.
          port, message: as for `send`; what travels is a snapshot taken now.

        Called by the code of a port, it ends with that port: once that has died, the message is not sent.

        Raises:
          ValueError: the number of seconds is negative or not a number.
          what `send` raises, at this call.
        """
        return send_after(self._runtime, seconds, port, message)

    def send_every(self, seconds: float, port: str | ChildRef, *message: Any) -> Timer:
        """Send a message again and again: the first after so many seconds, the others at the same distance.

        Returns a handle; after its `cancel()` nothing more is sent.

        Ticks that were overrun, because the program computed or its machine slept, are skipped: there is never a burst
        of them, and the later ones keep their times. Nobody waits until a tick was handled.

        Called by the code of a port, it ends with that port. It also ends when the port that it sends to has died, if
        that is one of this node, and when the message turns out not to travel there, which is logged.

        Args:
          seconds: how far apart, by Trio's clock.
          port, message: as for `send`; what travels is a snapshot taken now.

        Raises:
          ValueError: the number of seconds is not above 0.
          what `send` raises, at this call.
        """
        return send_every(self._runtime, seconds, port, message)

    async def flush(self, node_or_port: str | ChildRef) -> None:
        """Wait until what was sent there has been handed to the operating system: the place to wait for a slow peer.

        It bounds what this node queues, not what waits in a mailbox over there: for that let the receiver answer, by
        `call` or by messages that allow so many more. What was dropped, and reported, before this is called is not
        reported again. A checkpoint. Cancelled, it changes nothing.

        Raises:
          trio.BrokenResourceError: some of what was sent there was dropped.
          TypeError, ValueError, RuntimeError, trio.ClosedResourceError: as `send`.
        """
        self._runtime.check_open()
        peer, _ = self._runtime.route(node_or_port)
        if peer is None:
            await trio.lowlevel.checkpoint()
        else:
            await peer.wait_flushed()

    @overload
    def call(self, port: str | ChildRef, *message: Any) -> Coroutine[Any, Any, tuple[Any, ...]]: ...
    @overload
    def call(self, port: str | ChildRef, *message: Any, reply: type[T]) -> Coroutine[Any, Any, T]: ...
    @overload
    def call(self, port: str | ChildRef, *message: Any, reply: Any) -> Coroutine[Any, Any, Any]: ...
    def call(self, port: str | ChildRef, *message: Any, reply: Any = UNTYPED) -> Coroutine[Any, Any, Any]:
        """Send a message, and wait for the reply. To be awaited.

        A handler with `reply=True` (`Port.on`) returns the reply. Any other handler, and a mailbox, gets a reply port
        as the last element of the message, and sends the reply there. What the port's node has sent to ports of this
        one before the reply has arrived when this returns.

        A checkpoint. Cancelled, the call is called off: the reply is dropped when it comes, a handler that wants it is
        cancelled, and one that has not begun does not begin. If the time of the scopes around it is up already, nothing
        is sent.

        Args:
          port, message: as for `send`.
          reply: the type of the reply, as `msgspec.convert` takes it, such as `list[str]`. Then the reply has to be one
            element, and is converted to that type.

        Returns:
          The one element of the reply, if `reply` was given; else the whole reply, as a tuple.

        Raises:
          PortDied: the port died first, or messages to it may have been lost.
          CallError: the handler raised one of its `errors`; too many calls were in flight; the time of the call was up
            over there; or the reply is not of the type that was asked for.
          TypeError: `reply` is no type that values can be converted to.
          ValueError: `port` is a node port, and the message begins with none of `info`, `time`, `up_nodes`,
            `known_nodes`, `lookup`: nothing else is answered there.
          what `send` raises.
        """
        # Not an async function that awaits this: a coroutine more is a part of what a call costs.
        return self._calls.call(port, message, reply)

    # Death ---------------------------------------------------------------------------------------------------------

    def kill(self, port: str | ChildRef, *reason: Any) -> None:
        """Kill a port, here or on another node.

        It keeps its place among the messages sent before it, but what is still queued in the port is discarded.

        Args:
          port: a port or its ID.
          reason: none for a normal death, which leaves linked ports alone; else, by custom, an identifier and a text.

        Raises:
          ValueError: `port` is a node port, or the reason cannot travel.
          what `send` raises.
        """
        self._runtime.kill(port, reason)

    @overload
    def monitor(self, port: str | ChildRef, action: Callable[..., object], /) -> Monitor: ...
    @overload
    def monitor(self, port: str | ChildRef, action: str | ChildRef, /, *message: Any) -> Monitor: ...
    def monitor(
        self, port: str | ChildRef, action: Callable[..., object] | str | ChildRef, /, *message: Any
    ) -> Monitor:
        """Be told, once, when a port dies or when messages to it may have been lost.

        Args:
          port: the port; or a node ID, for the loss of the connection with that node.
          action: a sync function, called with the reason's elements, in the context of the port that set the monitor;
            if it raises it kills that port (outside a port it crashes the node). Or a port, to which the message is
            sent with the reason's elements appended.
          message: what to send.

        The monitor ends with the port that set it, untold: set it in a port that lives longer than the monitored one,
        or outside of ports. A port that does not exist fires it with `("no_such_port", …)`.

        Raises:
          TypeError: the action is neither a sync function nor a port.
          ValueError: a port monitors itself.
          what `send` raises.
        """
        callback = callback_of(self._runtime, action, message)
        owner = self._runtime.owner()
        if owner is not None and (port.port if isinstance(port, PortReference) else port) == owner:
            self._runtime.check_open()
            # It would be silent for ever: it ends with its port, before it could fire.
            raise ValueError(
                f"monitor(): expected another port, got the port {owner} that sets the monitor, which ends with it;"
                " set it in a port that lives longer, or outside of ports"
            )
        return self._runtime.monitor(port, callback, owner)

    def link(self, port: str | ChildRef, to: str | ChildRef | None = None) -> Monitor:
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
            raise RuntimeError("link(): expected a running port, or `to`, got neither; give the port to kill as `to`")
        return self._runtime.link(port, target)

    def move_on_death(self, port: str | ChildRef) -> DeathScope:
        """A cancel scope that is tied to a port: the block is cancelled when the port dies or is lost.

        In the manner of `trio.move_on_after`: `with node.move_on_death(port) as scope:`. After the block the scope's
        `reason` says why, or is None. Entering it raises what `send` raises.
        """
        return death_scope(self._runtime, port, fail=False)

    def fail_on_death(self, port: str | ChildRef) -> DeathScope:
        """A cancel scope that is tied to a port, and raises `PortDied` if the port's death has cancelled the block.

        See `move_on_death`, which this is like in everything else.
        """
        return death_scope(self._runtime, port, fail=True)

    async def wait_death(self, port: str | ChildRef) -> Reason:
        """Wait until a port dies, or messages to it may have been lost; returns why. A checkpoint.

        Cancelled, it changes nothing. A port that died long ago gives `("no_such_port", …)`.

        Raises:
          what `send` raises.
        """
        return await wait_death(self._runtime, port)

    def on_lost(self, function: Callable[[Lost], object]) -> LossListener:
        """Be told of messages that this node drops: `with node.on_lost(function):`, which is called with a `Lost`.

        These are messages that were queued for a node when the connection with it was lost; messages to a dead port of
        this node, from wherever they come; messages that do not travel; and messages of this node that a port has
        refused (see `port`). What was on its way when a connection was lost is nobody's to count: monitors tell of it.

        The function is called once for each port and reason, in the context of the port that has called this, behind
        the monitors that fire for the loss of a connection. It may send. An exception in it is logged, and ends this.

        Args:
          function: a sync function.

        Returns:
          A handle, which listens from now on. As a context manager it listens until its exit; else until its
          `cancel()`, or the end of the port that has called this. Not a checkpoint.

        Raises:
          TypeError: it is no sync function.
          trio.ClosedResourceError: the node is closed.
        """
        self._runtime.check_open()
        return self._lifecycle.losses.listen(function, self._runtime.owner())

    # The end -------------------------------------------------------------------------------------------------------

    @property
    def draining(self) -> trio.Event:
        """Is set when this node has begun to drain, and never unset; long work may wait for it, and end early."""
        return self._runtime.standing.draining

    async def drain(self) -> Drained:
        """Prepare the end of this node: get no new work, and wait until all that others have sent before is handled.

        First the node is not ready any more. The entries of the database that name ports go, and with them the
        memberships in groups; `draining` is set; supervisors restart nothing; ports that others ask for are refused.
        Then each peer is told. When all have heard, and all that they had sent before has come, this waits until calls
        are answered, handlers have ended, the mailboxes are empty from which somebody receives, and loops over a port
        have come back for the next message: a plain `receive` has done with its message when it has taken it. It
        closes nothing, and cannot be undone: messages that are sent later still arrive.

        It has no time of its own: `with trio.move_on_after(25): await node.drain()`. A handler, or a loop over a port,
        that awaits it does not wait for itself, nor for what would wait for it. Two that run at once wait for the same.

        A checkpoint. Cancelled, the node goes on draining: `unfinished` says what is left, and another call waits on.

        Returns:
          What was lost meanwhile, or has nobody who would finish it; empty if all was handled.

        Raises:
          trio.ClosedResourceError: the node is closed or closing, perhaps since this was called.
          PortDied: this is called by a task of a port that has died.
        """
        return await self._drains.drain()

    def unfinished(self) -> tuple[Unfinished, ...]:
        """What a drain would still wait for, by port, and what it could not finish. Not a checkpoint.

        Before a drain it says what runs and waits in the ports now. Raises as `send` on a closed node.
        """
        return self._drains.unfinished()

    # Spawning ------------------------------------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    def spawn(self, node_or_port: str | ChildRef, function: str, *arguments: Any, linked: bool = False) -> str:
        """Make a port on a node, perhaps this one, and have it initialised there by a function.

        Args:
          node_or_port: the node, or any port of it.
          function: `package.module:function`, in a module that is one of the `spawn_modules` over there; or
            `::function`, in its main program. It must be `@spawnable`.
          arguments: what the function is called with after the new port; they travel as a message does.
          linked: tie the new port and the running one: the abnormal death of either, or the end or loss of the other's
            node, kills the one that is left.

        Returns:
          The new port's ID, at once. This node can send to it and monitor it before it exists. Nothing of the
          function's effects can be seen before this returns. If the port cannot be made, its monitors fire with
          `("spawn_failed", …)`. Give the ID to a third node only after the port has answered: else one
          message of that node may arrive before the port exists, where it is dropped, and the next one after.

        Raises:
          RuntimeError: `linked`, and there is no running port.
          what `send` raises.
        """
        return self._spawner.ask(node_or_port, function, arguments, linked=linked)

    async def start_on(
        self, node_or_port: str | ChildRef, function: str, *arguments: Any, linked: bool = False
    ) -> Started[str]:
        """As `spawn`, but wait until the new port says that it has started, and take the value that it says then.

        An async function is called as `function(port, *arguments, task_status=…)`, and has started when it calls
        `task_status.started(value)`; the value travels as a message does. A sync function has started when it has
        returned, with the value None. All that the port has sent here before has arrived by then.

        Args:
          node_or_port, function, arguments: as for `spawn`.
          linked: as for `spawn`, from the moment on in which it has started: a start that fails kills nobody here.

        A checkpoint. Cancelled, the port is killed with `("start_cancelled", …)`, and this waits until its tasks have
        unwound. It waits for at most `shutdown_timeout` and three heartbeats; if the connection is lost, or there
        has been none yet, not at all. Where this raises, no port is left over there: if it is a lost connection that
        is in the way, the port dies when its node notices that.

        Returns:
          The port's ID, and the value. The port may have died since it has started.

        Raises:
          PortDied: the port could not be made, died before it had started, or returned without calling `started`; or
            messages to it may have been lost. Of a node of an older version, which does not know this request, the
            reason is `("spawn_failed", …)`.
          RuntimeError: `linked`, and there is no running port.
          what `send` raises.
        """
        linked_to = str.__str__(self._spawner.port_to_tie("start_on")) if linked else ""
        started = await start_on(
            *(self._runtime, self._spawner, node_or_port, function, arguments), linked_to=linked_to, ties=linked
        )
        return Started(started.port, started.value)

    def open_stream(
        self, node_or_port: str | ChildRef, function: str, *arguments: Any
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

    def open_channel(
        self,
        node_or_port: str | ChildRef,
        function: str,
        *arguments: Any,
        buffer: int = 64,
        buffer_size: int = 1024 * 1024,
    ) -> AbstractAsyncContextManager[tuple[ChannelSender[Any], ChannelReceiver[Any]]]:
        """A channel to a function on a node, perhaps this one: `async with node.open_channel(…) as (send, receive):`.

        Its ends are Trio's `SendChannel` and `ReceiveChannel`, in both directions. A sender that is faster than the
        receiver waits. Items travel as messages do, in order with them and under the same promise; for bulk bytes there
        is `open_stream`.

        Args:
          node_or_port: the node, or any port of it.
          function: as for `spawn`, an async one that is `@spawnable`. Over there a new port runs it as
            `function(receive, send, *arguments)`, after the messages that were sent there before. Its return closes
            both ends; if it raises, or the port dies, the channel breaks.
          arguments: as for `spawn`.
          buffer: how many items may be on their way or wait, in each direction; at least 1, and at most the
            `mailbox_limit` of both nodes.
          buffer_size: how many bytes they may have, between two nodes; at most the `mailbox_size_limit` of both. One
            item that is larger passes alone. Bytes and text count for their length, numbers for 64 bytes, and so does
            each value and key in a list or dict beside its text. Within a node only the number of items counts.

        Entering waits until the function is started. Leaving closes all clones of both ends, so that the other side
        takes what it was sent and then gets the end; it does not wait for the other side. If the block is left by an
        exception, or is cancelled, the channel breaks over there. Entering is a checkpoint, leaving is none. Cancelled
        while entering, the function is cancelled as with `start_on`, and nothing is left behind.

        When the other side's port or node dies, or the connection is lost, what has arrived can still be received; then
        both ends raise `trio.BrokenResourceError`, whose `__cause__` is a `PortDied`. An end that nobody has said is
        never received.

        Raises:
          PortDied: the function was refused, or its port or node died or was lost before it had started.
          TypeError, ValueError: an argument cannot work; the text names it.
          what `spawn` raises.
        """
        return self._channels.open_channel(node_or_port, function, arguments, buffer, buffer_size)

    def open_source(
        self,
        node_or_port: str | ChildRef,
        function: str,
        *arguments: Any,
        buffer: int = 64,
        buffer_size: int = 1024 * 1024,
    ) -> AbstractAsyncContextManager[ChannelReceiver[Any]]:
        """What an async generator on a node yields, as a `ReceiveChannel`: `async with node.open_source(…) as rows:`.

        The short form of `open_channel` where only the other side sends. The generator runs ahead by as many items as
        the buffer takes. It is closed when it is not wanted any more: in the task that runs it, where it waits in a
        `yield` by `aclose`, and where it waits for something else by a cancellation.

        Args:
          node_or_port: the node, or any port of it.
          function: as for `spawn`, an async function with `yield` in it that is `@spawnable`. Over there it is called
            as `function(*arguments)`.
          arguments: as for `spawn`.
          buffer, buffer_size: as for `open_channel`.

        Entering and leaving are as for `open_channel`, and so is what this raises. If the generator raises, what it has
        yielded before can be received, and then there is `trio.BrokenResourceError`.
        """
        return self._channels.open_source(node_or_port, function, arguments, buffer, buffer_size)

    # Groups --------------------------------------------------------------------------------------------------------

    def open_group(
        self, family: str, *, watch: int = 16, key: str | None = None, at_once: int | None = None
    ) -> AbstractAsyncContextManager[Group]:
        """The ports of a family as one: `async with node.open_group("doublers") as group:`.

        The members are the entries of the family that name a port, as `Database.register` sets them. `Group` says what
        can be done with them: wait for members, pick or call one, send to all, and follow who joins and leaves.

        Args:
          family: the name of the family.
          watch: how many members are monitored at a time. Which ones differs from node to node, so that many clients
            of many members are not all connected with each other. `pick` and `call` choose among these; a call with a
            `key` may want another one, and an idle one makes room.
          key: the key of the only entry that makes a member. Then the group is of one, and follows a name: it is there
            while a port is registered under that key and can be reached, whichever port that is.
          at_once: how many calls of this group a member may have at once; further ones wait here, and go to whichever
            member has room first. Without it all calls go to the members that there are.

        Entering and leaving are checkpoints; `Group.wait` waits for members. A call that is under way goes on when the
        block is left.

        Raises:
          TypeError, ValueError: an argument cannot work; the text names it.
          trio.ClosedResourceError: the node is closed or closing.
          PortDied: this is called by a task of a port that has died.
        """
        family, watch, key, most = check_group(family, watch, key, at_once)
        return GroupBlock(self._runtime, self._calls, self._database, family, watch, key, most)

    async def run_singleton(
        self, family: str, async_function: Callable[..., Awaitable[T]], *arguments: Any, seen: int = 0
    ) -> T:
        """Wait for the one place of a family, and run a function there: `await async_function(epoch, *arguments)`.

        Of all nodes that call this with one family one has its turn, and the others wait until it has ended. It is not
        exclusive: nodes that cannot see each other each have a turn. The epoch names the turn. It is a `TurnEpoch`, a
        tuple that is greater the newer it is; send it as `tuple(epoch)`. So a resource that is told the epoch of who
        writes, and keeps the greatest, refuses the older turn.

        When this node hears of a newer turn, the function is cancelled. When it has unwound the node says that the turn
        has ended, and waits for the next one, in which the function is called anew.

        A checkpoint. Cancelled, the function has unwound before others may have their turn.

        Args:
          family: the name of the family of the database in which the candidates are. It is for nothing else.
          async_function, arguments: what runs. It runs in the task of the caller.
          seen: the greatest number of an epoch that is known, such as to the resource. The nodes remember the greatest
            as long as one of them is a candidate.

        Returns:
          What the function returns. What it raises is raised here. In both cases the place is free.

        Raises:
          TypeError, ValueError: an argument cannot work; the text names it.
          trio.ClosedResourceError: the node is closed.
          PortDied: this is called by a task of a port that has died.
        """
        family, seen = check_singleton(family, async_function, seen)
        self._runtime.check_open()
        return await TurnTaker(self._runtime, self._database, family, seen).run(async_function, arguments)

    # Supervision ---------------------------------------------------------------------------------------------------

    def open_supervisor(
        self,
        strategy: StrategyName = "one_for_one",
        *,
        limit: int = 3,
        within: float = 5.0,
        backoff: Backoff | None = DEFAULT_BACKOFF,
        auto_shutdown: AutoShutdownName = "never",
        name: str | None = None,
        epochs: Epochs | None = None,
    ) -> AbstractAsyncContextManager[Supervisor, bool]:
        """A supervisor, which starts its children again when they die: `async with node.open_supervisor(…) as crew:`.

        When the block is left, however it is left, the children are stopped, the last first, each in its time; nothing
        of them runs afterwards. If the supervisor gives up, it stops them, cancels the block, and raises.

        Args:
          strategy: which children are started again when one of them is: `"one_for_one"`, only that one;
            `"one_for_all"`, all; `"rest_for_one"`, that one and those that were added after it. The others are stopped
            first, the last first.
          limit: how many restarts are allowed within `within` seconds. With one more the supervisor gives up.
          within: for how many seconds a restart counts.
          backoff: how long restarts wait; None for not at all. With the default, one child alone never exceeds a limit
            above 7 within 5 seconds: it is started again for ever.
          auto_shutdown: whether the supervisor ends with its significant children: `"never"`, with any of them
            (`"any_significant"`) or with the last of them (`"all_significant"`). The block is cancelled then, and left
            without an exception.
          name: what logs call the supervisor. The epochs of all supervisors of one name rise together.
          epochs: a function, perhaps async, that returns the epoch of the next life, greater than any before; by
            default the time of day in microseconds, or one more than the latest.

        Entering is a checkpoint. Leaving waits until the children have stopped, also when the block is cancelled: at
        most as long as they have, one after the other. In that time a cancellation and a KeyboardInterrupt wait.

        Raises:
          TypeError, ValueError: an argument cannot work; the text names it.
          SupervisorFailed: on leaving: there were too many restarts. If the block was left by an exception as well,
            both are raised in a group.
          trio.ClosedResourceError: the node is closed or closing; on leaving, that this has ended the supervisor.
          PortDied: this is called by a task of a port that has died.
        """
        settings = check_supervisor(strategy, limit, within, backoff, auto_shutdown, name, epochs)
        return SupervisorBlock(self._runtime, self._spawner, self._database, settings)

    # Workers -------------------------------------------------------------------------------------------------------

    def open_workers(
        self,
        count: int | None = None,
        *,
        modules: Iterable[str],
        shutdown_timeout: float = 5.0,
        limit: int = 10,
        within: float = 5.0,
    ) -> AbstractAsyncContextManager[Workers]:
        """Worker processes on this machine, to compute on all cores: `async with node.open_workers(…) as workers:`.

        They are no part of this node's network: each is a node beside a private one of this process, by a Unix socket
        in a directory that only this user can look into, and with a fresh secret. One that ends is started again.

        Args:
          count: how many; by default as many as there are cores that this process may use.
          modules: the modules whose `@spawnable` functions they run, by name; each worker imports them, and so does
            this process. `[__name__]` works in the main program, too: a worker imports that as `multiprocessing` does,
            so what the program does must stand below `if __name__ == "__main__":`.
          shutdown_timeout: how long a task that is cancelled may take to end before its worker is killed, and how long
            workers may take to end with the block, in seconds.
          limit, within: as for `open_supervisor`: with more than so many workers that have ended within so many seconds
            the block is cancelled, and raises `SupervisorFailed`.

        Entering waits until all workers are up. Leaving waits until none runs any more, also when it is cancelled; a
        task that somebody still waits for then raises `trio.ClosedResourceError`. Both are checkpoints. Cancelled while
        entering, nothing is left behind.

        Raises:
          ConfigurationError: a module cannot be imported, here or by a worker.
          TypeError, ValueError: an argument cannot work; the text names it.
          RuntimeError: there are no Unix sockets; or a main program calls this while a worker imports it.
          SupervisorFailed: on leaving: too many workers have ended.
          trio.ClosedResourceError: the node is closed.
        """
        settings = check_workers(count, modules=modules, shutdown_timeout=shutdown_timeout, limit=limit, within=within)
        return open_workers(self._runtime, self._open_node, settings)

    # The network ---------------------------------------------------------------------------------------------------

    async def wait_attached(self) -> None:
        """Wait until this node is in the network: it has a global node, or is one and has tried each of its seeds once.

        Without a network it returns at once. With the setting `attach_timeout` the node is attached when its block
        begins. A node that has been attached stays so for this: when it loses its global node it looks for another, and
        what is sent meanwhile waits.

        A checkpoint. Cancelled, it changes nothing.

        Raises:
          trio.ClosedResourceError: the node is closed, or closes before it is attached.
          PortDied: this is called by a task of a port that has died.
        """
        self._runtime.check_open()
        await self._runtime.standing.wait_attached(self.id)

    def watch_nodes(self, *, tools: bool = False) -> AbstractAsyncContextManager[NodeChanges]:
        """Nodes that join the network and leave it: `async with node.watch_nodes() as changes:`.

        `changes` is an async iterator of `NodeChange`: at first the nodes that are there, this one among them, as if
        each had just joined; then each that joins or leaves, as it becomes known here. A node that has run anew leaves
        and joins. It says which nodes the network has; `peers` says which of them are connected with this one.

        Args:
          tools: whether to tell of tools as well, such as the commands of `trio-mp` while they run. They have joined
            with the setting `tool`, and no program should count on them.

        Entering is a checkpoint. Each step of the iterator is one, too, and waits while this node is not attached to
        the network. Cancelled, nothing is lost.

        Raises:
          trio.ClosedResourceError: the node is closed.
        """
        return watch_nodes(self._database, tools=tools)

    def collect_logs(self, level: int | str = logging.WARNING) -> LogCollector:
        """Have all nodes of the network, those that join later too, send this one their log records.

        This node logs each record again, through the logger of the same name, whatever the level of that logger is. The
        ID of the node that sent the record stands in front of the text, and in the attribute `node` of the record.
        This node does not send on to others what it logs so.

        No program waits for its records to be sent. Where a node logs faster than that, it leaves records out, and the
        next one says how many. A node sends what its own loggers let through, and nothing if its setting `share_logs`
        is off. Of two requests of one node the later one counts, with its level.

        Args:
          level: the lowest level that is wanted, as `logging` has it.

        Returns:
          A handle. Its `cancel()` ends the request; as a context manager it does so on exit. Not a checkpoint.

        Raises:
          ValueError, TypeError: `level` is no level of `logging`.
          trio.ClosedResourceError: the node is closed.
        """
        return self._logs.collect(check_level(level))

    def inspect(self, node_or_port: str) -> Inspector:
        """Look into a node, this one or another, and act on it: `await node.inspect("w1").ports()`. Asks nothing yet.

        Raises:
          TypeError, ValueError: it is no node ID, and no port ID.
        """
        return Inspector(self._inspections, node_of(node_or_port))
