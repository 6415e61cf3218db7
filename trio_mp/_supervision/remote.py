"""Children that are ports of other nodes, and when a life of one has ended.

A lost connection is not a death: the port may go on, and a second life beside it may do harm. So a life has ended when

- its node has said so: a monitor has fired with any reason but a loss; or
- its node, connected again, has said so when it was asked: the port was killed and monitored once more, and the monitor
  has fired; or
- its node is not connected, and the time is up in which the life must have ended by itself, see `silence_bound`.

The last needs no answer, because each life is linked to a port of the supervisor's node, its anchor: the node of the
life kills it when it has lost the supervisor's node, which is when it has not heard from it for three heartbeats, or
when it takes up another connection with it. After a doubt that comes of a lost connection the supervisor's node says
nothing to that node but by another connection. In any other doubt there is a connection, and the order to kill the life
is the next to go out. So whatever arrives there, or does not, ends the life.

The bound holds for a life whose event loop runs, and which unwinds in time when it is killed. One that shields itself,
or computes without a checkpoint, or whose process was stopped, may go on beside the next one. That is what epochs are
for: a resource that is told the epoch of who writes to it refuses the older one.
"""

from __future__ import annotations

import logging
from typing import Any

import trio

from .._errors import PortDied
from .._peers.peer import Peer
from .._ports.monitor import Monitor
from .._ports.port import Port, new_port
from .._reason import NORMAL, Reason, describe, is_doubtful
from .._runtime import Runtime
from .._services.database import Database
from .._services.spawning import Spawner
from .._services.starting import start_on
from .child import EndOfLife
from .local import resolve, stop_reason
from .places import Place, PlacePicker

log = logging.getLogger("trio_mp.supervisor")

_SILENCE = 3.0
"""After how many heartbeats of silence a node is lost."""

_ON_ITS_WAY = 0.5
"""For how many heartbeats more something that was sent before the doubt may be on its way."""


def silence_bound(ours: float, theirs: float) -> float:
    """For how long a node may take us for alive when it hears nothing from us any more, in seconds.

    It looks twice in each of its own heartbeats whether three of ours have passed in silence; and what we have sent
    before may have been on its way.

    Args:
      ours, theirs: the heartbeats that the two nodes announce, in seconds.
    """
    return _SILENCE * ours + theirs / 2 + _ON_ITS_WAY * ours


class RemoteLife:
    """A port on another node, or on this one; see `Life`.

    Args:
      runtime: the node of the supervisor.
      node_id: where the port is.
      ended: see `Kind.begin`.
      places: where the next life will be; it is told where this one was lost.

    Attributes:
      port: the ID of the port; an empty text until it was asked for.
      node_id: see above.
      value: what it has given to `task_status.started`.
      unwinding: how long a dead port may take to unwind on its node, in seconds, as far as that is known.
      heartbeat: which heartbeat its node announces, in seconds, as far as that is known.
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
        # The port dies with it, if the node of the port is told of that, and if that node loses this one.
        self.anchor: Port = new_port(runtime.lifecycle, runtime.next_name())
        self._peer: Peer | None = runtime.route(node_id)[0]
        self._monitor: Monitor | None = None
        # Whether it is to end, whatever happens.
        self._given_up = False
        # Whether there is a monitor that its node has not answered.
        self._is_asked = False

    @property
    def shutdown_timeout(self) -> float:
        """How long it may take until this node knows that the port has stopped, in seconds; see `Life`."""
        if self._peer is None:
            return self.unwinding
        return silence_bound(self._runtime.settings.heartbeat, self.heartbeat) + self.unwinding

    def begin(self, value: Any, unwinding: float) -> None:
        """The port has started: what it has said, and how long a dead port may take to unwind on its node."""
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
        """The port of this ID is asked for: monitor it. See `start_on`."""
        self.port = port
        self._monitor = self._runtime.monitor(port, self._died, None)
        return self._monitor

    def stop(self, limit: float | None) -> None:
        """See `Life.stop`. The port is killed; its node gives it the time to unwind, and the limit changes nothing."""
        self._give_up(None)

    def _died(self, *reason: object) -> None:
        if self.is_certain(reason):
            self._end(reason, self._runtime.lifecycle.cause)
        else:
            self._give_up(reason)

    def _give_up(self, doubt: Reason | None) -> None:
        """The life is to end, if it has not: see to it that it does. Only the first time counts.

        Args:
          doubt: why it is not known whether it has; None if it is stopped.
        """
        if self._ended is None or self._given_up:
            return
        self._given_up = True
        if doubt is not None:
            log.warning("%s may have been lost, and is killed to make sure: %s", self.port, describe(doubt))
            self._places.lost = self.node_id
            self._ended.lost(doubt)
        self._runtime.lifecycle.start_system_task(self._make_sure, doubt)
        if self._runtime.lifecycle.nursery is None:
            self._end(doubt or stop_reason(self._runtime))

    async def _make_sure(self, doubt: Reason | None) -> None:
        reason = doubt
        try:
            found = await self.wait_gone()
            # What is known now is how it was killed, not what it had died of before.
            reason = doubt or found
        finally:
            # Also when the node has failed: the supervisor is not to wait for ever.
            self._end(reason or stop_reason(self._runtime))

    async def wait_gone(self) -> Reason:
        """Kill the port; return why it has died, when that is known, or when it must have. A checkpoint.

        While its node is connected, and was asked, that node will say so, however long it takes: a supervisor in the
        port may have children to stop. Without a connection it takes no longer than `shutdown_timeout` says.
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
        )
        return order

    async def _ask(self, order: Reason) -> Reason:
        """Kill the port, whenever its node can be told, until it is known that it has died; returns why."""
        while True:
            await self._wait_up()
            self._runtime.kill(self.port, order)
            self._is_asked = True
            reason = await self._wait_told()
            self._is_asked = False
            if self.is_certain(reason):
                return reason
            if self._peer is not None and self._peer.is_up():
                # Not at once again where something stands in the way of monitors.
                await trio.sleep(self._runtime.settings.heartbeat / 2)

    async def _wait_up(self) -> None:
        """Wait until there is a connection with the node, and have one looked for; a checkpoint if there is none.

        Nothing is queued for that. The order would be lost with each attempt, and the log would say that messages were
        dropped, as if they were the program's. It need not be the first to arrive over the next connection either.
        """
        peer, looking = self._peer, None
        try:
            while peer is not None and not peer.is_up():
                if looking is None or not looking.active:
                    looking = self._runtime.monitor(self.node_id, _nothing_is_done, None)
                # It fires when the node cannot be reached. The pause is for a node that refuses at once.
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
        """Nothing of it runs any more, or must not. Only the first time counts."""
        ended, self._ended = self._ended, None
        if ended is not None:
            self.forget()
            ended(reason, error)

    def forget(self) -> None:
        """Keep nothing of it any longer."""
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
      where: where its lives run.
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
        """A start has failed: see to it that nothing of it is left."""
        certain = isinstance(error, PortDied) and life.is_certain(error.reason)
        if not certain and isinstance(error, PortDied):
            self._places.lost = life.node_id
        try:
            if life.port and not certain:
                with trio.CancelScope(shield=True):
                    await life.wait_gone()
        finally:
            life.forget()
