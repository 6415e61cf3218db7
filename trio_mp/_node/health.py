"""What a node answers to probes: whether it is ready, and whether it lives. The setting is `health`."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable

from .._events import fields
from .._peers.standing import Standing
from .._ports.blocked import Blocked
from .._transport.addresses import Address
from .._transport.sockets import SocketListener, SocketTransport
from .probe_server import BACKLOG, ProbeServer

log = logging.getLogger("trio_mp")


class Health:
    """The answers to probes of one node.

    Args:
      standing: whether the node is ready.
      blocked: says how long the loop has not turned, and where it stands; None if it turns. Safe in all threads.
      patience: how long the loop may stand until the node counts as dead, in seconds.
    """

    def __init__(self, standing: Standing, blocked: Callable[[], Blocked | None], patience: float) -> None:
        self._standing = standing
        self._blocked = blocked
        self._patience = patience

    def answer(self, path: str) -> tuple[int, str] | None:
        """Return the status of HTTP and the line for a path; None if there is no such path. Safe in all threads."""
        if path == "/live":
            return self._told(self._why_dead(), "live")
        if path == "/ready":
            # What the standing says is from before the loop stood, and nothing that comes now is answered.
            return self._told(self._why_dead() or self._standing.why_not_ready(), "ready")
        return None

    def _why_dead(self) -> str:
        blocked = self._blocked()
        return str(blocked) if blocked is not None and blocked.seconds >= self._patience else ""

    @staticmethod
    def _told(why_not: str, yes: str) -> tuple[int, str]:
        return (503, why_not) if why_not else (200, yes)


class HealthListener:
    """Answers probes at one address until it is closed.

    Args:
      listeners: they listen there; they are closed at the end, and where this fails.
      health: what is answered.
      node_id: the ID of the node, for logs.

    Raises:
      OSError: the system has no file descriptor left, or no memory.
      RuntimeError: the process can have no more threads.

    Attributes:
      addresses: where it listens, with the real TCP ports.
    """

    def __init__(self, listeners: list[SocketListener], health: Health, node_id: str) -> None:
        self._listeners = listeners
        self.addresses = tuple(listener.address for listener in listeners)
        with contextlib.ExitStack() as failing:
            for listener in listeners:
                failing.callback(listener.close_nowait)
            taken: list[socket.socket] = []
            for listener in listeners:
                taken.append(listener.take_socket(BACKLOG))
                failing.callback(taken[-1].close)
            self._server = ProbeServer(taken, health.answer, node_id)
            self._server.start()
            failing.pop_all()

    def close(self) -> None:
        """Answer no more, and remove the file of a Unix socket. Not a checkpoint: it waits for the thread a moment."""
        # First, so that nobody finds the file of a socket that is closed.
        self._remove_files()
        self._server.stop()

    def _remove_files(self) -> None:
        for listener in self._listeners:
            listener.remove_file()


async def open_health(address: Address, health: Health, node_id: str) -> HealthListener:
    """Answer probes at an address from now on, in a thread. A checkpoint. Cancelled, nothing is left behind.

    Raises:
      OSError: it cannot listen there; the text names the address.
      RuntimeError: the process can have no more threads.
    """
    try:
        # Real sockets, whatever the transport of the node is: probes come from outside.
        listeners = await SocketTransport().listen(address)
        found = HealthListener([one for one in listeners if isinstance(one, SocketListener)], health, node_id)
    except OSError as error:
        raise OSError(error.errno, f"health: {error.strerror or error}") from error
    log.info("the node answers probes at %s", ", ".join(found.addresses), extra=fields("health", node_id))
    return found
