"""Monitors: who is told when a port dies, or when messages to it may have been lost."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, TypeAlias

import trio

from .._errors import PortDied
from .._reason import Reason

MonitorCallback: TypeAlias = Callable[..., Any]


class MonitorRegistry(Protocol):
    """Keeps monitors, and forgets them when they are cancelled."""

    def remove_monitor(self, monitor: Monitor, owner: object | None, where: object) -> None:
        """Stop monitoring.

        Args:
          monitor: the monitor that was cancelled.
          owner: the port that has set the monitor, if one has.
          where: what the registry gave the monitor to find it again.
        """
        ...


class Monitor:
    """Tells once that a port has died, or that messages to it may have been lost.

    Made by `Node.monitor` and `Node.link`. It ends when it has fired, when it is cancelled, or with the port that set
    it. As a context manager it is cancelled when the block is left.

    Attributes:
      port: the ID of the port that is monitored.
      reason: why it fired; None before. It is set before the callback is called, and before anything that is sent
        after the loss can travel.
    """

    __slots__ = ("_callback", "_kills_remotely", "_owner", "_registry", "_where", "port", "reason")

    def __init__(
        self,
        registry: MonitorRegistry,
        port: str,
        callback: MonitorCallback,
        owner: object | None,
        where: object,
        *,
        kills_remotely: bool = False,
    ) -> None:
        self.port: str = port
        self.reason: Reason | None = None
        self._registry = registry
        self._callback: MonitorCallback | None = callback
        # The port in whose context the callback runs, and where the registry finds the monitor.
        self._owner: object | None = owner
        self._where: object = where
        # Whether it is a link that kills a port of another node: then it may outlive its owner, see `Lifecycle.die`.
        self._kills_remotely: bool = kills_remotely

    def __repr__(self) -> str:
        state = "active" if self.active else "cancelled" if self.reason is None else f"fired: {self.reason!r}"
        return f"<Monitor of {self.port}: {state}>"

    @property
    def active(self) -> bool:
        """Whether this monitor can still fire."""
        return self._callback is not None and self.reason is None

    def cancel(self) -> None:
        """Stop monitoring. Does nothing if the monitor has fired or was cancelled before. Not a checkpoint."""
        if self._callback is not None:
            self._callback = None
            if self.reason is None:
                self._registry.remove_monitor(self, self._owner, self._where)

    def _retire(self) -> None:
        """Never fire any more. Whoever calls this has taken it out of the table from which it would be fired."""
        self._callback = None

    def _begin_firing(self, reason: Reason) -> None:
        """Set the reason, before any callback of the same loss runs."""
        if self.active:
            self.reason = reason

    def _take_callback(self) -> MonitorCallback | None:
        """The callback, once, if the monitor has not been cancelled since it began to fire."""
        callback, self._callback = self._callback, None
        return callback

    def __enter__(self) -> Monitor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()


class CallMonitor(Monitor):
    """The monitor that a call of a port of this node has on that port. It is counted as a call, not as a monitor."""

    __slots__ = ()


class DeathScope:
    """A cancel scope that is tied to a port; made by `Node.move_on_death` and `Node.fail_on_death`, to be entered once.

    Attributes:
      port: the ID of the port.
      reason: why the port died, or None if it has not.
    """

    __slots__ = ("_cause", "_fail", "_find_cause", "_monitor", "_scope", "_set", "port", "reason")

    def __init__(
        self,
        port: str,
        set_monitor: Callable[[MonitorCallback], Monitor],
        find_cause: Callable[[], Exception | None],
        *,
        fail: bool,
    ) -> None:
        self.port: str = port
        self.reason: Reason | None = None
        self._set = set_monitor
        self._find_cause = find_cause
        self._cause: Exception | None = None
        self._fail = fail
        self._scope = trio.CancelScope()
        self._monitor: Monitor | None = None

    @property
    def cancelled_caught(self) -> bool:
        """Whether the block was left because it was cancelled."""
        return self._scope.cancelled_caught

    @property
    def cancel_called(self) -> bool:
        """Whether the block was cancelled, by the port's death or by `cancel`."""
        return self._scope.cancel_called

    def cancel(self) -> None:
        """Cancel the block, as `trio.CancelScope.cancel` does."""
        self._scope.cancel()

    def _died(self, *reason: object) -> None:
        self.reason = reason
        self._cause = self._find_cause()
        self._scope.cancel()

    def __enter__(self) -> DeathScope:
        # The monitor comes first, because setting it may raise, and then the scope must not have been entered.
        self._monitor = self._set(self._died)
        self._scope.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if self._monitor is not None:
            self._monitor.cancel()
        cause, self._cause = self._cause, None
        caught = self._scope.__exit__(kind, error, trace)
        if self._fail and self.cancelled_caught and self.reason is not None:
            raise PortDied(self.port, self.reason) from cause
        return caught
