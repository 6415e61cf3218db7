"""Starting ports, and waiting until they say that they have started."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

import trio

from .._errors import PortDied
from .._events import fields
from .._ids import PortReference, join_port
from .._peers.peer import Peer
from .._ports.monitor import Monitor, MonitorCallback
from .._ports.port import Port, new_port, state_of
from .._ports.run_queue import Job
from .._protocol import requests
from .._protocol.wire.values import plain_message
from .._reason import Reason, no_such_port, spawn_failed, start_cancelled
from .._runtime import Runtime
from .processes import PortStatus, start_process
from .spawning import Spawner, check_reference
from .starts import Outcome

P_co = TypeVar("P_co", bound=str, covariant=True)

SetMonitor: TypeAlias = Callable[[str], Monitor]

log = logging.getLogger("trio_mp.spawn")


@dataclass(frozen=True, slots=True)
class Started(Generic[P_co]):
    """A port that has started.

    Attributes:
      port: the `Port` that `Node.start` has made, or the ID of the port that `Node.start_on` has made.
      value: the value that its function has given to `task_status.started`.
    """

    port: P_co
    value: Any


@dataclass(frozen=True, slots=True)
class RemoteStarted:
    """A port that has started on a node, perhaps this one.

    Attributes:
      port: its ID.
      value: the value that its function has given to `task_status.started`; None for a sync function.
      shutdown_timeout: how long a dead port may take to unwind on its node, in seconds.
    """

    port: str
    value: Any
    shutdown_timeout: float


async def start(
    runtime: Runtime,
    function: Callable[..., Awaitable[object]],
    arguments: tuple[Any, ...],
    *,
    epoch: int | None = None,
    died: MonitorCallback | None = None,
    unwind_limit: float | None = None,
) -> Started[Port]:
    """See `Node.start`.

    Args:
      runtime, function, arguments: see there.
      epoch: the number that `current_epoch` returns in the port.
      died: the callback of a monitor that belongs to no port. The monitor is set before the port runs and stays set
        when `start` returns, so that no death is missed in between. The callback may be called before `start` returns,
        but never if `start` raises.
      unwind_limit: how long the port's tasks may take to unwind, in seconds; None for the node's setting.
    """
    if not callable(function):
        raise TypeError(f"start(): expected an async function, got {function!r}")
    await trio.lowlevel.checkpoint_if_cancelled()
    port = new_port(runtime.lifecycle, runtime.next_name())
    state = state_of(port)
    state.epoch = epoch
    state.unwind_limit = unwind_limit
    starting = StartingHere(runtime, port, _monitor_by(runtime, died))
    start_process(port, function, arguments, starting.status)
    try:
        outcome = await starting.wait()
    finally:
        starting.leave()
    if not outcome.started:
        raise outcome.take_error() or PortDied(str(port), outcome.reason)
    return Started(port, outcome.value)


async def start_on(
    runtime: Runtime,
    spawner: Spawner,
    where: str | PortReference,
    function: str,
    arguments: tuple[Any, ...],
    *,
    epoch: int | None = None,
    linked_to: str = "",
    ties: bool = False,
    died: MonitorCallback | None = None,
    watch: SetMonitor | None = None,
) -> RemoteStarted:
    """See `Node.start_on`.

    Args:
      runtime, where, function, arguments: see there.
      spawner: the node's.
      epoch: the number that `current_epoch` returns in the port.
      linked_to: the ID of a port of this node. The new port dies when that port dies abnormally, or when its node loses
        this node. An empty text for none.
      ties: whether the port `linked_to` also dies when the new one has started and dies abnormally, or is lost.
      died: see `start`. Not together with `ties`.
      watch: sets the monitor instead. It gets the ID of the port, so the caller knows the ID even if `start_on` raises.
    """
    check_reference(function)
    await trio.lowlevel.checkpoint_if_cancelled()
    if isinstance(where, PortReference):
        # Its node, even if no life runs there now.
        where = where.port
    peer, _ = runtime.route(where)
    name = runtime.next_name() if peer is None else runtime.next_spawned_name()
    request = requests.StartPort(name, function, arguments, linked_to, epoch)
    if watch is None:
        watch = (lambda port: runtime.link(port, linked_to)) if ties else _monitor_by(runtime, died)
    starting: Starting
    if peer is None:
        port = new_port(runtime.lifecycle, name)
        starting = StartingHere(runtime, port, watch)
        spawner.begin_own(port, request, starting.status)
    else:
        starting = StartingThere(runtime, spawner, peer, request, watch)
    try:
        outcome = await starting.wait()
    finally:
        starting.leave()
    if not outcome.started:
        raise PortDied(starting.port, outcome.reason) from outcome.take_error()
    return RemoteStarted(starting.port, outcome.value, outcome.shutdown_timeout)


def _monitor_by(runtime: Runtime, died: MonitorCallback | None) -> SetMonitor | None:
    """Make the function that sets a monitor with this callback; the monitor belongs to no port."""
    return None if died is None else lambda port: runtime.monitor(port, died, None)


class Starting(ABC):
    """A port that is being started, for the task that waits for it.

    Args:
      runtime: the node that waits.
      port: the ID of the port.

    Attributes:
      port: the ID of the port.
      outcome: the result of the start.
    """

    def __init__(self, runtime: Runtime, port: str) -> None:
        self._runtime = runtime
        self.port = port
        self.outcome = Outcome()
        self._watching: Monitor | None = None

    @abstractmethod
    def give_up(self) -> float | None:
        """Kill the port. Returns for how long to wait until it has unwound, in seconds.

        None means as long as it takes, because the lifecycle of this node's ports bounds that by itself.
        """

    @abstractmethod
    def leave(self) -> None:
        """Let go of the port: no task waits for its start any more."""

    def unwatch(self) -> None:
        """Cancel the monitor that `watch` has set, because the start has failed."""
        if self._watching is not None:
            self._watching.cancel()

    async def wait(self) -> Outcome:
        """Wait until the outcome is known. A checkpoint.

        Cancelled, it kills the port and waits until the port has unwound, and then raises `Cancelled`. If an exception
        has killed the port instead, that is the outcome, because nobody else would be told of it.
        """
        outcome = self.outcome
        try:
            await outcome.known.wait()
        except BaseException as error:
            self.unwatch()
            limit = self.give_up()
            if limit != 0:
                await self._wait_gone(limit)
            if outcome.error is None or not isinstance(error, trio.Cancelled):
                raise
        return outcome

    async def _wait_gone(self, limit: float | None) -> None:
        """Wait until the port has unwound, shielded: a node's tasks outlive the tasks of its ports."""
        with trio.CancelScope(shield=True) as scope:
            if limit is not None:
                scope.deadline = trio.current_time() + limit
            await self.outcome.gone.wait()
        if scope.cancelled_caught:
            log.warning(
                "%s: its start was cancelled %g s ago, and it has not ended yet",
                self.port,
                limit,
                extra=fields("unwinding", self._runtime.id),
            )


class StartingHere(Starting):
    """A port of this node that is being started.

    Args:
      runtime: the node.
      port: the port, whose function does not run yet.
      watch: sets the monitor that must be there from the start on, if there is one. The monitor's callback is not
        called if the start fails.

    Attributes:
      status: the `task_status` of the port's function.
    """

    def __init__(self, runtime: Runtime, port: Port, watch: SetMonitor | None) -> None:
        super().__init__(runtime, str.__str__(port))
        self._port = port
        self._state = state_of(port)
        self._state.unwound.append(self._unwound)
        self.outcome.shutdown_timeout = runtime.settings.shutdown_timeout
        self.status = PortStatus(port, self._answer)
        self._watching = watch(self.port) if watch is not None else None

    def _answer(self, value: Any) -> None:
        # Behind the messages that the port has sent before.
        self._runtime.dispatcher.queue.enqueue(Job(self.outcome.has_started), (value,))

    def _unwound(self) -> None:
        if not self.outcome.started:
            # The waiting task gets the exception, so nobody logs it.
            self._state.heard = True
            self.unwatch()
        self.outcome.has_died(self._state.reason, self._state.error)

    def give_up(self) -> None:
        """See `Starting.give_up`."""
        # A `started` that the port calls from now on reaches no task.
        self._runtime.lifecycle.die(self._port, start_cancelled())

    def leave(self) -> None:
        """See `Starting.leave`."""
        if self._unwound in self._state.unwound:
            self._state.unwound.remove(self._unwound)


class StartingThere(Starting):
    """A port of another node that is being started.

    Args:
      runtime: this node.
      spawner: this node's.
      peer: the other node.
      request: the request to send to it. Raises what `Peer.send` raises.
      watch: sets the monitor that must be there from the start on, if there is one. The monitor's callback is not
        called if the start fails.
    """

    def __init__(
        self, runtime: Runtime, spawner: Spawner, peer: Peer, request: requests.StartPort, watch: SetMonitor | None
    ) -> None:
        super().__init__(runtime, join_port(peer.id, request.name))
        self._peer = peer
        self._name = request.name
        self._starts = spawner.starts
        try:
            linked_to = request.linked_to or None
            peer.send("", requests.start(request.name, request.function, linked_to, request.epoch, request.arguments))
        except (TypeError, ValueError):
            # Raises with the argument's place as the caller counts.
            plain_message(request.arguments, thorough=True, what="arguments")
            raise
        # Right behind the request, and before the monitor that `watch` sets: if the start fails, this one fires first
        # and cancels that one.
        self._starts.expect(request.name, peer, self.outcome)
        self._monitor = runtime.monitor(self.port, self._died, None)
        self._watching = watch(self.port) if watch is not None else None

    def _died(self, *reason: object) -> None:
        if not self.outcome.started:
            self.unwatch()
        self.outcome.has_died(self._explain(reason))

    def _explain(self, reason: Reason) -> Reason:
        """Explain `no_such_port`: a node that knows `start` says why the port died, so that node does not know it."""
        if reason == no_such_port(self.port):
            return spawn_failed(f"{self._peer.id} does not understand start_on(): it runs an older version of trio_mp")
        return reason

    def give_up(self) -> float:
        """See `Starting.give_up`."""
        self._starts.forget(self._name)
        self._peer.send("", requests.kill(self._name, start_cancelled()))
        if not self._peer.is_up():
            # The request has not left this node. It travels together with the kill, if ever a connection is made.
            return 0
        settings = self._runtime.settings
        # The other node's setting bounds the unwinding there, and three silent heartbeats bound a lost connection.
        return settings.shutdown_timeout + 3 * settings.heartbeat

    def leave(self) -> None:
        """See `Starting.leave`."""
        self._starts.forget(self._name)
        self._monitor.cancel()
