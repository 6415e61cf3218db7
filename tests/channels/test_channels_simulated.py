"""Channels under the faults of the simulated network: no silent loss, nothing twice, no end that is not so."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import trio

from trio_mp import ChannelReceiver, ChannelSender, Node, PortDied, current_node, spawnable
from trio_mp.testing import SimulatedNetwork, simulate

SEEDS = 200 if os.environ.get("HYPOTHESIS_PROFILE") == "thorough" else 20
SETTINGS: dict[str, Any] = {"connect_timeout": 20.0, "heartbeat": 5.0, "shutdown_timeout": 4.0}

BUFFER, BUFFER_SIZE = 5, 3000


class Direction:
    """What the two ends of one direction of a channel have seen.

    Attributes:
      sent: how many items `send` has returned for.
      under_way: whether a task is in `send`.
      received: how many items were received; each was the next one.
      said_end: whether the sender was closed by its program.
      send_ended, receive_ended: how that end has ended: "end", "broken", "closed".
    """

    def __init__(self) -> None:
        self.sent = self.received = 0
        self.under_way = self.said_end = False
        self.send_ended = self.receive_ended = ""

    def check(self) -> None:
        """What must hold of a direction, when both ends have ended."""
        assert self.send_ended
        assert self.receive_ended
        assert self.received <= self.sent + self.under_way
        if self.receive_ended == "end":
            assert self.said_end, "an end was received that nobody has said"
            assert self.received == self.sent, "items were lost, and the receiver took it for the end"
        elif self.received < self.sent:
            assert self.receive_ended in {"broken", "closed"}


class Story:
    """All directions of all channels; the context of both nodes."""

    def __init__(self, network: SimulatedNetwork) -> None:
        self.numbers = network.generator("channels")
        self.directions: dict[int, tuple[Direction, Direction]] = {}
        self.alive = 0

    async def send_all(self, send: ChannelSender[Any], direction: Direction, count: int) -> None:
        try:
            for number in range(count):
                size = self.numbers.choice((0, 10, 500, 2000, 5000))
                direction.under_way = True
                if self.numbers.random() < 0.2:
                    with trio.move_on_after(self.numbers.choice((0, 0.01, 1))) as scope:
                        await send.send([direction.sent, b"x" * size])
                    if scope.cancelled_caught:
                        direction.under_way = False
                        continue
                else:
                    await send.send([direction.sent, b"x" * size])
                direction.under_way = False
                direction.sent += 1
                statistics = send.statistics()
                assert statistics.current_buffer_used <= BUFFER
                assert statistics.current_buffer_size <= BUFFER_SIZE or statistics.current_buffer_used == 1
                if number % 5 == 0:
                    await trio.sleep(self.numbers.choice((0, 0.01, 0.5)))
            direction.said_end = True
            direction.send_ended = "end"
            await send.aclose()
        except trio.BrokenResourceError as error:
            assert error.__cause__ is None or isinstance(error.__cause__, PortDied)
            direction.send_ended = "broken"

    async def receive_all(self, receive: ChannelReceiver[Any], direction: Direction, most: int) -> None:
        try:
            while direction.received < most:
                with trio.move_on_after(self.numbers.choice((0.001, 1, 1000))):
                    number, _ = await receive.receive()
                    assert number == direction.received, "not the next one"
                    direction.received += 1
                if self.numbers.random() < 0.1:
                    await trio.sleep(self.numbers.choice((0, 0.1, 2)))
            direction.receive_ended = "closed"
            await receive.aclose()
        except trio.EndOfChannel:
            direction.receive_ended = "end"
        except trio.BrokenResourceError as error:
            assert isinstance(error.__cause__, PortDied)
            direction.receive_ended = "broken"

    async def play(
        self, receive: ChannelReceiver[Any], send: ChannelSender[Any], inward: Direction, outward: Direction
    ) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.send_all, send, outward, self.numbers.choice((0, 20, 60)))
            nursery.start_soon(self.receive_all, receive, inward, self.numbers.choice((5, 1000, 1000)))

    async def open(self, node: Node, number: int) -> None:
        """Open one channel, and use it at both ends to the end."""
        there, back = self.directions[number]
        try:
            async with node.open_channel(
                "a", f"{__name__}:takes_part", number, buffer=BUFFER, buffer_size=BUFFER_SIZE
            ) as (send, receive):
                await self.play(receive, send, back, there)
        except PortDied:
            # Perhaps over there somebody has seen it, too; then that has only seen that it is broken.
            there.send_ended = there.send_ended or "broken"
            back.receive_ended = back.receive_ended or "broken"


@spawnable
async def takes_part(receive: ChannelReceiver[Any], send: ChannelSender[Any], number: int) -> None:
    story = current_node().context
    there, back = story.directions[number]
    story.alive += 1
    try:
        await story.play(receive, send, there, back)
    finally:
        story.alive -= 1
        there.receive_ended = there.receive_ended or "killed"
        back.send_ended = back.send_ended or "killed"


@spawnable
async def numbers(count: int) -> AsyncGenerator[int, None]:
    story = current_node().context
    story.alive += 1
    try:
        for number in range(count):
            yield number
            await trio.sleep(story.numbers.choice((0, 0.01, 1)))
    finally:
        story.alive -= 1


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
def test_channels_keep_the_promise(seed: int) -> None:
    async def scenario(network: SimulatedNetwork) -> None:
        story = Story(network)
        async with (
            network.open_node("a", spawn_modules=[__name__], context=story, **SETTINGS) as a,
            network.open_node("b", seeds=["a"], context=story, **SETTINGS) as b,
        ):
            await trio.sleep(1)
            endings = Counter[str]()

            async def read_source() -> None:
                received = 0
                try:
                    async with b.open_source("a", f"{__name__}:numbers", 50, buffer=3) as rows:
                        async for number in rows:
                            assert number == received
                            received += 1
                    assert received == 50, "an end was received that nobody has said"
                    endings["source"] += 1
                except (trio.BrokenResourceError, PortDied):
                    endings["broken source"] += 1

            async def open_many(count: int) -> None:
                for _ in range(count):
                    number = len(story.directions)
                    story.directions[number] = Direction(), Direction()
                    nursery.start_soon(story.open, b, number)
                    if story.numbers.random() < 0.3:
                        nursery.start_soon(read_source)
                    await trio.sleep(story.numbers.choice((0, 0.5, 5)))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(disturb, network, 6)
                await open_many(15)
            network.heal()
            await network.settle()
            # The other node has noticed by now, too, and what ran there has unwound.
            await trio.sleep(3.5 * 5 + 5)
            assert story.alive == 0
            for there, back in story.directions.values():
                # A function that was not begun has seen nothing.
                there.receive_ended = there.receive_ended or "broken"
                back.send_ended = back.send_ended or "broken"
                there.check()
                back.check()
                endings[there.receive_ended] += 1
            # Undisturbed, each comes to its end.
            before = len(story.directions)
            async with trio.open_nursery() as nursery:
                await open_many(5)
            # Leaving the block does not wait for the other side.
            with trio.fail_after(100):
                while story.alive:
                    await trio.sleep(1)
            for number in range(before, before + 5):
                for direction in story.directions[number]:
                    direction.check()
                    assert direction.receive_ended in {"end", "closed"}
                    assert direction.send_ended == "end" or direction.receive_ended == "closed"
            await trio.sleep(1)
            assert not [port for node in (a, b) for port in node._lifecycle.ports.values() if port._tags]

    simulate(scenario, seed=seed)
