"""Draining a node: it says so to its peers, and waits until what they have sent before is handled.

What is waited for is decided in `_protocol/drain.py`, where the rules are; this looks at the node, and speaks with
peers. Nothing is noted for each message. The node is looked at again and again while somebody waits, mostly every 50
ms: what a look costs depends on the ports that are busy or have a mailbox, and on the calls in flight.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

import trio

from .._events import fields
from .._peers.peer import Peer
from .._ports.port import Port, queued_in, state_of
from .._protocol import requests
from .._protocol.drain import Drain, Drained, MailboxReader, NodeWork, PortWork, Unfinished
from .._reason import Reason, listed
from .._runtime import Runtime
from .database import Database

_FIRST_PAUSE = 0.001
_LONGEST_PAUSE = 0.05
"""How long to wait between two looks at the node, at first and at most, in seconds."""

_SHARE = 10
"""How many times as long as a look has taken the pause behind it is, at least: a node may have many mailboxes."""

_SHOWN = 10
"""How many unfinished things a line of the log names."""

log = logging.getLogger("trio_mp.drain")


class DrainService:
    """The drain of one node. See `Node.drain`.

    Args:
      runtime, database: the node's.
    """

    def __init__(self, runtime: Runtime, database: Database) -> None:
        self._runtime = runtime
        self._database = database
        self._rules = Drain()
        # The ports whose code awaits a drain, once for each; and the tasks that do.
        self._within: Counter[Port] = Counter()
        self._tasks: Counter[trio.lowlevel.Task] = Counter()
        # The peers whose connections are kept.
        self._kept: set[Peer] = set()

    # What programs ask ---------------------------------------------------------------------------------------------

    async def drain(self) -> Drained:
        """See `Node.drain`."""
        runtime, standing = self._runtime, self._runtime.standing
        runtime.check_new()
        self._begin()
        with self._awaited_by(runtime.owner()):
            await trio.lowlevel.checkpoint()
            pause = _FIRST_PAUSE
            clock = runtime.lifecycle.clock
            while True:
                runtime.check_new()
                before = clock()
                work = self._look()
                if self._rules.is_done(work):
                    break
                standing.changed()
                await trio.sleep(max(pause, _SHARE * (clock() - before)))
                pause = min(2 * pause, _LONGEST_PAUSE)
            # No checkpoint from the look on: what is returned is true when it is returned.
            drained = Drained(self._rules.unfinished(work))
        self._log_end(drained)
        standing.drained = True
        standing.changed()
        return drained

    def unfinished(self) -> tuple[Unfinished, ...]:
        """See `Node.unfinished`."""
        self._runtime.check_open()
        return self._rules.unfinished(self._look())

    @contextmanager
    def _awaited_by(self, port: Port | None) -> Generator[None]:
        """Note that the running task awaits the drain, and with it this port: they are not waited for themselves."""
        task = trio.lowlevel.current_task()
        self._tasks[task] += 1
        if port is not None:
            self._within[port] += 1
        try:
            yield
        finally:
            self._tasks -= Counter([task])
            if port is not None:
                self._within -= Counter([port])

    def _log_end(self, drained: Drained) -> None:
        left = listed(drained.unfinished, _SHOWN)
        log.log(
            logging.WARNING if left else logging.INFO,
            "this node has drained: %s",
            f"unfinished is {left}" if left else "all that was sent before is handled",
            extra=fields("draining", self._runtime.id),
        )

    # How it begins -------------------------------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    def _begin(self) -> None:
        """Begin to drain, unless that was done. All of it is one step for the node's tasks."""
        if self._rules.begun:
            return
        runtime = self._runtime
        self._rules.begun = True
        runtime.lifecycle.tell_unfinished = self._port_died
        log.info("this node drains: it takes no new work", extra=fields("draining", runtime.id))
        runtime.standing.unfinished = self._summary
        # From now on it is not ready, no entry is set that names a port, and no port is made for others.
        runtime.standing.begin_draining()
        self._database.withdraw_ports()
        for supervisor in tuple(runtime.supervisors):
            supervisor.stop_restarting()
        if runtime.network is not None:
            for peer in tuple(runtime.network.peers.values()):
                self._tell(peer)

    def _tell(self, peer: Peer) -> None:
        """Tell a peer, if there is a connection with it, and from now on keep the connection."""
        if peer not in self._kept:
            # It answers `idle` by `busy`: a peer that parts now, and comes back, would not have heard.
            self._kept.add(peer)
            peer.keep("this node drains")
        # Over a connection that has parted nothing is said any more: the word would have the peer dialled.
        if peer.current is None or peer.has_parted:
            return
        understands = peer.understands(requests.DRAINING)
        if self._rules.up(peer.id, understands=understands):
            peer.send("", requests.SAY_DRAINING)
        if not understands:
            log.warning(
                "%s does not know the word `draining`: what it sends is not waited for",
                peer.id,
                extra=fields("draining", self._runtime.id, peer=peer.id),
            )

    # What it hears -------------------------------------------------------------------------------------------------

    def went_up(self, node_id: str) -> None:
        """See `Observers.up`."""
        peer = self._find_peer(node_id)
        if self._rules.begun and peer is not None:
            self._tell(peer)

    def went_down(self, node_id: str) -> None:
        """See `Observers.down`."""
        peer = self._find_peer(node_id)
        if peer is not None:
            self._rules.down(node_id, parted=peer.has_parted)

    def heard(self, node_id: str) -> None:
        """See `Observers.heard`."""
        self._rules.heard(node_id)

    def _port_died(self, port: Port, waiting: int, reason: Reason) -> None:
        """See `Lifecycle.tell_unfinished`."""
        self._rules.port_died(str.__str__(port), waiting, reason)

    def _find_peer(self, node_id: str) -> Peer | None:
        network = self._runtime.network
        return network.peers.get(node_id) if network is not None else None

    # What there is to do -------------------------------------------------------------------------------------------

    def _look(self) -> NodeWork:
        """Look at what the node has to do now."""
        runtime, lifecycle = self._runtime, self._runtime.lifecycle
        calls: Counter[str] = Counter()
        if runtime.network is not None:
            for peer in runtime.network.peers.values():
                calls.update(call.name for call in peer.callers.in_flight() if call.name)
        ports = dict.fromkeys(lifecycle.busy)
        for port in lifecycle.mailboxes:
            # Most have nothing to do, and there may be many.
            mailbox = state_of(port).mailbox
            if mailbox is not None and mailbox.has_work:
                ports[port] = None
        ports.update(dict.fromkeys([lifecycle.ports[name] for name in calls if name in lifecycle.ports]))
        works = [self._work_of(port, calls[port.name]) for port in ports if port.alive]
        # A call of a port that is dead is answered soon: its death is told.
        return NodeWork(runtime.id, len(runtime.dispatcher.queue), tuple(works))

    def _work_of(self, port: Port, calls: int) -> PortWork:
        state = state_of(port)
        return PortWork(
            str.__str__(port),
            # A task that has not begun is about to receive, perhaps.
            running=state.busy or state.tasks > len(state.scopes),
            waiting=queued_in(port)[0],
            reader=_reader_of(port),
            calls=calls,
            awaits_drain=port in self._within or (state.mailbox is not None and state.mailbox.is_read_by(self._tasks)),
        )

    def _summary(self) -> str:
        return self._rules.summary(self._look())


def _reader_of(port: Port) -> MailboxReader:
    mailbox = state_of(port).mailbox
    if mailbox is None:
        return MailboxReader.NO_MAILBOX
    if not mailbox.was_asked:
        return MailboxReader.NOBODY
    if mailbox.is_in_hand:
        return MailboxReader.BUSY
    return MailboxReader.WAITING if mailbox.is_waited_at else MailboxReader.AWAY
