"""The network between the processes, the steps that may come next, and the oracle, which checks every step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

from trio_mp._protocol.association.association import Association, Stage

from .parts import HIGHER, LOWER, PORTS, SECOND, Bounds, Budget, Connection, Sent, Table, put
from .process import Event, Item, Output, Process, new_association

State: TypeAlias = tuple[int, ...]
"""Numbers in tables: of three processes, of the messages that each has sent, of the budget, of the connections."""

Action: TypeAlias = tuple[Any, ...]

_ENDINGS = frozenset({("end",), ("no",)})


class World:
    """All states and steps within bounds, with associations of one class."""

    def __init__(self, bounds: Bounds, kind: type[Association] = Association) -> None:
        self.bounds = bounds
        self.kind = kind
        self._processes: Table[Process | None] = Table()
        self._logs: Table[tuple[Sent, ...]] = Table()
        self._budgets: Table[Budget] = Table()
        self._connections: Table[Connection | None] = Table()
        self._after: dict[tuple[int, Event], tuple[int, tuple[Output, ...]]] = {}
        self._nothing = self._processes.number(None, None)
        self._ended = self._connections.number(None, None)

    def start(self) -> State:
        bounds = self.bounds
        budget = Budget(
            bounds.demonitors,
            bounds.cuts,
            bounds.notices,
            bounds.give_ups,
            bounds.beliefs,
            bounds.asks,
            bounds.unanswered,
            int(bounds.second is not None),
            int(bounds.second is not None),
            bounds.deaths,
        )
        processes = (self._fresh(LOWER), self._fresh(HIGHER), self._nothing)
        self._at_first = budget
        return (*processes, *(self._logs.number((), ()) for _ in range(3)), self._budgets.number(budget, budget))

    def _fresh(self, which: int) -> int:
        higher = which == HIGHER or (which == SECOND and self.bounds.second == HIGHER)
        names = ("b", "a") if higher else ("a", "b")
        process = Process(new_association(self.kind, *names, self.bounds.queue_limit), PORTS[which])
        return self._processes.number(process, process.key())

    def _is_higher(self, which: int) -> bool:
        return which == HIGHER or (which == SECOND and self.bounds.second == HIGHER)

    @property
    def _overflows(self) -> bool:
        return self.bounds.queue_limit < 1 << 20

    # What may happen -----------------------------------------------------------------------------------------------

    def steps(self, state: State) -> Iterator[tuple[Action, State, str]]:
        """Yield each step that may come next: the action, the state after it, and a fault, or an empty text."""
        alone = self._alone(state)
        if alone is not None:
            yield alone
            return
        moved = False
        for action, step in self._forced(state):
            moved = True
            yield (action, *step)
        if not moved:
            fault = self._fault_at_rest(state)
            if fault:
                yield ("rest",), state, fault
        for action, step in self._free(state):
            yield (action, *step)

    def _alone(self, state: State) -> tuple[Action, State, str] | None:
        """Return a step that needs no other order, because nothing depends on its time; None if there is none."""
        for index in range(7, len(state)):
            connection = self._connections.values[state[index]]
            if connection is None:
                continue
            for end in (LOWER, HIGHER):
                if not connection.open[end] or not connection.incoming[end]:
                    continue
                item = connection.incoming[end][0]
                which = connection.processes[end]
                process = self._processes.values[state[which]]
                name = str(index - 6)
                # The side that does not decide reads the proof for which it waits; or an end that has decided nothing
                # about the connection reads that the other end has closed.
                if (end == LOWER == connection.dialler and item[0] == "proof") or (
                    item in _ENDINGS and process is not None and not process.decided_about(name)
                ):
                    read = connection._replace(incoming=put(connection.incoming, end, connection.incoming[end][1:]))
                    after = (*state[:index], self._connections.number(read, read), *state[index + 1 :])
                    return (which, "read", name, item), *self._happens(after, which, ("read", name, item))
        return None

    def _forced(self, state: State) -> Iterator[tuple[Action, tuple[State, str]]]:
        """Yield the steps that happen by themselves, sooner or later."""
        for which in range(3):
            process = self._processes.values[state[which]]
            if process is None:
                continue
            association = process.association
            if process.due:
                for reaction in self._reactions(state, which):
                    yield (which, "report", reaction), self._happens(state, which, ("report", reaction))
            if association.may_write and association.outbox.queue.size:
                yield (which, "write"), self._happens(state, which, ("write",))
            for probed in process.probing:
                event = ("answer" if self._answers(state, probed) else "fail", probed)
                yield (which, *event), self._happens(state, which, event)
        for index in range(7, len(state)):
            yield from self._reads(state, index)
            connection = self._connections.values[state[index]]
            if connection is not None:
                name = str(index - 6)
                for end in (LOWER, HIGHER):
                    if connection.open[end] and self._is_doomed(state, connection, end, name):
                        which = connection.processes[end]
                        yield (which, "notice", name), self._happens(state, which, ("notice", name))

    def _reads(self, state: State, index: int) -> Iterator[tuple[Action, tuple[State, str]]]:
        """Yield the steps in which an end of a connection reads its next item."""
        connection = self._connections.values[state[index]]
        if connection is None:
            return
        name = str(index - 6)
        for end in (LOWER, HIGHER):
            if not connection.open[end] or not connection.incoming[end]:
                continue
            which = connection.processes[end]
            item, *rest = connection.incoming[end]
            greets = end != connection.dialler and not connection.greeted
            read = connection._replace(
                incoming=put(connection.incoming, end, tuple(rest)), greeted=connection.greeted or greets
            )
            after = (*state[:index], self._connections.number(read, read), *state[index + 1 :])
            event = ("challenge" if greets and item[0] == "proof" else "read", name, item)
            yield (which, *event), self._happens(after, which, event)
            if item == ("idle",):
                # The runtime may want to keep the connection, whatever the association would say.
                yield (which, "decline", name, item), self._happens(after, which, ("decline", name, item))

    def _is_doomed(self, state: State, connection: Connection, end: int, name: str) -> bool:
        """Whether nothing is written towards an end any more.

        Such an end closes sooner or later, and items in flight may be lost, by a reset or the cut.
        """
        if connection.cut[end] or not connection.open[1 - end]:
            return True
        if not connection.cut[1 - end] or connection.incoming[end] or connection.incoming[1 - end]:
            return False
        # Nothing that this end writes arrives. In the handshake it waits for an answer, which does not come. Later it
        # waits only for signs of life, which come.
        process = self._processes.values[state[connection.processes[end]]]
        assert process is not None
        return process.association._connections.get(name) not in {Stage.IN_USE, Stage.ASKED}

    def _answers(self, state: State, name: str) -> bool:
        connection = self._connections.values[state[6 + int(name)]]
        return connection is not None and all(connection.open) and not any(connection.cut)

    def _reactions(self, state: State, which: int) -> Iterator[tuple[Event, ...]]:
        yield ()
        if not self.bounds.reactions:
            return
        process = self._processes.values[state[which]]
        assert process is not None
        for port in self._ports(state, which):
            if process.sent < self.bounds.senders[which] and port in process.monitors:
                yield (("send", port),)
                if process.monitors_set < self.bounds.monitors:
                    yield (("monitor", port), ("send", port))

    def _ports(self, state: State, which: int) -> list[str]:
        """The ports that a process knows: those of all processes of the other node that were ever started."""
        higher = self._is_higher(which)
        started = self.bounds.second is not None and self._budgets.values[state[6]].starts == 0
        return [PORTS[o] for o in range(3) if self._is_higher(o) is not higher and (o != SECOND or started)]

    def _free(self, state: State) -> Iterator[tuple[Action, tuple[State, str]]]:
        """Yield the steps that may happen or not: those of programs, and accidents."""
        bounds = self.bounds
        budget = self._budgets.values[state[6]]
        for which in range(3):
            process = self._processes.values[state[which]]
            if process is None:
                continue
            if bounds.senders[which]:
                yield from self._program(state, which, process, budget)
            if budget.give_ups and process.association.wants_connection:
                after = self._spend(state, budget._replace(give_ups=budget.give_ups - 1))
                yield (which, "give_up"), self._happens(after, which, ("give_up",))
            if budget.beliefs and process.association.wants_connection:
                after = self._spend(state, budget._replace(beliefs=budget.beliefs - 1))
                yield (which, "believe"), self._happens(after, which, ("believe",))
            if budget.asks and process.association.is_idle:
                after = self._spend(state, budget._replace(asks=budget.asks - 1))
                yield (which, "ask"), self._happens(after, which, ("ask",))
            if budget.unanswered and process.association.is_asked:
                after = self._spend(state, budget._replace(unanswered=budget.unanswered - 1))
                yield (which, "unanswered"), self._happens(after, which, ("unanswered",))
            if budget.deaths and process.port_alive:
                after = self._spend(state, budget._replace(deaths=budget.deaths - 1))
                yield (which, "die"), self._happens(after, which, ("die",))
        if len(state) - 7 < bounds.connections:
            yield from self._dials(state)
        if bounds.second is not None:
            yield from self._starts_and_kills(state, budget)
        for index in range(7, len(state)):
            connection = self._connections.values[state[index]]
            if connection is not None:
                yield from self._accidents(state, index, connection, budget)

    def _program(
        self, state: State, which: int, process: Process, budget: Budget
    ) -> Iterator[tuple[Action, tuple[State, str]]]:
        for port in self._ports(state, which):
            if process.sent < self.bounds.senders[which]:
                yield (which, "send", port), self._happens(state, which, ("send", port))
                # A monitor that is set after the last message shows nothing.
                if port not in process.monitors and process.monitors_set < self.bounds.monitors:
                    yield (which, "monitor", port), self._happens(state, which, ("monitor", port))
            if budget.demonitors and port in process.monitors:
                after = self._spend(state, budget._replace(demonitors=budget.demonitors - 1))
                yield (which, "demonitor", port), self._happens(after, which, ("demonitor", port))

    def _dials(self, state: State) -> Iterator[tuple[Action, tuple[State, str]]]:
        name = str(len(state) - 6)
        for lower in range(3):
            for higher in range(3):
                if self._is_higher(lower) or not self._is_higher(higher):
                    continue
                if self._nothing in (state[lower], state[higher]):
                    continue
                for dialler, which in enumerate((lower, higher)):
                    new = Connection((lower, higher), dialler, (True, True), (False, False), ((), ()), False)
                    after = (*state, self._connections.number(new, new))
                    after, fault = self._happens(after, which, ("dial", name))
                    if dialler == HIGHER and not fault:
                        # The side that decides does nothing that depends on a connection without an answer.
                        *_, (_, (after, fault)) = self._reads(after, len(state))
                    yield (which, "dial", name), (after, fault)

    def _starts_and_kills(self, state: State, budget: Budget) -> Iterator[tuple[Action, tuple[State, str]]]:
        assert self.bounds.second is not None
        if budget.starts:
            after = self._spend(state, budget._replace(starts=0))
            yield (SECOND, "start"), ((*after[:SECOND], self._fresh(SECOND), *after[SECOND + 1 :]), "")
        killed = self.bounds.second
        if budget.kills and state[killed] != self._nothing:
            after = self._spend(state, budget._replace(kills=0))
            ends = []
            for index in range(7, len(state)):
                connection = self._connections.values[state[index]]
                if connection is not None and killed in connection.processes:
                    ends.append(("close", str(index - 6)))
            after, fault = self._apply(after, killed, tuple(ends))
            # Its monitors end with it: no program is left to be told.
            log = tuple(sent._replace(monitor=0) for sent in self._logs.values[after[3 + killed]])
            changed = list(after)
            changed[killed], changed[3 + killed] = self._nothing, self._logs.number(log, log)
            yield (killed, "kill"), (tuple(changed), fault)

    def _accidents(
        self, state: State, index: int, connection: Connection, budget: Budget
    ) -> Iterator[tuple[Action, tuple[State, str]]]:
        name = str(index - 6)
        # If one end is closed, nothing more is written, so a cut would change nothing.
        if budget.cuts and not any(connection.cut) and all(connection.open):
            for cut in ((True, False), (False, True), (True, True)):
                after = self._spend(state, budget._replace(cuts=budget.cuts - 1))
                changed = connection._replace(cut=cut)
                after = (*after[:index], self._connections.number(changed, changed), *after[index + 1 :])
                yield ("cut", name, cut), (after, "")
        for end in (LOWER, HIGHER):
            if not connection.open[end] or (end != connection.dialler and not connection.greeted):
                continue
            which = connection.processes[end]
            if budget.notices:
                after = self._spend(state, budget._replace(notices=budget.notices - 1))
                yield (which, "notice", name), self._happens(after, which, ("notice", name))

    # What comes of it ----------------------------------------------------------------------------------------------

    def _spend(self, state: State, budget: Budget) -> State:
        return (*state[:6], self._budgets.number(budget, budget), *state[7:])

    def _happens(self, state: State, which: int, event: Event) -> tuple[State, str]:
        key = (state[which], event)
        known = self._after.get(key)
        if known is None:
            process = self._processes.values[state[which]]
            assert process is not None
            new, outputs = process.after(event, self.bounds.slow_writer)
            known = self._after[key] = (self._processes.number(new, new.key()), outputs)
        number, outputs = known
        after = (*state[:which], number, *state[which + 1 :])
        return self._apply(after, which, outputs) if outputs else (after, "")

    def _apply(self, state: State, which: int, outputs: tuple[Output, ...]) -> tuple[State, str]:
        changed = list(state)
        fault = ""
        for kind, *rest in outputs:
            match kind:
                case "write":
                    self._write(changed, which, rest[0], rest[1])
                case "close":
                    self._close(changed, which, rest[0])
                case "sent":
                    log = (*self._logs.values[changed[3 + which]], Sent(rest[0], rest[1], False))
                    changed[3 + which] = self._logs.number(log, log)
                case "lost":
                    fault = fault or self._reported(changed, rest[0])
                case "fault":
                    fault = fault or ("" if self.bounds.promise_only else rest[0])
                case "delivered":
                    fault = fault or self._delivered(changed, which, rest[0], rest[1])
        return tuple(changed), fault

    def _write(self, changed: list[int], which: int, name: str, item: Item) -> None:
        index = 6 + int(name)
        connection = self._connections.values[changed[index]]
        if connection is None:
            return
        end = connection.processes.index(which)
        if connection.open[end] and connection.open[1 - end] and not connection.cut[1 - end]:
            incoming = put(connection.incoming, 1 - end, (*connection.incoming[1 - end], item))
            connection = connection._replace(incoming=incoming)
            changed[index] = self._connections.number(connection, connection)

    def _close(self, changed: list[int], which: int, name: str) -> None:
        index = 6 + int(name)
        connection = self._connections.values[changed[index]]
        if connection is None:
            return
        end = connection.processes.index(which)
        if not connection.open[end]:
            return
        self._write(changed, which, name, ("end",))
        connection = self._connections.values[changed[index]]
        assert connection is not None
        connection = connection._replace(
            open=put(connection.open, end, False), incoming=put(connection.incoming, end, ())
        )
        unheard_of = not connection.greeted and end == connection.dialler and not connection.incoming[1 - end]
        if any(connection.open) and not unheard_of:
            changed[index] = self._connections.number(connection, connection)
        else:
            changed[index] = self._ended

    # The oracle ----------------------------------------------------------------------------------------------------

    def _delivered(self, changed: list[int], which: int, name: str, number: int) -> str:
        """Check points 1 and 2 of the promise, when a message is delivered; return the fault, or an empty text."""
        connection = self._connections.values[changed[6 + int(name)]]
        assert connection is not None
        sender = connection.processes[1 - connection.processes.index(which)]
        log = self._logs.values[changed[3 + sender]]
        port, monitor, delivered = log[number]
        fault = f"message {number + 1} is delivered twice" if delivered else ""
        for other, sent in enumerate(log):
            if sent.port != port:
                continue
            if other > number and sent.delivered:
                fault = f"message {number + 1} is delivered after message {other + 1}"
            if other < number and not sent.delivered and monitor and sent.monitor == monitor:
                # The other message could only come late now, and the sender of this one was not told.
                lost = f"message {other + 1} was lost, and the monitor of both had not fired"
                fault = f"message {number + 1} is delivered, {lost}"
        # The monitors of this message and of earlier ones for the port do not matter any more: forgetting them keeps
        # the states few.
        log = tuple(
            Sent(port, 0, sent.delivered or other == number) if other <= number and sent.port == port else sent
            for other, sent in enumerate(log)
        )
        changed[3 + sender] = self._logs.number(log, log)
        return fault

    def _reported(self, changed: list[int], losses: int) -> str:
        """Check that each loss has a cause. Dialling at the same time is no cause, and a stale claim is none."""
        budget, before = self._budgets.values[changed[6]], self._at_first
        causes = (
            (before.cuts - budget.cuts)
            + (before.notices - budget.notices)
            + (before.give_ups - budget.give_ups)
            + (before.beliefs - budget.beliefs)
            + (before.kills - budget.kills)
            # A `bye` that comes after its side has gone on.
            + (before.unanswered - budget.unanswered)
        )
        if losses > causes and not self.bounds.promise_only and not self._overflows:
            return f"loss {losses} is reported to one side after {causes} accidents"
        return ""

    def _fault_at_rest(self, state: State) -> str:
        """Check what must hold when no step happens by itself any more; return the fault, or an empty text."""
        for which in range(3):
            process = self._processes.values[state[which]]
            if process is None:
                continue
            association = process.association
            waits = association._current is None and association._next is None and association.wants_connection
            for number, sent in enumerate(self._logs.values[state[3 + which]]):
                # The message may wait for a connection: when none comes in time, the whole table fires.
                will_fire = waits and sent.port in association.outbox.monitors
                untold = sent.monitor and process.monitors.get(sent.port) == sent.monitor
                if untold and not sent.delivered and not will_fire:
                    return f"message {number + 1} was lost, and its monitor does not fire"
                if not sent.delivered and self._nothing_went_wrong(state) and not process.holds(sent.port, number):
                    return f"message {number + 1} was lost, and nothing had gone wrong"
            if association._stage in {Stage.ASKED, Stage.PARTED} and not self.bounds.promise_only:
                return f"{association.in_use} is {association._stage.value} for ever"
            if association.in_use is not None and not self.bounds.promise_only:
                fault = self._fault_in_use(state, which, process, association.in_use)
                if fault:
                    return fault
        for index in range(7, len(state)):
            connection = self._connections.values[state[index]]
            if connection is not None and not self.bounds.promise_only:
                for end in (LOWER, HIGHER):
                    process = self._processes.values[state[connection.processes[end]]]
                    if connection.open[end] and process is not None and process.association.in_use != str(index - 6):
                        return f"connection {index - 6} is left open, and not in use"
        return ""

    def _nothing_went_wrong(self, state: State) -> bool:
        """Whether every message must arrive, monitored or not."""
        budget = self._budgets.values[state[6]]._replace(asks=self.bounds.asks)
        return budget == self._at_first and not self._overflows and not self.bounds.promise_only

    def _fault_in_use(self, state: State, which: int, process: Process, name: str) -> str:
        """Check the connection in use at rest: both ends use the same one, and agree on who watches which port."""
        connection = self._connections.values[state[6 + int(name)]]
        if connection is None:
            return f"connection {name} is in use on one side, and ended on the other"
        other = self._processes.values[state[connection.processes[1 - connection.processes.index(which)]]]
        if other is None or other.association.in_use != name:
            return f"connection {name} is in use on one side only"
        watched = {port for port in process.association.outbox.monitors if port == other.port and other.port_alive}
        if watched != other.association.watched:
            return f"{sorted(other.association.watched)} is watched, and {sorted(watched)} monitored"
        for port in process.monitors:
            if port not in watched:
                return f"{port} is dead, and its monitor does not fire"
        return ""
