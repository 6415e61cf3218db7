"""Draining a node: it says so to its peers, and waits until what they have sent before is handled.

What is waited for is decided in `_protocol/drain.py`, where the rules are; this looks at the node, and speaks with
peers. Nothing is noted for each message. The node is looked at again and again while somebody waits, mostly every 50
ms: what a look costs depends on the ports that are busy or have a mailbox, and on the calls in flight.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Generator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass

import trio

from .._events import fields
from .._peers.callers import CallOfPeer
from .._peers.peer import Peer
from .._ports.calls import CurrentCall, current_call
from .._ports.mailbox import Mailbox
from .._ports.port import Port, state_of
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

_KEPT = "this node drains"
"""Why connections are kept."""

log = logging.getLogger("trio_mp.drain")


@dataclass(frozen=True, slots=True, eq=False)
class DrainAwaiter:
    """A task that awaits the drain.

    Attributes:
      task: the task.
      port: the port whose code it runs; None if it is no code of a port of this node.
      call: the call that its handler answers, if that is known.
    """

    task: trio.lowlevel.Task
    port: Port | None
    call: CurrentCall | None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What a drain does not wait for, because it awaits a drain itself: rule 6. Mostly nothing.

    Attributes:
      tasks: the tasks that await a drain, and those that wait for them in nurseries.
      ports: the ports whose code awaits a drain, and perhaps answers calls behind it.
      calls: the calls that are answered behind a drain.
    """

    tasks: Set[trio.lowlevel.Task] = frozenset()
    ports: Set[Port] = frozenset()
    calls: Set[CurrentCall] = frozenset()


_NOTHING = LeftOut()


class DrainService:
    """The drain of one node. See `Node.drain`.

    Args:
      runtime, database: the node's.
    """

    def __init__(self, runtime: Runtime, database: Database) -> None:
        self._runtime = runtime
        self._database = database
        self._rules = Drain()
        # Who awaits a drain. A dict for its order.
        self._awaiters: dict[DrainAwaiter, None] = {}
        # The peers whose connections are kept.
        self._kept: set[Peer] = set()

    # What programs ask ---------------------------------------------------------------------------------------------

    async def drain(self) -> Drained:
        """See `Node.drain`."""
        runtime, standing = self._runtime, self._runtime.standing
        runtime.check_new()
        self._begin()
        with self._awaited() as awaiter:
            await trio.lowlevel.checkpoint()
            pause = _FIRST_PAUSE
            clock = runtime.lifecycle.clock
            while True:
                runtime.check_new()
                before = clock()
                work = self._look(awaiter)
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
    def _awaited(self) -> Generator[DrainAwaiter]:
        """Note that the running task awaits the drain, for the length of the block."""
        awaiter = DrainAwaiter(trio.lowlevel.current_task(), self._runtime.owner(), current_call())
        self._awaiters[awaiter] = None
        self._runtime.standing.drains = True
        try:
            yield awaiter
        finally:
            del self._awaiters[awaiter]
            if not self._awaiters:
                self._runtime.standing.drains = False
                for supervisor in tuple(self._runtime.supervisors):
                    supervisor.drain_ended()

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
        self._database._withdraw_ports()
        for supervisor in tuple(runtime.supervisors):
            supervisor.stop_restarting()
        if runtime.network is not None:
            for peer in tuple(runtime.network.peers.values()):
                self._tell(peer)

    def _tell(self, peer: Peer) -> None:
        """Tell a peer, if there is a connection with it, and keep this connection."""
        # Over a connection that has parted nothing is said any more: the word would have the peer dialled.
        if peer.current is None or peer.has_parted:
            return
        if peer not in self._kept:
            # It answers `idle` by `busy`: a peer that parts now, and comes back, would not have heard.
            self._kept.add(peer)
            peer.keep(_KEPT)
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
        if peer is None:
            return
        self._rules.down(node_id, parted=peer.has_parted)
        if peer in self._kept:
            # It is told again if it comes again. If it does not, it is forgotten, as any other node.
            self._kept.discard(peer)
            peer.release(_KEPT)

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

    def _look(self, awaiter: DrainAwaiter | None = None) -> NodeWork:
        """Look at what the node has to do now.

        Args:
          awaiter: for whose drain: what that one cannot wait for is left out. None leaves nothing out.
        """
        runtime, lifecycle = self._runtime, self._runtime.lifecycle
        calls: defaultdict[str, list[CallOfPeer]] = defaultdict(list)
        if runtime.network is not None:
            for peer in runtime.network.peers.values():
                for call in peer.callers.in_flight():
                    if call.name:
                        calls[call.name].append(call)
        found = dict.fromkeys(lifecycle.busy)
        for port in lifecycle.mailboxes:
            # Most have nothing to do, and there may be many.
            mailbox = state_of(port).mailbox
            if mailbox is not None and mailbox.has_work:
                found[port] = None
        found.update(dict.fromkeys([lifecycle.ports[name] for name in calls if name in lifecycle.ports]))
        # A call of a port that is dead is answered soon: its death is told.
        ports = [port for port in found if port.alive]
        left_out = self._left_out(awaiter, ports) if awaiter is not None else _NOTHING
        works = [self._work_of(port, calls.get(port.name, ()), left_out) for port in ports]
        return NodeWork(runtime.id, len(runtime.dispatcher.queue), tuple(works))

    def _left_out(self, awaiter: DrainAwaiter, ports: Sequence[Port]) -> LeftOut:
        """What a drain does not wait for: rule 6.

        Args:
          awaiter: who awaits the drain.
          ports: those that have something to do.
        """
        if awaiter.port is None:
            own, busy = self._lineage(awaiter.task), self._runtime.lifecycle.busy
            mailboxes = [state_of(port).mailbox for port in ports]
            if not any(busy.get(port) in own for port in ports) and not any(
                mailbox.readers() & own for mailbox in mailboxes if mailbox is not None
            ):
                return _NOTHING
        return LeftOut(
            tasks={task for each in self._awaiters for task in self._lineage(each.task)},
            ports={each.port for each in self._awaiters if each.port is not None and each.call is None},
            calls={each.call for each in self._awaiters if each.call is not None},
        )

    def _lineage(self, task: trio.lowlevel.Task) -> set[trio.lowlevel.Task]:
        """A task, and those that wait for it, each in a nursery; without the one that waits in the node's."""
        found = {task}
        while (nursery := task.parent_nursery) is not None and nursery is not self._runtime.lifecycle.nursery:
            task = nursery.parent_task
            found.add(task)
        return found

    def _work_of(self, port: Port, calls: Sequence[CallOfPeer], left_out: LeftOut) -> PortWork:
        state, tasks = state_of(port), left_out.tasks
        mailbox = state.mailbox
        pending = len(state.pending) if state.pending is not None else 0
        boxed = len(mailbox) if mailbox is not None else 0
        readers = mailbox.readers() if mailbox is not None and tasks else set()
        handler_awaits = self._runtime.lifecycle.busy.get(port) in tasks
        nobody_else = bool(readers) and readers <= tasks
        # Calls that wait in a mailbox from which nobody takes them are messages there.
        untaken: Set[str] = set()
        if mailbox is not None and calls and (nobody_else or not mailbox.was_asked):
            untaken = mailbox.waiting_ends()
        may_answer = port in left_out.ports or bool(readers & tasks)
        unanswered = claimed = 0
        for call in calls:
            behind = handler_awaits and not call.was_begun
            if behind or call in left_out.calls or call.reply_port() in untaken:
                continue
            if may_answer and call.was_handed_on:
                claimed += 1
            else:
                unanswered += 1
        left_behind = pending * handler_awaits + boxed * nobody_else
        return PortWork(
            str.__str__(port),
            # A task that has not begun is about to receive, perhaps.
            running=(state.busy and not handler_awaits) or state.tasks > len(state.scopes),
            waiting=pending + boxed - left_behind,
            reader=_reader_of(mailbox, tasks),
            calls=unanswered,
            behind=left_behind,
            claimed=claimed,
        )

    def _summary(self) -> str:
        # A drain that is awaited outside of ports waits for all, so nothing is left out if there is one.
        awaiters = [*self._awaiters] if all(each.port is not None for each in self._awaiters) else []
        return self._rules.summary(self._look(awaiters[0] if awaiters else None))


def _reader_of(mailbox: Mailbox | None, left_out: Set[trio.lowlevel.Task]) -> MailboxReader:
    if mailbox is None:
        return MailboxReader.NO_MAILBOX
    if not mailbox.was_asked:
        return MailboxReader.NOBODY
    if any(loop.is_at_work and loop.task not in left_out for loop in mailbox.loops()):
        return MailboxReader.BUSY
    return MailboxReader.WAITING if mailbox.is_waited_at else MailboxReader.AWAY
