"""Scenarios of connecting, losing and restarting, each under twenty seeds, with the oracle watching.

Each is a mistake that the original implementation has made.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
from network_helpers import peer_of, until

from trio_mp import Node
from trio_mp.testing import SimulatedNetwork, Witness, simulate

Scenario = Callable[[SimulatedNetwork], Awaitable[None]]


def each_seed(scenario: Scenario) -> Callable[[int], None]:
    """A test that runs a scenario under many seeds, with delays that differ."""

    @pytest.mark.parametrize("seed", range(20))
    def test(seed: int) -> None:
        async def disturbed(network: SimulatedNetwork) -> None:
            network.default_link.delay = network.random.uniform(0.0, 0.05)
            network.default_link.jitter = network.random.uniform(0.0, 0.05)
            network.default_link.split = network.random.choice((0.0, 0.3))
            await scenario(network)

        simulate(disturbed, seed=seed)

    test.__doc__ = scenario.__doc__
    return test


@each_seed
async def test_nothing_is_lost_while_a_node_comes_up(network: SimulatedNetwork) -> None:
    """The first messages, sent long before anybody listens, arrive like all others."""
    taken: list[int] = []
    port = ""

    async def late(node: Node) -> None:
        nonlocal port
        port = Witness(network, node).port(taken.append)
        await trio.sleep_forever()

    async with network.open_node("early", seeds=["late"]) as early:
        witness = Witness(network, early)
        spawned = early.spawn("late", "trio_mp.testing._workload:never_there")
        told: list[tuple[object, ...]] = []
        early.monitor(spawned, lambda *reason: told.append(reason))
        await trio.sleep(network.random.uniform(0, 20))
        assert not told
        network.start("late", late, seeds=[])
        await until(lambda: told)
        # It was delivered, and answered: there is no such function there.
        assert told[0][0] == "spawn_failed"
        for number in range(20):
            witness.send(port, number)
        await until(lambda: len(taken) == 20)
        assert taken == list(range(20))


@each_seed
async def test_kills_and_monitors_keep_their_order_with_messages(network: SimulatedNetwork) -> None:
    """What was sent before a kill is delivered; a monitor set before a message covers it."""
    taken: list[int] = []
    async with network.open_node("a") as a, network.open_node("b", seeds=["a"]) as b:
        there, here = Witness(network, a), Witness(network, b)
        port = there.port(taken.append)
        told: list[tuple[object, ...]] = []
        here.monitor(port, lambda *reason: told.append(reason))
        for number in range(50):
            here.send(port, number)
        b.kill(port, "enough")
        here.send(port, 50)
        await until(lambda: told)
        assert taken == list(range(50))
        assert told == [("enough",)]
        # And on what is dead it fires at once, behind nothing.
        here.monitor(port, lambda *reason: told.append(reason))
        await until(lambda: len(told) == 2)
        assert told[1][0] == "no_such_port"


@each_seed
async def test_two_nodes_that_connect_at_the_same_time_lose_nothing(network: SimulatedNetwork) -> None:
    """Both dial, both have something to say at once; one connection is left, and everything has arrived."""
    async with network.open_node("a", seeds=["b"]) as a, network.open_node("b", seeds=["a"]) as b:
        one, two = Witness(network, a), Witness(network, b)
        taken: dict[str, list[int]] = {"a": [], "b": []}
        ports = {"a": one.port(taken["a"].append), "b": two.port(taken["b"].append)}
        told: list[object] = []
        one.monitor(ports["b"], lambda *reason: told.append(reason))
        two.monitor(ports["a"], lambda *reason: told.append(reason))
        network.hold_dials()
        for number in range(100):
            one.send(ports["b"], number)
            two.send(ports["a"], number)
        await trio.sleep(1)
        network.release_dials()
        for number in range(100, 200):
            one.send(ports["b"], number)
            two.send(ports["a"], number)
            await trio.sleep(network.random.uniform(0, 0.02))
        await until(lambda: len(taken["a"]) == len(taken["b"]) == 200)
        assert not told
        assert network.agree("a", "b")
        assert len(network._open_wires("a", "b")) == 1


@each_seed
async def test_monitors_over_a_connection_that_was_accepted_fire(network: SimulatedNetwork) -> None:
    """Whoever was dialled monitors as well as whoever has dialled."""
    async with network.open_node("a") as a, network.open_node("b", seeds=["a"]) as b:
        one, two = Witness(network, a), Witness(network, b)
        told: dict[str, list[tuple[object, ...]]] = {"a": [], "b": []}
        ports = {"a": one.port(), "b": two.port()}
        one.monitor(ports["b"], lambda *reason: told["a"].append(reason))
        two.monitor(ports["a"], lambda *reason: told["b"].append(reason))
        await until(lambda: network.agree("a", "b") and a.peers and b.peers)
        await trio.sleep(1)
        assert not told["a"]
        assert not told["b"]
        network.reset("a", "b")
        await until(lambda: told["a"] and told["b"])
        assert told["a"][0][0] == told["b"][0][0] == "transport_error"
        again: list[tuple[object, ...]] = []
        one.monitor(ports["b"], lambda *reason: again.append(reason))
        await until(lambda: a.peers and b.peers)
        await trio.sleep(1)
        ports["b"].kill("really")
        await until(lambda: again)
        assert again == [("really",)]


@each_seed
async def test_monitors_that_are_cancelled_leave_nothing_behind(network: SimulatedNetwork) -> None:
    """The original's guards leaked: a program that monitors for each request grew for ever."""
    async with network.open_node("a") as a, network.open_node("b", seeds=["a"]) as b:
        port = Witness(network, a).port()
        await until(lambda: a.peers and b.peers)
        for _ in range(100):
            with b.monitor(port, lambda *_: None), b.monitor(port, lambda *_: None):
                b.send(port, "x")
            with b.move_on_death(port):
                pass
            await trio.sleep(0.01)
        await b.flush("a")
        await trio.sleep(1)
        assert not peer_of(b, "a").association.outbox.monitors
        assert not peer_of(a, "b").association.watched
        assert not peer_of(a, "b").watchers


@each_seed
async def test_a_failed_attempt_harms_no_healthy_connection(network: SimulatedNetwork) -> None:
    """Both are each other's seed. While they talk, others dial, break, and are refused."""
    async with (
        network.open_node("a", seeds=["b", "nobody"], heartbeat=1) as a,
        network.open_node("b", seeds=["a", "nobody"], heartbeat=1) as b,
    ):
        one, two = Witness(network, a), Witness(network, b)
        taken: list[int] = []
        told: list[object] = []
        port = one.port(taken.append)
        await until(lambda: a.peers and b.peers)
        await trio.sleep(1)
        (wire,) = network._open_wires("a", "b")
        two.monitor(port, lambda *reason: told.append(reason))
        for number in range(200):
            two.send(port, number)
            # Attempts with a wrong secret and an ID that is taken, and one that breaks in its handshake.
            if number % 20 == 0:
                async with network.open_node(f"x{number}", seeds=["a"], secret="another secret altogether"):
                    await trio.sleep(0.2)
            await trio.sleep(0.05)
        await until(lambda: len(taken) == 200)
        assert not told
        assert network._open_wires("a", "b") == [wire]


@each_seed
async def test_a_node_that_connects_to_itself_goes_on(network: SimulatedNetwork) -> None:
    """Its own address is among its seeds, as it is where all nodes share one configuration."""
    async with (
        network.open_node("a", seeds=["a", "b"]) as a,
        network.open_node("b", seeds=["a", "b"]) as b,
    ):
        await until(lambda: a.peers == ("b",) and b.peers == ("a",))
        assert await b.call("a", "info") == ("a",)
        await trio.sleep(60)
        assert not [wire for wire in network._open_wires() if len(set(wire.nodes())) == 1]
        assert len(network._open_wires("a", "b")) == 1


@each_seed
async def test_nothing_for_an_old_incarnation_reaches_the_new_one(network: SimulatedNetwork) -> None:
    """It restarts under its ID, at the worst of times; what was for its old ports is lost, and that is reported."""
    taken: list[tuple[int, int]] = []
    ports: list[str] = []

    async def server(node: Node) -> None:
        life = len(ports)
        ports.append(Witness(network, node).port(lambda number: taken.append((life, number))))
        await trio.sleep_forever()

    network.start("server", server)
    async with network.open_node("client", seeds=["server"]) as client:
        witness = Witness(network, client)
        await until(lambda: ports)
        told: list[int] = []
        number = 0

        def tell(life: int, *_: object) -> None:
            told.append(life)

        def started(count: int) -> bool:
            return len(ports) == count

        for life in range(4):
            witness.monitor(ports[life], partial(tell, life))
            for _ in range(network.random.randint(1, 40)):
                number += 1
                witness.send(ports[life], number)
                await trio.sleep(network.random.choice((0, 0, 0.05)))
            network.crash("server", silently=network.random.random() < 0.5)
            await trio.sleep(network.random.uniform(0, 3))
            network.restart("server")
            await until(partial(started, life + 2))
            # Old port IDs are still in use by those who were not told yet.
            witness.send(ports[life], -1)
            await until(partial(told.__contains__, life), 120)
        assert len(set(ports)) == 5
        assert sorted(told) == [0, 1, 2, 3]
