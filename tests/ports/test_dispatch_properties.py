"""Random programs over several local ports: order, at most once, and no hole before the monitors fire.

The programs are lists of small steps. Whatever they do, these hold:

- what a port was handed of one sender's messages is the beginning of what that sender sent it: nothing is missing in
  between, nothing comes twice, nothing overtakes;
- a port is handed one message at a time, and none after the first monitor of its death has fired;
- a message that was not handed over means that the port is dead, and that every monitor on it has fired, once, with
  the same reason;
- after the node has closed nothing of any port is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import trio
from hypothesis import given, strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_mp import Monitor, Node, Port
from trio_mp._settings.environment import Environment
from trio_mp.lowlevel import open_node_in

PORTS = 4
KINDS = ("sync", "pattern", "async", "mixed", "process", "reluctant")

Step: TypeAlias = tuple[Any, ...]


@dataclass
class Record:
    """What happened to one port."""

    sent: dict[str, int] = field(default_factory=dict)
    handed: dict[str, list[int]] = field(default_factory=dict)
    monitors: list[Monitor] = field(default_factory=list)
    cancelled: list[Monitor] = field(default_factory=list)
    fired: int = 0
    working: bool = False


class World:
    """A node, its ports, and what is written down about them."""

    def __init__(self, node: Node, kinds: list[str]) -> None:
        self.node = node
        # What is wrong is noted and not raised: in a handler it would only kill the port.
        self.wrong: list[str] = []
        self.cancelled: set[Monitor] = set()
        self.records = [Record() for _ in kinds]
        self.ports: list[Port] = [self.make(index, kind) for index, kind in enumerate(kinds)]

    def make(self, index: int, kind: str) -> Port:
        if kind in {"process", "reluctant"}:
            return self.node.start_port(self.process, index, kind == "reluctant")
        port = self.node.port()
        sync, slow = self.sync_handler(index), self.async_handler(index)
        if kind == "sync":
            port.on("message")(sync)
        elif kind == "pattern":
            port.on("message", "driver")(lambda *rest: sync("driver", *rest))
            port.on("message")(sync)
        elif kind == "async":
            port.on("message")(slow)
        else:
            port.on()(lambda _, sender, number, action: (slow if number % 2 else sync)(sender, number, action))
        return port

    async def process(self, port: Port, index: int, reluctant: bool) -> None:
        take = self.async_handler(index)
        async for _, sender, number, action in port:
            await take(sender, number, action)
            if reluctant:
                await trio.lowlevel.checkpoint()

    def sync_handler(self, index: int) -> Callable[[str, int, Step], None]:
        def handle(sender: str, number: int, action: Step) -> None:
            with self.working(index, sender, number):
                self.act(index, action)

        return handle

    def async_handler(self, index: int) -> Callable[[str, int, Step], Any]:
        async def handle(sender: str, number: int, action: Step) -> None:
            with self.working(index, sender, number):
                for _ in range(number % 3):
                    await trio.lowlevel.checkpoint()
                self.act(index, action)
                for _ in range(number % 2):
                    await trio.lowlevel.checkpoint()

        return handle

    @contextmanager
    def working(self, index: int, sender: str, number: int) -> Iterator[None]:
        record = self.records[index]
        if record.working:
            self.wrong.append("two messages at a time")
        if record.fired:
            self.wrong.append("a message after the monitors had fired")
        record.handed.setdefault(sender, []).append(number)
        record.working = True
        try:
            yield
        finally:
            record.working = False

    def act(self, index: int, action: Step) -> None:
        """What the handler of a message does, as the port of that index."""
        match action:
            case ("fail",):
                raise ValueError("as it was told")
            case ("kill", other):
                self.node.kill(self.ports[other], "killed by", index)
            case ("relay", other):
                self.send(f"port {index}", other, ("nothing",))
            case ("watch", other):
                self.monitor(other)
            case ("run and fail", other):
                if self.ports[other].alive:
                    self.ports[other].run(self.act, other, ("fail",))
            case ("handler", other):
                if self.ports[other].alive:
                    self.ports[other].on("unused", once=True)(self.act)

    def send(self, sender: str, index: int, action: Step) -> None:
        sent = self.records[index].sent
        number = sent[sender] = sent.get(sender, 0) + 1
        self.node.send(self.ports[index], "message", sender, number, action)

    def monitor(self, index: int) -> None:
        record = self.records[index]

        def fired(*reason: object) -> None:
            if record.working:
                self.wrong.append("a monitor fired before the tasks had unwound")
            if monitor.reason != reason or any(other.reason != reason for other in standing if not self.ended(other)):
                self.wrong.append("a monitor without its reason while another fires")
            if monitor in fired_before:
                self.wrong.append("a monitor fired twice")
            fired_before.append(monitor)
            record.fired += 1

        fired_before: list[Monitor] = []
        # Those that are there when this one is set fire together with it, unless they are cancelled.
        standing = [other for other in record.monitors if other.active]
        monitor = self.node.monitor(self.ports[index], fired)
        if self.ports[index].alive:
            record.monitors.append(monitor)

    async def do(self, step: Step) -> None:
        match step:
            case ("send", index, action):
                self.send("driver", index, action)
            case ("send many", index):
                for _ in range(30):
                    self.send("driver", index, ("nothing",))
            case ("send by id", index):
                sent = self.records[index].sent
                number = sent["driver"] = sent.get("driver", 0) + 1
                self.node.send(str(self.ports[index]), "message", "driver", number, ("nothing",))
            case ("kill", index):
                self.node.kill(self.ports[index], "killed by", "driver")
            case ("monitor", index):
                self.monitor(index)
            case ("cancel", index):
                record = self.records[index]
                for monitor in [monitor for monitor in record.monitors if monitor.active][:1]:
                    monitor.cancel()
                    self.cancelled.add(monitor)
                    record.monitors.remove(monitor)
                    record.cancelled.append(monitor)
            case ("link", index, other):
                self.node.link(self.ports[index], self.ports[other])
            case ("checkpoint",):
                await trio.lowlevel.checkpoint()
            case ("settle",):
                await wait_all_tasks_blocked()

    def check_order(self) -> None:
        for record in self.records:
            for sender, numbers in record.handed.items():
                assert numbers == list(range(1, len(numbers) + 1))
                assert len(numbers) <= record.sent[sender]
        assert not self.wrong

    def check_holes(self) -> None:
        for index, record in enumerate(self.records):
            handed = {sender: len(numbers) for sender, numbers in record.handed.items()}
            if handed != {sender: count for sender, count in record.sent.items() if count}:
                assert not self.ports[index].alive
            if not self.ports[index].alive:
                assert len({monitor.reason for monitor in record.monitors} - {None}) <= 1
                assert all(monitor.reason is not None for monitor in record.monitors if not self.ended(monitor))
            assert all(monitor.reason is None for monitor in record.cancelled)

    def ended(self, monitor: Monitor) -> bool:
        """Whether a monitor was cancelled, or ended with the port that had set it."""
        return monitor in self.cancelled or (isinstance(monitor._owner, Port) and not monitor._owner.alive)


indices = st.integers(0, PORTS - 1)
actions: st.SearchStrategy[Step] = st.one_of(
    st.just(("nothing",)),
    st.just(("fail",)),
    st.tuples(st.sampled_from(["kill", "relay", "watch", "run and fail", "handler"]), indices),
)
steps: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("send"), indices, actions),
    st.tuples(st.sampled_from(["send many", "send by id", "kill", "monitor", "cancel"]), indices),
    st.tuples(st.just("link"), indices, indices),
    st.just(("checkpoint",)),
    st.just(("settle",)),
)


class WornClock:
    """A fairness clock that stands still, or says after every look that time is up."""

    def __init__(self, step: float) -> None:
        self.now = 0.0
        self.step = step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@given(
    kinds=st.lists(st.sampled_from(KINDS), min_size=PORTS, max_size=PORTS),
    program=st.lists(steps, max_size=40),
    step=st.sampled_from([0.0, 0.002, 1.0]),
    settled=st.booleans(),
)
def test_random_programs_keep_the_promise(kinds: list[str], program: list[Step], step: float, settled: bool) -> None:
    async def main() -> None:
        async with open_node_in(Environment(fairness_clock=WornClock(step))) as node:
            world = World(node, kinds)
            for one in program:
                await world.do(one)
                world.check_order()
            if settled:
                await wait_all_tasks_blocked()
                world.check_order()
                world.check_holes()
        world.check_order()
        world.check_holes()
        assert not any(port.alive for port in world.ports)
        dispatcher, lifecycle = node._runtime.dispatcher, node._runtime.lifecycle
        assert not dispatcher.ports
        assert not lifecycle.unwinding
        assert not dispatcher.queue
        assert lifecycle.lingering == 1, "all but the one for the closed node"

    trio.run(main, clock=MockClock(autojump_threshold=0))


@given(
    kinds=st.lists(st.sampled_from(KINDS), min_size=PORTS, max_size=PORTS),
    program=st.lists(steps, max_size=40),
    step=st.sampled_from([0.0, 1.0]),
    error=st.sampled_from([None, ValueError, KeyboardInterrupt]),
)
def test_random_programs_that_are_cut_short_leave_nothing_behind(
    kinds: list[str], program: list[Step], step: float, error: type[BaseException] | None
) -> None:
    async def main() -> None:
        with trio.CancelScope() as scope:
            try:
                async with open_node_in(Environment(fairness_clock=WornClock(step))) as node:
                    world = World(node, kinds)
                    for one in program:
                        await world.do(one)
                    if error is not None:
                        raise error
                    scope.cancel()
                    await trio.lowlevel.checkpoint()
            except (ValueError, KeyboardInterrupt) as raised:
                assert type(raised) is error  # noqa: PT017 - which of the two it is, or none
        world.check_order()
        world.check_holes()
        assert not any(port.alive for port in world.ports)
        dispatcher, lifecycle = node._runtime.dispatcher, node._runtime.lifecycle
        assert not dispatcher.ports
        assert not lifecycle.unwinding
        assert not dispatcher.queue

    trio.run(main, clock=MockClock(autojump_threshold=0))
