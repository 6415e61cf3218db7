"""How a supervisor that has given up is seen from outside."""

from __future__ import annotations

from collections.abc import Sequence


class SupervisorFailed(ExceptionGroup[Exception]):
    """A supervisor has given up: there were more restarts than its limit allows.

    It leaves the supervisor's block when all children have been stopped. Its exceptions are those of the children that
    used the limit up, the latest of each, and the last child's last: the exception that has killed the child, if that
    was on this node, else a `PortDied` with the reason.

    Attributes:
      children: the names of these children, in the same order.
    """

    children: tuple[str, ...] = ()

    def derive(self, exceptions: Sequence[Exception], /) -> SupervisorFailed:  # type: ignore[override]
        """A group of the same kind, as `split` and `subgroup` need it. It names no children: it has others."""
        return SupervisorFailed(self.message, exceptions)
