"""The children of a supervisor: the interface that each kind of child has, and what the supervisor keeps of each.

A kind says how one life is begun; there is one object of it for each child, which is used for all lives. To add a kind,
write these two classes, and a method of `Supervisor` that hands the kind to `Driver.add`. A part of the package that
opens a supervisor for its own purposes, as workers do, hands its kind to `SupervisorBlock.add`.
"""

from __future__ import annotations

import contextvars
from typing import Any, Protocol

import trio

from .._ports.port_state import Owned
from .._reason import Reason
from .arguments import ChildSettings
from .reference import ChildRef


class EndOfLife(Protocol):
    """What a kind calls when a life ends; made by the supervisor for each life. It may be called in any task of the
    runtime."""

    def lost(self, reason: Reason) -> None:
        """It cannot be reached any more, and is being ended: references to the child, and its name in the
        database, do not mean it any longer.

        It need not be called. If it is, the end follows.
        """
        ...

    def __call__(self, reason: Reason, error: Exception | None, /) -> None:
        """Nothing of it runs any more, or the time for that is up; see `Kind.begin`."""
        ...


class Life(Protocol):
    """One life of a child, from its successful start on.

    Attributes:
      port: the port ID by which it is reached.
      value: what it has given to `task_status.started`.
      shutdown_timeout: how long it may take to stop if the program has not said, in seconds: that of its node.
    """

    @property
    def port(self) -> str:
        """See above."""
        ...

    @property
    def value(self) -> Any:
        """See above."""
        ...

    @property
    def shutdown_timeout(self) -> float:
        """See above."""
        ...

    def stop(self, limit: float | None) -> None:
        """Begin to stop it; not a checkpoint. The `ended` of its `Kind.begin` is called when it has stopped.

        Args:
          limit: for how many seconds that may take, after which `ended` is called in any case and what has not stopped
            is logged; None for as long as it takes.
        """
        ...


class Kind(Protocol):
    """How the lives of one child are begun."""

    async def begin(self, epoch: int, ended: EndOfLife) -> Life:
        """Begin a life; return when it has started. A checkpoint. Cancelled, nothing of the life is left.

        It is called in a task of the supervisor that belongs to no port and is shielded from all but the supervisor.

        Args:
          epoch: the number of this life, which is greater than those of all earlier ones.
          ended: to be called once when nothing of this life runs any more, or the time for that is up: with the reason,
            and the exception if one is known here. It may be called in any task of the runtime, also before this
            returns, but never if this raises.

        Raises:
          whatever the start raises.
        """
        ...


class Turn:
    """One life of a child as its supervisor sees it.

    Attributes:
      epoch: its number.
      life: what can be stopped; None until it has started.
      loss: why it cannot be reached any more; None while it can, as far as that is known.
      end: why it has ended, and by which exception; None before.
      owned: the entry of the database in which others find it, while there is one.
    """

    __slots__ = ("end", "epoch", "life", "loss", "owned")

    def __init__(self) -> None:
        self.epoch = 0
        self.life: Life | None = None
        self.loss: Reason | None = None
        self.end: tuple[Reason, Exception | None] | None = None
        self.owned: dict[Owned, None] = {}


class Child:
    """What a supervisor keeps of one child.

    Attributes:
      key: its name in the rules, in logs and in errors; no two children of a supervisor have the same at one time.
      kind: how its lives are begun.
      settings: what the program has said about it.
      context: the context variables that each life begins with: those of who has added the child.
      reference: what the program has of it.
      scope: that of its start, while one is going on.
      turn: its present life, or the one that is being started; None if there is none.
      settled: set when the first start has succeeded or failed, or when the child was taken out before.
      gone: set when it is taken out: it has ended for good.
      failure: what the first start has raised.
    """

    __slots__ = (
        *("context", "failure", "gone", "key", "kind", "reference", "scope", "settings", "settled", "turn"),
    )

    def __init__(self, key: str, kind: Kind, settings: ChildSettings, reference: ChildRef) -> None:
        self.key = key
        self.kind = kind
        self.settings = settings
        self.context = contextvars.copy_context()
        self.reference = reference
        self.scope: trio.CancelScope | None = None
        self.turn: Turn | None = None
        self.settled = trio.Event()
        self.gone = trio.Event()
        self.failure: Exception | None = None
