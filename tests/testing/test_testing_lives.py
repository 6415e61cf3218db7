"""The rules of the hammer about supervised children: each can be broken, and is kept by what keeps it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio

from trio_mp import ChildRef, Node, Supervisor
from trio_mp.testing import PromiseBroken, Rule, SimulatedNetwork, simulate
from trio_mp.testing._lives import Lives
from trio_mp.testing._overseer import serve_child

Scenario = Callable[[Lives, Node, Supervisor, ChildRef], Awaitable[object]]


def play(scenario: Scenario) -> None:
    """Run a scenario with a supervisor on the node `a`, and its child `one`."""

    async def run(network: SimulatedNetwork) -> None:
        lives = Lives(network)
        async with network.open_node("a", context=lives) as node, node.open_supervisor() as crew:
            child = await crew.start(serve_child, "a/1", "one", 0.0, 0.0)
            await scenario(lives, node, crew, child)

    simulate(run)


def breaks(rule: Rule, scenario: Scenario) -> None:
    with pytest.raises(PromiseBroken) as info:
        play(scenario)
    assert info.value.rule is rule


def test_what_a_supervisor_does_is_right() -> None:
    async def scenario(lives: Lives, node: Node, crew: Supervisor, child: ChildRef) -> None:
        for what in ("crash", "end"):
            before = child.port
            node.send(child, what)
            await node.wait_death(before)
            await child.up()
            lives.judge({"one": child.port})
        counted = child.restarts
        assert counted == 2
        await crew.stop(child)
        lives.stopped("one", child.restarts - counted)
        lives.judge({})
        assert lives.count == 3

    play(scenario)


def test_two_lives_at_a_time() -> None:
    async def scenario(lives: Lives, node: Node, crew: Supervisor, child: ChildRef) -> None:
        await crew.start(serve_child, "a/1", "one", 0.0, 0.0)

    breaks(Rule.LIVES, scenario)


def test_an_epoch_that_does_not_rise() -> None:
    async def run(network: SimulatedNetwork) -> None:
        lives, epochs = Lives(network), iter((2, 1))
        async with (
            network.open_node("a", context=lives) as node,
            node.open_supervisor(epochs=lambda: next(epochs)) as crew,
        ):
            for _ in range(2):
                await crew.stop(await crew.start(serve_child, "a/1", "one", 0.0, 0.0))

    with pytest.raises(PromiseBroken, match="was not numbered above") as info:
        simulate(run)
    assert info.value.rule is Rule.LIVES


def test_a_child_that_was_stopped_and_goes_on() -> None:
    async def scenario(lives: Lives, node: Node, crew: Supervisor, child: ChildRef) -> None:
        lives.stopped("one", 0)

    breaks(Rule.STOPPED, scenario)


def test_a_stop_that_counts_as_a_restart() -> None:
    async def scenario(lives: Lives, node: Node, crew: Supervisor, child: ChildRef) -> None:
        await crew.stop(child)
        lives.stopped("one", 1)

    breaks(Rule.STOPPED, scenario)


def test_a_child_that_was_stopped_and_is_started_again() -> None:
    async def scenario(lives: Lives, node: Node, crew: Supervisor, child: ChildRef) -> None:
        await crew.stop(child)
        lives.stopped("one", 0)
        await crew.start(serve_child, "a/1", "one", 0.0, 0.0)

    breaks(Rule.STOPPED, scenario)


def test_a_child_that_does_not_run() -> None:
    async def scenario(lives: Lives, node: Node, crew: Supervisor, child: ChildRef) -> None:
        await crew.stop(child)
        lives.judge({"one": child.port})

    breaks(Rule.SUPERVISED, scenario)


def test_a_child_that_never_ran() -> None:
    async def scenario(lives: Lives, node: Node, crew: Supervisor, child: ChildRef) -> None:
        lives.judge({"one": child.port, "two": "a#two"})

    breaks(Rule.SUPERVISED, scenario)


def test_a_child_that_may_be_started_out_of_reach_may_be_between_two_lives() -> None:
    async def scenario(lives: Lives, node: Node, crew: Supervisor, child: ChildRef) -> None:
        await crew.stop(child)
        lives.judge({"one": child.port, "two": "a#two"}, {"one", "two"})

    play(scenario)


def test_a_child_that_may_be_started_out_of_reach_and_runs_as_another_port() -> None:
    async def scenario(lives: Lives, node: Node, crew: Supervisor, child: ChildRef) -> None:
        await trio.lowlevel.checkpoint()
        lives.judge({"one": "a#two"}, {"one"})

    breaks(Rule.SUPERVISED, scenario)


def test_a_child_that_nobody_supervises() -> None:
    async def scenario(lives: Lives, node: Node, crew: Supervisor, child: ChildRef) -> None:
        await trio.lowlevel.checkpoint()
        lives.judge({})

    breaks(Rule.SUPERVISED, scenario)
