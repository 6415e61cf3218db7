"""What can be done to a simulated network. Each fault writes itself into the trace."""

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
    """The faults of a `SimulatedNetwork`, which says what the attributes are.

    Those that last do so until `heal`, or until their own opposite. Nodes are named by their IDs. A fault that finds
    no connection to act upon is none, and returns False.
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

    def host(self, node_id: str) -> Host:
        """The machine of a node."""
        return self._hosts.setdefault(node_id, Host(node_id))

    def link(self, source: str, target: str) -> Link:
        """How bytes travel from one node to another; change it with `set_link`."""
        link = self._links.get((source, target))
        if link is None:
            link = self._links[source, target] = Link()
            link.be_like(self.default_link)
        return link

    def wires(self, one: str | None = None, other: str | None = None) -> list[Wire]:
        """The connections that are open at both ends, the oldest first: all, those of a node, or those of two."""
        wanted = {one, other} - {None}
        return [wire for wire in self._wires if wire.open and wanted <= set(wire.nodes())]

    def log_fault(self, kind: str, *details: object) -> None:
        """Note a fault, in the trace and for the oracle, which then allows for some delay."""
        self.trace.record("fault", kind, *details)
        self.oracle.disturbed(calm=not self._lasting())

    def _lasting(self) -> bool:
        if self._dials_held or any(host.paused for host in self._hosts.values()):
            return True
        # A link that is only slow counts as well: what is queued for it may take longer than usual.
        return any(link != self.default_link for link in self._links.values())

    # Connections ---------------------------------------------------------------------------------------------------

    def reset(self, one: str, other: str) -> bool:
        """The connections of two nodes break: both ends are told, and what is on its way is gone."""
        wires = self.wires(one, other)
        for wire in wires:
            for end in wire.ends:
                end.break_off()
        if wires:
            self.log_fault("reset", *(wire.name for wire in wires))
        return bool(wires)

    def half_open(self, gone: str, left: str) -> bool:
        """The connections of two nodes break, but only one is told; what the other one sends is not even refused."""
        wires = self.wires(gone, left)
        for wire in wires:
            for end in wire.ends:
                end.outgoing.vanished = True
                if end.host.node_id == gone:
                    end.break_off()
        if wires:
            self.log_fault("half-open", f"{left} is not told", *(wire.name for wire in wires))
        return bool(wires)

    def truncate(self, source: str, target: str) -> bool:
        """The next bytes from one node to another are cut off anywhere, mostly in a frame, and the stream ends there.

        The sender finds a reset.
        """
        wires = self.wires(source, target)
        for wire in wires:
            wire.direction(source).truncate_next = True
        if wires:
            self.log_fault("truncation", f"from {source}", *(wire.name for wire in wires))
        return bool(wires)

    def flip_bit(self, source: str, target: str) -> bool:
        """One bit of the next bytes from one node to another is changed.

        Only where it must be noticed, between nodes with `encryption`: there the receiver has to end the connection.
        Without encryption a changed bit can make another valid message, and no program can tell; who fears that
        encrypts.

        Raises:
          ValueError: one of the nodes has no encryption.
        """
        if not (self.host(source).encrypted and self.host(target).encrypted):
            raise ValueError(f"{source} and {target} do not encrypt, so that a changed bit need not be noticed")
        wires = self.wires(source, target)
        for wire in wires:
            wire.direction(source).flip_next = True
        if wires:
            self.log_fault("flipped bit", f"from {source}", *(wire.name for wire in wires))
        return bool(wires)

    # Links ---------------------------------------------------------------------------------------------------------

    def black_hole(self, source: str, target: str) -> None:
        """Nothing from one node arrives at the other, while the opposite direction works.

        As with TCP, what is sent waits, as far as it fits, and arrives when the link is healed, if its connection still
        is there then. Connecting takes both directions.
        """
        self.link(source, target).broken = True
        self.log_fault("black hole", f"from {source} to {target}")

    def partition(self, *groups: tuple[str, ...] | list[str] | set[str]) -> None:
        """Nodes of different groups hear nothing of each other, as with `black_hole` in both directions.

        Args:
          groups: sets of node IDs; a node in none of them is not concerned.
        """
        for one, other in itertools.permutations(groups, 2):
            for source, target in itertools.product(sorted(one), sorted(other)):
                self.link(source, target).broken = True
        self.log_fault("partition", " | ".join(" ".join(sorted(group)) for group in groups))

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
        """Change how bytes travel between two nodes, both ways; what is not given stays as it is.

        Args:
          one, other: the nodes.
          delay: how long bytes take, in seconds.
          jitter: at most so much longer; they stay in order.
          split: how likely a write or a read is cut short, anywhere; between 0 and 1.
          capacity: how many bytes a connection holds in one direction, on their way and unread.
        """
        for link in (self.link(one, other), self.link(other, one)):
            link.delay = link.delay if delay is None else delay
            link.jitter = link.jitter if jitter is None else jitter
            link.split = link.split if split is None else split
            link.capacity = link.capacity if capacity is None else capacity
        self.log_fault("slow link", one, other, delay, jitter, split, capacity)

    def slow_reader(self, node_id: str, rate: float) -> None:
        """A node reads only so many bytes a second from each of its connections."""
        for other in sorted(self._hosts.keys() - {node_id}):
            self.link(other, node_id).rate = rate
        self.log_fault("slow reader", node_id, f"{rate:g} B/s")

    def fill_queue(self, source: str, target: str) -> None:
        """The connections from one node to another take nothing more: what is sent stays in the outgoing queue."""
        self.link(source, target).capacity = 0
        self.log_fault("full queue", f"from {source} to {target}")

    def heal(self, *nodes: str) -> None:
        """Undo whatever lasts: black holes, partitions, pauses, slow links and readers, held dials.

        Args:
          nodes: only what concerns links between these nodes, and pauses of them; all without.
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
        """A node stops for a while: it reads and writes nothing, accepts and dials nothing, until `resume` or `heal`.

        What others send waits, as far as it fits; so does what its program sends. It is not SIGSTOP: its program and
        its timers go on, because all nodes of a simulation share one clock. So it may give others up meanwhile, as they
        may it. For a process in which nothing runs, and which finds that much time has passed, use `jump_clock`: then
        all nodes have stopped.
        """
        self.host(node_id).paused = True
        self.log_fault("pause", node_id)

    def resume(self, node_id: str) -> None:
        """The node goes on."""
        self.host(node_id).paused = False
        self._release()
        self.trace.record("resume", node_id)
        self.oracle.disturbed(calm=not self._lasting())

    def stall(self, node_id: str, seconds: float) -> None:
        """A handler of a node computes for so long, by the clock with which the node measures its handlers.

        Only that node's measurement is concerned; to let the time pass for all as well, call `jump_clock`.
        """
        clock = self._fairness.get(node_id)
        if clock is not None:
            clock.now += seconds
        self.log_fault("stall", node_id, f"{seconds:g} s")

    def jump_clock(self, seconds: float) -> None:
        """Time passes at once, and nobody has run meanwhile: the process was stopped, or the machine asleep."""
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, MockClock)
        self.log_fault("clock jump", f"{seconds:g} s")
        clock.jump(seconds)
        self.oracle.disturbed(calm=not self._lasting())

    def jump_wall_clock(self, node_id: str, seconds: float) -> None:
        """The time of day of a node is set, forwards or backwards; nothing may depend on it."""
        self._wall_offsets[node_id] = self._wall_offsets.get(node_id, 0.0) + seconds
        self.log_fault("wall clock", node_id, f"{seconds:+g} s")

    def hold_dials(self) -> None:
        """Whoever dials from now on waits for `release_dials`: so that all dial at the same time."""
        self._dials_held = True
        self.log_fault("simultaneous dialling")

    def release_dials(self) -> None:
        """Let them dial."""
        self._dials_held = False
        self._held.unpark_all()
        self.trace.record("dials released")
        self.oracle.disturbed(calm=not self._lasting())
