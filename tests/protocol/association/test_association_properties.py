"""Long random lives of two nodes, against the promise: many ports, real bytes, everything that may go wrong.

`tests/explorer` tries everything in small worlds; this tries something in large ones. The oracle is the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from trio_mp._protocol.association.association import Association, Stage
from trio_mp._protocol.association.effects import (
    Accept,
    Choose,
    Close,
    Effect,
    Fire,
    FireDone,
    FireDue,
    HalfClose,
    Probe,
    Refuse,
    Say,
    Terms,
    Unwatch,
)
from trio_mp._protocol.wire.framing import FRAMINGS, Framing, MessageDecoder

QUEUE_LIMIT = 1200
MESSAGE_LIMITS = {"a": 300, "b": 200}
PORTS_OF_EACH = 3
PROCESSES_OF_EACH = 3

Step: TypeAlias = Callable[[], None]


@dataclass
class Sent:
    """A message that was sent: to which port, under which monitors, and whether it has arrived."""

    port: str
    monitors: frozenset[int]
    delivered: bool = False


@dataclass
class Connection:
    """A connection between two processes; what comes in pairs is by end, the lesser node ID first."""

    name: str
    processes: tuple[Process, Process]
    dialler: int
    open: list[bool] = field(default_factory=lambda: [True, True])
    cut: list[bool] = field(default_factory=lambda: [False, False])
    incoming: tuple[deque[Any], deque[Any]] = field(default_factory=lambda: (deque(), deque()))
    readers: tuple[MessageDecoder, MessageDecoder] = field(init=False)
    greeted: bool = False

    def __post_init__(self) -> None:
        # What either end reads is in its own framing.
        lower, higher = (process.framing.make_decoder(1000) for process in self.processes)
        self.readers = (lower, higher)

    def write(self, process: Process, item: object) -> None:
        end = self.processes.index(process)
        if self.open[end] and self.open[1 - end] and not self.cut[1 - end]:
            self.incoming[1 - end].append(item)

    def close(self, process: Process) -> None:
        end = self.processes.index(process)
        if self.open[end]:
            self.write(process, ("end",))
            self.open[end] = False
            self.incoming[end].clear()

    def is_doomed(self, end: int) -> bool:
        """Whether an end is going to time out."""
        if self.cut[end] or not self.open[1 - end]:
            return True
        in_use = self.processes[end].association.in_use == self.name
        return self.cut[1 - end] and not in_use and not self.incoming[end] and not self.incoming[1 - end]


class Process:
    """A process: a real association, and around it what the runtime and a program do."""

    def __init__(self, kind: type[Association], node_id: str, peer_id: str, incarnation: str, framing: str) -> None:
        self.node_id = node_id
        self.framing: Framing = FRAMINGS[framing]
        self.incarnation = incarnation
        self.limit = MESSAGE_LIMITS[node_id]
        self.association = kind(node_id, peer_id, queue_limit=QUEUE_LIMIT, message_limit=self.limit)
        self.living = {f"{incarnation}.{number}" for number in range(PORTS_OF_EACH)}
        self.connections: dict[str, Connection] = {}
        self.sent: list[Sent] = []
        self.monitors: dict[int, str] = {}
        self.monitors_set = 0
        self.fires_due = False
        self.probing: set[str] = set()
        self.reaction: Callable[[], None] | None = None
        self.willing = True

    # The program ---------------------------------------------------------------------------------------------------

    def send(self, port: str, size: int) -> None:
        monitors = frozenset(number for number, name in self.monitors.items() if name == port)
        try:
            lost = self.association.outbox.send(port, (self.incarnation, len(self.sent), "x" * size))
        except ValueError:
            assert size > min(MESSAGE_LIMITS.values()) - 40
        else:
            self.sent.append(Sent(port, monitors))
            self._queued(lost)

    def monitor(self, port: str) -> None:
        self.monitors_set += 1
        self.monitors[self.monitors_set] = port
        self._queued(self.association.outbox.monitor(port, self.monitors_set))

    def demonitor(self, number: int) -> None:
        self._queued(self.association.outbox.demonitor(self.monitors.pop(number), number))

    def kill_port(self, port: str) -> None:
        self.living.remove(port)
        if port in self.association.watched:
            self.association.watched.remove(port)
            self._queued(self.association.outbox.send("", ("kil0", port, "why")))

    def _queued(self, lost: bool) -> None:
        if lost:
            self.do(self.association.take_loss())
        assert self.association.outbox.queue.size <= QUEUE_LIMIT

    # The runtime ---------------------------------------------------------------------------------------------------

    def do(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Choose(connection):
                    self.connections[connection].write(self, ("link",))
                case Accept(connection):
                    self.connections[connection].write(self, ("ok",))
                case Refuse(connection):
                    self.connections[connection].write(self, ("no",))
                    self.close(connection)
                case Close(connection):
                    self.close(connection)
                case Probe(connection):
                    self.probing.add(connection)
                case Fire(monitors):
                    self.fire(monitors)
                case FireDue():
                    self.fires_due = True
                case FireDone():
                    self.do(self.association.fired())
                case Say(connection, word):
                    self.say(connection, word)
                case HalfClose(connection):
                    self.connections[connection].write(self, ("end",))
                case Unwatch(names):
                    assert names
                case _:
                    pass

    def say(self, name: str, word: str) -> None:
        connection = self.connections[name]
        framing = connection.processes[1 - connection.processes.index(self)].framing
        frame = framing.open_frame()
        framing.append(frame, "", (word,))
        framing.close_frame(frame, 1)
        connection.write(self, bytes(frame))

    def close(self, name: str) -> None:
        self.probing.discard(name)
        connection = self.connections.pop(name, None)
        if connection is not None:
            connection.close(self)

    def fire(self, monitors: tuple[object, ...]) -> None:
        for number in monitors:
            assert isinstance(number, int)
            assert number in self.monitors, "a monitor fired twice, or after it was cancelled"
            del self.monitors[number]
        reaction, self.reaction = self.reaction, None
        if reaction is not None:
            reaction()

    def report(self) -> None:
        self.fires_due = False
        fire = self.association.outbox.fire()
        assert self.association.outbox.queue.size == 0, "what was queued at a loss is still there when it is reported"
        self.fire(fire.monitors)
        self.do(self.association.fired())

    def write(self, step: int) -> None:
        assert self.association.in_use is not None
        chunk = self.association.outbox.queue.next_chunk()
        assert chunk is not None
        piece = bytes(chunk[:step])
        self.association.outbox.queue.advance(len(piece))
        self.connections[self.association.in_use].write(self, piece)

    def prove(self, connection: Connection) -> None:
        self.connections[connection.name] = connection
        self.association.greeted(connection.name)
        connection.write(self, ("proof", self.association.last_ended, self.incarnation, self.limit, self.framing))

    def ended(self, name: str) -> None:
        self.close(name)
        if self.association._connections.get(name) is Stage.CHOSEN:
            self.do(self.association.choice_expired(name))
        else:
            self.do(self.association.closed(name, "it broke"))

    def watch(self, port: str) -> None:
        if port in self.living:
            self.association.watched.add(port)
        else:
            self._queued(self.association.outbox.send("", ("kil0", port, "no_such_port")))


class TwoNodes(RuleBasedStateMachine):
    """Two nodes, processes of theirs that come and go, and the connections between them."""

    kind = Association

    @initialize()
    def start(self) -> None:
        self.connections: list[Connection] = []
        self.living: list[Process] = []
        self.senders: dict[str, Process] = {}
        self.ports: dict[str, list[str]] = {"a": [], "b": []}
        self.dialled = 0
        for node_id in "ab":
            self.start_process(node_id)

    def start_process(self, node_id: str) -> None:
        incarnation = f"{node_id}{len(self.ports[node_id]) // PORTS_OF_EACH}"
        framing = "msgpack" if len(self.senders) % 3 < 2 else "json"
        process = Process(self.kind, node_id, "b" if node_id == "a" else "a", incarnation, framing)
        self.living.append(process)
        self.senders[incarnation] = process
        self.ports[node_id] += sorted(process.living)

    def of(self, node_id: str) -> list[Process]:
        return [process for process in self.living if process.node_id == node_id]

    # What programs do ----------------------------------------------------------------------------------------------

    def a_process(self, pick: int) -> Process:
        return self.living[pick % len(self.living)]

    def a_port(self, process: Process, pick: int) -> str:
        """A port of the other node, mostly of its last incarnation."""
        ports = self.ports["b" if process.node_id == "a" else "a"]
        return ports[-1 - pick % len(ports)] if pick % 4 == 0 else ports[-1 - pick % PORTS_OF_EACH]

    @rule(pick=st.integers(0, 99), size=st.integers(0, 50) | st.integers(0, 320))
    def send(self, pick: int, size: int) -> None:
        process = self.a_process(pick)
        process.send(self.a_port(process, pick // 2), size)

    @rule(pick=st.integers(0, 99))
    def fail_to_send_what_was_taken_earlier(self, pick: int) -> None:
        process = self.a_process(pick)
        port = self.a_port(process, pick // 2)
        monitors = frozenset(number for number, name in process.monitors.items() if name == port)
        process.sent.append(Sent(port, monitors))
        process.do(process.association.message_lost(port, "it cannot travel"))

    @rule(pick=st.integers(0, 99), count=st.integers(0, 5))
    def monitor_and_send(self, pick: int, count: int) -> None:
        process = self.a_process(pick)
        port = self.a_port(process, pick // 2)
        process.monitor(port)
        for size in range(count):
            process.send(port, size)

    @rule(pick=st.integers(0, 99))
    def demonitor(self, pick: int) -> None:
        process = self.a_process(pick)
        if process.monitors:
            process.demonitor(list(process.monitors)[pick % len(process.monitors)])

    @rule(pick=st.integers(0, 99), monitors=st.booleans(), sizes=st.lists(st.integers(0, 320), max_size=8))
    def let_callbacks_do_something(self, pick: int, monitors: bool, sizes: list[int]) -> None:
        process = self.a_process(pick)
        port = self.a_port(process, pick // 2)

        def reaction() -> None:
            if monitors:
                process.monitor(port)
            for size in sizes:
                process.send(port, size)

        process.reaction = reaction

    @rule(pick=st.integers(0, 99))
    def monitor_nothing_and_ask_to_part(self, pick: int) -> None:
        """What was said before is read first, so that it is idle."""
        process = self.a_process(pick)
        for number in list(process.monitors):
            process.demonitor(number)
        if pick % 3:
            self.settle()
        effects = process.association.ask()
        assert not effects or (process.association.outbox.queue.size == 0 and not process.monitors)
        process.do(effects)

    @rule(pick=st.integers(0, 99), willing=st.booleans())
    def keep_or_let_go(self, pick: int, willing: bool) -> None:
        self.a_process(pick).willing = willing

    @rule(pick=st.integers(0, 99))
    def wait_no_longer_for_an_answer(self, pick: int) -> None:
        self.a_process(pick).association.busy_received()

    # What goes wrong -----------------------------------------------------------------------------------------------

    @rule(pick=st.integers(0, 99))
    def kill_a_port(self, pick: int) -> None:
        process = self.a_process(pick)
        if process.living:
            process.kill_port(sorted(process.living)[pick % len(process.living)])

    @precondition(lambda self: self.connections)
    @rule(pick=st.integers(0, 99), to_lower=st.booleans(), to_higher=st.booleans())
    def cut(self, pick: int, to_lower: bool, to_higher: bool) -> None:
        connection = self.connections[pick % len(self.connections)]
        connection.cut[0] |= to_lower
        connection.cut[1] |= to_higher

    @precondition(lambda self: self.connections)
    @rule(pick=st.integers(0, 99))
    def notice(self, pick: int) -> None:
        connection = self.connections[pick % len(self.connections)]
        end = pick % 2
        if connection.open[end] and (end == connection.dialler or connection.greeted):
            connection.processes[end].ended(connection.name)

    @rule(pick=st.integers(0, 19))
    def give_up(self, pick: int) -> None:
        process = self.a_process(pick)
        if process.association.wants_connection:
            process.do(process.association.lose("no connection in time"))

    @rule(pick=st.integers(0, 19))
    def believe_the_other_to_have_gone(self, pick: int) -> None:
        process = self.a_process(pick)
        going_on = bool(process.association._connections)
        effects = process.association.presume_gone("it has gone")
        assert not (effects and going_on)
        process.do(effects)

    @rule(node_id=st.sampled_from("ab"), first_lives_on=st.booleans())
    def start_another(self, node_id: str, first_lives_on: bool) -> None:
        if len(self.ports[node_id]) == PROCESSES_OF_EACH * PORTS_OF_EACH:
            return
        if not first_lives_on:
            self.kill_process(self.of(node_id)[0])
        self.start_process(node_id)

    def kill_process(self, process: Process) -> None:
        for name in list(process.connections):
            process.close(name)
        for connection in self.connections:
            if process in connection.processes:
                connection.close(process)
        self.living.remove(process)
        process.monitors.clear()

    # What happens by itself ----------------------------------------------------------------------------------------

    @rule(pick=st.integers(0, 99))
    def dial(self, pick: int) -> None:
        lower, higher = self.of("a")[pick % len(self.of("a"))], self.of("b")[pick % len(self.of("b"))]
        self.dialled += 1
        connection = Connection(str(self.dialled), (lower, higher), pick // 7 % 2)
        self.connections.append(connection)
        connection.processes[connection.dialler].prove(connection)

    @rule(picks=st.lists(st.integers(0, 9999), min_size=1, max_size=40))
    def go_on(self, picks: list[int]) -> None:
        for pick in picks:
            steps = list(self.steps(pick))
            if not steps:
                return
            steps[pick % len(steps)]()

    @rule(pick=st.integers(0, 99))
    def come_to_rest(self, pick: int) -> None:
        if not any(process.association.in_use for process in self.living):
            self.dial(pick)
        self.settle()

    def steps(self, pick: int) -> Iterator[Step]:
        self.connections = [connection for connection in self.connections if any(connection.open)]
        for connection in self.connections:
            for end in (0, 1):
                if connection.open[end] and connection.incoming[end]:
                    yield partial(self.read, connection, end)
                elif connection.open[end] and connection.is_doomed(end):
                    yield partial(connection.processes[end].ended, connection.name)
                if connection.open[end] and connection.processes[end] not in self.living:
                    connection.close(connection.processes[end])
        for process in self.living:
            if process.fires_due:
                yield process.report
            if process.association.may_write and process.association.outbox.queue.size:
                yield partial(process.write, 1 + pick % 97 if pick % 3 else 1 << 20)
            for name in process.probing:
                yield partial(self.answer_probe, process, name)

    def answer_probe(self, process: Process, name: str) -> None:
        process.probing.discard(name)
        connection = process.connections[name]
        if all(connection.open) and not any(connection.cut):
            process.do(process.association.probe_answered())
        else:
            process.do(process.association.probe_failed())

    def read(self, connection: Connection, end: int) -> None:
        process = connection.processes[end]
        item = connection.incoming[end].popleft()
        name = connection.name
        greets = end != connection.dialler and not connection.greeted
        connection.greeted |= greets
        if isinstance(item, bytes):
            self.read_bytes(connection, end, item)
            return
        match item:
            case ("proof", lost, incarnation, limit, framing):
                if greets:
                    process.prove(connection)
                process.do(process.association.authenticated(name, lost, Terms(incarnation, limit, framing)))
            case ("link",):
                process.do(process.association.link_received(name))
            case ("ok",):
                process.do(process.association.ok_received(name))
            case _:
                connection.close(process)
                process.ended(name)

    def read_bytes(self, connection: Connection, end: int, data: bytes) -> None:
        for batch in connection.readers[end].feed(data):
            for message in batch:
                if not connection.open[end]:
                    return
                assert connection.processes[end].association.in_use == connection.name
                self.dispatch(connection.processes[end], tuple(message))

    def dispatch(self, process: Process, message: tuple[Any, ...]) -> None:
        match message:
            case ("", "mon1", name):
                process.watch(name)
            case ("", "mon0", name):
                process.association.watched.discard(name)
            case ("", "kil0", name, *reason):
                process.do(process.association.outbox.port_died(name, tuple(reason)))
            case ("", "idle"):
                process.do(process.association.idle_received(willing=process.willing))
            case ("", "bye"):
                process.do(process.association.bye_received())
            case ("", "busy"):
                process.association.busy_received()
            case (name, sender, number, _) if name in process.living:
                self.delivered(self.senders[sender], number)
            case _:
                pass

    # The oracle ----------------------------------------------------------------------------------------------------

    def delivered(self, sender: Process, number: int) -> None:
        message = sender.sent[number]
        assert not message.delivered, "a message is delivered twice"
        for other, sent in enumerate(sender.sent):
            if sent.port != message.port:
                continue
            assert other <= number or not sent.delivered, "a message is delivered after one that was sent later"
            if other < number and not sent.delivered and sender in self.living:
                untold = sent.monitors & message.monitors
                assert not untold, "a message was lost, and one sent later under the same monitor is delivered"
        message.delivered = True

    def teardown(self) -> None:
        """When nothing goes wrong any more, one connection is enough to have everything delivered or reported."""
        if not hasattr(self, "living"):
            return
        for process in self.living:
            process.reaction = None
        self.settle()
        for node_id in "ab":
            for process in self.of(node_id)[:-1]:
                self.kill_process(process)
        self.settle()
        if self.living[0].association.in_use is None:
            self.dial(0)
            self.settle()
        first, second = self.living
        assert first.association.in_use is not None
        assert first.association.in_use == second.association.in_use
        for process, other in ((first, second), (second, first)):
            assert process.association.outbox.queue.size == 0
            assert not process.association.wants_connection
            for sent in process.sent:
                assert sent.delivered or not (sent.monitors & process.monitors.keys()), "a message was lost in silence"
            for port in process.monitors.values():
                assert port in other.living, "a port is dead, and its monitor has not fired"
            assert set(process.monitors.values()) == set(process.association.outbox.monitors)
            # One whose monitors fired because of a message over the limit may be watched in vain.
            assert other.association.watched >= set(process.association.outbox.monitors)

    def settle(self) -> None:
        """Go on until nothing happens by itself any more."""
        for _ in range(10_000):
            steps = list(self.steps(0))
            if not steps:
                return
            steps[0]()
        raise AssertionError("it never comes to rest")


TestTwoNodes = TwoNodes.TestCase
TestTwoNodes.settings = settings(stateful_step_count=60)
