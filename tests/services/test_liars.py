"""Real member nodes that speak for others in the database: by whom they are believed, and for how long."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio
from network_helpers import warnings_in

from trio_mp import Node
from trio_mp._protocol.database.records import NODES, Table
from trio_mp.testing import SimulatedNetwork, simulate
from trio_mp.testing._liar import repair_bound

SEEDS = ("seed1", "seed2")
LIES: Table = {"k": "a lie"}


async def do_nothing(_node: Node) -> None:
    await trio.sleep_forever()


@asynccontextmanager
async def open_nodes(network: SimulatedNetwork) -> AsyncGenerator[dict[str, Node], None]:
    """Two seeds and two nodes that are attached to them; and `liar`, a third seed that is a program of its own."""
    async with AsyncExitStack() as stack:
        nodes = {
            name: await stack.enter_async_context(network.open_node(name, seeds=SEEDS)) for name in (*SEEDS, "a", "b")
        }
        network.start("liar", do_nothing, seeds=(*SEEDS, "liar"))
        await trio.sleep(5)
        assert all(node.database._replica.is_global for node in (nodes["seed1"], nodes["seed2"], network.nodes["liar"]))
        yield nodes


def anchor_of(node: Node) -> str:
    anchor = node.database._replica.anchor
    assert anchor is not None
    return anchor


def lie_about(liar: Node, to: str, victim: Node, *, later: int = 0, more: int = 1) -> None:
    """A member says that the run of another one has moved to it, and what it has set."""
    tell(liar, to, victim, {"red": LIES}, later=later, more=more)


def tell(liar: Node, to: str, victim: Node, entries: dict[str, Table], *, later: int = 0, more: int = 1) -> None:
    """A member brings a record of another node, as if that had moved to it."""
    version = victim.database._replica._own.version
    record = ("record", victim.id, version.started + later, version.incarnation, version.attachment + more, 10**6)
    for message in (("begin", False), record, ("entries", entries), ("done",)):
        liar.send(to, "db", *message)


async def see(nodes: dict[str, Node], family: str = "red") -> list[Table]:
    return [await node.database.family(family) for node in nodes.values()]


async def a_lie_is_repaired(network: SimulatedNetwork) -> None:
    async with open_nodes(network) as nodes:
        nodes["a"].database.set("red", "k", 1)
        await trio.sleep(1)
        assert await see(nodes) == [{"k": 1}] * 4
        anchor = anchor_of(nodes["a"])
        for seed in SEEDS:
            lie_about(network.nodes["liar"], seed, nodes["a"])
        await trio.sleep(1)
        # Where it is attached its own word counts; elsewhere the liar's, as long as it is there.
        assert await nodes[anchor].database.family("red") == {"k": 1}
        (other,) = set(SEEDS) - {anchor}
        assert await nodes[other].database.family("red") == LIES
        network.crash("liar")
        nodes["a"].database.set("green", "k", 2)
        await trio.sleep(repair_bound(5.0))
        assert await see(nodes) == [{"k": 1}] * 4
        assert await see(nodes, "green") == [{"k": 2}] * 4


@pytest.mark.parametrize("seed", range(5))
def test_a_lie_is_gone_within_its_bound_after_the_end_of_the_liar(seed: int) -> None:
    simulate(a_lie_is_repaired, seed=seed)


async def a_guest_lies(network: SimulatedNetwork) -> None:
    async with open_nodes(network) as nodes:
        true = await nodes["seed1"].database.family(NODES)
        liar = nodes["b"]
        liar.database._execute(liar.database._replica.set(NODES, "a", ["X" * 16, "elsewhere"]))
        lie_about(liar, anchor_of(liar), nodes["a"])
        await trio.sleep(1)
        assert await see(nodes, NODES) == [true] * 4
        assert await see(nodes) == [{}] * 4


def test_an_attached_node_cannot_speak_for_others() -> None:
    simulate(a_guest_lies)


async def the_far_future(network: SimulatedNetwork, years: float) -> None:
    async with open_nodes(network) as nodes:
        for seed in SEEDS:
            # The clock of the simulation begins in 2020, where no clock is looked at.
            network.jump_wall_clock(seed, 6 * 366 * 86400)
        version = nodes["b"].database._replica._own.version
        # Its own anchor would ask it.
        (other,) = set(SEEDS) - {anchor_of(nodes["b"])}
        lie_about(network.nodes["liar"], other, nodes["b"], later=int((6 + years) * 366 * 86400) * 10**9)
        await trio.sleep(1)
        assert version.started < 1_700_000_000 * 10**9
        assert await nodes[other].database.family("red") == ({} if years > 1 else LIES)


def test_a_record_from_the_far_future_is_refused_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "trio_mp"):
        simulate(the_far_future, 2.0)
    (warning,) = [text for text in warnings_in(caplog) if "refuses" in text]
    assert warning.startswith("liar: this node refuses a record of b of a run that begins 7")
    assert "one of the two clocks is wrong" in warning


def test_a_clock_that_is_ahead_by_months_is_none_of_the_far_future() -> None:
    simulate(the_far_future, 0.5)


async def where_a_node_listens(network: SimulatedNetwork) -> None:
    async with open_nodes(network) as nodes:
        true = await see(nodes, NODES)
        assert all(table == true[0] for table in true)
        liar, victim = network.nodes["liar"], nodes["a"]
        (other,) = set(SEEDS) - {anchor_of(victim)}
        evil = ["X" * 16, "evil:1"]
        # An entry that one node has set for another does not count, whoever brings it.
        liar.database._execute(liar.database._replica.set(NODES, "a", evil))
        liar.database._execute(liar.database._replica.set(NODES, "nobody", evil))
        await trio.sleep(1)
        assert await see(nodes, NODES) == true
        # One that the other node is said to have set itself is as any lie: its own anchor knows better.
        for seed in SEEDS:
            tell(liar, seed, victim, {NODES: {"a": evil, "b": evil}})
        await trio.sleep(1)
        assert await nodes[anchor_of(victim)].database.family(NODES) == true[0]
        assert await nodes[other].database.family(NODES) == {**true[0], "a": evil}
        # And a record without it hides where the node listens.
        for seed in SEEDS:
            tell(liar, seed, victim, {}, more=2)
        await trio.sleep(1)
        assert "a" not in await nodes[other].database.family(NODES)
        network.crash("liar")
        await trio.sleep(repair_bound(5.0))
        del true[0]["liar"]
        assert await see(nodes, NODES) == [true[0]] * 4


def test_where_a_node_listens_is_a_lie_as_any_other_if_it_is_said_in_its_name_and_else_nothing() -> None:
    simulate(where_a_node_listens)
