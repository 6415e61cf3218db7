"""Starts on another node under the faults of the simulated network: none is left behind, none waits for ever."""

from __future__ import annotations

import os
from typing import Any

import pytest
import trio

from trio_mp import Node, Port, PortDied, current_node, spawnable
from trio_mp.testing import SimulatedNetwork, simulate

SEEDS = 200 if os.environ.get("HYPOTHESIS_PROFILE") == "thorough" else 12
SETTINGS: dict[str, Any] = {"connect_timeout": 20.0, "heartbeat": 5.0, "shutdown_timeout": 4.0}

# A start is known to have failed, at the latest, when no connection is found. Before that one was lost, which was
# noticed after at most 3.5 heartbeats; and the port was to start within five seconds.
LONGEST_WAIT = 20 + 3.5 * 5 + 5
# A cancelled one waits for the port to unwind.
LONGEST_GOODBYE = 4 + 3 * 5

EMPTY: dict[int, str] = {}


class Ports:
    """What the ports say of themselves; the context of their node.

    Attributes:
      alive: by number, those that have begun to run and have not ended.
      begun: how many have ever begun.
    """

    def __init__(self) -> None:
        self.alive: dict[int, Port] = {}
        self.begun = 0


@spawnable
async def takes_part(port: Port, number: int, seconds: float, *, task_status: trio.TaskStatus[int]) -> None:
    ports = current_node().context
    ports.begun += 1
    ports.alive[number] = port
    try:
        await trio.sleep(seconds)
        task_status.started(number)
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(seconds / 10)
        del ports.alive[number]


class Asker:
    """Starts ports, and gives up on some of them.

    Attributes:
      outcomes: of each number: what has become of it here.
    """

    def __init__(self, network: SimulatedNetwork, node: Node) -> None:
        self._numbers = network.generator("asker")
        self._node = node
        self.outcomes: dict[int, str] = {}

    async def start(self, number: int, patience: float) -> None:
        """Start one, for at most so many seconds."""
        begun = trio.current_time()
        seconds = self._numbers.choice((0, 0.01, 1, 5))
        try:
            with trio.move_on_after(patience) as scope:
                started = await self._node.start_on("a", f"{__name__}:takes_part", number, seconds)
                assert started.value == number
                self.outcomes[number] = "started"
        except PortDied as error:
            self.outcomes[number] = str(error.reason[0])
        if scope.cancelled_caught:
            self.outcomes[number] = "cancelled"
        longest = min(LONGEST_WAIT, patience + LONGEST_GOODBYE)
        assert trio.current_time() - begun <= longest + 0.1, self.outcomes[number]

    async def start_many(self, nursery: trio.Nursery, count: int) -> None:
        """Start so many, now and then, and without much patience for some of them."""
        for _ in range(count):
            number = len(self.outcomes)
            self.outcomes[number] = "under way"
            patience = self._numbers.choice((0.005, 0.5, 3, 10, 1000))
            nursery.start_soon(self.start, number, patience)
            await trio.sleep(self._numbers.choice((0, 0.1, 2)))


async def disturb(network: SimulatedNetwork, times: int) -> None:
    """One fault after the other."""
    for _ in range(times):
        one, other = network.random.sample(("a", "b"), 2)
        fault = network.random.choice(("reset", "half", "cut", "hole", "apart", "pause", "full"))
        if fault == "reset":
            network.reset(one, other)
        elif fault == "half":
            network.half_open(one, other)
        elif fault == "cut":
            network.truncate(one, other)
        elif fault == "hole":
            network.black_hole(one, other)
        elif fault == "apart":
            network.partition([one], [other])
        elif fault == "pause":
            network.pause(one)
        else:
            network.fill_queue(one, other)
        await trio.sleep(network.random.choice((0.02, 1, 6, 25)))
        network.heal()
        await trio.sleep(network.random.choice((0, 0.5, 3, 8)))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_no_start_that_has_failed_leaves_a_port(seed: int) -> None:
    async def scenario(network: SimulatedNetwork) -> None:
        ports = Ports()
        async with (
            network.open_node("a", spawn_modules=[__name__], context=ports, **SETTINGS),
            network.open_node("b", seeds=["a"], **SETTINGS) as b,
        ):
            asker = Asker(network, b)
            await trio.sleep(1)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(disturb, network, 12)
                await asker.start_many(nursery, 60)
            network.heal()
            await network.settle()
            # The other node has noticed by now, too, and what was started has unwound.
            await trio.sleep(3.5 * 5 + 1)
            assert len(asker.outcomes) == 60
            assert ports.begun
            left = {number: asker.outcomes[number] for number in ports.alive if asker.outcomes[number] != "started"}
            assert left == EMPTY
            # Undisturbed, each starts and lives.
            async with trio.open_nursery() as nursery:
                for number in range(60, 70):
                    asker.outcomes[number] = "under way"
                    nursery.start_soon(asker.start, number, 1000)
            assert {asker.outcomes[number] for number in range(60, 70)} == {"started"}
            assert ports.alive.keys() >= set(range(60, 70))

    simulate(scenario, seed=seed)
