"""The shared database: a network of replicas, in which everything that may go wrong does."""

from __future__ import annotations

from collections.abc import Callable

from database_helpers import ALIVE, FAMILIES, Network, Process, tables_are_same
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from trio_mp._protocol.database.replica import Replica

SEEDS = ("s1", "s2", "s3")
NODES = ("a", "b", "t")
LIAR = "z"
KEYS = ("k", "l")

everyone = st.sampled_from(SEEDS + NODES)
families = st.sampled_from(FAMILIES)
keys = st.sampled_from(KEYS)
values = st.sampled_from([0, 1, True, 1.0, "x", [1, {"y": None}], float("nan")])
choices = st.integers(0, 1000)
losses = st.integers(0, 5)


def check_rest(network: Network) -> None:
    """Everything has arrived and every grace period is over.

    Each global node holds what it and the global nodes that it is connected with speak for, and nothing else: nothing
    of the dead, no outdated copy. Whoever reads sees that.
    """
    processes = network.processes
    for process in processes.values():
        replica = process.replica
        source = replica if replica.is_global or replica.anchor is None else processes[replica.anchor].replica
        if not source.is_global:
            continue
        speakers = {source.id, *(other for other in source._globals if processes[other].replica.is_global)}
        alive = speakers | {other.id for other in processes.values() if other.replica.anchor in speakers}
        if replica.is_global:
            copies = replica._copies
            assert set(copies._copies) == set(copies._counting) == alive, replica.id
            assert sum(map(len, copies._copies.values())) == len(alive), "an outdated copy is left"
        for family in (*FAMILIES, ALIVE):
            number, effects = replica.ask(family)
            process.execute(effects)
            network.deliver_all()
            expected = network.expected(family, alive)
            assert tables_are_same(process.answers[number], expected), (process.id, family)
            if family in process.seen:
                assert tables_are_same(process.seen[family], expected), (process.id, family)
                assert tables_are_same(replica.table(family), expected)
        assert set(replica._readers._asked) <= process.connected.keys()
        if replica.is_global:
            assert not replica._views._questions


def knows_all(replicas: dict[str, Replica], node_id: str) -> bool:
    """Whether a global node has been told by all others all that they speak for."""
    return all(replicas[node_id]._copies.is_told_by(other) for other in replicas if other != node_id)


class Databases(RuleBasedStateMachine):
    """Nodes that come and go, move, set and delete, while connections break and messages wait."""

    def __init__(self) -> None:
        super().__init__()
        self.network = Network()
        self.blocked: set[frozenset[str]] = set()
        self.network.start_global("s1", "s2")
        for node_id in ("a", "b", "t"):
            self.network.start_attached(node_id, "s1" if node_id == "a" else "s2")
        for process in self.network.processes.values():
            self.introduce(process)
            process.execute(process.replica.subscribe("red"))
            process.execute(process.replica.set("red", process.id, 0))
        self.network.deliver_all()
        self.network.quiet = True

    @staticmethod
    def introduce(process: Process) -> None:
        process.execute(process.replica.set(ALIVE, process.id, True))
        process.execute(process.replica.subscribe(ALIVE))

    def one(self, choice: int, *, seeds: bool = True, ready: Callable[[Process], object] = bool) -> Process | None:
        """One of the processes that are ready, if there is any."""
        found = [each for each in self.network.processes.values() if (seeds or each.id in NODES) and ready(each)]
        return found[choice % len(found)] if found else None

    @rule(node_id=everyone, back=st.booleans())
    def start(self, node_id: str, back: bool) -> None:
        if node_id not in self.network.processes:
            # Clocks are set back now and then.
            self.introduce(self.network.start(node_id, started=0 if back else None))
            self.connect_all()

    @rule(choice=choices)
    def become_global(self, choice: int) -> None:
        process = self.one(choice, ready=lambda process: process.id in SEEDS and not process.replica.is_global)
        if process is not None:
            process.become_global()

    @rule(choice=choices, losing=losses, again=st.booleans(), back=st.booleans())
    def crash(self, choice: int, losing: int, again: bool, back: bool) -> None:
        process = self.one(choice)
        if process is not None:
            self.network.crash(process.id, losing)
            if again:
                self.start(process.id, back)

    @rule(choice=choices, losing=st.tuples(losses, losses), again=st.booleans(), asked=st.booleans())
    def cut(self, choice: int, losing: tuple[int, int], again: bool, asked: bool) -> None:
        pairs = list(self.network.connections)
        if pairs:
            one, other = sorted(pairs[choice % len(pairs)], reverse=bool(losing[0] % 2))
            self.network.cut(one, other, losing, asked=asked)
            if again:
                self.network.connect(one, other)

    @rule(side=st.frozensets(everyone, min_size=1))
    def partition(self, side: frozenset[str]) -> None:
        others = set(SEEDS + NODES) - side
        self.blocked = {frozenset({one, other}) for one in side for other in others}
        for pair in self.blocked:
            one, other = sorted(pair)
            self.network.cut(one, other)

    @rule()
    def heal(self) -> None:
        self.blocked = set()
        self.connect_all()

    @rule()
    def connect_all(self) -> None:
        """Seeds are connected with all others, as far as that is possible: so anybody can move anywhere."""
        for one in SEEDS:
            for other in tuple(self.network.processes):
                if one != other and one in self.network.processes and {one, other} not in self.blocked:
                    self.network.connect(one, other)

    def anchors_for(self, process: Process) -> tuple[str, ...]:
        """Where a node may move. To one that has just started, only if something was lost: it knows nothing yet."""
        replicas = {each.id: each.replica for each in self.network.processes.values() if each.replica.is_global}
        anchors = [anchor for anchor in process.known_globals if anchor in replicas]
        return tuple(anchor for anchor in anchors if not self.network.quiet or knows_all(replicas, anchor))

    @rule(choice=choices, where=choices)
    def move(self, choice: int, where: int) -> None:
        process = self.one(choice, seeds=False, ready=self.anchors_for)
        if process is not None:
            anchors = self.anchors_for(process)
            process.attach(anchors[where % len(anchors)])

    @rule(choice=choices, whom=choices, ahead=st.integers(-1, 3), sequence=st.integers(0, 99), value=values)
    def lie(self, choice: int, whom: int, ahead: int, sequence: int, value: object) -> None:
        """A global node, which is cut off before the next rest, speaks for another one's present run."""
        owner, hearer = self.one(choice), self.one(whom)
        if owner is None or hearer is None or LIAR in (owner.id, hearer.id):
            return
        # What it says of others may hide them.
        self.network.quiet = False
        if LIAR not in self.network.processes:
            self.network.start(LIAR).become_global()
            for seed in SEEDS:
                if seed in self.network.processes:
                    self.network.connect(LIAR, seed)
        version = owner.replica._own.version
        attachment = max(0, version.attachment + ahead)
        record = ("record", owner.id, version.started, version.incarnation, attachment, sequence)
        for message in (("begin", False), record, ("entries", {"red": {"k": value}}), ("done",)):
            self.network.send(LIAR, hearer.id, ("message", ("db", *message)))

    @rule(choice=choices, family=families, key=keys, value=values)
    def set(self, choice: int, family: str, key: str, value: object) -> None:
        process = self.one(choice)
        if process is not None:
            process.execute(process.replica.set(family, key, value))

    @rule(choice=choices, family=families, gone=st.lists(keys, min_size=1, max_size=3))
    def delete(self, choice: int, family: str, gone: list[str]) -> None:
        process = self.one(choice)
        if process is not None:
            process.execute(process.replica.delete(family, gone))

    @rule(choice=choices, family=families)
    def subscribe(self, choice: int, family: str) -> None:
        process = self.one(choice)
        if process is not None:
            process.execute(process.replica.subscribe(family))

    @rule(choice=choices, family=families, again=st.booleans())
    def unsubscribe(self, choice: int, family: str, again: bool) -> None:
        process = self.one(choice, ready=lambda process: family in process.seen)
        if process is not None:
            del process.seen[family]
            process.execute(process.replica.unsubscribe(family))
            if again:
                process.execute(process.replica.subscribe(family))

    @rule(choice=choices, family=families, key=st.none() | keys, patient=st.booleans())
    def ask(self, choice: int, family: str, key: str | None, patient: bool) -> None:
        process = self.one(choice)
        if process is not None:
            number, effects = process.replica.ask(family, key)
            process.execute(effects)
            if not patient:
                process.replica.forget(number)

    @rule(choice=choices)
    def expire(self, choice: int) -> None:
        process = self.one(choice, ready=lambda process: process.timers)
        if process is not None:
            self.network.quiet = False
            grace = process.timers.pop(choice % len(process.timers))
            process.execute(process.replica.expire(grace.node_id, grace.token))

    @rule(order=st.lists(choices, min_size=1, max_size=20))
    def deliver(self, order: list[int]) -> None:
        for choice in order:
            self.network.deliver(choice)

    @rule()
    def deliver_all(self) -> None:
        self.network.deliver_all()

    @rule()
    def rest(self) -> None:
        """Everything arrives and time passes, but what is apart stays so."""
        if LIAR in self.network.processes:
            self.network.crash(LIAR)
        self.network.deliver_all()
        self.network.expire_all()
        check_rest(self.network)

    @rule()
    def settle(self) -> None:
        """Everybody finds everybody, too: all agree."""
        self.rest()
        for seed in SEEDS:
            process = self.network.processes.get(seed)
            if process is None:
                process = self.network.start(seed)
                self.introduce(process)
            if not process.replica.is_global:
                process.become_global()
        self.heal()
        self.rest()
        for process in self.network.processes.values():
            assert process.replica.is_global or process.replica.anchor is not None
            if process.replica.is_global:
                assert set(process.replica._copies._copies) == set(self.network.processes)
        self.network.quiet = True

    def teardown(self) -> None:
        self.settle()


TestDatabases = Databases.TestCase
TestDatabases.settings = settings(deadline=None, stateful_step_count=60)


class QuietDatabases(RuleBasedStateMachine):
    """Nodes that come, become global and move, in any order, while no connection and no node is lost.

    Nobody is told of a deletion: `Process.replay` sees to that.
    """

    def __init__(self) -> None:
        super().__init__()
        self.all = Databases()
        self.network = self.all.network

    @rule(node_id=everyone, back=st.booleans())
    def start(self, node_id: str, back: bool) -> None:
        self.all.start(node_id, back)

    @rule(choice=choices)
    def become_global(self, choice: int) -> None:
        self.all.become_global(choice)

    @rule(choice=choices, where=choices)
    def move(self, choice: int, where: int) -> None:
        self.all.move(choice, where)

    @rule(choice=choices, key=keys)
    def set(self, choice: int, key: str) -> None:
        self.all.set(choice, ALIVE, key, 0)

    @rule(order=st.lists(choices, min_size=1, max_size=20))
    def deliver(self, order: list[int]) -> None:
        self.all.deliver(order)

    @rule()
    def deliver_all(self) -> None:
        self.network.deliver_all()

    def teardown(self) -> None:
        self.network.deliver_all()
        assert self.network.quiet
        self.all.rest()
        for process in self.network.processes.values():
            assert process.seen[ALIVE].keys() >= self.network.processes.keys()


TestQuietDatabases = QuietDatabases.TestCase
TestQuietDatabases.settings = settings(deadline=None, stateful_step_count=60)


def test_all_that_a_node_has_set_is_by_family() -> None:
    replica = Replica("a", started=1, incarnation="0" * 16)
    replica.set("red", "one", 1)
    replica.set("green", "two", 2)
    found = replica.all_owned()
    assert found == {"red": {"one": 1}, "green": {"two": 2}}
    # It is a copy.
    found["red"].clear()
    assert replica.owned("red") == {"one": 1}
