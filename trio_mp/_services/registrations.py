"""Entries of the database that end with something: with a port, with a life of a child, with a port of another node."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

import trio

from .._events import fields
from .._ids import node_of
from .._ports.monitor import Monitor
from .._ports.port_state import Owned
from .._reason import identifier_of, is_doubtful
from .._runtime import Runtime
from .redialler import RetryDelay

_LAST_RETRY = 30.0
"""The longest wait before a port is monitored again that may be dead, in seconds, without the jitter."""

log = logging.getLogger("trio_mp.database")


class Registration(Protocol):
    """What deletes an entry when its owner has ended."""

    def release(self) -> None:
        """The entry does not belong to the owner any more: it was set over, or deleted."""
        ...


class OwnedEntry:
    """An entry that ends with an owner on this node, a port or a life of a child. It is among what the owner owns.

    Args:
      delete: deletes the entry.
      owned: what the owner owns.
    """

    __slots__ = ("_delete", "_owned")

    def __init__(self, delete: Callable[[], None], owned: dict[Owned, None]) -> None:
        self._delete = delete
        self._owned = owned
        owned[self] = None

    def cancel(self) -> None:
        """Delete the entry, because its owner has ended."""
        self._delete()

    def release(self) -> None:
        """See `Registration.release`."""
        self._owned.pop(self, None)


class EntryOfPeer:
    """An entry about a port of another node. It ends when a monitor of this node says that the port has died.

    A lost connection says nothing about the port. So the port is monitored anew, after a while, and again, until its
    node says that it lives or that it does not: the next run of that node knows no port of the run before.

    Args:
      runtime: the node that has set the entry.
      port: the ID of the port.
      delete: deletes the entry.

    Raises:
      trio.ClosedResourceError: the node is closing.
    """

    __slots__ = ("_delay", "_delete", "_monitor", "_node_id", "_port", "_runtime", "_waiting")

    def __init__(self, runtime: Runtime, port: str, delete: Callable[[], None]) -> None:
        self._runtime = runtime
        self._port = port
        self._node_id = node_of(port)
        self._delete = delete
        self._delay = RetryDelay(runtime.environment.jitter, _LAST_RETRY)
        self._waiting = trio.CancelScope()
        self._monitor: Monitor = runtime.monitor(port, self._died, None)

    def release(self) -> None:
        """See `Registration.release`."""
        self._waiting.cancel()
        self._monitor.cancel()

    def _died(self, *reason: object) -> None:
        if not is_doubtful(reason, self._node_id):
            self._delete()
            return
        log.debug(
            "%s may live: its entry stays, and this node monitors it again: %r",
            self._port,
            reason,
            extra=fields("doubt", self._runtime.id, peer=node_of(self._port), reason=identifier_of(reason)),
        )
        self._waiting = trio.CancelScope()
        self._runtime.lifecycle.start_system_task(self._monitor_again, self._waiting)

    async def _monitor_again(self, waiting: trio.CancelScope) -> None:
        with waiting:
            await trio.sleep(self._delay.next())
            try:
                self._monitor = self._runtime.monitor(self._port, self._died, None)
            except trio.ClosedResourceError:
                # The entry goes with this node.
                log.debug(
                    "%s: this node closes, and no longer monitors %s",
                    self._runtime.id,
                    self._port,
                    extra=fields("doubt", self._runtime.id, peer=node_of(self._port)),
                )
