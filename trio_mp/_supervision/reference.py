"""References to supervised children: they follow a child from life to life."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

import trio

from .._errors import PortDied
from .._ids import PortReference
from .._ports.monitor import Monitor
from .._reason import Reason, not_running

log = logging.getLogger("trio_mp.supervisor")

FireEarly = Callable[[Iterable[Monitor], Reason], None]

_FEW = 16
"""How many monitors are kept, at least, before those are looked for that have fired or were cancelled."""


class ChildRef(PortReference):
    """A supervised child, through all of its lives. Made by `Supervisor.start` and its siblings.

    A port ID is never used again, so each life of a child has another one. A reference stands where a port does: in
    `send`, `call`, `monitor`, `link`, `kill`, `wait_death` and their siblings. It means the present life then. Between
    two lives `send` is lost, and logged; a monitor fires soon with `("not_running", …)`; `call` raises `PortDied`. It
    moves to the next life when all monitors have fired that were set through it, and not before. There is no order
    between messages to two lives.

    It is no `str`, and cannot travel: send its `port`, or let others find the child by a name in the database. Among
    the arguments of another child it is replaced by its `port`, at each start of that child.

    Attributes:
      name: what the supervisor calls the child, in logs and in `SupervisorFailed.children`.
      value: what the present life, or the last one, has given to `task_status.started`.
      epoch: the number of that life: what `current_epoch` says in it.
      restarts: how often the child was started again.
      reason: why its latest life has ended, or its latest start has failed.
    """

    def __init__(self, name: str, supervisor: object, label: str, fire_early: FireEarly) -> None:
        self.name: str = name
        self.value: Any = None
        self.epoch: int = 0
        self.restarts: int = 0
        self.reason: Reason = ()
        # Whose child it is, and what logs call that.
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
        """The port of its present life; between two lives, that of the last one."""
        return self._port

    @property
    def running(self) -> bool:
        """Whether there is a present life."""
        return self._running

    async def up(self) -> str:
        """Wait until the child runs; at once if it does. A checkpoint. Cancelled, it changes nothing.

        Returns:
          The port of that life. It may have died when the caller runs.

        Raises:
          PortDied: it does not run, and will never again.
        """
        await trio.lowlevel.checkpoint()
        while not self._running:
            if self._gone is not None:
                raise PortDied(self._port, self._gone)
            await self._changed.park()
        return self._port

    # What the runtime asks -----------------------------------------------------------------------------------------

    def find_target(self) -> str | None:
        """See `PortReference.find_target`."""
        if self._running:
            return self._port
        self._lost += 1
        if self._lost == 1:
            # Once for each time between two lives: who sends to it may do so in a loop.
            log.warning(
                "%s: %s is not running: what is sent to it is lost until it is up again", self._label, self.name
            )
        return None

    def add_monitor(self, monitor: Monitor) -> None:
        """See `PortReference.add_monitor`."""
        self._monitors.append(monitor)
        if len(self._monitors) >= _FEW and not len(self._monitors) & (len(self._monitors) - 1):
            # At each power of two, so that a monitor costs the same however many there are.
            self._monitors = [each for each in self._monitors if each.active]

    # What the supervisor says --------------------------------------------------------------------------------------

    def _begin(self, port: str, value: Any, epoch: int) -> None:
        """The next life has started: who has monitored the time before it is told now at the latest."""
        if self._lost > 1:
            log.warning("%s: %d messages to %s were lost", self._label, self._lost, self.name)
        self._lost = 0
        last, monitors, self._monitors = self._port, self._monitors, []
        self._port, self.value, self.epoch, self._running = port, value, epoch, True
        if monitors:
            self._fire_early(monitors, not_running(last))
        self._changed.unpark_all()

    def _end(self, reason: Reason) -> None:
        """The present life has ended, or was given up: who monitors it through this is told now at the latest."""
        self._running, self.reason = False, reason
        monitors, self._monitors = self._monitors, []
        self._fire_early(monitors, reason)

    def _leave(self) -> None:
        """There will be no further life."""
        if self._gone is None:
            self._gone = self.reason
            self._changed.unpark_all()
