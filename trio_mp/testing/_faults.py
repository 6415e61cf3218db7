"""The faults of a simulated network: what a test can do to it. Each fault is recorded in the trace."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

import trio
from trio.testing import MockClock

from ._oracle import Oracle
from ._trace import Trace
from ._wire import Host, Link, Wire

if TYPE_CHECKING:
    from ._nodes import FairnessClock


class Faults:
    """The faults of a `SimulatedNetwork`, which documents the attributes.

    A fault that lasts ends with `heal`, or with its own opposite. Nodes are named by their IDs. A fault that finds no
    connection to act upon changes nothing, is not recorded, and returns False.
    """

    trace: Trace
    oracle: Oracle
    random: random.Random
    default_link: Link
    _mended: trio.lowlevel.ParkingLot
    _hosts: dict[str, Host]
    _links: dict[tuple[str, str], Link]
    _wires: list[Wire]
    _fairness: dict[str, FairnessClock]
    _wall_offsets: dict[str, float]
    _dials_held: bool
    _held: trio.lowlevel.ParkingLot

    def _host(self, node_id: str) -> Host:
        """The machine of the node with this ID."""
        return self._hosts.setdefault(node_id, Host(node_id))

    def link(self, source: str, target: str) -> Link:
        """How bytes travel from one node to another; change it with `set_link`."""
        link = self._links.get((source, target))
        if link is None:
            link = self._links[source, target] = Link()
            link.be_like(self.default_link)
        return link

    def _open_wires(self, one: str | None = None, other: str | None = None) -> list[Wire]:
        """The connections that are open at both ends, oldest first: all, those of one node, or those of two nodes."""
        wanted = {one, other} - {None}
        return [wire for wire in self._wires if wire.open and wanted <= set(wire.nodes())]

    def _log_fault(self, kind: str, *details: object) -> None:
        """Record a fault in the trace, and tell the oracle, which then allows for some delay."""
        self.trace.record("fault", kind, *details)
        self.oracle.disturbed(calm=not self._lasting())

    def _lasting(self) -> bool:
        if self._dials_held or any(host.paused for host in self._hosts.values()):
            return True
        # A link that is only slow counts as well: messages queued for it may take longer than usual.
        return any(link != self.default_link for link in self._links.values())

    # Connections ---------------------------------------------------------------------------------------------------

    def reset(self, one: str, other: str) -> bool:
        """Break the connections of two nodes. Both ends are told, and bytes on their way are gone."""
        wires = self._open_wires(one, other)
        for wire in wires:
            for end in wire.ends:
                end.break_off()
        if wires:
            self._log_fault("reset", *(wire.name for wire in wires))
        return bool(wires)

    def half_open(self, gone: str, left: str) -> bool:
        """Break the connections of two nodes, and tell only the node `gone`. No reset answers what `left` sends."""
        wires = self._open_wires(gone, left)
        for wire in wires:
            for end in wire.ends:
                end.outgoing.vanished = True
                if end.host.node_id == gone:
                    end.break_off()
        if wires:
            self._log_fault("half-open", f"{left} is not told", *(wire.name for wire in wires))
        return bool(wires)

    def truncate(self, source: str, target: str) -> bool:
        """Cut off the next bytes from one node to another anywhere, mostly inside a frame, and end the stream there.

        The sender's connection is reset.
        """
        wires = self._open_wires(source, target)
        for wire in wires:
            wire.direction(source).truncate_next = True
        if wires:
            self._log_fault("truncation", f"from {source}", *(wire.name for wire in wires))
        return bool(wires)

    def flip_bit(self, source: str, target: str) -> bool:
        """Change one bit of the next bytes from one node to another.

        Only between nodes with `encryption`, where the receiver has to notice the change and end the connection.
        Without encryption a changed bit can make another valid message, which no program can notice.

        Raises:
          ValueError: one of the nodes has no encryption.
        """
        if not (self._host(source).encrypted and self._host(target).encrypted):
            raise ValueError(
                f"expected nodes with encryption, which notice a changed bit, got {source} and {target}:"
                " open both with encryption=True"
            )
        wires = self._open_wires(source, target)
        for wire in wires:
            wire.direction(source).flip_next = True
        if wires:
            self._log_fault("flipped bit", f"from {source}", *(wire.name for wire in wires))
        return bool(wires)

    # Links ---------------------------------------------------------------------------------------------------------

    def black_hole(self, source: str, target: str) -> None:
        """Let nothing from one node arrive at the other, while the opposite direction works.

        As with TCP, bytes that are sent wait, as far as they fit, and arrive when the link is healed, if their
        connection still exists then. New connections need both directions.
        """
        self.link(source, target).broken = True
        self._log_fault("black hole", f"from {source} to {target}")

    def partition(self, *groups: tuple[str, ...] | list[str] | set[str]) -> None:
        """Let nothing arrive between nodes of different groups, as with `black_hole` in both directions.

        Args:
          groups: sets of node IDs. The links of a node that is in none of them stay as they are.
        """
        for one, other in itertools.permutations(groups, 2):
            for source, target in itertools.product(sorted(one), sorted(other)):
                self.link(source, target).broken = True
        self._log_fault("partition", " | ".join(" ".join(sorted(group)) for group in groups))

    def set_link(
        self,
        one: str,
        other: str,
        *,
        delay: float | None = None,
        jitter: float | None = None,
        split: float | None = None,
        capacity: int | None = None,
    ) -> None:
        """Change how bytes travel between two nodes, both ways. Arguments that are not given leave the link as it is.

        Args:
          one, other: the node IDs.
          delay: how long bytes take, in seconds.
          jitter: how much longer they may take, at random, in seconds. Bytes stay in order.
          split: the probability that a write or a read is cut short anywhere.
          capacity: how many bytes a connection holds in one direction, on their way and unread.
        """
        for link in (self.link(one, other), self.link(other, one)):
            link.delay = link.delay if delay is None else delay
            link.jitter = link.jitter if jitter is None else jitter
            link.split = link.split if split is None else split
            link.capacity = link.capacity if capacity is None else capacity
        self._log_fault("slow link", one, other, delay, jitter, split, capacity)

    def slow_reader(self, node_id: str, rate: float) -> None:
        """Let a node read at most `rate` bytes a second from each of its connections."""
        for other in sorted(self._hosts.keys() - {node_id}):
            self.link(other, node_id).rate = rate
        self._log_fault("slow reader", node_id, f"{rate:g} B/s")

    def fill_queue(self, source: str, target: str) -> None:
        """Let the connections from one node to another take no more bytes: messages stay in the outgoing queue."""
        self.link(source, target).capacity = 0
        self._log_fault("full queue", f"from {source} to {target}")

    def heal(self, *nodes: str) -> None:
        """Undo all faults that last: black holes, partitions, pauses, slow links and readers, held dials.

        Args:
          nodes: heal only the links between these nodes, and their pauses; without any, heal everything.
        """
        chosen = set(nodes) or self._hosts.keys()
        for (source, target), link in self._links.items():
            if {source, target} <= chosen:
                link.be_like(self.default_link)
        for node_id, host in self._hosts.items():
            if node_id in chosen:
                host.paused = False
        if not nodes:
            self._dials_held = False
            self._held.unpark_all()
        self._release()
        self.trace.record("heal", *nodes)
        self.oracle.disturbed(calm=not self._lasting())

    def _release(self) -> None:
        for wire in self._wires:
            for end in wire.ends:
                end.outgoing.release()
                end.wake()
        self._mended.unpark_all()

    # Nodes ---------------------------------------------------------------------------------------------------------

    def pause(self, node_id: str) -> None:
        """Pause a node until `resume` or `heal`: it reads and writes nothing, accepts and dials nothing.

        Bytes that others send to it wait, as far as they fit; so do those that its program sends. A pause is not
        SIGSTOP: the node's program and timers go on, because all nodes of a simulation share one clock. So a paused
        node may give up its connections, as the other side may. To simulate processes that were stopped and find that
        much time has passed, use `jump_clock`, which stops all nodes.
        """
        self._host(node_id).paused = True
        self._log_fault("pause", node_id)

    def resume(self, node_id: str) -> None:
        """End the pause of a node."""
        self._host(node_id).paused = False
        self._release()
        self.trace.record("resume", node_id)
        self.oracle.disturbed(calm=not self._lasting())

    def stall(self, node_id: str, seconds: float) -> None:
        """Let a handler of a node seem to compute for some seconds, by the clock with which the node measures handlers.

        Only that node's measurement changes. To let the time pass for all nodes as well, call `jump_clock`.
        """
        clock = self._fairness.get(node_id)
        if clock is not None:
            clock.now += seconds
        self._log_fault("stall", node_id, f"{seconds:g} s")

    def jump_clock(self, seconds: float) -> None:
        """Let time pass at once while no node runs, as if the process was stopped or the machine was asleep."""
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, MockClock)
        self._log_fault("clock jump", f"{seconds:g} s")
        clock.jump(seconds)
        self.oracle.disturbed(calm=not self._lasting())

    def jump_wall_clock(self, node_id: str, seconds: float) -> None:
        """Set the time of day of a node forwards or backwards. Nothing in a node may depend on it."""
        self._wall_offsets[node_id] = self._wall_offsets.get(node_id, 0.0) + seconds
        self._log_fault("wall clock", node_id, f"{seconds:+g} s")

    def hold_dials(self) -> None:
        """Let every dial from now on wait for `release_dials`, so that all of them arrive at the same time."""
        self._dials_held = True
        self._log_fault("simultaneous dialling")

    def release_dials(self) -> None:
        """Let the dials go on that `hold_dials` has held."""
        self._dials_held = False
        self._held.unpark_all()
        self.trace.record("dials released")
        self.oracle.disturbed(calm=not self._lasting())
