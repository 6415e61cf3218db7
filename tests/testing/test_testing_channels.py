"""The rules of the hammer about channels: each can be broken, and is kept by channels that work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from trio_mp import ChannelReceiver, ChannelSender, current_node, spawnable
from trio_mp.testing import PromiseBroken, Rule, SimulatedNetwork, simulate
from trio_mp.testing._flows import Dialogue, Flows
from trio_mp.testing._seed import run_seed

SEEDS = (1, 3, 4, 13)
"""Seeds of the hammer in which nodes open channels."""


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_with_channels(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL", "trio_mp")
    result = run_seed(seed)
    assert not result.violation
    assert result.items > 100


class Stage:
    """A channel from `a` to `b`, of which the test takes what it likes; and what the hammer knows of it."""

    def __init__(self, network: SimulatedNetwork) -> None:
        self.flows = Flows(network)
        self.dialogue: Dialogue = self.flows.new("a/1", "b")
        self.far: list[ChannelReceiver[Any]] = []

    def use(self, send: ChannelSender[Any], receive: ChannelReceiver[Any], far: ChannelSender[Any]) -> None:
        near, other = self.dialogue.near, self.dialogue.far
        near.run, near.send, near.receive, near.open = "a/1", send, receive, True
        other.run, other.send, other.receive, other.open = "b/1", far, self.far[0], True

    async def send(self, count: int) -> None:
        send = self.dialogue.near.send
        assert send is not None
        for _ in range(count):
            await send.send(self.dialogue.there.sent)
            self.dialogue.there.sent += 1

    async def receive(self, count: int) -> None:
        for _ in range(count):
            self.flows.got(self.dialogue.there, "b/1", await self.far[0].receive())


@spawnable
async def waits(receive: ChannelReceiver[Any], send: ChannelSender[Any]) -> None:
    current_node().context.append((receive, send))
    await trio.sleep_forever()


Scenario = Callable[[Stage], Awaitable[object]]


def play(scenario: Scenario) -> None:
    async def run(network: SimulatedNetwork) -> None:
        ends: list[Any] = []
        async with (
            network.open_node("a", spawn_modules=[__name__]) as a,
            network.open_node("b", seeds=["a"], spawn_modules=[__name__], context=ends),
        ):
            await trio.sleep(1)
            async with a.open_channel("b", f"{__name__}:waits", buffer=5) as (send, receive):
                await trio.sleep(1)
                stage = Stage(network)
                ((far, far_send),) = ends
                stage.far.append(far)
                stage.use(send, receive, far_send)
                await stage.send(4)
                await stage.receive(4)
                await trio.sleep(1)
                await scenario(stage)

    simulate(run)


def breaks(rule: Rule, scenario: Scenario) -> None:
    with pytest.raises(PromiseBroken) as caught:
        play(scenario)
    assert caught.value.rule is rule


def test_a_channel_that_works_breaks_no_rule() -> None:
    async def works(stage: Stage) -> None:
        stage.flows.judge()
        await stage.send(3)
        await stage.receive(3)
        await trio.sleep(1)
        stage.flows.judge()
        stage.dialogue.there.end_said = True
        send = stage.dialogue.near.send
        assert send is not None
        await send.aclose()
        with pytest.raises(trio.EndOfChannel):
            await stage.far[0].receive()
        stage.flows.ended(stage.dialogue.there, "b/1")
        stage.flows.judge()

    play(works)


@pytest.mark.parametrize("number", [3, 5])
def test_items_out_of_order(number: int) -> None:
    async def skips(stage: Stage) -> None:
        stage.dialogue.there.sent += 2
        stage.flows.got(stage.dialogue.there, "b/1", number)

    breaks(Rule.ITEMS, skips)


def test_an_item_that_was_not_sent() -> None:
    async def invents(stage: Stage) -> None:
        stage.flows.got(stage.dialogue.there, "b/1", 4)

    breaks(Rule.ITEMS, invents)


def test_an_item_that_does_not_come() -> None:
    async def loses(stage: Stage) -> None:
        stage.dialogue.there.sent += 1
        stage.flows.judge()

    breaks(Rule.ITEMS, loses)


def test_an_end_that_was_not_said() -> None:
    async def ends(stage: Stage) -> None:
        stage.flows.ended(stage.dialogue.there, "b/1")

    breaks(Rule.FALSE_END, ends)


def test_an_end_before_the_last_item() -> None:
    async def ends(stage: Stage) -> None:
        stage.dialogue.there.end_said = True
        stage.dialogue.there.sent += 1
        stage.flows.ended(stage.dialogue.there, "b/1")

    breaks(Rule.FALSE_END, ends)


def test_a_side_that_is_not_told() -> None:
    async def leaves(stage: Stage) -> None:
        stage.dialogue.far.open = False
        stage.flows.judge()

    breaks(Rule.LEFT_WAITING, leaves)


@pytest.mark.parametrize("attribute", ["held", "held_size"])
def test_credit_that_is_lost(attribute: str) -> None:
    async def loses(stage: Stage) -> None:
        debt = stage.far[0]._incoming.debt  # type: ignore[attr-defined, unused-ignore]
        setattr(debt, attribute, getattr(debt, attribute) + 1)
        stage.flows.judge()

    breaks(Rule.CREDIT, loses)


def test_credit_that_is_invented() -> None:
    async def invents(stage: Stage) -> None:
        send = stage.dialogue.near.send
        assert send is not None
        send._outgoing.credit.items += 1
        stage.flows.judge()

    breaks(Rule.CREDIT, invents)
