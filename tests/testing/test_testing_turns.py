"""The rules of the hammer about singletons: each can be broken, and is kept by what keeps it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import ExitStack

import pytest
import trio

from trio_mp import TurnEpoch
from trio_mp.testing import PromiseBroken, Rule, SimulatedNetwork, Witness, simulate
from trio_mp.testing._turns import FAMILY, TurnLedger

Scenario = Callable[[TurnLedger, Witness], Awaitable[object]]


def epoch(number: int, run: str = "0123456789abcdef") -> TurnEpoch:
    return TurnEpoch(number, "a", run)


def play(scenario: Scenario) -> None:
    async def run(network: SimulatedNetwork) -> None:
        ledger = TurnLedger(network)
        async with network.open_node("a") as node:
            await scenario(ledger, Witness(network, node))

    simulate(run)


def breaks(rule: Rule, scenario: Scenario) -> None:
    with pytest.raises(PromiseBroken) as info:
        play(scenario)
    assert info.value.rule is rule


def claim(witness: Witness, of: TurnEpoch) -> None:
    witness.node.database.set(FAMILY, of.run, [*of, True])


def test_what_a_singleton_does_is_right() -> None:
    async def scenario(ledger: TurnLedger, witness: Witness) -> None:
        async def lead(of: TurnEpoch) -> None:
            with ledger.turn(witness, of):
                assert ledger.write(of)
                await trio.sleep(100)
                ledger.judge()

        async def candidate() -> None:
            await witness.node.run_singleton(FAMILY, lead)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(candidate)
        assert [turn.epoch.number for turn in ledger.turns] == [1, 2, 3]
        assert all(turn.was_seen for turn in ledger.turns)

    play(scenario)


def test_an_epoch_that_is_used_twice() -> None:
    async def scenario(ledger: TurnLedger, witness: Witness) -> None:
        claim(witness, epoch(1))
        for _ in range(2):
            with ledger.turn(witness, epoch(1)):
                pass

    breaks(Rule.EPOCHS, scenario)


@pytest.mark.parametrize("seconds, other", [(0, "0123456789abcdef"), (100, "another candidate")])
def test_a_turn_that_is_older_than_the_one_before(seconds: float, other: str) -> None:
    async def scenario(ledger: TurnLedger, witness: Witness) -> None:
        claim(witness, epoch(2))
        with ledger.turn(witness, epoch(2)):
            await trio.sleep(seconds)
        with ledger.turn(witness, epoch(1, other)):
            pass

    breaks(Rule.EPOCHS, scenario)


def test_a_turn_that_begins_beside_another_one() -> None:
    async def scenario(ledger: TurnLedger, witness: Witness) -> None:
        claim(witness, epoch(1))
        with ledger.turn(witness, epoch(1)):
            await trio.sleep(100)
            with ledger.turn(witness, epoch(2, "another candidate")):
                pass

    breaks(Rule.TURNS, scenario)


def test_a_turn_whose_entry_goes_before_it_has_unwound() -> None:
    async def scenario(ledger: TurnLedger, witness: Witness) -> None:
        claim(witness, epoch(1))
        with ledger.turn(witness, epoch(1)):
            witness.node.database.delete(FAMILY, epoch(1).run)

    breaks(Rule.TURNS, scenario)


@pytest.mark.parametrize("count", [0, 2])
def test_no_turn_or_two_at_rest(count: int) -> None:
    async def scenario(ledger: TurnLedger, witness: Witness) -> None:
        with ExitStack() as turns:
            for number in range(1, count + 1):
                # Two candidates that have begun at the same moment.
                of = epoch(number, f"candidate {number}")
                claim(witness, of)
                turns.enter_context(ledger.turn(witness, of))
            ledger.judge()

    breaks(Rule.ONE_TURN, scenario)


def test_a_turn_at_rest_that_the_resource_refuses() -> None:
    async def scenario(ledger: TurnLedger, witness: Witness) -> None:
        assert ledger.write(epoch(5))
        assert not ledger.write(epoch(4))
        claim(witness, epoch(4))
        with ledger.turn(witness, epoch(4)):
            ledger.judge()

    breaks(Rule.ONE_TURN, scenario)
