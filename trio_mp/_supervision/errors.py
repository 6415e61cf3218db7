"""The exception of a supervisor that has given up."""

from __future__ import annotations

from collections.abc import Sequence


class SupervisorFailed(ExceptionGroup[Exception]):
    """A supervisor has given up: there were more restarts than its limit allows.

    It leaves the supervisor's block when all children have stopped. It holds the latest exception of each child that
    used up the limit, in the order of their deaths: the exception that has killed the child, if that happened on this
    node, else a `PortDied` with the reason. Catch it by `except`: Python refuses groups after `except*`.

    Attributes:
      children: the names of these children, in the same order.
    """

    children: tuple[str, ...] = ()

    def derive(self, exceptions: Sequence[Exception], /) -> SupervisorFailed:  # type: ignore[override]
        """Make a group of the same type, for `split` and `subgroup`. It names no children, as it may hold only some."""
        return SupervisorFailed(self.message, exceptions)
