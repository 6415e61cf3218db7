"""Byte streams in the simulated network: whatever breaks, what was received is a beginning, and an end is an end."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from network_helpers import until
from stream_helpers import (
    MODULE,
    OUTCOMES,
    SIZE,
    Outcome,
    data_of,
    receive_all,
    receive_outcome,
    receive_until_broken,
)

from trio_mp import Node, PortDied
from trio_mp.testing import SimulatedNetwork, simulate

Fault = Callable[[SimulatedNetwork], object]

FAULTS: dict[str, Fault] = {
    "reset": lambda network: network.reset("a", "b"),
    "truncated there": lambda network: network.truncate("b", "a"),
    "truncated back": lambda network: network.truncate("a", "b"),
    "half open": lambda network: network.half_open("a", "b"),
    "half open the other way": lambda network: network.half_open("b", "a"),
    "black hole": lambda network: network.black_hole("b", "a"),
    "partition": lambda network: network.partition(["a"], ["b"]),
    "crash": lambda network: network.crash("a"),
    "silent crash": lambda network: network.crash("a", silently=True),
    "stop": lambda network: network._runs["a"].body.cancel(),
    "slow reader": lambda network: network.slow_reader("a", 2_000_000),
    "nothing": lambda network: None,
}


async def exchange(node: Node, seed: int) -> tuple[int, Outcome]:
    """Send everything and end, then receive the answer; how much of the former could be sent."""
    data, sent = data_of(seed), 0
    async with node.open_stream("a", f"{MODULE}:keeps_and_answers", seed) as stream:
        try:
            for start in range(0, SIZE, 7_000):
                await stream.send_all(data[start : start + 7_000])
                sent = min(SIZE, start + 7_000)
            await stream.send_eof()
            sent += 1
        except trio.BrokenResourceError:
            return sent, (b"", "broken")
        return sent, await receive_outcome(stream)


def run_with(fault: Fault, seed: int, *, encryption: bool) -> tuple[int, Outcome]:
    """One exchange with a fault somewhere in it: what came of it on the side that opened the stream."""
    OUTCOMES.clear()
    result: list[tuple[int, Outcome]] = []

    async def run(network: SimulatedNetwork) -> None:
        numbers = network.generator("the test")

        async def wait(node: Node) -> None:
            await trio.sleep_forever()

        network.start("a", wait, spawn_modules=[MODULE], encryption=encryption)
        await trio.sleep(0.1)
        async with network.open_node("b", seeds=["a"], encryption=encryption) as b:
            network.set_link("a", "b", delay=0.001, jitter=0.005, split=0.2)
            await trio.sleep(1)
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def disturb() -> None:
                    await trio.sleep(numbers.random() * 0.1)
                    fault(network)

                with trio.fail_after(60):
                    try:
                        result.append(await exchange(b, seed))
                    except (PortDied, OSError) as error:
                        result.append((-1, (b"", type(error).__name__)))
                    # It may never come: when our `ok` is lost the function there is not called.
                    with trio.move_on_after(20):
                        await until(lambda: OUTCOMES)
            network.heal()

    simulate(run, seed=seed)
    return result[0]


@pytest.mark.parametrize("encryption", [False, True], ids=["plain", "encrypted"])
@pytest.mark.parametrize("name", FAULTS)
def test_a_broken_stream_never_looks_like_one_that_has_ended(name: str, encryption: bool) -> None:
    for seed in range(6):
        sent, (answer, how) = run_with(FAULTS[name], seed, encryption=encryption)
        data = data_of(seed)
        if name == "nothing":
            assert (sent, answer, how) == (SIZE + 1, data, "ended")
        assert data.startswith(answer)
        assert how != "ended" or answer == data, "an answer that was cut off was taken for all of it"
        for received, how_there in OUTCOMES:
            assert data.startswith(received)
            assert how_there != "ended" or received == data, "what was cut off was taken for all of it"
            assert how_there != "ended" or sent > SIZE


def test_a_flipped_bit_never_gets_through_encryption() -> None:
    for seed in range(10):
        _, (answer, how) = run_with(lambda network: network.flip_bit("b", "a"), seed, encryption=True)
        data = data_of(seed)
        assert data.startswith(answer)
        assert how != "ended" or answer == data
        assert all(data.startswith(received) for received, _ in OUTCOMES)


def traced(seed: int) -> str:
    digests: list[str] = []

    async def run(network: SimulatedNetwork) -> None:
        async with (
            network.open_node("a", spawn_modules=[MODULE], encryption=True) as a,
            network.open_node("b", seeds=["a"], encryption=True) as b,
        ):
            network.set_link("a", "b", jitter=0.01, split=0.5)
            await trio.sleep(1)
            for node, to in [(a, "b"), (b, "a"), (a, "a")]:
                with trio.move_on_after(10):
                    await use(node, to)
        digests.append(network.trace.digest)

    async def use(node: Node, to: str) -> None:
        try:
            async with node.open_stream(to, f"{MODULE}:echoes") as stream:
                await stream.send_all(b"x" * 10_000)
                await stream.send_eof()
                assert await receive_all(stream) == b"x" * 10_000
        except PortDied:
            # b has no spawn_modules.
            assert to == "b"

    simulate(run, seed=seed)
    return digests[0]


def test_a_simulation_with_streams_can_be_repeated() -> None:
    assert traced(1) == traced(1) != traced(2)


def test_a_machine_that_vanishes_is_noticed_by_who_waits_for_its_bytes() -> None:
    async def run(network: SimulatedNetwork) -> None:
        async def wait(node: Node) -> None:
            await trio.sleep_forever()

        network.start("a", wait, spawn_modules=[MODULE])
        await trio.sleep(0.1)
        async with (
            network.open_node("b", seeds=["a"]) as b,
            b.open_stream("a", f"{MODULE}:sends_and_waits", 10) as stream,
        ):
            assert await stream.receive_some() == b"x" * 10
            network.crash("a", silently=True)
            start = trio.current_time()
            await receive_until_broken(stream, "transport_error: a")
            assert trio.current_time() - start < 30

    simulate(run)
