"""Networks of the pure rules of membership, with all that the runtime does in them, and messages for them to get."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from trio_mp._protocol.membership.messages import MEMBERSHIP
from trio_mp._protocol.membership.rules import (
    Attached,
    BecameGlobal,
    Detached,
    GlobalDown,
    GlobalUp,
    GuestDown,
    GuestUp,
    Membership,
    MembershipEffect,
)
from trio_mp._protocol.schema import Send
from trio_mp._protocol.wire import codec


def address(node_id: str) -> str:
    return f"unix:/{node_id}"


def encoded(message: tuple[object, ...]) -> bytearray:
    frame = codec.open_frame()
    codec.append_message(frame, "", message)
    codec.close_frame(frame, 1)
    return frame


def travelled(message: tuple[object, ...]) -> tuple[object, ...]:
    """A message as it arrives."""
    ((_, *rest),) = codec.messages_in(encoded(message))
    return tuple(rest)


names = st.sampled_from(["n", "g", "h", "x", "z", "", "a b"]) | st.text(max_size=5)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.binary(max_size=3) | names,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=8,
)
lists = st.lists(st.sampled_from(["unix:/z", "h:1", "", "\0", "*:0"]) | values, max_size=4)
sensible = st.one_of(
    st.tuples(st.just("join"), st.booleans(), lists),
    st.tuples(st.just("welcome"), lists, st.dictionaries(names, lists, max_size=4)),
    st.tuples(st.just("attach")),
    st.tuples(st.just("meet"), names, lists),
    st.tuples(st.just("dial"), names, names, lists),
)
garbage = st.tuples(st.sampled_from(sorted(MEMBERSHIP.words)), values, values, values).flatmap(
    lambda parts: st.integers(1, 4).map(lambda count: parts[:count])
)


class Model:
    """One node: the rules, and what somebody who only sees the effects believes."""

    def __init__(self, node_id: str, *, is_global: bool) -> None:
        self.rules = Membership(node_id, is_global=is_global)
        self._is_global = is_global
        self._anchor: str | None = None
        self._mesh: set[str] = set()
        self._guests: set[str] = set()

    def believe(self, effects: list[MembershipEffect]) -> None:
        for effect in effects:
            match effect:
                case BecameGlobal():
                    assert not self._is_global
                    assert self._anchor is None
                    self._is_global = True
                case Attached(anchor):
                    assert not self._is_global
                    assert self._anchor is None
                    self._anchor = anchor
                case Detached(anchor):
                    assert self._anchor == anchor
                    self._anchor = None
                case GlobalUp(node_id):
                    assert self._is_global
                    assert node_id not in self._mesh | self._guests
                    self._mesh.add(node_id)
                case GlobalDown(node_id):
                    self._mesh.remove(node_id)
                case GuestUp(node_id):
                    assert self._is_global
                    assert node_id not in self._mesh | self._guests
                    self._guests.add(node_id)
                case GuestDown(node_id):
                    self._guests.remove(node_id)
                case _:
                    pass
        rules = self.rules
        assert (self._is_global, self._anchor) == (rules.is_global, rules.anchor)
        assert (self._mesh, self._guests) == (set(rules.mesh), set(rules.guests))


NAMES = "abcdef"


@dataclass(eq=False)
class Wire:
    """A connection; what comes in pairs is by node ID."""

    ends: dict[str, Process]
    incoming: dict[str, deque[tuple[object, ...]]] = field(default_factory=dict)
    # The ends that have not found out that it is gone.
    open: set[str] = field(default_factory=set)
    whole: bool = True

    def other(self, node_id: str) -> str:
        (other,) = self.ends.keys() - {node_id}
        return other


@dataclass(eq=False)
class Way:
    """What `Redialler` is: a way to one node, a seed or a global node that was heard of."""

    target: str
    seed: bool
    # Who is there, once that is known.
    node_id: str = ""
    used: Wire | None = None


class Process(Model):
    """A run of a node, with what its runtime does."""

    def __init__(self, node_id: str, seeds: frozenset[str], *, deaf: bool) -> None:
        super().__init__(node_id, is_global=not seeds)
        self.node_id = node_id
        self.seeds = seeds
        self.deaf = deaf
        self.ways = {f"seed {seed}": Way(seed, seed=True) for seed in sorted(seeds)}
        self.wires: dict[str, Wire] = {}
        if not deaf:
            self.do(self.rules.located((address(node_id),)))

    def key(self) -> object:
        """What else the future depends on, in a subclass."""
        return None

    def do(self, effects: list[MembershipEffect]) -> None:
        self.believe(effects)
        for effect in effects:
            if isinstance(effect, Send):
                wire = self.wires[effect.node_id]
                if wire.whole:
                    wire.incoming[effect.node_id].append(travelled(effect.message))
        for node_id, addresses in self.rules.dialled().items():
            if addresses and node_id not in self.ways:
                self.ways[node_id] = Way(node_id, seed=False, node_id=node_id)

    def wants(self, way: Way) -> bool:
        """See `MembershipService.is_wanted`."""
        rules = self.rules
        if way.seed:
            return not way.node_id or not rules.knows(way.node_id) or rules.wants(way.node_id)
        claimed = any(other.seed and other.node_id == way.node_id for other in self.ways.values())
        return not claimed and way.node_id in rules.dialled() and rules.wants(way.node_id)

    def keeps(self, other: str) -> bool:
        """Whether the connection must not be closed for being idle."""
        used = any(way.used is self.wires[other] and self.wants(way) for way in self.ways.values())
        return used or other in self.rules.mesh or other in self.rules.guests

    def lose(self, other: str) -> None:
        wire = self.wires.pop(other)
        wire.open.discard(self.node_id)
        wire.incoming[self.node_id].clear()
        self.do(self.rules.lost(other))


class Network:
    """Some processes, and the connections between them."""

    def __init__(self) -> None:
        self.processes: dict[str, Process] = {}
        self.blocked: set[frozenset[str]] = set()
        self.delivered = 0

    def key(self) -> object:
        """What else the future depends on, in a subclass."""
        return None

    def start(self, node_id: str, seeds: frozenset[str], *, deaf: bool = False) -> None:
        self.processes[node_id] = Process(node_id, seeds, deaf=deaf and bool(seeds))

    def stop(self, node_id: str) -> None:
        process = self.processes.pop(node_id)
        for wire in list(process.wires.values()):
            wire.whole = False
            wire.open.discard(node_id)

    def cut(self, wire: Wire) -> None:
        wire.whole = False

    def wires(self) -> list[Wire]:
        return list(dict.fromkeys(wire for process in self.processes.values() for wire in process.wires.values()))

    def events(self) -> list[tuple[Any, ...]]:
        """All that can happen next."""
        found: list[tuple[Any, ...]] = []
        for process in self.processes.values():
            for key, way in process.ways.items():
                if self._way_can_go_on(process, key, way):
                    found.append((self.go, process, key))
            for other, wire in process.wires.items():
                if wire.incoming[process.node_id]:
                    found.append((self.deliver, process, other))
                elif not wire.whole:
                    found.append((process.lose, other))
        found += [(self.cut, wire) for wire in self.wires() if self._is_idle(wire)]
        return found

    def _is_idle(self, wire: Wire) -> bool:
        if not wire.whole or wire.open != wire.ends.keys() or any(wire.incoming.values()):
            return False
        return not any(process.keeps(wire.other(node_id)) for node_id, process in wire.ends.items())

    def _way_can_go_on(self, process: Process, key: str, way: Way) -> bool:
        if not way.seed and way.target not in process.rules.dialled():
            return True
        if not process.wants(way):
            return way.used is not None
        wire = process.wires.get(way.node_id)
        return way.used is not wire if wire is not None else self.can_dial(process.node_id, way.target)

    def can_dial(self, node_id: str, target: str) -> bool:
        there = self.processes.get(target)
        if there is None or there.deaf or frozenset({node_id, target}) in self.blocked:
            return False
        return node_id != target or not there.rules.is_global

    def go(self, process: Process, key: str) -> None:
        """What `Redialler.run` does next."""
        way = process.ways[key]
        if not way.seed and way.target not in process.rules.dialled():
            del process.ways[key]
        elif not process.wants(way):
            way.used = None
        elif way.target == process.node_id:
            process.do(process.rules.became_seed())
        else:
            if way.target not in process.wires:
                self.connect(process.node_id, way.target)
            way.node_id, way.used = way.target, process.wires[way.target]
            process.do(process.rules.reached(way.target))

    def connect(self, one: str, other: str) -> None:
        ends = {name: self.processes[name] for name in (one, other)}
        for name, process in ends.items():
            # A new connection is used when the old one has ended.
            if (one if name == other else other) in process.wires:
                process.lose(one if name == other else other)
        wire = Wire(ends, {one: deque(), other: deque()}, {one, other})
        ends[one].wires[other] = wire
        ends[other].wires[one] = wire

    def deliver(self, process: Process, other: str) -> None:
        word, *arguments = process.wires[other].incoming[process.node_id].popleft()
        assert isinstance(word, str)
        effects = process.rules.received(other, word, tuple(arguments))
        assert effects is not None, (word, arguments)
        self.delivered += 1
        process.do(effects)

    def settle(self, numbers: random.Random) -> None:
        """Heal, and let happen what can happen, in any order, until nothing can."""
        self.blocked.clear()
        for _ in range(20_000):
            events = self.events()
            if not events:
                return
            step, *arguments = numbers.choice(events)
            step(*arguments)
        raise AssertionError("it never comes to rest")

    def check(self) -> None:
        """All that can be connected is connected as it should be."""
        for node_id, process in self.processes.items():
            rules = process.rules
            for seed in process.seeds & self.processes.keys():
                assert self.processes[seed].deaf or self.processes[seed].rules.is_global, f"{seed}, seed of {node_id}"
            assert rules.is_global or not (rules.mesh or rules.guests), node_id
            if rules.is_global:
                assert rules.anchor is None
                self._check_global(node_id, rules)
                continue
            known = (process.seeds | {other for other, theirs in rules.dialled().items() if theirs}) - {node_id}
            alive = {other for other in known & self.processes.keys() if not self.processes[other].deaf}
            assert rules.anchor is not None or not alive, f"{node_id} has no anchor"
            if rules.anchor is not None:
                assert node_id in self.processes[rules.anchor].rules.guests, f"{node_id} is no guest of {rules.anchor}"
                assert set(process.wires) == {rules.anchor}, f"{node_id} is connected with {set(process.wires)}"

    def _check_global(self, node_id: str, rules: Membership) -> None:
        for other in rules.mesh:
            there = self.processes[other].rules
            assert node_id in there.mesh, f"{other} is in the mesh of {node_id}, but not the other way round"
            assert rules.mesh.keys() | {node_id} == there.mesh.keys() | {other}, f"{node_id} and {other}"
        for other in (rules.dialled().keys() | self.processes[node_id].seeds) - {node_id}:
            if other in self.processes and not self.processes[other].deaf:
                assert other in rules.mesh, f"{node_id} has heard of {other}"
        for guest in rules.guests:
            assert self.processes[guest].rules.anchor == node_id, f"{guest} is not attached to {node_id}"
