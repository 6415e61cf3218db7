"""The promise, as one object that every test tells what it sees, and that raises when the promise is broken."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import trio

from .._ids import node_of
from .._reason import Reason
from ._bounds import Bounds, Cause
from ._rules import PromiseBroken, Rule
from ._streams import KnownMonitor, MonitorLike, Stream
from ._trace import Trace


def _says_lost(reason: Reason) -> bool:
    """Whether a reason leaves it open what has become of the port."""
    return bool(reason) and reason[0] in {"transport_error", "too_many_monitors", "reason_lost"}


class Oracle:
    """Is told what happens, and raises `PromiseBroken` when that must not be.

    A run is one life of a node, such as `"a/1"`; a message is known by its run, its port and its number among them.

    Args:
      seed: of the simulation, for the report.
      trace: where what it is told is written down.
      now: the time, in seconds; Trio's by default.

    Attributes:
      bounds: how long monitors may take.
      broken: the first violation. It is also raised, but where the oracle is told something in a handler or callback,
        raising only kills a port.
      on_broken: called with it.
      connected: whether a run has a connection in use with a node; used to choose the bound.
      sent, delivered, fired: how many messages and monitors there were.
    """

    def __init__(
        self, seed: object = None, trace: Trace | None = None, *, now: Callable[[], float] = trio.current_time
    ) -> None:
        self.seed = seed
        self.trace = trace
        self.bounds: Bounds = Bounds()
        self.broken: PromiseBroken | None = None
        self.on_broken: Callable[[], object] = lambda: None
        self.connected: Callable[[str, str], bool] = lambda run, node_id: False
        self.sent: int = 0
        self.delivered: int = 0
        self.fired: int = 0
        self._now = now
        self._runs: dict[str, bool] = {}
        self._ports: dict[str, tuple[str, bool]] = {}
        self._streams: dict[tuple[str, str], Stream] = {}
        self._monitors: dict[MonitorLike, KnownMonitor] = {}
        self._by_port: dict[str, list[KnownMonitor]] = {}
        self._calls: dict[tuple[str, int], tuple[str, float]] = {}
        self._disturbed_at = float("-inf")
        self._calm = True
        self._untied_at = float("-inf")
        # Until when what a run has said of another node may be believed.
        self._lies: dict[tuple[str, str], float] = {}

    # Nodes and ports -----------------------------------------------------------------------------------------------

    def node_started(self, run: str, node_id: str) -> None:
        """A run of a node begins."""
        self._runs[run] = True
        self._note("starts", run, node_id)

    def node_stopped(self, run: str, *, silently: bool = False, crashed: bool = False) -> None:
        """A run of a node has ended. What it is still told of that run does not count.

        Args:
          run: which.
          silently: nobody is told by it, or by its kernel.
          crashed: its own monitors did not fire; else all of them must have.
        """
        if not self._runs.get(run):
            return
        if not crashed:
            for known in self._monitors.values():
                if known.run == run and known.silent:
                    self.fail(Rule.SILENCE, f"{run} has closed, and its monitor of {known.monitor.port} has not fired")
        self._runs[run] = False
        self.lies_end(run)
        for port, (owner, alive) in self._ports.items():
            if owner == run and alive:
                self._ports[port] = (owner, False)
                self._expect(port, Cause.SILENT if silently else Cause.CLOSED)

    def lives(self, run: str) -> bool:
        """Whether this run has begun and not ended."""
        return self._runs.get(run, False)

    def port_made(self, run: str, port: str) -> None:
        """A run has a new port."""
        if port in self._ports:
            self.fail(Rule.PORT_ID, f"{port} of {run} was one of {self._ports[port][0]} before", port)
        self._ports[port] = (run, True)
        self._note("port", run, port)

    def port_died(self, port: str, reason: Reason) -> None:
        """A port is dead, and its tasks have ended."""
        run, alive = self._ports[port]
        if alive and self.lives(run):
            self._ports[port] = (run, False)
            self._note("dies", port, *reason)
            self._expect(port, Cause.DIED)

    def _expect(self, port: str, cause: Cause) -> None:
        node_id, now = node_of(port), self._now()
        for known in self._by_port.get(port, ()):
            if known.silent and known.due is None and self.lives(known.run):
                if self._ports[port][0] == known.run:
                    known.due = (now, Cause.DIED_HERE)
                else:
                    known.due = (now, cause if self.connected(known.run, node_id) else Cause.UNREACHABLE)

    # Messages ------------------------------------------------------------------------------------------------------

    def next_number(self, run: str, port: str) -> int:
        """The number that the next message of a run to a port must carry."""
        return len(self._stream(run, port).sent)

    def message_sent(self, run: str, port: str) -> None:
        """A message was sent, and nothing was raised. Whether monitors were in place is known."""
        if not self.lives(run):
            return
        stream = self._stream(run, port)
        stream.settle()
        self.sent += 1
        self._note("sends", run, port, len(stream.sent), stream.epoch)
        stream.sent.append((stream.epoch, tuple(stream.monitors), self._now()))

    def message_withdrawn(self, run: str, port: str) -> None:
        """The latest message was not sent after all: sending it raised."""
        if self.lives(run):
            self._stream(run, port).sent.pop()

    def delivered_to(self, port: str, run: str, number: int, sent_to: str | None = None) -> None:
        """A message was handed to a port.

        Args:
          port: where it arrived.
          run, number: who sent it, and as which.
          sent_to: for which port, if the message says so.
        """
        owner, alive = self._ports.get(port, ("", False))
        if owner and not self.lives(owner):
            return
        self._note("delivered", port, run, number)
        stream = self._streams.get((run, port))
        if stream is None or number >= len(stream.sent) or (sent_to is not None and sent_to != port):
            self.fail(Rule.INVENTED, f"{port} got message {number} of {run}, which was not sent to it", port)
        if not alive:
            self.fail(Rule.DEAD_PORT, f"{port} got message {number} of {run} when it was dead", port)
        if number <= stream.last:
            self.fail(Rule.ORDER, f"{port} got message {number} of {run} after {stream.last}", port)
        self._check_gap(stream, port, run, number)
        stream.last = number
        stream.delivered += 1
        self.delivered += 1

    def _check_gap(self, stream: Stream, port: str, run: str, number: int) -> None:
        epoch = stream.sent[number][0]
        for missing in range(stream.last + 1, number):
            before, monitors, _ = stream.sent[missing]
            for known in monitors:
                if known.silent or (known.fired and before == epoch):
                    when = "and no monitor had fired" if known.silent else "sent before the monitor fired"
                    self.fail(Rule.HOLE, f"{port} got message {number} of {run} but not {missing}, {when}", port)

    def _stream(self, run: str, port: str) -> Stream:
        stream = self._streams.get((run, port))
        if stream is None:
            stream = self._streams[run, port] = Stream()
        return stream

    # Monitors ------------------------------------------------------------------------------------------------------

    def monitor_set(self, run: str, monitor: MonitorLike) -> None:
        """A monitor is in place; its `port`, `reason` and `active` are looked at later."""
        if not self.lives(run):
            return
        known = self._monitors[monitor] = KnownMonitor(run, monitor)
        self._by_port.setdefault(monitor.port, []).append(known)
        stream = self._stream(run, monitor.port)
        stream.settle()
        stream.monitors.append(known)
        self._note("monitors", run, monitor.port)
        owner, alive = self._ports.get(monitor.port, ("", True))
        if not alive:
            cause = Cause.DIED if self.connected(run, node_of(monitor.port)) else Cause.UNREACHABLE
            # On its own node too: it must not fire before the call that sets it has returned.
            known.due = (self._now(), Cause.DIED_HERE if owner == run else cause)

    def fire_begins(self, monitor: MonitorLike, reason: Reason) -> None:
        """The callback of a monitor is called."""
        known = self._monitors.get(monitor)
        if known is None or not self.lives(known.run):
            return
        self.fired += 1
        self._note("fires", known.run, monitor.port, *reason)
        if known.begun:
            self.fail(Rule.ONCE, f"the monitor of {monitor.port} by {known.run} fires twice", monitor.port)
        known.begun = True
        if monitor.reason is None:
            what = f"the monitor of {monitor.port} by {known.run} fires, cancelled or with no reason set"
            self.fail(Rule.ONCE, what, monitor.port)
        owner, alive = self._ports.get(monitor.port, ("", False))
        if alive and owner == known.run and not _says_lost(reason):
            # One of the monitors on its own node is the first to tell.
            self.port_died(monitor.port, reason)
        elif alive and not _says_lost(reason):
            what = f"{known.run} is told of {monitor.port}, which is alive: {reason!r}"
            self.fail(Rule.FALSE_DEATH, what, monitor.port)
        self._check_due(known)

    def fire_ends(self, monitor: MonitorLike) -> None:
        """The callback has returned."""
        known = self._monitors.get(monitor)
        if known is not None:
            known.ended = True

    def _check_due(self, known: KnownMonitor) -> None:
        if known.due is None or not self._calm:
            return
        since, cause = known.due
        bound = self.bounds.of(cause)
        # Also what was done at the same time may have been done after it.
        if self._disturbed_at >= since:
            since, bound = self._disturbed_at, max(bound, self.bounds.longest)
        late = self._now() - since
        if late > bound + 1e-6:
            port = known.monitor.port
            self.fail(Rule.LATE, f"{known.run} and {port}: {late:.3f} s, not {bound:g} s: {cause.value}", port)

    def disturbed(self, *, calm: bool) -> None:
        """Something was done to the network, or ends; whether nothing is wrong with it now."""
        self._disturbed_at = self._now()
        self._calm = calm

    # The database --------------------------------------------------------------------------------------------------

    def tie_ended(self) -> None:
        """A connection has ended by which a node was attached to another one, or two global nodes were connected."""
        self._untied_at = self._now()

    def lie_told(self, run: str, node_id: str) -> None:
        """A run says of another node what is not true, as a global node, which is believed: see docs/security.md.

        From now on it is no violation that others are told of that node's end: until `lies_end`, or the end of the run,
        and `Bounds.forgotten` after it. Of all other nodes the lie may change nothing.
        """
        if self.lives(run):
            self._note("lies", run, node_id)
            self._lies[run, node_id] = float("inf")

    def lies_end(self, run: str) -> None:
        """A run says nothing more that is not true, and all connections that it had have ended."""
        for (liar, node_id), until in self._lies.items():
            if liar == run:
                self._lies[liar, node_id] = min(until, self._now() + self.bounds.forgotten)

    def _is_lied_about(self, node_id: str) -> bool:
        return any(about == node_id and self._now() <= until for (_, about), until in self._lies.items())

    def told_of_end(self, run: str, node_id: str, *, lives: bool) -> None:
        """A run was told by the database that a run of a node is there no more.

        Args:
          run: who was told.
          node_id: of whom.
          lives: whether that run of it lives all the same.
        """
        self._note("told of its end", run, node_id)
        quiet = self._now() - max(self._disturbed_at, self._untied_at)
        if lives and self.lives(run) and self._calm and quiet > self.bounds.memory and not self._is_lied_about(node_id):
            self.fail(Rule.VANISHED, f"{run} is told that {node_id} is gone, which lives", node_id)

    def remembered(self, node_id: str, known: str, *, lives: bool) -> None:
        """When all is quiet: a global node holds entries of a run of another one, which lives, or does not."""
        if not lives:
            self.fail(Rule.LINGERS, f"{node_id} holds entries of {known}, of a run that is dead", node_id, known)

    # The rest ------------------------------------------------------------------------------------------------------

    def call_begins(self, run: str, number: int, port: str) -> None:
        """A call is made; its number is the run's."""
        self._calls[run, number] = (port, self._now())

    def call_ends(self, run: str, number: int) -> None:
        """It was answered, or has raised, or was cancelled."""
        self._calls.pop((run, number), None)

    def queued(self, run: str, peer: str, size: int, limit: int, largest: int) -> None:
        """So many bytes are queued for a peer, where the limit is this and one message has at most so many."""
        if size > limit + largest:
            self.fail(Rule.MEMORY, f"{run} has queued {size} bytes for {peer}, where {limit} are allowed", peer)

    def connections(self, one: str, other: str, one_uses: str | None, other_uses: str | None, *, bound: bool) -> None:
        """When all is quiet: which connection two live nodes that can reach each other use, and if they must have one.

        They must if both are global, or one is attached to the other.
        """
        if one_uses != other_uses:
            what = f"{one} and {other} use {one_uses or 'none'} and {other_uses or 'none'}"
            self.fail(Rule.AGREEMENT, what, one, other)
        if bound and one_uses is None:
            self.fail(Rule.CONNECTED, f"{one} and {other} are not connected", one, other)

    def formed(self, fault: str) -> None:
        """When all is quiet: what is wrong with the form of the network, if anything is."""
        if fault:
            self.fail(Rule.FORM, fault)

    def finish(self) -> None:
        """The network was healed, and has been quiet for at least `bounds.longest`: everything must be settled."""
        for (run, port), stream in self._streams.items():
            if self.lives(run):
                self._check_settled(stream, run, port)
        for known in self._monitors.values():
            if known.silent and self.lives(known.run):
                self._check_due(known)
        for (run, number), (port, since) in self._calls.items():
            if self.lives(run) and self._is_long_ago(since):
                self.fail(Rule.UNANSWERED, f"call {number} of {run} to {port}", port)

    def _check_settled(self, stream: Stream, run: str, port: str) -> None:
        for number in range(stream.last + 1, len(stream.sent)):
            _, monitors, when = stream.sent[number]
            if self._is_long_ago(when) and any(known.silent for known in monitors):
                self.fail(Rule.SILENCE, f"message {number} of {run} to {port}, and the monitor is silent", port)

    def _is_long_ago(self, when: float) -> bool:
        return self._now() - max(when, self._disturbed_at) > self.bounds.longest

    def check(self) -> None:
        """Raise the first violation, if there was one."""
        if self.broken is not None:
            raise self.broken

    def fail(self, rule: Rule, what: str, *about: str) -> NoReturn:
        """The promise is broken."""
        if self.broken is not None:
            # What follows from it, or comes of the simulation's end, is nobody's concern.
            raise self.broken
        self._note("broken", rule.name, what)
        trace = self.trace.shortened(about) if self.trace is not None else ""
        self.broken = PromiseBroken(rule, what, self.seed, trace)
        self.on_broken()
        raise self.broken

    def _note(self, kind: str, *details: object) -> None:
        if self.trace is not None:
            self.trace.record(kind, *details)
