"""The part of a port that only some ports have. It is kept apart, because a node may have a million idle ports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import trio

from .._reason import NORMAL, Reason
from .backlog import Backlog
from .handlers import HandlerTable
from .mailbox import Mailbox, Receiver


class Owned(Protocol):
    """What ends with a port: a monitor that was set by it, for example."""

    def cancel(self) -> object:
        """The port has died."""
        ...


class Supervising(Protocol):
    """A supervisor that is open, as what is around it sees it: the port that has opened it, and the node."""

    @property
    def parent(self) -> Supervising | None:
        """The supervisor around it, in whose block it was opened, or in a child of it."""
        ...

    def freeze(self) -> None:
        """Start nothing any more, as the node closes. What runs goes on running."""
        ...

    def stop_restarting(self) -> None:
        """Start nothing again that ends, as the node drains. What runs goes on running."""
        ...

    def drain_ended(self) -> None:
        """Note that no task awaits the drain of the node any more."""
        ...

    def cancel(self) -> object:
        """Begin to stop all children: the port around it has died."""
        ...

    def close(self) -> None:
        """Begin to stop all children: the node closes."""
        ...

    def abandon(self) -> None:
        """End now, and wait for no child: a simulation has crashed the node, and its ports say nothing any more."""
        ...

    async def wait_ended(self) -> None:
        """Wait until no child runs any more."""
        ...


class Gravestone:
    """All that is kept of a port that has died without ever needing a state. Ports that die together share one.

    Attributes:
      reason: why the port died.
    """

    __slots__ = ("reason",)
    alive = False
    mailbox = receiver = None

    def __init__(self, reason: Reason) -> None:
        self.reason = reason


class PortState:
    """What only some ports need: it takes more than twice the memory of a port that has tags alone.

    Args:
      handlers: the handlers that the port has already.

    Attributes:
      handlers: all handlers.
      alive: whether it has not died.
      reason, error: why it died, and by which exception.
      heard: whether somebody else has got that exception, so that it need not be logged.
      busy: whether an async handler is running.
      pending: what came while it was.
      mailbox: for ports that have one.
      receiver: takes messages from the mailbox for whoever does not loop over it.
      scopes: the cancel scopes of its tasks, and the tasks.
      tasks: how many tasks have not ended.
      monitors: those that are to fire when it dies, in their order.
      owned: monitors that were set by it, and what else is cancelled when it dies.
      unwinding: the scope of the task that waits for its tasks to end.
      unwound: to be called when they have.
      epoch: which life of a supervised child it is; None if no supervisor has started it.
      unwind_limit: how long they may take for that, in seconds; None for as long as the node's setting says.
      supervisors: those that its tasks have opened and that have not ended: they come before that time.
      tracer: is called with each message before a handler, or the mailbox, gets it; None if nobody traces the port.
    """

    __slots__ = (
        "alive",
        "busy",
        "epoch",
        "error",
        "handlers",
        "heard",
        "mailbox",
        "monitors",
        "owned",
        "pending",
        "reason",
        "receiver",
        "scopes",
        "supervisors",
        "tasks",
        "tracer",
        "unwind_limit",
        "unwinding",
        "unwound",
    )

    def __init__(self, handlers: HandlerTable) -> None:
        self.handlers: HandlerTable = handlers
        self.alive: bool = True
        self.reason: Reason = NORMAL
        self.error: Exception | None = None
        self.heard: bool = False
        self.busy: bool = False
        self.pending: Backlog | None = None
        self.mailbox: Mailbox | None = None
        self.receiver: Receiver | None = None
        # Dicts for their order: that of a set of objects differs from run to run, and simulations are repeated.
        self.scopes: dict[trio.CancelScope, trio.lowlevel.Task] = {}
        self.tasks: int = 0
        self.monitors: dict[Any, None] = {}
        self.owned: dict[Owned, None] = {}
        self.unwinding: trio.CancelScope | None = None
        self.unwound: list[Callable[[], None]] = []
        self.epoch: int | None = None
        self.unwind_limit: float | None = None
        self.supervisors: dict[Supervising, None] | None = None
        self.tracer: Callable[[tuple[object, ...]], None] | None = None
