"""References to supervised children: they follow a child from life to life."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

import trio

from .._errors import PortDied
from .._events import fields
from .._ids import PortReference, node_of
from .._ports.monitor import Monitor
from .._reason import Reason, not_running

log = logging.getLogger("trio_mp.supervisor")

FireEarly = Callable[[Iterable[Monitor], Reason], None]

_FEW = 16
"""A reference keeps this many monitors before it first drops those that have fired or were cancelled."""


class ChildRef(PortReference):
    """A supervised child, through all of its lives. Made by `Supervisor.start` and its siblings.

    A port ID is never used again, so each life of a child has another ID. A reference takes the place of a port in
    `send`, `call`, `monitor`, `link`, `kill`, `wait_death` and their siblings, and means the present life. Between two
    lives a message is lost, and logged; a monitor fires soon with `("not_running", …)`; `call` raises `PortDied`. The
    reference moves to the next life when all monitors that were set through it have fired, and not before. Messages to
    two lives have no order.

    A reference is not a `str`, and cannot travel: send its `port`, or list the child in the database. Among the
    arguments of another child it is replaced by its `port`, at each start of that child.

    Attributes:
      name: the child's name in logs and in `SupervisorFailed.children`.
      value: the value that the present life, or the last one, has given to `task_status.started`.
      epoch: the number of that life, which `current_epoch` returns in it.
      restarts: how often the supervisor has started the child again.
      reason: why the child's latest life has ended, or its latest start has failed.
    """

    def __init__(self, name: str, supervisor: object, label: str, fire_early: FireEarly) -> None:
        self.name: str = name
        self.value: Any = None
        self.epoch: int = 0
        self.restarts: int = 0
        self.reason: Reason = ()
        # The supervisor of the child, and its name in logs.
        self._supervisor = supervisor
        self._label = label
        self._fire_early = fire_early
        self._port = ""
        self._running = False
        # Why there will be no further life, or None.
        self._gone: Reason | None = None
        self._lost = 0
        self._monitors: list[Monitor] = []
        self._changed = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        state = self._port if self._running else "ended" if self._gone is not None else "not running"
        return f"<ChildRef {self.name}: {state}>"

    def __str__(self) -> str:
        return self._port

    @property
    def port(self) -> str:
        """The port ID of the child's present life; between two lives, that of the last one."""
        return self._port

    @property
    def running(self) -> bool:
        """Whether the child has a present life."""
        return self._running

    async def up(self) -> str:
        """Wait until the child runs; return at once if it does. A checkpoint. Cancelled, it changes nothing.

        Returns:
          The port ID of that life. The port may have died when the caller runs.

        Raises:
          PortDied: the child has ended for good.
        """
        await trio.lowlevel.checkpoint()
        while not self._running:
            if self._gone is not None:
                raise PortDied(self._port, self._gone)
            await self._changed.park()
        return self._port

    # What the runtime asks -----------------------------------------------------------------------------------------

    def _find_target(self) -> str | None:
        """See `PortReference._find_target`."""
        if self._running:
            return self._port
        self._lost += 1
        if self._lost == 1:
            # Once for each time between two lives, because a program may send in a loop.
            log.warning(
                "%s: %s is not running: what is sent to it is lost until it is up again",
                self._label,
                self.name,
                extra=fields("child_missing", node_of(self._port), reason="not_running"),
            )
        return None

    def _add_monitor(self, monitor: Monitor) -> None:
        """See `PortReference._add_monitor`."""
        self._monitors.append(monitor)
        if len(self._monitors) >= _FEW and not len(self._monitors) & (len(self._monitors) - 1):
            # Only at powers of two, so that the cost of one monitor does not grow with their number.
            self._monitors = [each for each in self._monitors if each.active]

    # What the supervisor says --------------------------------------------------------------------------------------

    def _begin(self, port: str, value: Any, epoch: int) -> None:
        """Move to the next life, which has started. Monitors that were set while no life ran fire now at the latest."""
        if self._lost > 1:
            log.warning(
                "%s: %d messages to %s were lost",
                self._label,
                self._lost,
                self.name,
                extra=fields("child_missing", node_of(self._port), reason="not_running"),
            )
        self._lost = 0
        last, monitors, self._monitors = self._port, self._monitors, []
        self._port, self.value, self.epoch, self._running = port, value, epoch, True
        if monitors:
            self._fire_early(monitors, not_running(last))
        self._changed.unpark_all()

    def _end(self, reason: Reason) -> None:
        """Leave the present life, which has ended or was given up. Monitors that were set through this fire now."""
        self._running, self.reason = False, reason
        monitors, self._monitors = self._monitors, []
        self._fire_early(monitors, reason)

    def _leave(self) -> None:
        """Note that the child has ended for good, and wake the tasks in `up`."""
        if self._gone is None:
            self._gone = self.reason
            self._changed.unpark_all()
