"""What a node counts, as one frozen object: for its own program, and for other nodes, to which it travels as a map.

Every number is kept where the thing happens, and most of them would be there anyway: nothing is walked through here
but the peers, so that a node with a million ports answers at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import trio

from .._peers.network import Network
from .._peers.own_blocks import OwnBlock
from .._peers.peer import Peer
from .._peers.traffic import Traffic
from .._runtime import Runtime
from .calls import Calls


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerStatistics:
    """What a node counts of another one. Of nodes with which nothing binds it any more it forgets this after minutes.

    Attributes:
      node: the ID of the other node.
      connected: whether a connection with it is in use.
      connected_since: since when, by the time of day, in seconds since 1970; None if there is no connection.
      address: by way of what, for people; empty if there is no connection, as are the next three.
      transport: `tcp` or `unix`.
      dialled: whether this side has dialled.
      encrypted: whether the connection is encrypted.
      messages_in, messages_out: messages and requests received, and handed to the operating system, since the other
        node is known.
      bytes_in, bytes_out: the bytes of all connections with it that were in use, as they are on their way:
        with handshakes, signs of life and encryption, without byte streams.
      queued, queued_size: how many messages wait to be written, and how many bytes these have.
      lost: how many messages to it were dropped.
      monitors_out: how many of its ports this node monitors; a call that waits for an answer counts as one.
      monitors_in: how many ports of this node it monitors.
      calls_out, calls_in: calls in flight, of this node and of the other one.
      connections_made: how many connections with it were in use, one after the other.
      connections_broken: how many of them have ended, by cause: see `NodeStatistics`.
    """

    node: str
    connected: bool = False
    connected_since: float | None = None
    address: str = ""
    transport: str = ""
    dialled: bool = False
    encrypted: bool = False
    messages_in: int = 0
    messages_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    queued: int = 0
    queued_size: int = 0
    lost: int = 0
    monitors_out: int = 0
    monitors_in: int = 0
    calls_out: int = 0
    calls_in: int = 0
    connections_made: int = 0
    connections_broken: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockStatistics:
    """A time of more than three heartbeats when nothing of a node ran, so that other nodes may have given it up.

    Attributes:
      seconds: how long it was.
      what: the same for people, with the place if the watchdog has seen it: `blocked 18.2 s at app.py:40, in take`.
      ended: when it had ended, by the node's time of day, in seconds since 1970.
      peers: the nodes whose connections with this one have ended by it.
    """

    seconds: float = 0.0
    what: str = ""
    ended: float = 0.0
    peers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatistics:
    """What a node has counted since it was opened; see `Node.statistics`.

    Attributes:
      node: the ID of the node.
      started: when it was opened, by its time of day, in seconds since 1970.
      uptime: for how many seconds it has been open.
      messages_here: messages from this node to its own ports that were handed to them. Calls are not among them.
      messages_in, messages_out, bytes_in, bytes_out: as for `PeerStatistics`, of all other nodes together.
      waiting: how many local messages and jobs wait for their turn.
      waiting_in_ports: how many messages wait in ports: in mailboxes, and for handlers that run.
      lost: messages that were dropped or refused, by the identifier of the reason: see `Lost`. Of what was on its way
        when a connection was lost nobody knows how much it was.
      ports: how many ports are alive, with those that wait for the answers to calls.
      unwinding: how many ports are dead, but their tasks have not ended yet.
      mailboxes: how many live ports have a mailbox.
      monitors_here: how many monitors there are on ports of this node, of its own program and of other nodes.
      monitors_out: on how many ports of other nodes this one has monitors, calls in flight among them.
      calls_made: how many calls were begun.
      calls_out, calls_in: how many calls are in flight, of this node and of others.
      calls_expired: how many calls came to their port when nobody waited any more, and were not begun.
      deaths: how many ports have died, by the identifier of the reason; `normal` for a normal death. Reasons without
        an identifier, and those after the first hundred identifiers, count as `other`.
      supervisors: how many supervisors are open.
      restarts: how often supervisors have started children again.
      connections_made: how many connections with other nodes have come into use.
      connections_broken: how many of them have ended, by cause: `closed` by the other side, `parted` because nothing
        needed it, `silent`, `error` of the operating system, `fault` of the other side, `given_up` because a queue was
        full or another connection took its place, `closing` of this node, or `failed`, an error in this program.
      stalls: how often a handler has computed for longer than a heartbeat.
      delay, greatest_delay: how late, in seconds, the task woke that wakes twice in each heartbeat: the last time, and
        the worst time. So long other tasks and handlers have kept the thread to themselves. None without a network.
      blocks: the last ten times of more than three heartbeats when nothing of the node ran, the latest last.
      peers: what was counted of each other node.
    """

    node: str
    started: float = 0.0
    uptime: float = 0.0
    messages_here: int = 0
    messages_in: int = 0
    messages_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    waiting: int = 0
    waiting_in_ports: int = 0
    lost: dict[str, int] = field(default_factory=dict)
    ports: int = 0
    unwinding: int = 0
    mailboxes: int = 0
    monitors_here: int = 0
    monitors_out: int = 0
    calls_made: int = 0
    calls_out: int = 0
    calls_in: int = 0
    calls_expired: int = 0
    deaths: dict[str, int] = field(default_factory=dict)
    supervisors: int = 0
    restarts: int = 0
    connections_made: int = 0
    connections_broken: dict[str, int] = field(default_factory=dict)
    stalls: int = 0
    delay: float | None = None
    greatest_delay: float | None = None
    blocks: tuple[BlockStatistics, ...] = ()
    peers: tuple[PeerStatistics, ...] = ()

    def to_plain(self) -> dict[str, Any]:
        """As a dict of plain values, which can be sent, or written as JSON."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain

    @staticmethod
    def from_plain(value: object) -> NodeStatistics:
        """What `to_plain` has given, also on a node of another version: what that does not say is 0, or empty.

        Raises:
          ValueError: it is something else; the text names the place.
        """
        try:
            return msgspec.convert(value, NodeStatistics)
        except msgspec.ValidationError as error:
            raise ValueError(f"expected the statistics of a node, got something else: {error}") from None


def measure(runtime: Runtime, calls: Calls) -> NodeStatistics:
    """See `Node.statistics`."""
    dispatcher, lifecycle, network = runtime.dispatcher, runtime.lifecycle, runtime.network
    wall_clock, opened = runtime.started
    uptime = trio.current_time() - opened
    total = Traffic()
    peers: tuple[PeerStatistics, ...] = ()
    if network is not None:
        total, peers = _measure_network(network, wall_clock + uptime)
    return NodeStatistics(
        node=runtime.id,
        started=wall_clock,
        uptime=uptime,
        messages_here=dispatcher.taken - dispatcher.jobs,
        messages_in=total.messages_in,
        messages_out=total.written,
        bytes_in=total.bytes_in,
        bytes_out=total.bytes_out,
        waiting=len(dispatcher.queue),
        waiting_in_ports=lifecycle.count_waiting(),
        lost=dict(lifecycle.losses.counted.counts),
        ports=len(lifecycle.ports),
        unwinding=len(lifecycle.unwinding),
        mailboxes=len(lifecycle.mailboxes),
        monitors_here=lifecycle.monitored,
        monitors_out=sum([peer.monitors_out for peer in peers]),
        calls_made=calls.made,
        calls_out=calls.in_flight,
        calls_in=sum([peer.calls_in for peer in peers]),
        calls_expired=dispatcher.expired,
        deaths=dict(lifecycle.deaths.counts),
        supervisors=len(runtime.supervisors),
        restarts=runtime.restarts,
        connections_made=total.connections,
        connections_broken=dict(total.broken.counts),
        stalls=dispatcher.stalls,
        delay=network.delay if network is not None else None,
        greatest_delay=network.greatest_delay if network is not None else None,
        blocks=tuple(map(_measure_block, network.own_blocks.latest)) if network is not None else (),
        peers=peers,
    )


def _measure_network(network: Network, now: float) -> tuple[Traffic, tuple[PeerStatistics, ...]]:
    """What has gone over all connections, and what was counted of each peer; `now` is the time of day."""
    total = Traffic()
    total.add(network.past)
    for peer in network.peers.values():
        total.add(peer.traffic)
        total.written += peer.queue.delivered
    return total, tuple([_measure_peer(peer, now) for peer in network.peers.values()])


def _measure_block(block: OwnBlock) -> BlockStatistics:
    return BlockStatistics(seconds=block.seconds, what=block.what, ended=block.ended, peers=tuple(block.peers))


def _measure_peer(peer: Peer, now: float) -> PeerStatistics:
    traffic, queue, current = peer.traffic, peer.queue, peer.current
    return PeerStatistics(
        node=peer.id,
        connected=current is not None,
        connected_since=now - (trio.current_time() - peer.up_since) if current is not None else None,
        address=current.address if current is not None else "",
        transport=current.transport if current is not None else "",
        dialled=current is not None and current.session.handshake.dialler,
        encrypted=current is not None and current.session.encrypted,
        messages_in=traffic.messages_in,
        messages_out=queue.delivered,
        bytes_in=traffic.bytes_in,
        bytes_out=traffic.bytes_out,
        queued=queue.waiting,
        queued_size=queue.size,
        lost=traffic.lost,
        monitors_out=len(peer.outbox.monitors),
        monitors_in=len(peer.watchers),
        calls_out=peer.calling,
        calls_in=len(peer.callers),
        connections_made=traffic.connections,
        connections_broken=dict(traffic.broken.counts),
    )
