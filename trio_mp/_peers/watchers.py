"""The ports of this node that a peer monitors."""

from __future__ import annotations

import logging
from typing import Protocol

from .._ports.boundary import LocalPorts, RemoteMonitor
from .._protocol.association.association import Association
from .._reason import Reason, reason_lost, too_many_monitors
from .own_errors import Survivor, survives

log = logging.getLogger("trio_mp.connection")


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
        self._at_limit = False

    def __len__(self) -> int:
        return len(self._watchers)

    def begin(self, name: str) -> None:
        """The peer monitors one of our ports."""
        if name in self._watchers:
            return
        if len(self._watchers) >= self._limit:
            # It must not wait for a report that never comes: that it is refused is one.
            if not self._at_limit:
                count = len(self._watchers)
                log.warning("%s: it monitors %d ports here, the limit; more are refused", self._peer.id, count)
            self._at_limit = True
            self._peer.send("", ("kil0", name, *too_many_monitors(self._limit)))
        else:
            watcher = self._watchers[name] = RemoteMonitor(self, name)
            self._peer.association.watched.add(name)
            self._dispatcher.lifecycle.add_local_monitor(name, watcher)

    def end(self, name: str) -> None:
        """The peer does not monitor it any more, or cannot."""
        watcher = self._watchers.pop(name, None)
        if watcher is not None:
            self._peer.association.watched.discard(name)
            self._dispatcher.lifecycle.remove_local_monitor(name, watcher)

    def end_all(self) -> None:
        """The connection has ended, whatever became of it."""
        for name in tuple(self._watchers):
            self.end(name)

    @survives
    def tell_death(self, name: str, reason: Reason) -> None:
        """See `RemoteWatcher.tell_death`."""
        if self._watchers.pop(name, None) is None:
            return
        self._peer.association.watched.discard(name)
        try:
            self._peer.send("", ("kil0", name, *reason))
        except (TypeError, ValueError) as error:
            self._peer.send("", ("kil0", name, *reason_lost(error)))
