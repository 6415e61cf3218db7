"""Replicas of the database, and a network of them: connections, roles and anchors, and everything that may go wrong."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from trio_mp._protocol.database.effects import Answer, Changed, Effect, Grace, Ignored, Opened, Refused
from trio_mp._protocol.database.records import Table, same
from trio_mp._protocol.database.replica import Replica
from trio_mp._protocol.schema import Send

FAMILIES = ("red", "green")

ALIVE = "alive"
"""A family in which each node of the model sets one key, its ID, and never deletes it."""


def incarnation(number: int) -> str:
    """The token of a run."""
    return f"{number:016d}"


def tables_are_same(one: Table | None, other: Table | None) -> bool:
    """Whether two tables are the same to whoever receives them."""
    return same(one, other)


@dataclass
class Process:
    """A run of a node: a real replica, and around it what the runtime, its membership and its programs do.

    Attributes:
      inbox: what is on its way from each other node: ("up", connection), ("role",), ("attach", connection),
        ("message", …), ("down",).
      connected: the nodes with which it has a connection, as far as it has noticed, and which one.
      timers: grace periods that have not ended.
      seen: what a program has seen of the families that it follows, from what it was told alone.
      told: every change that a program was told of.
    """

    network: Network
    replica: Replica
    inbox: dict[str, deque[tuple[Any, ...]]] = field(default_factory=dict)
    connected: dict[str, int] = field(default_factory=dict)
    known_globals: dict[str, None] = field(default_factory=dict)
    timers: list[Grace] = field(default_factory=list)
    seen: dict[str, Table] = field(default_factory=dict)
    told: list[Changed] = field(default_factory=list)
    answers: dict[int, Table] = field(default_factory=dict)
    ignored: list[Ignored] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)

    @property
    def id(self) -> str:
        return self.replica.id

    def execute(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(node_id, message):
                    self.network.send(self.id, node_id, ("message", message))
                case Opened(family):
                    assert family not in self.seen
                    table = self.replica.table(family)
                    assert table is not None
                    self.seen[family] = dict(table)
                case Changed():
                    self.told.append(effect)
                    self.replay(effect)
                case Answer(number, table):
                    assert number not in self.answers
                    self.answers[number] = table
                case Grace():
                    self.timers.append(effect)
                case Ignored():
                    self.ignored.append(effect)
                case Refused():
                    self.refused.append(effect)

    def replay(self, changed: Changed) -> None:
        """Each change is one: what is added was not there, what is changed is other than it was, and so on."""
        table = self.seen[changed.family]
        added, other, deleted = changed.change
        if changed.family == ALIVE and self.network.quiet:
            vanished = self.network.processes.keys() & set(deleted)
            assert not vanished, f"{self.id} sees {vanished} go, who live, and nothing was lost"
        assert changed.change
        assert not added.keys() & table.keys()
        assert other.keys() <= table.keys()
        assert not any(same(table[key], value) for key, value in other.items())
        assert set(deleted) <= table.keys()
        table.update({**added, **other})
        for key in deleted:
            del table[key]

    # What membership does ----------------------------------------------------------------------------------------

    def become_global(self) -> None:
        anchor = self.network.processes.get(self.replica.anchor or "")
        # As far as they are alive: its anchor has told it of them.
        others = [anchor.id, *anchor.replica._globals] if anchor is not None else []
        self.execute(self.replica.become_global([other for other in others if other != self.id]))
        for node_id in tuple(self.known_globals):
            self.execute(self.replica.global_up(node_id))
        for node_id in self.connected:
            self.network.send(self.id, node_id, ("role",))

    def attach(self, anchor: str) -> None:
        self.network.send(self.id, anchor, ("attach", self.connected.get(anchor)))
        self.execute(self.replica.attached(anchor))

    def handle(self, from_id: str) -> None:
        """Handle the next of what has come from a node."""
        kind, *rest = self.inbox[from_id].popleft()
        if kind == "message":
            self.execute(self.replica.receive(from_id, rest[0]))
        elif kind == "up":
            self.connected[from_id] = rest[0]
            if self.replica.is_global:
                self.network.send(self.id, from_id, ("role",))
        elif kind == "attach":
            # One of before is ignored by `_protocol/membership/rules.py`.
            if rest[0] == self.connected[from_id]:
                self.replica.guest_up(from_id)
        elif kind == "role":
            self.known_globals[from_id] = None
            if self.replica.is_global:
                self.execute(self.replica.global_up(from_id))
            elif self.replica.anchor is None:
                self.attach(from_id)
        else:
            self._lose(from_id)

    def _lose(self, node_id: str) -> None:
        del self.connected[node_id]
        self.network.asked.discard((self.id, node_id))
        was_anchor = self.replica.anchor == node_id
        steps: list[Callable[[], list[Effect]]] = [lambda: self.replica.node_down(node_id)]
        if node_id in self.known_globals:
            steps.append(lambda: self.replica.global_down(node_id))
        if was_anchor:
            steps.append(self.replica.detached)
        self.known_globals.pop(node_id, None)
        turn = self.network.steps % len(steps)
        for step in steps[turn:] + steps[:turn]:
            self.execute(step())
        if was_anchor and self.known_globals:
            anchors = tuple(self.known_globals)
            self.attach(anchors[self.network.steps % len(anchors)])


class Network:
    """Replicas with a FIFO channel each way between any two that are connected.

    What is sent by a connection that is gone, before that was noticed, is lost, as in `_protocol/association`: when
    a connection in use ends, what is queued is dropped. There is one exception, in the rules of parting: a node that
    has asked whether it may give a connection back queues what it sends until the answer comes, and if the connection
    ends meanwhile that goes by the next one, before all else. Who keeps a connection does not ask; a guest keeps the
    one with its anchor.

    Attributes:
      asked: who has asked whom so, over a connection that is gone.
      quiet: whether no connection and no node was lost, and no time was over, since all were connected and agreed.
    """

    def __init__(self) -> None:
        self.processes: dict[str, Process] = {}
        self.connections: dict[frozenset[str], int] = {}
        self.asked: set[tuple[str, str]] = set()
        self.quiet = False
        self.steps = 0
        self._runs = 0
        self._connected = 0
        # What waits for the next connection, by sender and receiver.
        self._waiting: dict[tuple[str, str], list[tuple[Any, ...]]] = {}

    def start(self, node_id: str, *, started: int | None = None) -> Process:
        self._runs += 1
        replica = Replica(
            node_id, started=self._runs if started is None else started, incarnation=incarnation(self._runs)
        )
        process = self.processes[node_id] = Process(self, replica)
        return process

    def start_global(self, *node_ids: str) -> None:
        """Start global nodes, connected with all others there are."""
        for node_id in node_ids:
            others = tuple(self.processes)
            self.start(node_id).become_global()
            for other in others:
                self.connect(node_id, other)

    def start_attached(self, node_id: str, anchor: str) -> Process:
        process = self.start(node_id)
        self.connect(node_id, anchor)
        self.deliver_all()
        assert process.replica.anchor == anchor
        return process

    def connect(self, one: str, other: str) -> None:
        pair = frozenset({one, other})
        if pair not in self.connections:
            self._connected += 1
            self.connections[pair] = self._connected
            for node_id, peer_id in ((one, other), (other, one)):
                self._box(node_id, peer_id).append(("up", self._connected))
                self._box(node_id, peer_id).extend(self._waiting.pop((peer_id, node_id), ()))

    def cut(self, one: str, other: str, losing: tuple[int, int] = (0, 0), *, asked: bool = False) -> None:
        """A connection breaks; so many messages on their way, each way, are lost with it.

        Args:
          one, other: between whom.
          losing: how many, of what is for either.
          asked: whether the first one has asked to part, and not been answered.
        """
        pair = frozenset({one, other})
        if pair not in self.connections:
            return
        self.quiet = False
        if asked and self._may_ask(one, other):
            self.asked.add((one, other))
        del self.connections[pair]
        for node_id, peer_id, lost in ((one, other, losing[0]), (other, one, losing[1])):
            box = self._box(node_id, peer_id)
            self._lose(box, lost)
            box.append(("down",))

    def crash(self, node_id: str, losing: int = 0) -> None:
        self.quiet = False
        del self.processes[node_id]
        for pair in [pair for pair in self.connections if node_id in pair]:
            (peer_id,) = pair - {node_id}
            # A new run of it hears nothing of what was for the old one; the others hear the end of the old one first.
            del self.connections[pair]
            box = self._box(peer_id, node_id)
            self._lose(box, losing)
            box.append(("down",))
        self.asked = {pair for pair in self.asked if node_id not in pair}
        self._waiting = {pair: items for pair, items in self._waiting.items() if node_id not in pair}

    def _may_ask(self, one: str, other: str) -> bool:
        process = self.processes[one]
        has_noticed = process.connected.get(other) == self.connections[frozenset({one, other})]
        return has_noticed and other != process.replica.anchor

    @staticmethod
    def _lose(box: deque[tuple[Any, ...]], count: int) -> None:
        while count and box and box[-1][0] in ("message", "role", "attach"):
            box.pop()
            count -= 1

    def send(self, from_id: str, to_id: str, item: tuple[Any, ...]) -> None:
        connection = self.connections.get(frozenset({from_id, to_id}))
        used = self.processes[from_id].connected.get(to_id)
        if connection is not None and (used == connection or (from_id, to_id) in self.asked):
            self._box(to_id, from_id).append(item)
        elif (from_id, to_id) in self.asked:
            self._waiting.setdefault((from_id, to_id), []).append(item)

    def _box(self, node_id: str, peer_id: str) -> deque[tuple[Any, ...]]:
        return self.processes[node_id].inbox.setdefault(peer_id, deque())

    def waiting(self) -> list[tuple[Process, str]]:
        return [(process, peer) for process in self.processes.values() for peer, box in process.inbox.items() if box]

    def deliver(self, choice: int) -> bool:
        """One of what is on its way arrives; whether there was any."""
        waiting = self.waiting()
        if waiting:
            process, peer = waiting[choice % len(waiting)]
            self.steps += 1
            process.handle(peer)
        return bool(waiting)

    def deliver_all(self) -> None:
        count = 0
        while self.deliver(count * 7):
            count += 1
            assert count < 100_000, "it does not come to rest"

    def expire_all(self) -> None:
        for process in self.processes.values():
            timers, process.timers = process.timers, []
            for grace in timers:
                process.execute(process.replica.expire(grace.node_id, grace.token))
        self.deliver_all()

    def expected(self, family: str, owners: Iterable[str]) -> Table:
        """What is to be seen of a family that these nodes share."""
        table: Table = {}
        for node_id in sorted(owners, key=str.encode):
            table.update(self.processes[node_id].replica.owned(family))
        return table
