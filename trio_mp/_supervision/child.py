"""The children of a supervisor: the interface of each kind of child, and what the supervisor keeps of each child.

A `Kind` begins the lives of one child: each child has one `Kind` object for all of its lives. To add a kind of
children, write a `Kind` and a `Life`, and a method of `Supervisor` that hands the kind to `Driver.add`. A part of the
package that opens a supervisor for its own purposes, as workers do, hands its kind to `SupervisorBlock.add`.
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
    """The callback by which a kind tells the supervisor that a life has ended.

    The supervisor makes one for each life. A kind may call it in any task of the runtime.
    """

    def lost(self, reason: Reason) -> None:
        """Say that the life cannot be reached any more, and is being ended.

        References to the child, and its entry in the database, do not mean this life any longer. A kind need not call
        this. If it does, it calls the object itself later.
        """
        ...

    def asks_again(self) -> None:
        """Say that the life asks to be started again, and does not end by a failure. The call of the object follows."""
        ...

    def __call__(self, reason: Reason, error: Exception | None, /) -> None:
        """Say that nothing of the life runs any more, or that the time for that is up; see `Kind.begin`."""
        ...


class Life(Protocol):
    """One life of a child, from its successful start on.

    Attributes:
      port: the port ID by which others reach the life.
      value: the value that the life has given to `task_status.started`.
      shutdown_timeout: how long the life may take to stop if the program has not said it, in seconds: the setting of
        its node.
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
        """Begin to stop the life; not a checkpoint. When it has stopped, it calls the `ended` of `Kind.begin`.

        Args:
          limit: how many seconds that may take; None for as long as it takes. After them `ended` is called in any case,
            and a log line says what has not stopped.
        """
        ...


class Kind(Protocol):
    """Begins the lives of one child."""

    async def begin(self, epoch: int, ended: EndOfLife) -> Life:
        """Begin a life; return when it has started. A checkpoint. Cancelled, it leaves nothing of the life behind.

        The supervisor calls it in a task that belongs to no port. Only the supervisor can cancel that task.

        Args:
          epoch: the number of this life, which is greater than those of all earlier ones.
          ended: called once when nothing of this life runs any more, or the time for that is up: with the reason,
            and the exception if this node knows it. It may be called in any task of the runtime, also before `begin`
            returns, but never if `begin` raises.

        Raises:
          whatever the start raises.
        """
        ...


class Turn:
    """One life of a child as its supervisor sees it.

    Attributes:
      epoch: the number of the life.
      life: stops the life; None until it has started.
      loss: why the life cannot be reached any more; None as long as nobody has noticed a loss.
      end: why the life has ended, and by which exception; None before.
      again: whether it asks to be started again.
      owned: the entry of the database by which others find the life, while there is one.
    """

    __slots__ = ("again", "end", "epoch", "life", "loss", "owned")

    def __init__(self) -> None:
        self.epoch = 0
        self.life: Life | None = None
        self.loss: Reason | None = None
        self.end: tuple[Reason, Exception | None] | None = None
        self.again = False
        self.owned: dict[Owned, None] = {}


class Child:
    """What a supervisor keeps of one child.

    Attributes:
      key: its name in the rules, in logs and in errors; no two children of a supervisor have the same at one time.
      kind: begins its lives.
      settings: what the program has said about the child.
      context: the context variables that each life begins with: those of the task that has added the child.
      reference: the program's reference to the child.
      scope: the cancel scope of its start, while a start is going on.
      turn: its present life, or the life that is being started; None if there is none.
      settled: set when the first start has succeeded or failed, or when the child was taken out before.
      gone: set when the child is taken out: it has ended for good.
      failure: the exception that the first start has raised.
      refusal: what to raise if it was taken out before its first start had succeeded or failed.
    """

    __slots__ = (
        *("context", "failure", "gone", "key", "kind", "reference", "refusal", "scope", "settings", "settled", "turn"),
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
        self.refusal: Exception | None = None
