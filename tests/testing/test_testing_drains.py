"""The rules of the hammer about drains: each can be broken, and is kept by what keeps it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio

from trio_mp import Drained, Unfinished
from trio_mp._protocol.drain import Drain, NodeWork
from trio_mp._services.database import Database
from trio_mp._services.drain import DrainService
from trio_mp.testing import PromiseBroken, Rule, SimulatedNetwork, Witness, simulate
from trio_mp.testing._drains import DrainJudge
from trio_mp.testing._parting import Parter

Scenario = Callable[[DrainJudge, Witness, Witness], Awaitable[object]]


def play(scenario: Scenario) -> None:
    """Play with two connected nodes, of which the first is to drain; messages take half a second."""

    async def run(network: SimulatedNetwork) -> None:
        network.default_link.delay = 0.5
        async with network.open_node("a") as a, network.open_node("b", seeds=["a"]) as b:
            await trio.sleep(10)
            assert network.agree("a", "b")
            await scenario(DrainJudge(network), Witness(network, a), Witness(network, b))

    simulate(run)


def breaks(rule: Rule, scenario: Scenario) -> PromiseBroken:
    with pytest.raises(PromiseBroken) as info:
        play(scenario)
    assert info.value.rule is rule
    return info.value


async def drain(judge: DrainJudge, drains: Witness, sender: Witness) -> None:
    """Have a node drain while messages for its ports are on their way, and wait; one handler is slow."""

    async def handle(*_: object) -> None:
        await trio.sleep(3)

    ports = [drains.port(), drains.port(handle)]
    for port in ports:
        for number in range(3):
            sender.send(str(port), number)
            drains.send(str(port), number)
    drains.node.database.register("servers", ports[0])
    drains.oracle.drain_heard(drains.run, drains.run)
    judge.ended(drains.node, drains.run, await drains.node.drain())


def test_what_a_drain_does_is_right() -> None:
    async def scenario(judge: DrainJudge, drains: Witness, sender: Witness) -> None:
        await drain(judge, drains, sender)
        assert drains.oracle.delivered == 12
        await judge.cut_off(drains.node, drains.run)

    play(scenario)


def test_what_a_drain_names_need_not_be_handled() -> None:
    async def named(judge: DrainJudge, drains: Witness, sender: Witness) -> None:
        async def handle(*_: object) -> None:
            await trio.sleep_forever()

        port = drains.port(handle)
        sender.send(str(port))
        with trio.move_on_after(5):
            await drains.node.drain()
        await judge.cut_off(drains.node, drains.run)
        judge.ended(drains.node, drains.run, Drained((Unfinished(port, "its handler runs"),)))

    play(named)


def test_a_node_that_drains_does_not_part_though_nothing_else_keeps_the_connection() -> None:
    async def parting(judge: DrainJudge, drains: Witness, sender: Witness) -> None:
        """The hammer has the sender ask to part; then it sends, and then the other node drains."""
        parter = Parter(drains.network)
        peers = [parter._peer("a", "b"), parter._peer("b", "a")]
        for peer in peers:
            assert peer is not None
            parter._release(peer)
        port = drains.port()
        assert peers[1] is not None
        assert peers[1].ask_to_part()
        sender.send(str(port))
        drains.oracle.drain_heard(drains.run, drains.run)
        judge.ended(drains.node, drains.run, await drains.node.drain())
        assert drains.oracle.delivered == 1

    play(parting)


def test_a_drain_that_tells_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Drain, "up", lambda *_, **__: False)
    assert "b/1, which is connected, has not heard of it" in breaks(Rule.DRAINED, drain).what


def test_a_drain_that_ends_before_all_have_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(judge: DrainJudge, drains: Witness, _sender: Witness) -> None:
        judge.ended(drains.node, drains.run, await drains.node.drain())

    monkeypatch.setattr(Drain, "is_done", lambda _, work: not work.is_awaited)
    assert "a/1 has drained, and awaits ('b',)" in breaks(Rule.DRAIN_ENDS, scenario).what


def test_a_drain_that_waits_for_no_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DrainService, "_look", lambda service, *_: NodeWork(service._runtime.id, 0, ()))
    assert "has not done with message" in breaks(Rule.DRAINED, drain).what


def test_a_message_that_comes_behind_the_fence_of_its_sender() -> None:
    async def scenario(judge: DrainJudge, drains: Witness, sender: Witness) -> None:
        port = drains.port()
        drains.oracle.drain_heard(drains.run, drains.run)
        drained = await drains.node.drain()
        sender.send(str(port))
        # As if it had been sent before.
        drains.oracle._heard.clear()
        drains.oracle.drain_heard(sender.run, drains.run)
        judge.ended(drains.node, drains.run, drained)

    assert "has not got message 0 of b/1" in breaks(Rule.DRAINED, scenario).what


def test_a_drain_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(judge: DrainJudge, drains: Witness, _sender: Witness) -> None:
        with trio.move_on_after(10):
            await drains.node.drain()
        await judge.cut_off(drains.node, drains.run)

    monkeypatch.setattr(Drain, "is_done", lambda *_: False)
    breaks(Rule.DRAIN_ENDS, scenario)


def test_entries_that_are_not_withdrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Database, "_withdraw_ports", lambda _: None)
    breaks(Rule.WITHDRAWN, drain)
