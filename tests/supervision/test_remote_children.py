"""Children on other nodes: when a life has ended, and where the next one runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from remote_children import (
    BOUND,
    HEARTBEAT,
    HOSTS,
    lives,
    next_life,
    open_three,
    overlaps,
    spawn_anywhere,
)

from trio_mp import ChildRef, Family, Node, Port, PortDied, Supervisor
from trio_mp._supervision.remote import silence_bound
from trio_mp.testing import SimulatedNetwork, simulate

SERVE = "remote_children:serve"
LATENCY = 0.5
"""For what travels when nothing is wrong, in seconds."""

LOST = 3.5 * HEARTBEAT
"""When silence is noticed at the latest."""

Scenario = Callable[[SimulatedNetwork, Node, Supervisor], Awaitable[None]]


def with_crew(scenario: Scenario, *, seed: int = 0, block: dict[str, Any] | None = None, **settings: Any) -> None:
    """Run a scenario with a supervisor on the node `a`, beside `b` and `c`."""

    async def run(network: SimulatedNetwork) -> None:
        async with open_three(network, **settings) as node, node.open_supervisor(**(block or {})) as crew:
            await scenario(network, node, crew)

    simulate(run, seed=seed)


# One life -------------------------------------------------------------------------------------------------------------


def test_a_child_on_another_node_is_started_stopped_and_started_again() -> None:
    async def scenario(network: SimulatedNetwork, node: Node, crew: Supervisor) -> None:
        child = await crew.spawn("b", SERVE, "one", 2)
        assert child.value == ["b", "one", 2]
        assert (lives[0].node_id, lives[0].port, lives[0].epoch) == ("b", child.port, child.epoch)
        node.kill(child.port, "broken")
        second = await next_life(2, LATENCY)
        assert await child.up() == second.port
        assert second.epoch > lives[0].epoch
        assert child.reason == ("broken",)
        await crew.stop(child)
        assert second.ended <= trio.current_time()
        assert not overlaps()

    with_crew(scenario)


def test_a_child_may_run_on_the_supervisors_own_node() -> None:
    async def scenario(network: SimulatedNetwork, node: Node, crew: Supervisor) -> None:
        child = await crew.spawn(node.id, SERVE)
        node.kill(child.port, "broken")
        assert (await next_life(2, LATENCY)).node_id == "a"

    with_crew(scenario)


def test_leaving_the_block_stops_the_last_first() -> None:
    ended: list[str] = []

    async def scenario(network: SimulatedNetwork, node: Node, crew: Supervisor) -> None:
        for node_id in ("b", "c", "b"):
            await crew.spawn(node_id, "remote_children:shield", 0.5)
        ended.extend(life.port for life in lives)

    with_crew(scenario)
    assert [life.port for life in sorted(lives, key=lambda life: -life.ended)] == ended
    assert all(life.ended < float("inf") for life in lives)


def test_a_child_that_ends_normally_may_stay_ended() -> None:
    async def scenario(network: SimulatedNetwork, node: Node, crew: Supervisor) -> None:
        child = await crew.spawn("b", "remote_children:end_normally", restart="transient")
        await crew.wait()
        assert (child.reason, child.restarts) == ((), 0)

    with_crew(scenario)


@pytest.mark.parametrize("seed", range(6))
def test_a_node_that_closes_has_ended_its_children(seed: int) -> None:
    """The next life begins at once, on another node: the entries of the first one may still be there."""

    async def scenario(network: SimulatedNetwork, node: Node, crew: Supervisor) -> None:
        child = await crew.spawn(Family(HOSTS), SERVE)
        await network.stop(lives[0].node_id)
        begun = trio.current_time()
        second = await next_life(2, 60)
        assert second.begun - begun < LATENCY
        assert child.reason == ("node_closed", lives[0].node_id)
        assert second.node_id != lives[0].node_id

    with_crew(scenario, seed=seed)


def test_references_among_arguments_are_resolved_at_each_start() -> None:
    async def scenario(network: SimulatedNetwork, node: Node, crew: Supervisor) -> None:
        first = await crew.spawn("b", SERVE)
        second = await crew.spawn("c", SERVE, first)
        assert second.value == ["c", first.port]
        before = first.port
        node.kill(first.port, "broken")
        await next_life(4, 1)
        await second.up()
        assert second.value == ["c", first.port]
        assert first.port != before

    with_crew(scenario, block={"strategy": "rest_for_one"})


# A lost connection ----------------------------------------------------------------------------------------------------


def test_a_reset_is_no_death_but_is_followed_by_one_soon() -> None:
    async def scenario(network: SimulatedNetwork, node: Node, crew: Supervisor) -> None:
        await crew.spawn("b", SERVE)
        # Until nothing looks for `b` any more on behalf of the start.
        await trio.sleep(5)
        begun = trio.current_time()
        assert network.reset("a", "b")
        second = await next_life(2, BOUND)
        # Connected again, its node says that the port is dead: that need not wait for the bound.
        assert second.begun - begun < BOUND / 2
        assert not overlaps()

    with_crew(scenario)


def test_a_connection_is_looked_for_also_with_a_node_that_nobody_else_would_dial() -> None:
    # Both are attached to `c`, and connected only because something is monitored between them.
    async def scenario(network: SimulatedNetwork, node: Node, crew: Supervisor) -> None:
        await crew.spawn("b", SERVE)
        # Until nothing looks for `b` any more on behalf of the start.
        await trio.sleep(5)
        begun = trio.current_time()
        assert network.reset("a", "b")
        second = await next_life(2, BOUND)
        assert second.begun - begun < BOUND / 2

    with_crew(scenario, a={"seeds": ["c"]}, b={"seeds": ["c"]}, c={"seeds": []})


@pytest.mark.parametrize("silently", [False, True])
def test_a_node_that_is_killed_has_its_child_run_elsewhere_within_the_bound(silently: bool) -> None:
    async def scenario(network: SimulatedNetwork, node: Node, crew: Supervisor) -> None:
        child = await spawn_anywhere(crew)
        begun = trio.current_time()
        network.crash(lives[0].node_id, silently=silently)
        second = await next_life(2, 60)
        noticed = LOST if silently else 0.0
        # Nobody can tell a process that was killed from one that is cut off.
        assert BOUND <= second.begun - begun <= noticed + BOUND + 2 * LATENCY
        assert second.node_id != lives[0].node_id
        assert child.reason[0] == "transport_error"

    with_crew(scenario)


@pytest.mark.parametrize("seed", range(5))
def test_a_node_that_is_cut_off_ends_its_child_before_the_next_one_begins(seed: int) -> None:
    async def scenario(network: SimulatedNetwork, node: Node, crew: Supervisor) -> None:
        await spawn_anywhere(crew)
        await trio.sleep(network.random.uniform(0, 3))
        begun = trio.current_time()
        gone = lives[0].node_id
        network.partition([gone], {"a", "b", "c"} - {gone})
        second = await next_life(2, 60)
        assert second.begun - begun <= LOST + BOUND + 2 * LATENCY
        assert lives[0].ended - begun <= LOST + LATENCY
        assert not overlaps()

    with_crew(scenario, seed=seed)


def test_a_child_on_a_node_that_is_slow_to_look_gets_the_time_for_it() -> None:
    # Its node looks every five seconds whether ours is silent, so the bound is as much longer.
    async def scenario(network: SimulatedNetwork, node: Node, crew: Supervisor) -> None:
        for seconds in (0.1, 1.3, 2.6, 3.9):
            lives.clear()
            child = await crew.spawn("b", SERVE)
            await trio.sleep(seconds)
            assert network.half_open("a", "b")
            await next_life(2, 100)
            assert not overlaps()
            await crew.stop(child)

    with_crew(scenario, b={"heartbeat": 10.0, "connect_timeout": 60.0}, block={"limit": 10})


def test_the_bound_follows_from_both_heartbeats() -> None:
    assert silence_bound(1, 1) == 4
    assert silence_bound(1, 10) == 8.5
    assert silence_bound(10, 1) == 35.5


def test_a_child_that_shields_itself_may_overlap_and_somebody_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(network: SimulatedNetwork, node: Node, crew: Supervisor) -> None:
        await spawn_anywhere(crew, "shield", 60.0)
        begun = trio.current_time()
        gone = lives[0].node_id
        network.partition([gone], {"a", "b", "c"} - {gone})
        second = await next_life(2, 60)
        assert second.begun - begun >= BOUND
        assert second.epoch > lives[0].epoch, "which is what the resource goes by"
        await trio.sleep(100)
        assert overlaps() == [(lives[0], second)]

    with_crew(scenario)
    assert any("unless it shields itself" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("node_id", ["a", "b"])
def test_a_child_with_a_supervisor_inside_has_the_time_that_its_own_children_take(node_id: str) -> None:
    # More than the bound: its node is connected, and says when it has ended.
    async def scenario(network: SimulatedNetwork, node: Node, crew: Supervisor) -> None:
        child = await crew.spawn(node_id, "remote_children:supervise", 3 * BOUND)
        node.kill(child.port, "broken")
        await next_life(4)
        inner, outer, inner_again, _ = lives
        assert inner.ended - outer.ended >= 3 * BOUND
        assert inner_again.begun >= inner.ended
        await crew.stop(child)
        assert all(life.ended <= trio.current_time() for life in lives)

    with_crew(scenario)


def test_a_node_that_is_back_says_that_the_child_is_gone() -> None:
    async def scenario(network: SimulatedNetwork, node: Node, crew: Supervisor) -> None:
        await crew.spawn("b", SERVE)
        network.crash("b")
        await trio.sleep(1)
        begun = trio.current_time()
        network.restart("b")
        assert (await next_life(2, 60)).begun - begun < BOUND / 2

    with_crew(scenario)


def test_a_child_that_is_lost_and_stopped_has_ended_when_stop_returns() -> None:
    async def scenario(network: SimulatedNetwork, node: Node, crew: Supervisor) -> None:
        child = await crew.spawn("b", SERVE)
        network.partition(["b"], ["a", "c"])
        begun = trio.current_time()
        await crew.stop(child)
        assert trio.current_time() - begun <= BOUND + LATENCY
        assert lives[0].ended <= trio.current_time()

    with_crew(scenario)


def test_a_child_that_is_stopped_while_it_is_in_doubt() -> None:
    async def scenario(network: SimulatedNetwork, node: Node, crew: Supervisor) -> None:
        child = await crew.spawn("b", SERVE)
        network.crash("b")
        await trio.sleep(1)
        assert not child.running, "it cannot be reached"
        assert child.reason[0] == "transport_error"
        with trio.fail_after(BOUND):
            await crew.stop(child)
        assert len(lives) == 1

    with_crew(scenario)


def test_the_name_of_a_child_in_doubt_is_taken_out_of_the_database() -> None:
    # Others would go on to the port that is to die, and again and again, until the bound has passed.
    async def scenario(network: SimulatedNetwork, node: Node, crew: Supervisor) -> None:
        found: list[object] = []
        child = await spawn_anywhere(crew, listed=("servers", "chat"))
        assert await node.database.family("servers") == {"chat": child.port}
        node.monitor(child, lambda *_: found.append(node.database._replica.owned("servers")))
        network.crash(lives[0].node_id)
        await trio.sleep(LATENCY)
        assert not child.running
        assert found == [{}], "who is told, and looks there again, does not find it once more"
        assert await node.database.family("servers") == {}
        await next_life(2, 60)
        await child.up()
        assert await node.database.family("servers") == {"chat": child.port}

    with_crew(scenario)


def dropped(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines about messages that were dropped, since this was last called."""
    lines = [record.getMessage() for record in caplog.records if "dropped" in record.getMessage()]
    caplog.clear()
    return lines


@pytest.mark.parametrize("kind", ["crash", "silent crash", "partition", "black hole"])
def test_looking_for_a_lost_node_drops_nothing(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    # A line for each attempt would say that messages of the program were lost.
    async def scenario(network: SimulatedNetwork, node: Node, crew: Supervisor) -> None:
        child = await spawn_anywhere(crew)
        caplog.clear()
        disturb(network, kind, lives[0].node_id)
        await next_life(2, 60)
        await child.up()
        assert dropped(caplog) == []

    with_crew(scenario)


@pytest.mark.parametrize("kind", ["crash", "partition"])
def test_what_a_program_sends_to_a_lost_node_is_still_said_to_be_lost(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(network: SimulatedNetwork, node: Node, crew: Supervisor) -> None:
        child = await spawn_anywhere(crew)
        gone = lives[0].node_id
        disturb(network, kind, gone)
        await trio.sleep(LOST + 1)
        assert not child.running, "it is in doubt"
        caplog.clear()
        begun = trio.current_time()
        told = trio.Event()
        port = child.port
        with node.monitor(port, lambda *_: told.set()) as monitor:
            for number in range(3):
                node.send(port, number)
            await told.wait()
        assert monitor.reason is not None
        assert monitor.reason[:2] == ("transport_error", gone)
        # The program's three messages, and what asks for its monitor.
        assert [line.split(" (")[0] for line in dropped(caplog)] == [f"{gone}: 4 messages"]
        assert trio.current_time() - begun <= 10.0 + LATENCY, "that is the hosts' `connect_timeout`"

    with_crew(scenario)


def test_a_loss_of_one_message_is_no_loss_of_the_connection_and_the_child_is_killed() -> None:
    async def scenario(network: SimulatedNetwork, node: Node, crew: Supervisor) -> None:
        child = await crew.spawn("b", SERVE)
        peer, name = node._runtime.route(child.port)
        assert peer is not None
        # As for a message of `send_after` that cannot be queued when its time has come.
        peer.act(peer.association.message_lost, name, "it is too large")
        await next_life(2, 2 * LATENCY)
        assert not overlaps()

    with_crew(scenario)


# Starts that fail -----------------------------------------------------------------------------------------------------


def test_a_first_start_that_fails() -> None:
    async def scenario(network: SimulatedNetwork, node: Node, crew: Supervisor) -> None:
        ports = len(node._lifecycle.ports)
        with pytest.raises(PortDied, match="it cannot be started"):
            await crew.spawn("b", "remote_children:fail_to_start")
        with pytest.raises(PortDied, match="has no nothing"):
            await crew.spawn("b", "remote_children:nothing")
        with pytest.raises(TypeError, match="object"):
            await crew.spawn("b", SERVE, object())
        assert crew.children == ()
        assert len(node._lifecycle.ports) == ports

    with_crew(scenario)


def test_a_start_whose_answer_is_lost_leaves_nothing() -> None:
    async def scenario(network: SimulatedNetwork, node: Node, crew: Supervisor) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(break_when_begun, network)
            with pytest.raises(PortDied):
                await crew.spawn("b", "remote_children:never_start")
        # Its node has noticed that by itself, three heartbeats later.
        assert lives[0].ended <= trio.current_time()

    with_crew(scenario)


async def break_when_begun(network: SimulatedNetwork) -> None:
    await next_life(1)
    network.half_open("a", "b")


async def cut_when_begun(network: SimulatedNetwork) -> None:
    await next_life(1)
    network.partition(["b"], ["a", "c"])


@pytest.mark.parametrize("cut", [False, True])
def test_a_start_that_is_cancelled_leaves_nothing(cut: bool) -> None:
    async def scenario(network: SimulatedNetwork, node: Node, crew: Supervisor) -> None:
        with trio.move_on_after(1) as scope:
            if cut:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(cut_when_begun, network)
                    await crew.spawn("b", "remote_children:never_start")
            else:
                await crew.spawn("b", "remote_children:never_start")
        assert scope.cancelled_caught
        assert lives[0].ended <= trio.current_time()
        assert crew.children == ()

    with_crew(scenario)


def test_a_node_that_may_monitor_no_more_has_no_child() -> None:
    async def scenario(network: SimulatedNetwork, node: Node, crew: Supervisor) -> None:
        await crew.spawn("b", SERVE)
        with pytest.raises(PortDied, match="too_many_monitors"):
            await crew.spawn("b", SERVE)
        assert [life.ended < float("inf") for life in lives] in ([False], [False, True])

    with_crew(scenario, b={"monitor_limit": 1})


# Where ----------------------------------------------------------------------------------------------------------------


def test_a_function_says_where_each_life_runs() -> None:
    async def scenario(network: SimulatedNetwork, node: Node, crew: Supervisor) -> None:
        wanted = ["b", "c", "a"]

        async def pick() -> str:
            await trio.sleep(0.1)
            return wanted.pop(0)

        child: ChildRef = await crew.spawn(pick, SERVE)
        for count in (2, 3):
            node.kill(child.port, "broken")
            await next_life(count, 20)
            await child.up()
        assert [life.node_id for life in lives] == ["b", "c", "a"]

    with_crew(scenario)


@pytest.mark.parametrize("picked, kind", [(None, TypeError), (3, TypeError), ("no node", ValueError)])
def test_a_function_that_picks_no_node(picked: Any, kind: type[Exception]) -> None:
    async def scenario(network: SimulatedNetwork, node: Node, crew: Supervisor) -> None:
        with pytest.raises(kind, match="the function that picks a node"):
            await crew.spawn(lambda: picked, SERVE)

    with_crew(scenario)


@pytest.mark.parametrize("where, kind", [(None, TypeError), (b"b", TypeError), ("no node", ValueError)])
def test_no_place(where: Any, kind: type[Exception]) -> None:
    async def scenario(network: SimulatedNetwork, node: Node, crew: Supervisor) -> None:
        with pytest.raises(kind):
            await crew.spawn(where, SERVE)

    with_crew(scenario)


def test_no_family() -> None:
    with pytest.raises(TypeError, match="name of a family"):
        Family(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(6))
def test_a_node_that_has_lost_a_life_is_avoided_though_it_is_back_at_once(seed: int) -> None:
    async def scenario(network: SimulatedNetwork, node: Node, crew: Supervisor) -> None:
        for node_id in ("b", "c"):
            # Entries of the supervisor's node, so that they stay when the host goes.
            node.database.set("known", node_id)
        await crew.spawn(Family("known"), SERVE)
        network.crash(lives[0].node_id)
        network.restart(lives[0].node_id)
        second = await next_life(2, 60)
        assert second.node_id != lives[0].node_id

    with_crew(scenario, seed=seed)


def test_a_family_that_is_empty_is_waited_for() -> None:
    async def scenario(network: SimulatedNetwork, node: Node, crew: Supervisor) -> None:
        async def join_later() -> None:
            await trio.sleep(20)
            node.database.set("later", "c", None)

        node.database.set("others", "not a node", None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(join_later)
            await crew.spawn(Family("later"), SERVE)
        assert lives[0].node_id == "c"
        with trio.move_on_after(10) as scope:
            await crew.spawn(Family("others"), SERVE)
        assert scope.cancelled_caught

    with_crew(scenario)


def test_the_keys_of_a_family_may_be_ports() -> None:
    async def scenario(network: SimulatedNetwork, node: Node, crew: Supervisor) -> None:
        port: Port = node.port(print)
        node.database.set("ports", port, None)
        await crew.spawn(Family("ports"), SERVE)
        assert lives[0].node_id == "a"

    with_crew(scenario)


# Epochs ---------------------------------------------------------------------------------------------------------------


def test_epochs_rise_when_the_time_of_day_is_set_back() -> None:
    async def scenario(network: SimulatedNetwork, node: Node, crew: Supervisor) -> None:
        child = await crew.spawn("b", SERVE)
        network.jump_wall_clock("a", -1e6)
        node.kill(child.port, "broken")
        assert (await next_life(2, 1)).epoch > lives[0].epoch

    with_crew(scenario)


def test_epochs_rise_over_supervisors_of_one_name() -> None:
    async def supervise(node: Node) -> None:
        async with node.open_supervisor(name="store") as crew:
            await crew.spawn("b", SERVE)

    async def run(network: SimulatedNetwork) -> None:
        async with open_three(network) as node:
            await supervise(node)
            await supervise(node)
            async with network.open_node("d", seeds=["a"], spawn_modules=["remote_children"]) as other:
                await supervise(other)
        assert [life.epoch for life in lives] == sorted({life.epoch for life in lives})
        assert len(lives) == 3

    simulate(run)


def test_epochs_rise_when_the_node_of_the_supervisor_is_started_again() -> None:
    async def supervise(node: Node) -> None:
        async with node.open_supervisor(name="store") as crew:
            await crew.spawn("b", SERVE)
            await crew.wait()

    async def run(network: SimulatedNetwork) -> None:
        async with open_three(network):
            network.start("d", supervise, heartbeat=HEARTBEAT, seeds=["a"])
            await next_life(1)
            network.crash("d")
            network.restart("d")
            assert (await next_life(2, 60)).epoch > lives[0].epoch

    simulate(run)


# Any single fault -----------------------------------------------------------------------------------------------------


def disturb(network: SimulatedNetwork, kind: str, gone: str) -> None:
    """One fault between the supervisor's node and that of the child, or of the latter."""
    left = {"a", "b", "c"} - {gone}
    match kind:
        case "crash":
            network.crash(gone)
        case "silent crash":
            network.crash(gone, silently=True)
        case "reset":
            network.reset("a", gone)
        case "half-open":
            network.half_open("a", gone)
        case "half-open there":
            network.half_open(gone, "a")
        case "black hole":
            network.black_hole("a", gone)
        case "black hole back":
            network.black_hole(gone, "a")
        case "partition":
            network.partition([gone], left)
        case "pause":
            network.pause(gone)
        case "full queue":
            network.fill_queue("a", gone)
        case "truncation":
            network.truncate("a", gone)
        case "clock jump":
            network.jump_clock(20.0)
        case "stall":
            network.stall(gone, 20.0)
        case _:
            raise AssertionError(kind)


FAULTS = (
    *("crash", "silent crash", "reset", "half-open", "half-open there", "black hole", "black hole back", "partition"),
    *("pause", "full queue", "truncation", "clock jump", "stall"),
)


@pytest.mark.parametrize("kind", FAULTS)
def test_a_permanent_child_runs_again_after_any_single_fault(kind: str) -> None:
    async def scenario(network: SimulatedNetwork, node: Node, crew: Supervisor) -> None:
        child = await spawn_anywhere(crew)
        await trio.sleep(network.random.uniform(5, 15))
        disturb(network, kind, lives[0].node_id)
        lasts = network.random.choice((0.5, 2.0, 3.4, 3.9, 5.0, 8.0, 1000.0))
        with trio.move_on_after(lasts):
            await trio.sleep(LOST + BOUND + 2 * LATENCY)
        network.heal()
        with trio.move_on_after(LOST + BOUND + 2 * LATENCY - min(lasts, LOST + BOUND + 2 * LATENCY)):
            await trio.sleep_forever()
        assert child.running
        running = [life for life in lives if life.ended == float("inf")]
        assert [life.port for life in running] == [child.port]
        assert not overlaps()
        assert [life.epoch for life in lives] == sorted({life.epoch for life in lives})

    for seed in range(8):
        with_crew(scenario, seed=seed)
