"""What a node tells the manager of its process, as systemd wants it: ready, its status, stopping, and signs of life.

`READY=1` comes when the node listens and its services have started. Whether it is attached is a matter of the network,
and no reason to have a service fail: that is `STATUS`. `STOPPING=1` comes when the node drains, or closes in good
order. After a failure a program may open its node again, and a manager that was told of a stop would end it in time.

While the node stops it asks for more time, again and again, so that the manager's own limit counts from the last sign
that something goes on. The signs of life come from a task of the node's: a loop that stands gives none.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping

import trio

from .._peers.standing import Standing
from .._transport.inherited import INHERITED
from .._transport.service_manager import SERVICE_MANAGER, ServiceManager

EXTENSION = 15.0
"""For how many seconds more the manager is asked to wait, while the node stops."""

AGAIN = 5.0
"""How often it is asked, in seconds."""

_AGAIN_SPEAKING = 1.0
"""How often a node that does not speak for the process looks whether it may, in seconds."""

_SIGNS = 4
"""How many signs of life are said in the time of the manager's watchdog. So the loop may stand for three quarters of
it, which are three heartbeats where the watchdog waits for four."""

_RETRY = 0.05
"""How long to wait when the manager cannot take a message, in seconds."""


def find_manager(settings: Mapping[str, object]) -> ServiceManager | None:
    """Return the manager of this process, for a node of a program; None for a tool, or a node without a network.

    What the manager has told this process leaves the environment.

    Args:
      settings: the node's.
    """
    if not (settings.get("binds") or settings.get("seeds")) or settings.get("tool"):
        return None
    INHERITED.take_variables(os.environ)
    SERVICE_MANAGER.take_variables(os.environ)
    return SERVICE_MANAGER


class ManagerReport:
    """Tells the manager of the process how one node stands, if no other node does.

    Args:
      manager: the manager; None if this node has none.
      standing: the node's.
    """

    def __init__(self, manager: ServiceManager | None, standing: Standing) -> None:
        self._manager = manager
        self._standing = standing
        self._speaks = False
        self._is_ready = False
        self._is_stopping = False
        self._status = ""
        # When the next sign of life is due, and the next request for more time.
        self._alive_at = self._extend_at = math.inf
        self._untold = trio.Event()

    async def run(self) -> None:
        """Tell the manager all there is to tell, until it is cancelled; at once if that is nothing. A checkpoint.

        What becomes of the node after that is told as well.
        """
        await trio.lowlevel.checkpoint()
        manager = self._manager
        if manager is None or not manager.address:
            return
        with manager.waiting():
            while not manager.claim():  # noqa: ASYNC110 - the one that speaks may run in another thread's loop
                # The node that speaks now may end before this one.
                await trio.sleep(_AGAIN_SPEAKING)
        self._speaks = True
        try:
            if manager.watchdog is not None:
                self._alive_at = trio.current_time()
            self._standing.observers.append(self._observe)
            while True:
                self._untold = trio.Event()
                told = self._tell(manager)
                due = min(self._alive_at, self._extend_at)
                with trio.move_on_at(due if told else trio.current_time() + _RETRY):
                    await self._untold.wait()
        finally:
            self._speaks = False
            manager.release()

    def _observe(self) -> None:
        # Now, and not in the task: a node that is cancelled ends its tasks first.
        assert self._manager is not None
        if not self._speaks and self._manager.is_claimed:
            # Another node speaks now.
            return
        self._tell(self._manager)
        self._untold.set()

    def _tell(self, manager: ServiceManager) -> bool:
        """Tell the manager what it does not know yet; returns whether it knows all of it now."""
        standing, now = self._standing, trio.current_time()
        # Nor is the process to end when one of its nodes closes, and another one goes on.
        ends = standing.closing and not standing.failed and not manager.others_wait
        # A node that only drains goes on running: a manager that was told of a stop would send no signal any more.
        stops = self._is_stopping or standing.stopping or ends
        lines: list[str] = []
        is_ready = self._is_ready or (standing.started.is_set() and not stops)
        if is_ready != self._is_ready:
            lines += ["READY=1"]
        if stops != self._is_stopping:
            lines += ["STOPPING=1"]
        extends = stops and (not self._is_stopping or now >= self._extend_at)
        if extends:
            lines += [f"EXTEND_TIMEOUT_USEC={EXTENSION * 1_000_000:.0f}"]
        status = standing.status()
        if status != self._status:
            lines += [f"STATUS={' '.join(status.split())}"]
        is_alive = manager.watchdog is not None and now >= self._alive_at
        if is_alive:
            lines += ["WATCHDOG=1"]
        if lines and not manager.tell(*lines):
            return False
        self._is_ready, self._is_stopping, self._status = is_ready, stops, status
        if extends:
            self._extend_at = now + AGAIN
        if is_alive and manager.watchdog is not None:
            self._alive_at = now + manager.watchdog / _SIGNS
        return True
