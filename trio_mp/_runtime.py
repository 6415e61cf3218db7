"""The runtime of one node: its ports, its monitors, and who else there is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from threading import get_ident
from typing import Any, Protocol, cast

import trio

from ._errors import PortDied
from ._ids import PortReference, random_parts, spawned_prefix, spawner_mark, split_port
from ._peers.errands import Errands
from ._peers.network import Network
from ._peers.node_port import NodePort
from ._peers.observers import Observers
from ._peers.peer import Peer
from ._peers.standing import Standing
from ._ports.context import Running, find_running, running_variable
from ._ports.dispatcher import Dispatcher
from ._ports.monitor import Monitor, MonitorCallback
from ._ports.port import Port, lifecycle_of, running_port, state_of
from ._ports.port_state import Supervising
from ._ports.run_queue import WRONG_THREAD, Job
from ._protocol import requests
from ._protocol.drain import Unfinished
from ._protocol.wire.values import plain_message
from ._reason import Reason, node_closed, node_failed, not_running, reason_lost, transport_error
from ._settings.environment import Environment
from ._settings.settings import Settings

_ROUTES = 10_000

NOWHERE = "-" * 16
"""The name of no port: what goes to a reference between two lives goes there."""


class StopDoor(Protocol):
    """Ends this process in good order, because an operator has asked for it. A block of `stop_on_signals` fills it in.

    Attributes:
      cause: why the process is stopping; empty if it is not.
      restarter: who starts the process again when it ends with the status that asks for it; empty if nobody is known.
      unfinished: what was unfinished when the node had drained.
    """

    @property
    def cause(self) -> str:
        """See above."""
        ...

    @property
    def restarter(self) -> str:
        """See above."""
        ...

    @property
    def unfinished(self) -> tuple[Unfinished, ...]:
        """See above."""
        ...

    async def _stop(self, cause: str, *, restart: bool) -> None:
        """Have the process stop, and wait until the node has drained, or was cut short. A checkpoint.

        Cancelled, the process stops all the same. The node closes behind the answer that the caller then sends.

        Args:
          cause: why, for people.
          restart: whether the process asks to be started again, by its exit status.
        """
        ...


class Runtime:
    """The runtime of one node: where messages go, what is monitored, and how it begins and ends.

    All services of the node build on it. Made by `assemble`, in `_node/assembly.py`.

    Attributes:
      id: the node ID.
      settings, environment: what the node was opened with.
      incarnation: the random token of this run.
      lifecycle: the ports of the node.
      dispatcher: hands messages to the ports; its `queue` holds what is on its way to them.
      network: the peers of the node; None if it has no network.
      closing: whether new ports are refused.
      closed: whether the node has ended: nothing can be sent, and no monitor will fire any more.
      errands: bounds what is done for other nodes, and what is logged of them.
      observers: who is told of what happens.
      supervisors: those that are open and have not ended, in the order in which they were opened.
      epochs: the latest number of a life, by the names of supervisors.
      ending: why all ports are to die, once the node stops its supervisors; None before.
      node_port: serves what is sent to the node itself; see `serve_by`.
      started: when the node was made: by the time of day, in seconds since 1970, and by Trio's clock.
      restarts: how often supervisors of this node have started children again.
      stopping: ends this process in good order; None if its program has not asked for that by `stop_on_signals`.
      exit_status: the exit status by which the program ends when the node has closed; None if that is its own matter.
      ends_in_order: whether the node closes in good order although its block is cancelled; see `stop_on_signals`.
      launched: whether a supervisor of another node has launched this process.
      standing: whether the node is ready, and why not.
      leaving: the nodes that have said that they drain, by ID, as long as there is a connection with them.
      probed_at: the addresses where the node answers probes, with the real TCP ports.
    """

    node_port: NodePort

    def __init__(
        self,
        settings: Settings,
        environment: Environment,
        incarnation: str,
        dispatcher: Dispatcher,
        network: Network | None,
        errands: Errands,
        observers: Observers,
    ) -> None:
        self.id = dispatcher.id
        self.settings = settings
        self.environment = environment
        self.incarnation = incarnation
        self.dispatcher = dispatcher
        self.lifecycle = dispatcher.lifecycle
        self.network = network
        self.errands = errands
        self.observers = observers
        self.closing = False
        self.closed = False
        # A dict for its order.
        self.supervisors: dict[Supervising, None] = {}
        self.epochs: dict[str, int] = {}
        self.ending: Reason | None = None
        self.started = (environment.wall_clock(), trio.current_time())
        self.restarts = 0
        self.leaving: set[str] = set()
        self.probed_at: tuple[str, ...] = ()
        self.stopping: StopDoor | None = None
        self.exit_status: int | None = None
        self.ends_in_order = False
        self.launched = False
        self.standing = Standing(network.failures if network is not None else None)
        self._finishing = False
        self._thread = get_ident()
        self._name_prefix = f"{self.incarnation[:8]}."
        # The random parts of the next names. The source of randomness is asked for many at once, because each
        # question has a fixed cost.
        self._random_parts: list[str] = []
        self._spawn_mark = spawner_mark(self.id, self.incarnation)
        self._spawn_counter = 0
        # Where messages go, by port ID: the peer, or None for this node, and the name. Parsing a port ID costs as much
        # as sending; this is emptied when it has grown too large, and when peers are forgotten.
        self.routes: dict[Any, tuple[Peer | None, str]] = {}
        self._node_monitors: dict[Monitor, None] = {}

    def serve_by(self, node_port: NodePort) -> None:
        """Let this node port serve what is sent to the node. It is made last, because it uses all other parts."""
        self.node_port = node_port

    def next_name(self, prefix: str = "") -> str:
        """A name for a port of this node: it was never used and never will be, and nobody can guess it.

        Args:
          prefix: what the name begins with; empty for a port that this node makes for itself.
        """
        # In line, and in this order, because a million ports are made by it. `check_new` finds out what is wrong.
        if self.closing or self.lifecycle.lingering or get_ident() != self._thread:
            self.check_new()
        parts = self._random_parts or self._refill()
        return (prefix or self._name_prefix) + parts.pop()

    def late_name(self, prefix: str = "") -> str:
        """A name as `next_name` gives it, also while the node closes: for a port that ends with one that is there."""
        parts = self._random_parts or self._refill()
        return (prefix or self._name_prefix) + parts.pop()

    def _refill(self) -> list[str]:
        self._random_parts = random_parts(self.environment.entropy)
        return self._random_parts

    def check_new(self) -> None:
        """Check that the running code may make something new on this node now: as `check_open`, and it is not closing.

        Raises:
          trio.ClosedResourceError: the node is closing.
          what `check_open` raises.
        """
        self.check_open()
        if self.closing:
            raise trio.ClosedResourceError(f"node {self.id} is closing")

    def next_spawned_name(self) -> str:
        """A name for a port that this node spawns on another, where the name is judged by `SpawnedNames`."""
        self._spawn_counter += 1
        return self.next_name(spawned_prefix(self._spawn_mark, self._spawn_counter))

    def check_open(self) -> None:
        """Check that the running code may use this node now.

        Raises:
          trio.ClosedResourceError: the node is closed.
          PortDied: a task of a dead port calls this, which has not unwound yet.
          RuntimeError: this is called in a thread that does not run Trio.
        """
        if self.closed:
            raise trio.ClosedResourceError(f"node {self.id} is closed")
        self.check_thread()
        if self.lifecycle.lingering:
            running = find_running()
            if running is not None and isinstance(running.port, Port) and not running.port.alive:
                raise PortDied(running.port, state_of(running.port).reason)

    def check_thread(self) -> None:
        """Check that this is the thread that runs the node. Raises `RuntimeError`."""
        if get_ident() != self._thread:
            raise RuntimeError(WRONG_THREAD)

    def route(self, port: str | PortReference) -> tuple[Peer | None, str]:
        """Where messages for a port go: the peer, or None for this node; and the name of the port there.

        Raises:
          TypeError, ValueError: `port` is no port ID.
          RuntimeError: the port is on another node, and this one has no network.
        """
        try:
            found = self.routes.get(port)
        except TypeError:
            # An unhashable value cannot be looked up; `split_port` raises the error that names it.
            found = None
        if found is not None:
            return found
        if isinstance(port, PortReference):
            # Each time anew, and not among the routes: it moves.
            target = port._find_target()
            if target is None:
                self.lifecycle.losses.note_not_running(port.port)
                return None, NOWHERE
            return self.route(target)
        node_id, name = split_port(port)
        if node_id == self.id:
            route: tuple[Peer | None, str] = (None, name)
        elif self.network is None:
            raise RuntimeError(
                f"port: expected a port of the node {self.id!r}, which has no network, got {port!s};"
                " give open_node() binds or seeds, and a secret"
            )
        else:
            route = (self.network.peer(node_id), name)
        if len(self.routes) >= _ROUTES:
            self.routes.clear()
        self.routes[str(port)] = route
        return route

    @trio.lowlevel.enable_ki_protection
    def send(self, port: str | PortReference, message: tuple[object, ...]) -> None:
        """Send to any port, for code of the package. `Node.send` does the same without this call, for speed."""
        if self.lifecycle.lingering:
            self.check_open()
        try:
            peer, name = self.routes[port]
        except (KeyError, TypeError):
            peer, name = self.route(port)
        if peer is not None:
            peer.send(name, message)
        else:
            self.send_here(name, message)

    def send_here(self, name: str, message: tuple[object, ...]) -> None:
        """Send to a port of this node by its name. The empty name is that of the node port."""
        if not name:
            self.dispatcher.queue.enqueue(Job(self.node_port.serve_local), (message,))
        else:
            target = self.lifecycle.ports.get(name)
            if target is not None:
                self.dispatcher.queue.enqueue(target, message)
            elif name != NOWHERE:
                self.lifecycle.losses.note_dead(name)

    @trio.lowlevel.enable_ki_protection
    def kill(self, port: str | PortReference, reason: Reason) -> None:
        """See `Node.kill`."""
        self.check_open()
        reason = plain_message(reason, thorough=True, what="reason")
        peer, name = self.route(port)
        if not name:
            raise ValueError(f"kill(): expected a port that can be killed, got the node port {port}")
        if peer is not None:
            peer.send("", requests.kill(name, reason))
        else:
            self.lifecycle.kill(name, reason)

    # Monitors ------------------------------------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    def monitor(
        self, port: str | PortReference, callback: MonitorCallback, owner: Port | None, *, kills_remotely: bool = False
    ) -> Monitor:
        """Monitor a port; the callback runs in the context of the owner, and the monitor ends with it.

        Unless it `kills_remotely`, as a link does that kills a port of another node: see `Lifecycle.die`.
        """
        self.check_open()
        reference: PortReference | None = None
        if isinstance(port, PortReference):
            if not port.running:
                return self._monitor_nothing(port, callback, owner, kills_remotely=kills_remotely)
            reference, port = port, port.port
        peer, name = self.route(port)
        again = self.closing and self.lifecycle.firing
        if again and peer is None and name and self.lifecycle.find(name) is None:
            # Without this a callback that sets its monitor again, on a port that is dead, would be called for ever.
            raise trio.ClosedResourceError(f"node {self.id} is closing")
        if self._finishing and (peer is not None or not name):
            # `finish` has given up the peer, or the node itself, or will: nothing would ever fire this monitor.
            raise trio.ClosedResourceError(f"node {self.id} is closing")
        if isinstance(port, Port):
            port = str.__str__(port)
        monitor = Monitor(self, port, callback, owner, (peer, name), kills_remotely=kills_remotely)
        if owner is not None:
            state_of(owner).owned[monitor] = None
        if peer is not None:
            peer.monitor(name, monitor)
        elif name:
            failure = self.node_port.failure_of(name)
            if failure is not None:
                self.dispatcher.queue.enqueue(Job(self.lifecycle.fire), ([monitor], failure))
            else:
                self.lifecycle.add_local_monitor(name, monitor)
        else:
            self._node_monitors[monitor] = None
        if reference is not None:
            reference._add_monitor(monitor)
        return monitor

    def _monitor_nothing(
        self, reference: PortReference, callback: MonitorCallback, owner: Port | None, *, kills_remotely: bool
    ) -> Monitor:
        """A monitor through a reference between two lives: it fires soon."""
        if self.closing and self.lifecycle.firing:
            # As for a dead port: a callback that sets its monitor again would be called for ever.
            raise trio.ClosedResourceError(f"node {self.id} is closing")
        last, where = reference.port, (None, NOWHERE)
        monitor = Monitor(self, last, callback, owner, where, kills_remotely=kills_remotely)
        if owner is not None:
            state_of(owner).owned[monitor] = None
        # The next life may begin before this job's turn, on another node: then the reference fires the monitor first.
        reference._add_monitor(monitor)
        self.dispatcher.queue.enqueue(Job(self.lifecycle.fire), ([monitor], not_running(last)))
        return monitor

    def fire_early(self, monitors: Iterable[Monitor], reason: Reason) -> None:
        """Fire monitors of a port that is given up, though it may live. Only a task of the runtime may call this."""
        active = [monitor for monitor in monitors if monitor.active]
        for monitor in active:
            self._forget_monitor(cast("tuple[Peer | None, str]", monitor._where), monitor)
        self.lifecycle.fire(active, reason)

    def watch_unwinding(self, port: Port, callback: Callable[[], None]) -> None:
        """Call this when a port of this node has died and unwound; at once if it has. It is no monitor of a program."""
        if self.lifecycle.find(port.name) is None:
            callback()
        else:
            state_of(port).unwound.append(callback)

    @trio.lowlevel.enable_ki_protection
    def remove_monitor(self, monitor: Monitor, owner: object | None, where: object) -> None:
        """See `MonitorRegistry.remove_monitor`."""
        if isinstance(owner, Port):
            state_of(owner).owned.pop(monitor, None)
        self._forget_monitor(cast("tuple[Peer | None, str]", where), monitor)

    def _forget_monitor(self, where: tuple[Peer | None, str], monitor: Monitor) -> None:
        """Take a monitor out of the table from which it would be fired."""
        peer, name = where
        if self.closed:
            return
        if peer is not None:
            peer.demonitor(name, monitor)
        elif name:
            self.lifecycle.remove_local_monitor(name, monitor)
        else:
            self._node_monitors.pop(monitor, None)

    def owner(self) -> Port | None:
        """The port whose code is running, if it is a port of this node; else None."""
        port = running_port()
        return port if port is not None and lifecycle_of(port) is self.lifecycle else None

    def link(self, port: str | PortReference, to: str | PortReference) -> Monitor:
        """See `Node.link`."""
        self.check_open()
        if isinstance(to, PortReference):
            # Its present life, and not whichever there is when the link fires.
            to = to.port
        peer, name = self.route(to)
        if not name:
            raise ValueError(f"link(): expected a port that can be killed, got the node port {to}")
        owner = self.lifecycle.ports.get(name) if peer is None else self.owner()

        def kill_linked(*reason: object) -> None:
            if reason and not (self.closing and peer is not None and _is_out_of_reach(peer)):
                try:
                    self.kill(to, reason)
                except (TypeError, ValueError) as error:
                    self.kill(to, reason_lost(error))

        return self.monitor(port, kill_linked, owner, kills_remotely=peer is not None)

    # Life ----------------------------------------------------------------------------------------------------------

    async def prepare(self) -> None:
        """Begin to listen, which may fail, before anything of the node runs. A checkpoint."""
        await trio.lowlevel.checkpoint()
        if self.network is not None:
            await self.network.listen()

    def start(self, nursery: trio.Nursery, tasks: Iterable[Callable[[], Awaitable[None]]]) -> None:
        """Start the node's tasks. They run until `stop`, whoever is cancelled: what is in the node's block needs them.

        Args:
          nursery: the nursery around the block.
          tasks: to be run too, if the node has a network.
        """
        self.lifecycle.nursery = nursery
        nursery.start_soon(self.dispatcher.pump, name=f"{self.id}: dispatcher")
        if self.network is not None:
            nursery.start_soon(self._run_network, self.network, tasks, name=f"{self.id}: network")

    async def _run_network(self, network: Network, tasks: Iterable[Callable[[], Awaitable[None]]]) -> None:
        try:
            await network.run(tasks)
        except BaseException:
            # As a failure of any other task of the node does: without heartbeats nobody would notice a loss.
            self.lifecycle.cancel_tasks()
            # Unless the node closes already. Its block may take long to unwind, and is not ready meanwhile.
            self.standing.begin_closing(failed=True)
            raise

    def stop(self) -> None:
        """Cancel all tasks of the node. The nursery waits until they have ended."""
        if self.network is not None:
            self.network.stop()
        self.lifecycle.stop()

    async def stop_supervisors(self, reason: Reason) -> None:
        """Stop all supervisors that are open, the outermost in reverse, and restart nothing. A checkpoint if there are.

        It cannot be cancelled, but takes at most the time that their children have.

        Args:
          reason: why the ports die in which they were opened, and their children.
        """
        self.standing.begin_closing(failed=reason != node_closed(self.id))
        if not self.supervisors:
            return
        self.closing = self.lifecycle.closing = True
        self.ending = reason
        for supervisor in self.supervisors:
            supervisor.freeze()
        with trio.CancelScope(shield=True):
            while self.supervisors:
                outermost = [each for each in self.supervisors if each.parent not in self.supervisors][-1]
                outermost.close()
                await outermost.wait_ended()

    async def close(self, error: BaseException | None) -> None:
        """Close in good order: ports die and unwind, what is queued is flushed, connections are closed.

        Args:
          error: what the node's block was left with, if it was by an exception.
        """
        reason = node_closed(self.id) if error is None else node_failed(error)
        await self.stop_supervisors(reason)
        if self.network is not None:
            await self.network.stop_listening()
        self.closing = self.lifecycle.closing = True
        # The order matters. Ports die behind the messages that were sent to them, and monitors that fire may still
        # send: so the network closes, and flushes, only when all is quiet.
        self.lifecycle.kill_all(reason)
        await self.dispatcher.wait_quiet()
        if self.network is not None:
            await self.network.close(trio.current_time() + self.settings.shutdown_timeout)

    def finish(self, error: BaseException | None) -> None:
        """End the node, when none of its tasks runs any more: every monitor that is left fires. Not a checkpoint.

        Args:
          error: what the node's block was left with, if it was by an exception.
        """
        dispatcher, lifecycle = self.dispatcher, self.lifecycle
        self.standing.begin_closing(failed=error is not None)
        self.closing = lifecycle.closing = self._finishing = True
        running = Running(lifecycle.public, None, trio.lowlevel.current_task())
        token = running_variable.set(running)
        try:
            for port in tuple(lifecycle.ports.values()):
                lifecycle.die(port, node_failed(error if not isinstance(error, trio.Cancelled) else None))
            if self.network is not None:
                for peer in self.network.peers.values():
                    peer.act(peer.association.lose, "this node is closed")
            monitors, self._node_monitors = list(self._node_monitors), {}
            dispatcher.queue.enqueue(Job(lifecycle.fire), (monitors, transport_error(self.id, "this node is closed")))
            dispatcher.finish(running)
        finally:
            self.closed = True
            lifecycle.lingering += 1
            running_variable.reset(token)
            for tell in self.observers.ended:
                tell()
            lifecycle.instruments.remove_all()


def _is_out_of_reach(peer: Peer) -> bool:
    """Whether there is no connection with a peer, and none is waited for: who closes dials nobody for its links."""
    return not (peer.is_up() or peer.association.outbox.queue.size)
