"""The ports of this node that a peer monitors."""

from __future__ import annotations

from typing import Protocol

from .._ports.boundary import LocalPorts, RemoteMonitor
from .._protocol.association.association import Association
from .._protocol.requests import died
from .._reason import Reason, reason_lost, too_many_monitors
from .own_errors import Survivor, survives


class WatchingPeer(Survivor, Protocol):
    """A peer that monitors ports; see `Peer`."""

    id: str
    association: Association

    def send(self, name: str, message: tuple[object, ...]) -> None:
        """Queue a message for a port there."""
        ...


class Watchers:
    """The monitors that a peer has on ports of this node. They end with the connection in use.

    Args:
      peer: who monitors.
      dispatcher: the ports of this node.
      limit: how many it may monitor.
    """

    def __init__(self, peer: WatchingPeer, dispatcher: LocalPorts, limit: int) -> None:
        self._peer = peer
        self.fail = peer.fail
        self._dispatcher = dispatcher
        self._limit = limit
        self._watchers: dict[str, RemoteMonitor] = {}

    def __len__(self) -> int:
        return len(self._watchers)

    @property
    def full(self) -> bool:
        """Whether the peer may monitor no further port."""
        return len(self._watchers) >= self._limit

    def begin(self, name: str) -> bool:
        """Begin a monitor that the peer has asked for. If that is one too many, tell the peer and return False."""
        if name in self._watchers:
            return True
        if self.full:
            # The peer must not wait for a report that never comes, so the refusal is one.
            self._peer.send("", died(name, too_many_monitors(self._limit)))
            return False
        watcher = self._watchers[name] = RemoteMonitor(self, name)
        self._peer.association.watched.add(name)
        self._dispatcher.lifecycle.add_local_monitor(name, watcher)
        return True

    def end(self, name: str) -> None:
        """End the peer's monitor of the port of this name, if there is one."""
        watcher = self._watchers.pop(name, None)
        if watcher is not None:
            self._peer.association.watched.discard(name)
            self._dispatcher.lifecycle.remove_local_monitor(name, watcher)

    def end_all(self) -> None:
        """End all monitors of the peer, because the connection has ended that they were asked for by."""
        for name in tuple(self._watchers):
            self.end(name)

    @survives
    def tell_death(self, name: str, reason: Reason) -> None:
        """See `RemoteWatcher.tell_death`."""
        if self._watchers.pop(name, None) is None:
            return
        self._peer.association.watched.discard(name)
        try:
            self._peer.send("", died(name, reason))
        except (TypeError, ValueError) as error:
            self._peer.send("", died(name, reason_lost(error)))
