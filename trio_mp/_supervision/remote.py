"""Children that are ports of other nodes, and how the supervisor knows that a life of one has ended.

A lost connection is not a death: the port may go on, and a second life beside it may do harm. So a life has ended when

- its node has said so: a monitor has fired with any reason but a loss; or
- its node has said so over a later connection: the supervisor has killed and monitored the port once more, and the
  monitor has fired; or
- its node is not connected, and the time is up in which the life must have ended by itself, see `silence_bound`.

The last case needs no answer. Each life is linked to a port of the supervisor's node, its anchor. The life's node kills
the life when it has lost the supervisor's node: when it has not heard from that node for three heartbeats, or when it
takes up another connection with it. If a lost connection has caused the doubt, the supervisor's node can reach the
life's node only over another connection. In any other doubt there is a connection, and the order to kill the life goes
out next. So the life ends whether or not anything arrives.

The bound holds for a life whose event loop runs, and which unwinds in time when it is killed. A life that shields
itself, computes without a checkpoint, or whose process was stopped, may go on beside the next one. Epochs are for this
case: a resource that gets the epoch with each write refuses the older one.
"""

from __future__ import annotations

import logging
from typing import Any

import trio

from .._errors import PortDied
from .._events import fields
from .._ids import node_of
from .._peers.peer import Peer
from .._ports.monitor import Monitor
from .._ports.port import Port, new_port
from .._reason import NORMAL, Reason, describe, identifier_of, is_doubtful
from .._runtime import Runtime
from .._services.database import Database
from .._services.spawning import Spawner
from .._services.starting import start_on
from .child import EndOfLife
from .local import resolve, stop_reason
from .places import Place, PlacePicker

_ENDS_OF_NODES = frozenset({"node_closed", "node_failed"})
"""Reasons of ports that have died with their node."""

log = logging.getLogger("trio_mp.supervisor")

_SILENCE = 3.0
"""After so many heartbeats of silence a node is lost."""

_ON_ITS_WAY = 0.5
"""Bytes that were sent before the doubt may be on their way for so many heartbeats more."""


def silence_bound(ours: float, theirs: float) -> float:
    """Return for how long a node may take us for alive when it hears nothing from us any more, in seconds.

    That node checks twice in each of its own heartbeats whether three of ours have passed in silence. Bytes that we
    have sent before may have been on their way.

    Args:
      ours, theirs: the heartbeats that the two nodes announce, in seconds.
    """
    return _SILENCE * ours + theirs / 2 + _ON_ITS_WAY * ours


class RemoteLife:
    """A port on another node, or on this one; see `Life`.

    Args:
      runtime: the node of the supervisor.
      node_id: the ID of the port's node.
      ended: see `Kind.begin`.
      places: picks the node of the next life; it is told on which node this one was lost.

    Attributes:
      port: the ID of the port; an empty text until the port was asked for.
      node_id: see above.
      value: the value that the port has given to `task_status.started`.
      unwinding: how long a dead port may take to unwind on its node, in seconds; a guess until the port has started.
      heartbeat: the heartbeat that its node announces, in seconds; a guess until the port has started.
    """

    def __init__(self, runtime: Runtime, node_id: str, ended: EndOfLife, places: PlacePicker) -> None:
        self.port = ""
        self.value: Any = None
        self.unwinding = runtime.settings.shutdown_timeout
        self.heartbeat = runtime.settings.heartbeat
        self.node_id = node_id
        self._runtime = runtime
        self._ended: EndOfLife | None = ended
        self._places = places
        # The port is linked to it: the port dies when the anchor dies, or when the port's node loses this one.
        self.anchor: Port = new_port(runtime.lifecycle, runtime.next_name())
        self._peer: Peer | None = runtime.route(node_id)[0]
        self._monitor: Monitor | None = None
        # Whether the life is to end, whatever happens.
        self._given_up = False
        # Whether a monitor is set that the life's node has not answered.
        self._is_asked = False

    @property
    def shutdown_timeout(self) -> float:
        """How long this node may take to know that the port has stopped, in seconds; see `Life`."""
        if self._peer is None:
            return self.unwinding
        return silence_bound(self._runtime.settings.heartbeat, self.heartbeat) + self.unwinding

    def begin(self, value: Any, unwinding: float) -> None:
        """Note that the port has started, its value, and how long a dead port may take to unwind on its node."""
        self.value, self.unwinding = value, unwinding
        if not self._given_up:
            self._places.lost = ""
        current = self._peer.current if self._peer is not None else None
        if current is not None and current.session.handshake.peer is not None:
            self.heartbeat = current.session.handshake.peer.heartbeat

    def is_certain(self, reason: Reason) -> bool:
        """Whether a monitor of the port that fires for this reason says that nothing of the port runs any more."""
        return self._peer is None or not is_doubtful(reason, self.node_id)

    def watch(self, port: str) -> Monitor:
        """Monitor the port of this ID, which is being asked for. See `start_on`."""
        self.port = port
        self._monitor = self._runtime.monitor(port, self._died, None)
        return self._monitor

    def stop(self, limit: float | None) -> None:
        """See `Life.stop`. Kills the port. The setting of its node bounds its unwinding; the limit changes nothing."""
        self._give_up(None)

    def _died(self, *reason: object) -> None:
        if self.is_certain(reason):
            if identifier_of(reason) in _ENDS_OF_NODES:
                # Its entries in families may be there for a moment longer.
                self._places.lost = self.node_id
            self._end(reason, self._runtime.lifecycle.cause)
        else:
            self._give_up(reason)

    def _give_up(self, doubt: Reason | None) -> None:
        """Make sure that the life ends. Only the first call counts.

        Args:
          doubt: why nobody knows whether the life has ended; None if the supervisor stops it.
        """
        if self._ended is None or self._given_up:
            return
        self._given_up = True
        if doubt is not None:
            log.warning(
                "%s may have been lost, and is killed to make sure: %s",
                self.port,
                describe(doubt),
                extra=fields("doubt", self._runtime.id, peer=node_of(self.port), reason=identifier_of(doubt)),
            )
            self._places.lost = self.node_id
            self._ended.lost(doubt)
        self._runtime.lifecycle.start_system_task(self._make_sure, doubt)
        if self._runtime.lifecycle.nursery is None:
            self._end(doubt or stop_reason(self._runtime))

    async def _make_sure(self, doubt: Reason | None) -> None:
        reason = doubt
        try:
            found = await self.wait_gone()
            # `found` says how the port was killed just now, and not of what it had died before.
            reason = doubt or found
        finally:
            # Also when the node has failed, so that the supervisor does not wait for ever.
            self._end(reason or stop_reason(self._runtime))

    async def wait_gone(self) -> Reason:
        """Kill the port; return why it has died, as soon as it is known to have died, or must have. A checkpoint.

        While its node is connected, and was asked, this waits for its answer, however long that takes: a supervisor in
        the port may have children to stop. Without a connection it waits no longer than `shutdown_timeout`.
        """
        begun, order = trio.current_time(), stop_reason(self._runtime)
        while True:
            with trio.CancelScope(deadline=trio.current_time() + self.shutdown_timeout):
                return await self._ask(order)
            if self._peer is not None and not (self._peer.is_up() and self._is_asked):
                break
        log.warning(
            "%s was to end %.3g s ago, and its node has not said that it has: it has ended by now, unless it shields"
            " itself, computes without a checkpoint, or was stopped",
            *(self.port, trio.current_time() - begun),
            extra=fields("doubt", self._runtime.id, peer=node_of(self.port)),
        )
        return order

    async def _ask(self, order: Reason) -> Reason:
        """Kill the port over each new connection, until its node has said that the port has died; return why."""
        while True:
            await self._wait_up()
            self._runtime.kill(self.port, order)
            self._is_asked = True
            reason = await self._wait_told()
            self._is_asked = False
            if self.is_certain(reason):
                return reason
            if self._peer is not None and self._peer.is_up():
                # Not again at once, in case a limit of that node refuses monitors.
                await trio.sleep(self._runtime.settings.heartbeat / 2)

    async def _wait_up(self) -> None:
        """Wait until the node is connected, and have this node dial it meanwhile. A checkpoint unless it is connected.

        The kill is not queued meanwhile: each failed attempt would lose it, and log that messages were dropped, as if
        they were the program's. Nor need the kill be the first message over the next connection.
        """
        peer, looking = self._peer, None
        try:
            while peer is not None and not peer.is_up():
                if looking is None or not looking.active:
                    looking = self._runtime.monitor(self.node_id, _nothing_is_done, None)
                # The monitor fires when the node cannot be reached. The pause is for a node that refuses at once.
                with trio.move_on_after(self._runtime.settings.heartbeat / 2):
                    while not peer.is_up():
                        await peer.up.park()
        finally:
            if looking is not None:
                looking.cancel()

    async def _wait_told(self) -> Reason:
        told = trio.Event()
        with self._runtime.monitor(self.port, lambda *_: told.set(), None) as monitor:
            await told.wait()
        assert monitor.reason is not None
        return monitor.reason

    def _end(self, reason: Reason, error: Exception | None = None) -> None:
        """Say that the life has ended, or that its time to end is up. Only the first call counts."""
        ended, self._ended = self._ended, None
        if ended is not None:
            self.forget()
            ended(reason, error)

    def forget(self) -> None:
        """Let go of the life: cancel its monitor, and let its anchor die."""
        self._ended = None
        if self._monitor is not None:
            self._monitor.cancel()
        self._runtime.lifecycle.die(self.anchor, NORMAL)


def _nothing_is_done(*reason: object) -> None:
    """The callback of a monitor that only has a connection looked for."""


class RemoteKind:
    """A child whose lives are ports of other nodes; see `Kind`.

    Args:
      runtime, spawner, database: those of the supervisor's node.
      where: the place of its lives.
      function, arguments: what each life runs, as `Node.start_on` does. References are replaced by their ports.
    """

    def __init__(
        self,
        runtime: Runtime,
        spawner: Spawner,
        database: Database,
        where: Place,
        function: str,
        arguments: tuple[Any, ...],
    ) -> None:
        self._runtime = runtime
        self._spawner = spawner
        self._places = PlacePicker(runtime, database, where)
        self._function = function
        self._arguments = arguments
        # By node, how long its dead ports may take to unwind, and its heartbeat, as far as they were known last.
        self._known: dict[str, tuple[float, float]] = {}

    async def begin(self, epoch: int, ended: EndOfLife) -> RemoteLife:
        """See `Kind.begin`."""
        node_id = await self._places.pick()
        life = RemoteLife(self._runtime, node_id, ended, self._places)
        if node_id in self._known:
            life.unwinding, life.heartbeat = self._known[node_id]
        try:
            started = await start_on(
                self._runtime,
                self._spawner,
                node_id,
                self._function,
                resolve(self._arguments),
                epoch=epoch,
                linked_to=str.__str__(life.anchor),
                watch=life.watch,
            )
        except BaseException as error:
            await self._withdraw(life, error)
            raise
        life.begin(started.value, started.shutdown_timeout)
        self._known[node_id] = life.unwinding, life.heartbeat
        return life

    async def _withdraw(self, life: RemoteLife, error: BaseException) -> None:
        """Make sure that a start that has failed leaves nothing behind."""
        certain = isinstance(error, PortDied) and life.is_certain(error.reason)
        if not certain and isinstance(error, PortDied):
            self._places.lost = life.node_id
        try:
            if life.port and not certain:
                with trio.CancelScope(shield=True):
                    await life.wait_gone()
        finally:
            life.forget()
