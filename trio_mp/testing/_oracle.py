"""The oracle: tests tell it what they see, and it raises when the promise is broken."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NoReturn

import trio

from .._ids import node_of
from .._reason import Reason
from ._bounds import Bounds, Cause
from ._rules import PromiseBroken, Rule
from ._streams import KnownMonitor, MonitorLike, Stream
from ._trace import Trace


def _says_lost(reason: Reason) -> bool:
    """Whether a reason only says that contact was lost, so that the port may be alive."""
    return bool(reason) and reason[0] in {"transport_error", "too_many_monitors", "reason_lost"}


class Oracle:
    """Takes what happens in the nodes of a test, and raises `PromiseBroken` when the promise is broken.

    A run is one life of a node, such as `"a/1"`. A message is known by the run that sent it, the port it was sent to,
    and its number among the messages of that run to that port.

    Args:
      seed: the seed of the simulation, for the report.
      trace: records everything that the oracle is told.
      now: gives the time, in seconds; Trio's by default.

    Attributes:
      bounds: how long monitors may take to fire.
      broken: the first violation; None if there was none. The oracle raises it as well, but an exception in a handler
        or a callback only kills a port.
      on_broken: called with the first violation.
      connected: says whether a run has a connection in use with a node, which decides the bound.
      sent, delivered, fired: how many messages were sent and delivered, and how many monitors have fired.
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
        # Which call a message is, by its run, port and number; and those that were answered, or not begun.
        self._call_of: dict[tuple[str, str, int], int] = {}
        self._answered: set[tuple[str, int]] = set()
        self._given_up: dict[tuple[str, int], str] = {}
        self._disturbed_at = float("-inf")
        self._calm = True
        self._untied_at = float("-inf")
        self._started_at = float("-inf")
        # Until when others may believe what a run has said of another node.
        self._lies: dict[tuple[str, str], float] = {}
        # For a run, and one of another node that drains: how many messages to each port of it were sent before the
        # first run heard of that. And the messages that a handler or a task has not done with, by port.
        self._heard: dict[tuple[str, str], dict[str, int]] = {}
        self._in_hand: dict[str, set[tuple[str, int]]] = {}

    # Nodes and ports -----------------------------------------------------------------------------------------------

    def node_started(self, run: str, node_id: str) -> None:
        """Note that a run of a node begins."""
        self._runs[run] = True
        self._started_at = self._now()
        self._note("starts", run, node_id)

    def node_stopped(self, run: str, *, silently: bool = False, crashed: bool = False) -> None:
        """Note that a run of a node has ended. What the oracle is told of that run later does not count.

        Args:
          run: the run.
          silently: whether neither the run nor its kernel has told other nodes.
          crashed: whether the run was killed. Otherwise all its monitors must have fired.
        """
        if not self._runs.get(run):
            return
        if not crashed:
            for known in self._monitors.values():
                if known.run == run and known.silent:
                    self.fail(Rule.SILENCE, f"{run} has closed, and its monitor on {known.monitor.port} has not fired")
        self._runs[run] = False
        self.lies_end(run)
        for port, (owner, alive) in self._ports.items():
            if owner == run and alive:
                self._ports[port] = (owner, False)
                self._expect(port, Cause.SILENT if silently else Cause.CLOSED)

    def lives(self, run: str) -> bool:
        """Whether this run has begun and not ended."""
        return self._runs.get(run, False)

    def port_lives(self, port: str) -> bool:
        """Whether a port was made and has not died, nor has its node."""
        run, alive = self._ports.get(port, ("", False))
        return alive and self.lives(run)

    def port_made(self, run: str, port: str) -> None:
        """Note that a run has made a port."""
        if port in self._ports:
            self.fail(Rule.PORT_ID, f"{port} of {run} was one of {self._ports[port][0]} before", port)
        self._ports[port] = (run, True)
        self._note("port", run, port)

    def port_died(self, port: str, reason: Reason) -> None:
        """Note that a port has died, and that its tasks have ended."""
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
        """The number of the next message of a run to a port."""
        return len(self._stream(run, port).sent)

    def message_sent(self, run: str, port: str, losses: int | None = None) -> None:
        """Note that a run has sent a message to a port, and that sending raised nothing.

        Args:
          run, port: which.
          losses: how often the node of the run had lost what it had queued for the port's node, before it sent this.
        """
        if not self.lives(run):
            return
        stream = self._stream(run, port)
        stream.settle()
        self.sent += 1
        self._note("sends", run, port, len(stream.sent), stream.epoch)
        stream.sent.append((stream.epoch, tuple(stream.monitors), self._now()))
        stream.losses.append(losses)

    def message_withdrawn(self, run: str, port: str) -> None:
        """Take back the latest message of a run to a port: sending it has raised."""
        if self.lives(run):
            stream = self._stream(run, port)
            stream.sent.pop()
            stream.losses.pop()

    def delivered_to(self, port: str, run: str, number: int, sent_to: str | None = None) -> None:
        """Note that a message was delivered to a port.

        Args:
          port: the port where it arrived.
          run, number: the run that sent it, and its number.
          sent_to: the port that it was sent to, if the message carries that.
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
            if missing in stream.dropped:
                continue
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
        """Note that a run has set a monitor. The oracle reads its `port`, `reason` and `active` later."""
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
            # On the monitor's own node too: it must not fire before the call that sets it has returned.
            known.due = (self._now(), Cause.DIED_HERE if owner == run else cause)

    def fire_begins(self, monitor: MonitorLike, reason: Reason) -> None:
        """Note that the callback of a monitor is called now."""
        known = self._monitors.get(monitor)
        if known is None or not self.lives(known.run):
            return
        self.fired += 1
        self._note("fires", known.run, monitor.port, *reason)
        if known.begun:
            self.fail(Rule.ONCE, f"the monitor of {known.run} on {monitor.port} fires twice", monitor.port)
        known.begun = True
        if monitor.reason is None:
            what = f"the monitor of {known.run} on {monitor.port} fires, though it is cancelled or has no reason"
            self.fail(Rule.ONCE, what, monitor.port)
        owner, alive = self._ports.get(monitor.port, ("", False))
        if alive and owner == known.run and not _says_lost(reason):
            # A monitor on the port's own node is the first to say that the port has died.
            self.port_died(monitor.port, reason)
        elif alive and not _says_lost(reason):
            what = f"{known.run} is told of {monitor.port}, which is alive: {reason!r}"
            self.fail(Rule.FALSE_DEATH, what, monitor.port)
        self._check_due(known)

    def fire_ends(self, monitor: MonitorLike) -> None:
        """Note that the callback of a monitor has returned."""
        known = self._monitors.get(monitor)
        if known is not None:
            known.ended = True

    def _check_due(self, known: KnownMonitor) -> None:
        if known.due is None or not self._calm:
            return
        since, cause = known.due
        bound = self.bounds.of(cause)
        # A disturbance at the same moment may have come after the cause, too.
        if self._disturbed_at >= since:
            since, bound = self._disturbed_at, max(bound, self.bounds.longest)
        late = self._now() - since
        if late > bound + 1e-6:
            port = known.monitor.port
            what = f"the monitor of {known.run} on {port}: expected to fire within {bound:g} s, took {late:.3f} s"
            self.fail(Rule.LATE, f"{what}: {cause.value}", port)

    def disturbed(self, *, calm: bool) -> None:
        """Note that a fault begins or ends; the argument says whether no fault acts on the network now."""
        self._disturbed_at = self._now()
        self._calm = calm

    def calm_since(self, when: float) -> float:
        """For how many seconds no fault has acted on the network, from a time on. Negative while one acts."""
        return self._now() - max(when, self._disturbed_at) if self._calm else float("-inf")

    def settled_since(self, when: float, node_id: str) -> float:
        """For how many seconds nothing has kept nodes from seeing the entries of a node, from a time on.

        Neither a fault, nor the end of a connection that attaches a node, nor the start of a node, nor a lie.
        """
        if self._is_lied_about(node_id):
            return float("-inf")
        return self.calm_since(max(when, self._untied_at, self._started_at))

    # Drains --------------------------------------------------------------------------------------------------------

    def drain_heard(self, run: str, drained: str) -> None:
        """Note that a run hears that a run of another node drains, or of its own node. Only the first time counts."""
        if self.lives(run) and self.lives(drained) and (run, drained) not in self._heard:
            self._note("hears of the draining", run, drained)
            self._heard[run, drained] = {
                port: len(stream.sent)
                for (sender, port), stream in self._streams.items()
                if sender == run and self._ports.get(port, ("", False))[0] == drained
            }

    def work_begins(self, port: str, run: str, number: int) -> None:
        """Note that a handler or a task works at a message that was delivered."""
        self._in_hand.setdefault(port, set()).add((run, number))

    def work_ends(self, port: str, run: str, number: int) -> None:
        """Note that the handler or task has done with that message."""
        self._in_hand.get(port, set()).discard((run, number))

    def drained(
        self, run: str, unfinished: Collection[str], ports: Collection[str], losses: Callable[[str], int]
    ) -> None:
        """Check that a run has handled what others had sent before they heard that it drains: its drain has ended now.

        Args:
          run: the run that has drained.
          unfinished: the IDs of the ports and nodes that the drain has named.
          ports: the IDs of the ports of that run that are alive.
          losses: says of a run of a node how often it has lost what it had queued for the node that has drained.
        """
        self._note("drained", run, *unfinished)
        for (sender, drained), ports_heard in self._heard.items():
            if drained != run or not self.lives(sender) or sender.rpartition("/")[0] in unfinished:
                continue
            lost = losses(sender)
            for port, count in ports_heard.items():
                if port in ports and port not in unfinished:
                    self._check_handled(port, sender, count, lost)

    def has_heard(self, run: str, drained: str) -> None:
        """Check that a run has heard that another one drains: they are connected, and the drain has ended."""
        if self.lives(run) and (run, drained) not in self._heard:
            self.fail(Rule.DRAINED, f"{drained} has drained, and {run}, which is connected, has not heard of it", run)

    def _check_handled(self, port: str, sender: str, count: int, lost: int) -> None:
        stream = self._streams[sender, port]
        for number in range(count):
            if stream.losses[number] != lost or number in stream.dropped:
                continue
            if number > stream.last:
                self.fail(Rule.DRAINED, f"{port} has not got message {number} of {sender}", port)
            if (sender, number) in self._in_hand.get(port, ()):
                self.fail(Rule.DRAINED, f"{port} has not done with message {number} of {sender}", port)

    # The database --------------------------------------------------------------------------------------------------

    def tie_ended(self) -> None:
        """Note that a connection has ended which attached a node to another one, or connected two global nodes."""
        self._untied_at = self._now()

    def lie_told(self, run: str, node_id: str) -> None:
        """Note that a run says false things of another node. A global node is believed: see docs/security.md.

        From now on others may be told that the other node has ended, without a violation. This lasts until
        `Bounds.forgotten` after `lies_end`, or after the end of the run. The lie may change nothing about third nodes.
        """
        if self.lives(run):
            self._note("lies", run, node_id)
            self._lies[run, node_id] = float("inf")

    def lies_end(self, run: str) -> None:
        """Note that a run lies no more, and that all connections which it had have ended."""
        for (liar, node_id), until in self._lies.items():
            if liar == run:
                self._lies[liar, node_id] = min(until, self._now() + self.bounds.forgotten)

    def _is_lied_about(self, node_id: str) -> bool:
        return any(about == node_id and self._now() <= until for (_, about), until in self._lies.items())

    def told_of_end(self, run: str, node_id: str, *, lives: bool) -> None:
        """Note that the database has told a run that a run of another node has ended.

        Args:
          run: the run that was told.
          node_id: the node that is said to have ended.
          lives: whether that run of the node lives nevertheless.
        """
        self._note("told of its end", run, node_id)
        quiet = self._now() - max(self._disturbed_at, self._untied_at)
        if lives and self.lives(run) and self._calm and quiet > self.bounds.memory and not self._is_lied_about(node_id):
            self.fail(Rule.VANISHED, f"{run} is told that {node_id} has ended, but it lives", node_id)

    def remembered(self, node_id: str, known: str, *, lives: bool) -> None:
        """Check that the run lives of which a global node holds entries. To be called when the network is quiet."""
        if not lives:
            self.fail(Rule.LINGERS, f"{node_id} holds entries of a run of {known} that is dead", node_id, known)

    # The rest ------------------------------------------------------------------------------------------------------

    def call_begins(self, run: str, number: int, port: str) -> None:
        """Note that a run makes a call. The run numbers its calls."""
        self._calls[run, number] = (port, self._now())

    def call_ends(self, run: str, number: int) -> None:
        """Note that a call of a run has ended: it was answered, has raised, or was cancelled."""
        self._calls.pop((run, number), None)

    def call_sent(self, run: str, number: int, port: str) -> None:
        """Note which call of a run the next message of the run to a port is. Tell of the message right after."""
        if self.lives(run):
            self._call_of[run, port, self.next_number(run, port)] = number

    def call_dropped(self, port: str, run: str, number: int) -> None:
        """Note that a port has dropped a message that is a call, because its caller does not wait for it any longer.

        The promise does not cover that message any more: the call has ended, or ends by the loss of its connection.
        """
        call = self._call_of.get((run, port, number))
        self._note("call dropped", port, run, number)
        if call is None:
            self.fail(Rule.INVENTED, f"{port} dropped call {number} of {run}, which was not made", port)
        owner, _ = self._ports.get(port, ("", False))
        if (run, call) in self._calls and self.lives(run) and self.lives(owner):
            # Its caller waits: then only by a loss, of which it may hear later than the port.
            self._given_up[run, call] = port
        stream = self._streams.get((run, port))
        if stream is not None:
            stream.dropped.add(number)

    def call_answered(self, run: str, number: int) -> None:
        """Note that a call of a run has returned a reply."""
        if (run, number) in self._answered:
            self.fail(Rule.ANSWERED_TWICE, f"call {number} of {run} was answered twice", run)
        self._answered.add((run, number))
        if (run, number) in self._given_up:
            port = self._given_up[run, number]
            self.fail(Rule.GIVEN_UP, f"call {number} of {run} was answered, but {port} did not begin it", port)

    def queued(self, run: str, peer: str, size: int, limit: int, largest: int) -> None:
        """Check that the bytes queued for a peer exceed the limit by one message at most, which has `largest` bytes."""
        if size > limit + largest:
            what = f"expected {run} to queue at most {limit + largest} bytes for {peer}, got {size}"
            self.fail(Rule.MEMORY, what, peer)

    def connections(self, one: str, other: str, one_uses: str | None, other_uses: str | None, *, bound: bool) -> None:
        """Check that two live nodes use the same connection. To be called when the network is quiet.

        They must have one if both are global, or if one is attached to the other.
        """
        if one_uses != other_uses:
            what = f"{one} and {other} use {one_uses or 'none'} and {other_uses or 'none'}"
            self.fail(Rule.AGREEMENT, what, one, other)
        if bound and one_uses is None:
            self.fail(Rule.CONNECTED, f"{one} and {other} are not connected", one, other)

    def formed(self, fault: str) -> None:
        """Fail if something is wrong with the form of the network. To be called when the network is quiet."""
        if fault:
            self.fail(Rule.FORM, fault)

    def finish(self) -> None:
        """Check that everything is settled. The network was healed, and has been quiet for `bounds.longest`."""
        for (run, port), stream in self._streams.items():
            if self.lives(run):
                self._check_settled(stream, run, port)
        for known in self._monitors.values():
            if known.silent and self.lives(known.run):
                self._check_due(known)
        for (run, number), (port, since) in self._calls.items():
            if self.lives(run) and self._is_long_ago(since):
                self.fail(Rule.UNANSWERED, f"call {number} of {run} to {port} has not ended", port)

    def _check_settled(self, stream: Stream, run: str, port: str) -> None:
        for number in range(stream.last + 1, len(stream.sent)):
            _, monitors, when = stream.sent[number]
            if self._is_long_ago(when) and any(known.silent for known in monitors):
                what = f"message {number} of {run} to {port} did not arrive, and the monitor is silent"
                self.fail(Rule.SILENCE, what, port)

    def _is_long_ago(self, when: float) -> bool:
        return self._now() - max(when, self._disturbed_at) > self.bounds.longest

    def check(self) -> None:
        """Raise the first violation, if there was one."""
        if self.broken is not None:
            raise self.broken

    def fail(self, rule: Rule, what: str, *about: str) -> NoReturn:
        """Note a violation, and raise it."""
        if self.broken is not None:
            # Later violations may only follow from the first one, or from the simulation's end: they are dropped.
            raise self.broken
        self._note("broken", rule.name, what)
        trace = self.trace.shortened(about) if self.trace is not None else ""
        self.broken = PromiseBroken(rule, what, self.seed, trace)
        self.on_broken()
        raise self.broken

    def _note(self, kind: str, *details: object) -> None:
        if self.trace is not None:
            self.trace.record(kind, *details)
