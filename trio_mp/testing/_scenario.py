"""What one seed of the hammer means: the nodes, their settings, and the faults."""

from __future__ import annotations

import random
from dataclasses import dataclass

from .._settings.settings import SettingArguments
from ._bounds import Bounds
from ._network import SimulatedNetwork, address_of
from ._wire import CAPACITY, Link

SECONDS = 300.0
"""How long a seed runs, in simulated seconds."""

QUIET = 70.0
"""How long before the end the network is healed, and the programs do nothing more, in simulated seconds."""

MESSAGES = 1000
"""About how many messages a seed sends."""

FAULTS = 10
"""How many times a seed disturbs its network."""

SPAWN_MODULES = ("trio_mp.testing._workload", "trio_mp.testing._overseer", "trio_mp.testing._channel_player")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a seed means.

    Attributes:
      nodes: the node IDs, with the settings of each.
      starts: when each node starts, in seconds.
      link: what all links are like when nothing is wrong.
      faults: when a fault is injected, in seconds.
      bounds: how long monitors may take to fire.
      large: the probability that a message is large.
      floods: whether programs sometimes send more at once than the outgoing queue of their node takes.
    """

    nodes: dict[str, SettingArguments]
    starts: dict[str, float]
    link: Link
    faults: tuple[float, ...]
    bounds: Bounds
    large: float
    floods: bool


def make_plan(numbers: random.Random, shape: random.Random) -> Plan:
    """Draw a plan.

    Args:
      numbers: the random numbers of the plan.
      shape: the random numbers for the form of larger networks. They are apart, so that they change no other plan.
    """
    count = numbers.choice((2, 2, 3, 3, 3, 4, 4, 5))
    names = [f"n{index}" for index in range(count)]
    numbers.shuffle(names)
    heartbeat = numbers.choice((1.0, 2.0, 3.0, 5.0))
    connect_timeout = numbers.choice((16.0, 20.0, 30.0))
    common: SettingArguments = {
        "heartbeat": heartbeat,
        "connect_timeout": connect_timeout,
        "shutdown_timeout": numbers.choice((1.0, 5.0)),
        "encryption": numbers.random() < 0.25,
        "spawn_modules": SPAWN_MODULES,
    }
    tiny = numbers.random() < 0.3
    nodes: dict[str, SettingArguments] = {}
    for index, name in enumerate(names):
        settings = common.copy()
        settings["seeds"] = tuple(address_of(seed) for seed in _seeds(numbers, names, index))
        if tiny and numbers.random() < 0.7:
            settings["message_limit"] = 64 * 1024
            settings["queue_limit"] = 256 * 1024
        if numbers.random() < 0.2:
            settings["mailbox_limit"] = numbers.choice((1, 3, 10))
        if numbers.random() < 0.1:
            settings["monitor_limit"] = numbers.choice((2, 5))
        nodes[name] = settings
    first, last = 5.0, SECONDS - QUIET - 15
    starts = {name: numbers.choice((0.0, 0.0, numbers.uniform(0, 10))) for name in names}
    if shape.random() < 0.3:
        _make_larger(shape, nodes, starts, common)
    return Plan(
        nodes=nodes,
        starts=starts,
        link=_make_link(numbers),
        faults=tuple(sorted(numbers.uniform(first, last) for _ in range(FAULTS))),
        bounds=Bounds(heartbeat=heartbeat, connect_timeout=connect_timeout, latency=10.0),
        large=0.05 if tiny else 0.01,
        floods=tiny,
    )


def _make_link(numbers: random.Random) -> Link:
    delay = numbers.choice((0.0005, 0.002, 0.02, 0.1))
    # A small capacity fills the outgoing queue, so that connections break with messages in it. Only quick links get
    # one: on others, queued messages would take longer than `latency`.
    capacity = numbers.choice((1024, 4096, CAPACITY)) if delay < 0.01 else CAPACITY
    jitter = numbers.choice((0.0, delay, 3 * delay))
    return Link(delay=delay, jitter=jitter, split=numbers.choice((0.0, 0.0, 0.1, 0.5)), capacity=capacity)


def _seeds(numbers: random.Random, names: list[str], index: int) -> list[str]:
    """Draw the seeds of a node: mostly some of the others, sometimes all of them, so that both ends of a pair dial."""
    others = [name for name in names if name != names[index]]
    if numbers.random() < 0.4:
        return others
    if index == 0:
        return []
    earlier = names[:index]
    return numbers.sample(earlier, numbers.randint(1, len(earlier)))


def _make_larger(
    shape: random.Random, nodes: dict[str, SettingArguments], starts: dict[str, float], common: SettingArguments
) -> None:
    """Make two or three seeds, which may not know each other, and at least three nodes that know some of them."""
    count = max(shape.choice((5, 6, 7, 8)), len(nodes))
    for index in range(len(nodes), count):
        name = f"n{index}"
        nodes[name] = common.copy()
        starts[name] = shape.choice((0.0, shape.uniform(0, 10)))
    names = list(nodes)
    shape.shuffle(names)
    seeds = names[: shape.choice((2, 2, 3))]
    acquainted = shape.random() < 0.7
    for name in names:
        some = shape.sample(seeds, shape.randint(1, len(seeds)))
        if name in seeds:
            some = seeds if acquainted else []
        nodes[name]["seeds"] = tuple(map(address_of, some))


class Disturber:
    """Injects random faults into a network.

    Args:
      network: the simulated network.
      numbers: the random numbers of the faults.
      names: the IDs of all nodes.
    """

    def __init__(self, network: SimulatedNetwork, numbers: random.Random, names: list[str]) -> None:
        self._network = network
        self._random = numbers
        self._names = names

    def disturb(self) -> float:
        """Inject one fault now. Returns how many seconds it lasts at most, until `heal`; 0 if it is over at once."""
        kinds = (
            self._reset, self._reset, self._half_open, self._black_hole, self._slow_link, self._truncate, self._flip,
            self._crash, self._crash, self._pause, self._jump, self._dials, self._slow_reader, self._full_queue,
            self._partition, self._stall, self._wall_clock,
        )  # fmt: skip
        while True:
            lasts = self._random.choice(kinds)()
            if lasts is not None:
                return lasts

    def _pair(self) -> tuple[str, str]:
        one, other = self._random.sample(self._names, 2)
        return one, other

    def _while(self, least: float, most: float) -> float:
        # Most faults are short; some outlast every timeout.
        return least + (most - least) * self._random.random() ** 2

    def _reset(self) -> float | None:
        return 0.0 if self._network.reset(*self._pair()) else None

    def _half_open(self) -> float | None:
        return 0.0 if self._network.half_open(*self._pair()) else None

    def _truncate(self) -> float | None:
        return 0.0 if self._network.truncate(*self._pair()) else None

    def _flip(self) -> float | None:
        one, other = self._pair()
        if not (self._network._host(one).encrypted and self._network._host(other).encrypted):
            return None
        return 0.0 if self._network.flip_bit(one, other) else None

    def _black_hole(self) -> float:
        self._network.black_hole(*self._pair())
        return self._while(0.5, 60)

    def _slow_link(self) -> float:
        delay = self._random.choice((0.05, 0.5, 2.0))
        self._network.set_link(*self._pair(), delay=delay, jitter=delay, split=self._random.choice((0.0, 0.3)))
        return self._while(1, 30)

    def _slow_reader(self) -> float:
        self._network.slow_reader(self._random.choice(self._names), self._random.choice((500.0, 5000.0)))
        return self._while(5, 30)

    def _full_queue(self) -> float:
        self._network.fill_queue(*self._pair())
        return self._while(1, 40)

    def _pause(self) -> float:
        self._network.pause(self._random.choice(self._names))
        return self._while(0.5, 40)

    def _partition(self) -> float:
        names = self._random.sample(self._names, len(self._names))
        cut = self._random.randint(1, len(names) - 1)
        self._network.partition(names[:cut], names[cut:])
        return self._while(0.5, 60)

    def _dials(self) -> float:
        one, other = self._pair()
        self._network.reset(one, other)
        self._network.hold_dials()
        return self._while(0.2, 8)

    def _crash(self) -> float | None:
        name = self._random.choice(self._names)
        if not self._network.is_up(name):
            return None
        self._network.crash(name, silently=self._random.random() < 0.5)
        return self._while(0.01, 30)

    def _jump(self) -> float:
        self._network.jump_clock(self._random.choice((0.5, 3.0, 12.0, 40.0)))
        return 0.0

    def _stall(self) -> float | None:
        name = self._random.choice(self._names)
        if not self._network.is_up(name):
            return None
        self._network.stall(name, self._random.choice((0.01, 1.0, 10.0)))
        return 0.0

    def _wall_clock(self) -> float:
        self._network.jump_wall_clock(self._random.choice(self._names), self._random.choice((-1e6, -10.0, 10.0, 1e6)))
        return 0.0
