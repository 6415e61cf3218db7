"""The boundary between the ports of a node and whoever speaks with other nodes.

The ports know nothing of networks. Three rules hold for both sides, and the promise rests on them:

1. Between the first and the last monitor of one death or loss nothing is written to another node. Otherwise a message
   could get there whose sender was told of the loss while others had not been. Whoever writes looks at
   `Deaths.firing` before each write. What is sent meanwhile waits, and is flushed at the end of the pass.
2. The notices of a death to other nodes (`RemoteWatcher.tell_death`) are queued before any callback of that death
   runs. So no message of a callback overtakes the notice on its way.
3. Whoever brings messages in dispatches them in their order, then runs a pass before other tasks run: what handlers
   have sent is dispatched and flushed, and only then does the pump wake for new work.

`RemoteWriter` and `RemoteWatcher` are what the ports ask of the other side. `LocalPorts` is what they offer to it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeAlias

import trio

from .._reason import Reason
from .calls import CallMessage
from .context import Running
from .instruments import Instruments
from .monitor import Monitor
from .port import Port

Message: TypeAlias = tuple[Any, ...]
Serve: TypeAlias = Callable[[Message], None]

# What the ports ask --------------------------------------------------------------------------------------------------


class RemoteWriter(Protocol):
    """Writes to one other node."""

    def flush_dirty(self) -> None:
        """Write what is queued, as far as that goes without blocking.

        A writer that was flushed since it was marked has nothing to write, and writes nothing.
        """
        ...


class RemoteWatcher(Protocol):
    """Tells one other node that ports of this node have died."""

    def tell_death(self, name: str, reason: Reason) -> None:
        """Queue the notice that the port of this name has died. Raises nothing."""
        ...


class MessageSource(Protocol):
    """Where messages of another node come from."""

    def refused(self, name: str, text: str) -> None:
        """The port of this name has refused a message that came from there."""
        ...


class RemoteMonitor:
    """The monitor that another node has on a port of this one.

    Args:
      watcher: who tells that node.
      name: the name of the port.
    """

    __slots__ = ("name", "watcher")

    def __init__(self, watcher: RemoteWatcher, name: str) -> None:
        self.watcher = watcher
        self.name = name


# What the ports offer ------------------------------------------------------------------------------------------------


class Passes(Protocol):
    """Says when the ports do work that other rooms bring; see `RunQueue`."""

    def call_next(self, function: Callable[..., None], *arguments: Any) -> None:
        """Run this function in the next pass, before all that waits: a loss is told before what comes behind it."""
        ...

    def call_behind(self, function: Callable[..., None], *arguments: Any) -> None:
        """Run this function behind all that waits: what an answer must not overtake has been told by then."""
        ...

    def mark_dirty(self, writer: RemoteWriter) -> None:
        """Have a writer flushed at the end of this pass, or of the next one."""
        ...

    def release_pump(self) -> None:
        """Let the pump wake for new work again; at once, if there is some.

        A task that brings messages in calls this when it ends, also when it was cancelled or has failed: else the pump
        would sleep for ever.
        """
        ...


class Deaths(Protocol):
    """Kills ports, and tells those who monitor them; see `Lifecycle`."""

    @property
    def firing(self) -> int:
        """How many firings are going on, one in another; above zero nothing may be written to other nodes."""
        ...

    def add_local_monitor(self, name: str, monitor: Monitor | RemoteMonitor) -> None:
        """Add a monitor of a local port; if there is none of that name it fires soon, but not before this returns."""
        ...

    def remove_local_monitor(self, name: str, monitor: Monitor | RemoteMonitor) -> None:
        """Take a monitor of a local port away; no error if it is not there."""
        ...

    def fire(self, monitors: list[Monitor], reason: Reason, cause: Exception | None = None) -> None:
        """Fire monitors: first every reason is set, then the callbacks run, then anything may be written again.

        A callback that raises kills the port that set its monitor; outside a port it crashes the node, after the other
        callbacks have run. Only a task of the runtime may call this.

        Args:
          monitors: those of one death, or of one loss.
          reason: why all of them fire.
          cause: the exception that has killed the port, if one did on this node.
        """
        ...

    def kill_now(self, name: str, reason: Reason) -> None:
        """Kill a local port, if it is alive, before anything that waits."""
        ...

    def crash(self, error: BaseException) -> None:
        """Crash the node. Raises only when the node has closed."""
        ...

    def start_system_task(self, async_function: Callable[..., Awaitable[object]], *arguments: Any) -> trio.CancelScope:
        """Start a task of the runtime. Does nothing when the node has closed: no task of it runs then.

        Returns:
          What cancels the task. Besides, only the end of the node does, which comes behind the end of its block.
        """
        ...


class LossReports(Protocol):
    """Tells the program of messages that were lost; see `Losses`.

    Attributes:
      wanted: whether anybody wants to know.
    """

    wanted: bool

    def count(self, port: str, count: int, identifier: str) -> None:
        """Count messages that are lost, by the identifier of the reason; each once. `note` counts nothing."""
        ...

    def note(self, port: str, count: int, size: int, reason: Reason, *, certain: bool = True) -> None:
        """Messages for a port are lost: have it told soon, behind the monitors that are about to fire.

        Args:
          port: the ID of the port; that of a node for its node port, and for whatever of its ports.
          count, size: how many messages, of how many bytes.
          reason: why.
          certain: whether it is certain that none of them was delivered.
        """
        ...

    def note_refused(self, port: str, count: int, text: str, *, is_logged: bool = False) -> None:
        """A port has refused so many messages of this node; the text says why. It is logged, unless it was."""
        ...


class LocalPorts(Protocol):
    """The ports of a node, for whoever brings messages from other nodes; see `Dispatcher`.

    Attributes:
      id: the node ID.
      stalls: how many passes took so long that they were logged.
      instruments: who watches this node.
      ports: those that are alive, by name.
    """

    id: str
    stalls: int
    instruments: Instruments
    ports: dict[str, Port]

    @property
    def queue(self) -> Passes:
        """The queue of work, for whoever brings some."""
        ...

    @property
    def losses(self) -> LossReports:
        """Who is told of messages that were dropped."""
        ...

    @property
    def lifecycle(self) -> Deaths:
        """What kills ports, and fires monitors."""
        ...

    def enter(self) -> Running:
        """Let the task that runs dispatch messages from now on; returns what says which port it runs."""
        ...

    def dispatch_batch(
        self, running: Running, batch: list[Message], start: int, serve: Serve, ended: Sequence[object] = ()
    ) -> int:
        """Dispatch messages from another node, as many as fit into one pass.

        The pump sleeps from now on until `run_pass`, which has to follow before other tasks run.

        Args:
          running: what `enter` has returned to this task.
          batch: messages; each begins with the name of its port.
          start: at which of them to begin.
          serve: takes messages to the node port.
          ended: not empty once the connection has ended. Then the rest of the batch is dropped.

        Returns:
          The index of the message to go on with after other tasks have had their turn; the length of the batch if
          all of it is done.
        """
        ...

    def deliver(self, running: Running, port: Port, message: Message, received: object = False) -> None:
        """Hand one message to a port now, whether the port is busy, has a mailbox, or is dead.

        Args:
          running: what `enter` has returned to this task.
          port: the port.
          message: what the port gets, without the name of the port.
          received: whether another node sent it, so that its memory is counted while it waits, and `running.source` is
            told if it is refused; or who is told, in the place of that.
        """
        ...

    def deliver_call(self, running: Running, port: Port, message: CallMessage, received: bool = False) -> None:
        """Hand the message of a call to a port now; as `deliver`."""
        ...

    def run_pass(self, running: Running) -> None:
        """Dispatch what waits in this node, within the limits of one pass, then flush. The pump does the rest."""
        ...
