"""The rules of the hammer about groups, entries and calls: each can be broken, and is kept by what keeps it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio

from trio_mp import CallError, Group, Joined, Left, Node, PortDied
from trio_mp.testing import PromiseBroken, Rule, SimulatedNetwork, Witness, simulate
from trio_mp.testing._circle import FAMILY, GroupView
from trio_mp.testing._ledger import CallLedger
from trio_mp.testing._registry import Registry


class Stage:
    """A node `a` with a group of one member."""

    def __init__(self, network: SimulatedNetwork, node: Node, group: Group) -> None:
        self.network = network
        self.node = node
        self.group = group
        self.witness = Witness(network, node)
        self.run = self.witness.run
        self.registry = Registry(network)
        self.ledger = CallLedger(network)
        self.view = GroupView(self.witness, group, self.registry)
        self.port = self.witness.port()
        self.member = str(self.port)
        self.registry.register(self.witness, FAMILY, self.port)

    async def read(self, count: int) -> None:
        """Show the view so many events of the group."""
        for _ in range(count):
            self.view.take(await anext(self.group))

    async def ask(self, answer: Callable[[int], object], *, again: bool = False) -> None:
        async def call(number: int) -> object:
            await trio.lowlevel.checkpoint()
            return answer(number)

        await self.ledger.ask(self.run, self.member, call, again=again)

    def handle(self, number: int) -> int:
        with self.ledger.handles(number, self.run, self.member) as serial:
            return serial

    def fail(self, error: Exception) -> Callable[[int], object]:
        def answer(_number: int) -> object:
            raise error

        return answer


Scenario = Callable[[Stage], Awaitable[object]]


def play(scenario: Scenario) -> None:
    async def run(network: SimulatedNetwork) -> None:
        async with network.open_node("a") as node, node.open_group(FAMILY) as group:
            stage = Stage(network, node, group)
            await stage.read(1)
            await scenario(stage)
            stage.view.close()

    simulate(run)


def breaks(rule: Rule, scenario: Scenario) -> None:
    with pytest.raises(PromiseBroken) as info:
        play(scenario)
    assert info.value.rule is rule


# Groups --------------------------------------------------------------------------------------------------------------


def test_what_a_group_does_is_right() -> None:
    async def scenario(stage: Stage) -> None:
        expected = stage.registry.expected(FAMILY)
        assert list(expected.values()) == [stage.member]
        stage.view.judge(expected.values(), 16)
        stage.registry.read(FAMILY, await stage.node.database.family(FAMILY))
        stage.node.kill(stage.port, "enough")
        await stage.node.wait_death(stage.port)
        stage.registry.check_gone(stage.witness, FAMILY, stage.member)
        await stage.read(1)
        assert stage.registry.expected(FAMILY) == {}
        stage.view.judge((), 16)

    play(scenario)


def test_a_member_that_joins_twice() -> None:
    async def scenario(stage: Stage) -> None:
        stage.view.take(Joined(stage.member, None, stage.member))

    breaks(Rule.ROSTER, scenario)


def test_a_member_that_leaves_and_had_not_joined() -> None:
    async def scenario(stage: Stage) -> None:
        for _ in range(2):
            stage.view.take(Left(stage.member, ("unregistered", ""), stage.member))

    breaks(Rule.ROSTER, scenario)


def test_a_member_that_is_said_to_have_died() -> None:
    async def scenario(stage: Stage) -> None:
        other = stage.witness.port()
        stage.registry.register(stage.witness, FAMILY, other)
        # On another node; of its own ports a node is believed.
        stage.network.oracle.node_started("b/1", "b")
        stage.view.witness.run = "b/1"
        await stage.read(1)
        stage.view.take(Left(str(other), (), str(other)))

    breaks(Rule.FALSE_DEATH, scenario)


def test_a_member_that_has_died_and_has_not_left() -> None:
    async def scenario(stage: Stage) -> None:
        stage.network.oracle.port_died(stage.member, ("enough",))
        await trio.sleep(100)
        stage.network.oracle.finish()

    breaks(Rule.LATE, scenario)


def test_a_message_that_a_member_misses() -> None:
    async def scenario(stage: Stage) -> None:
        number = stage.network.oracle.next_number(stage.run, stage.member)
        stage.view.send()
        stage.view.send()
        stage.network.oracle.delivered_to(stage.member, stage.run, number + 1, stage.member)

    breaks(Rule.HOLE, scenario)


def test_a_member_that_nobody_has_registered() -> None:
    async def scenario(stage: Stage) -> None:
        other = stage.node.port()
        stage.view.take(Joined(str(other), None, str(other)))

    breaks(Rule.ENTRIES, scenario)


def test_a_group_without_a_registered_member() -> None:
    async def scenario(stage: Stage) -> None:
        stage.view.judge([stage.member, "a#0123456789abcdef.1"], 16)

    breaks(Rule.CONVERGES, scenario)


def test_a_group_with_a_member_that_is_none() -> None:
    async def scenario(stage: Stage) -> None:
        stage.view.judge([], 16)

    breaks(Rule.CONVERGES, scenario)


def test_a_reader_that_is_not_told() -> None:
    async def scenario(stage: Stage) -> None:
        stage.view.there.clear()
        stage.view.judge([stage.member], 16)

    breaks(Rule.ROSTER, scenario)


# Entries -------------------------------------------------------------------------------------------------------------


def test_an_entry_of_a_dead_port() -> None:
    async def scenario(stage: Stage) -> None:
        stage.registry.check_gone(stage.witness, FAMILY, stage.member)

    breaks(Rule.ENTRIES, scenario)


def test_an_entry_that_nobody_has_made() -> None:
    async def scenario(stage: Stage) -> None:
        stage.registry.read(FAMILY, {"lobby": [stage.member, None]})

    breaks(Rule.ENTRIES, scenario)


def test_the_greater_node_has_a_key() -> None:
    async def run(network: SimulatedNetwork) -> None:
        async with network.open_node("a") as one, network.open_node("b", seeds=["a"]) as other:
            registry, witnesses = Registry(network), [Witness(network, one), Witness(network, other)]
            ports = [witness.port() for witness in witnesses]
            for witness, port in zip(reversed(witnesses), reversed(ports), strict=True):
                registry.register(witness, FAMILY, port, "lobby")
            await trio.sleep(5)
            assert registry.expected(FAMILY) == {"lobby": str(ports[1])}
            assert registry.read(FAMILY, await one.database.family(FAMILY)) == registry.expected(FAMILY)

    simulate(run)


# Calls ---------------------------------------------------------------------------------------------------------------


def test_calls_that_are_answered_or_fail() -> None:
    async def scenario(stage: Stage) -> None:
        await stage.ask(stage.handle)
        await stage.ask(stage.fail(PortDied(stage.member, ("enough",))))
        await stage.ask(stage.fail(CallError("busy", "", maybe_delivered=False)))
        stage.ledger.judge({FAMILY})
        assert stage.ledger.answered == 1

    play(scenario)


def test_a_call_that_is_handled_twice() -> None:
    async def scenario(stage: Stage) -> None:
        await stage.ask(stage.handle)
        stage.handle(0)

    breaks(Rule.ANSWERED_TWICE, scenario)


def test_an_answer_that_no_handler_has_given() -> None:
    async def scenario(stage: Stage) -> None:
        await stage.ask(lambda number: stage.handle(number) + 1)

    breaks(Rule.ANSWERED_TWICE, scenario)


def test_an_answer_to_a_call_that_was_dropped() -> None:
    async def scenario(stage: Stage) -> None:
        def answer(number: int) -> int:
            stage.ledger.dropped(number, stage.member)
            return stage.handle(number)

        await stage.ask(answer)

    breaks(Rule.GIVEN_UP, scenario)


def test_a_call_that_may_be_made_again_and_fails() -> None:
    async def scenario(stage: Stage) -> None:
        await stage.ask(stage.fail(PortDied(stage.member, ("enough",))), again=True)

    breaks(Rule.AGAIN, scenario)


def test_a_call_that_expires_too_early() -> None:
    async def scenario(stage: Stage) -> None:
        await stage.ask(stage.fail(CallError("expired", "")))

    breaks(Rule.TOO_EARLY, scenario)


@pytest.mark.parametrize("first", [True, False])
def test_a_call_that_is_undelivered_and_handled(first: bool) -> None:
    async def scenario(stage: Stage) -> None:
        def answer(number: int) -> int:
            if first:
                stage.handle(number)
            raise CallError("busy", "", maybe_delivered=False)

        await stage.ask(answer)
        stage.handle(0)

    breaks(Rule.UNDELIVERED, scenario)


def test_a_call_that_begins_long_after_its_end() -> None:
    async def scenario(stage: Stage) -> None:
        await stage.ask(stage.fail(PortDied(stage.member, ("enough",))))
        await trio.sleep(60)
        stage.handle(0)

    breaks(Rule.BEGUN_LATE, scenario)


@pytest.mark.parametrize("again, rule", [(False, Rule.UNANSWERED), (True, Rule.AGAIN)])
def test_a_call_that_does_not_end(again: bool, rule: Rule) -> None:
    async def scenario(stage: Stage) -> None:
        async def call(_number: int) -> None:
            await trio.sleep_forever()

        async def ask() -> None:
            await stage.ledger.ask(stage.run, FAMILY, call, again=again)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(1)
            stage.ledger.judge({FAMILY})

    breaks(rule, scenario)


def test_a_handler_that_goes_on_when_nobody_waits() -> None:
    async def scenario(stage: Stage) -> None:
        await stage.ask(stage.fail(PortDied(stage.member, ("enough",))))
        with stage.ledger.handles(0, stage.run, stage.member, clings=False):
            stage.ledger.judge()

    breaks(Rule.CALLED_OFF, scenario)
