"""`node.database` on many nodes: what one sets all see, whatever happens in between."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest
import trio

from trio_mp import Change, Node
from trio_mp._services.database import GRACE
from trio_mp.testing import SimulatedNetwork, simulate

SEEDS = ("seed1", "seed2")


@asynccontextmanager
async def open_nodes(network: SimulatedNetwork, *names: str) -> AsyncGenerator[dict[str, Node], None]:
    """Nodes of these names, of the same network; the seeds have a second to find each other."""
    nodes: dict[str, Node] = {}
    async with AsyncExitStack() as stack:
        for name in names:
            if name not in SEEDS and not nodes.keys() - SEEDS:
                await trio.sleep(1)
            nodes[name] = await stack.enter_async_context(network.open_node(name, seeds=SEEDS))
        yield nodes


async def wait_until(node: Node, family: str, expected: dict[str, Any]) -> None:
    """Wait until a node sees a family so."""
    async with node.database.watch(family) as changes:
        async for change in changes:
            if change.table == expected:
                return


async def all_see(nodes: Iterable[Node], family: str, expected: dict[str, Any], within: float) -> None:
    """All nodes see a family so, within some seconds; else what they see is told."""
    with trio.move_on_after(within) as scope:
        async with trio.open_nursery() as nursery:
            for node in nodes:
                nursery.start_soon(wait_until, node, family, expected)
    if scope.cancelled_caught:
        seen = {}
        for node in nodes:
            with trio.move_on_after(1):
                seen[node.id] = await node.database.family(family)
        wrong = {node_id: table for node_id, table in seen.items() if table != expected}
        pytest.fail(f"after {within} s {len(wrong)} nodes see something else than {expected}: {str(wrong)[:2000]}")


async def record(node: Node, family: str, into: list[Change], *, task_status: trio.TaskStatus[None]) -> None:
    """Note every change, from the first whole table on."""
    async with node.database.watch(family) as changes:
        async for change in changes:
            into.append(change)
            if len(into) == 1:
                task_status.started()


def anchor_of(node: Node) -> str | None:
    """The global node that it is attached to."""
    assert node._membership is not None
    return node._membership.rules.anchor


def attached_to(nodes: dict[str, Node], anchor: str) -> list[Node]:
    return [node for node in nodes.values() if anchor_of(node) == anchor]


async def what_one_node_sets(network: SimulatedNetwork) -> None:
    async with open_nodes(network, "seed1", "seed2", "a", "b", "c") as nodes:
        for node in nodes.values():
            node.database.set("red", node.id, 1)
        await all_see(nodes.values(), "red", dict.fromkeys(nodes, 1), 5)
        for node in nodes.values():
            node.database.set("red", node.id, 2)
            # What it has set itself it sees at once.
            assert (await node.database.family("red"))[node.id] == 2
            node.database.set("green", "the same key", node.id)
        await all_see(nodes.values(), "green", {"the same key": "seed2"}, 1)
        nodes["seed2"].database.delete("green", "the same key")
        nodes["seed1"].database.delete("green", "the same key")
        await all_see(nodes.values(), "green", {"the same key": "c"}, 1)


def test_what_one_node_sets_all_see_and_the_greatest_wins() -> None:
    simulate(what_one_node_sets)


async def two_hundred(network: SimulatedNetwork) -> None:
    network.default_link.delay, network.default_link.jitter = 0.005, 0.010
    names = [*SEEDS, *(f"node{number:03}" for number in range(198))]
    async with open_nodes(network, *names) as nodes, trio.open_nursery() as nursery:
        everybody = list(nodes.values())
        await all_see(everybody, "red", {}, 10)
        for node in everybody:
            for number in range(100):
                node.database.set("ballast", f"{node.id} {number}", number)
        await trio.sleep(1)
        # A registration is seen everywhere within two seconds.
        port = nodes["node007"].port()
        for node in everybody:
            nursery.start_soon(wait_until, node, "red", {str(port): None})
        await trio.testing.wait_all_tasks_blocked(0.5)
        nodes["node007"].database.register("red", port)
        await all_see(everybody, "red", {str(port): None}, 2)
        # Two halves, each with a seed, that set what they like, the same keys too.
        halves = [set(names[0::2]), set(names[1::2])]
        network.partition(*halves)
        await trio.sleep(60)
        for node in everybody:
            node.database.set("green", f"key {int(node.id[-1]) % 5}", node.id)
            if node.id.endswith("3"):
                node.database.set("green", node.id, 1)
        port.kill()
        await trio.sleep(30)
        tables = [await nodes[seed].database.family("green") for seed in SEEDS]
        for half, table in zip(halves, tables, strict=True):
            await all_see([nodes[name] for name in half], "green", table, 1)
        assert tables[0] != tables[1]
        network.heal()
        await trio.sleep(30)
        expected: dict[str, object] = {node.id: 1 for node in everybody if node.id.endswith("3")}
        for node in sorted(everybody, key=lambda node: node.id):
            expected[f"key {int(node.id[-1]) % 5}"] = node.id
        await all_see(everybody, "green", expected, 1)
        await all_see(everybody, "red", {}, 1)
        # What is large is read by a few only.
        ballast = await nodes["seed1"].database.family("ballast")
        assert len(ballast) == 20_000
        await all_see([nodes[name] for name in ("seed2", "node000", "node001")], "ballast", ballast, 1)
        listening = await nodes["seed1"].database.family("trio_mp.nodes")
        assert listening == {node.id: [node._runtime.incarnation, *node.binds] for node in everybody}
        await all_see(everybody, "trio_mp.nodes", listening, 1)


@pytest.mark.exhaustive
def test_200_nodes_see_a_registration_in_two_seconds_and_agree_after_a_partition() -> None:
    simulate(two_hundred)


async def a_seed_dies(network: SimulatedNetwork, silently: bool) -> None:
    changes: list[Change] = []

    async def seed(node: Node) -> None:
        node.database.set("blue", "of the seed", 1)
        await trio.sleep_forever()

    network.start("seed1", seed, seeds=SEEDS)
    async with open_nodes(network, "seed2", "a", "b", "c", "d") as nodes, trio.open_nursery() as nursery:
        await all_see(nodes.values(), "blue", {"of the seed": 1}, 20)
        for node in nodes.values():
            node.database.set("red", node.id, 1)
        await all_see(nodes.values(), "red", {**dict.fromkeys(nodes, 1)}, 5)
        movers = attached_to(nodes, "seed1")
        assert movers
        await nursery.start(record, nodes["seed2"], "red", changes)
        for node in movers:
            await nursery.start(record, node, "red", [])
        network.crash("seed1", silently=silently)
        await all_see(nodes.values(), "blue", {}, 30)
        await trio.sleep(2 * GRACE)
        assert {anchor_of(node) for node in movers} == {"seed2"}
        await all_see(nodes.values(), "red", dict.fromkeys(nodes, 1), 1)
        assert len(changes) == 1, "somebody's entries have gone and come back"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("seed", range(5))
def test_when_a_seed_dies_its_own_entries_go_and_those_of_its_nodes_stay(seed: int) -> None:
    simulate(a_seed_dies, False, seed=seed)


async def idle(node: Node) -> None:
    """A program that does nothing."""
    await trio.sleep_forever()


async def note_deletions(node: Node, into: list[tuple[str, str, str]]) -> None:
    """Note whatever is said to be gone: by whom, and of which family."""
    async with trio.open_nursery() as nursery:
        for family in ("red", "trio_mp.nodes"):
            nursery.start_soon(_note_deletions, node, family, into)


async def _note_deletions(node: Node, family: str, into: list[tuple[str, str, str]]) -> None:
    async with node.database.watch(family) as changes:
        with suppress(trio.ClosedResourceError):
            async for change in changes:
                into += [(node.id, family, key) for key in change.deleted]


async def introduce_itself(node: Node) -> None:
    """A program that sets an entry."""
    node.database.set("red", node.id, 1)
    await trio.sleep_forever()


async def becomes_global(network: SimulatedNetwork) -> None:
    """A newcomer names a node as its seed that has been attached for long."""
    names = [*SEEDS, "a", "b", "c"]
    deleted: list[tuple[str, str, str]] = []
    async with trio.open_nursery() as nursery:
        for name in names:
            network.start(name, introduce_itself, seeds=SEEDS)
        await trio.sleep(60)
        nodes = dict(network.nodes)
        for node in nodes.values():
            nursery.start_soon(note_deletions, node, deleted)
        await trio.sleep(5)
        network.start("newcomer", introduce_itself, seeds=("a",))
        await trio.sleep(3 * GRACE)
        assert anchor_of(nodes["a"]) is None
        await all_see(network.nodes.values(), "red", dict.fromkeys([*names, "newcomer"], 1), 1)
        assert not deleted
        # As a global node it goes at once, and nothing of it stays at its old anchor.
        await network.stop("a")
        await trio.sleep(1)
        seen = {(family, key) for by, family, key in deleted if by != "a"}
        assert seen == {("red", "a"), ("trio_mp.nodes", "a")}
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("seed", range(10))
def test_nobody_sees_the_entries_go_of_a_node_that_becomes_global(seed: int) -> None:
    simulate(becomes_global, seed=seed)


async def one_by_one(network: SimulatedNetwork) -> None:
    """Seeds that name each other start one after the other, as is recommended, and others among them."""
    seeds = (*SEEDS, "seed3")
    names = ["seed1", "a", "seed2", "b", "seed3", "c"]
    deleted: list[tuple[str, str, str]] = []
    async with trio.open_nursery() as nursery:
        for name in names:
            network.start(name, introduce_itself, seeds=seeds)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(note_deletions, network.nodes[name], deleted)
            await trio.sleep(network.random.choice((0.01, 0.1, 0.3, 2.0)))
        await all_see(network.nodes.values(), "red", dict.fromkeys(names, 1), 60)
        await trio.sleep(3 * GRACE)
        assert not deleted
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("seed", range(20))
def test_seeds_that_start_one_by_one_make_nobody_vanish(seed: int) -> None:
    simulate(one_by_one, seed=seed)


async def all_at_once(network: SimulatedNetwork) -> None:
    """The seeds find each other when nodes are attached to them already; then one of them dies."""
    async with AsyncExitStack() as stack:
        nodes = {
            name: await stack.enter_async_context(network.open_node(name, seeds=SEEDS))
            for name in ("seed2", "a", "b", "c")
        }
        network.start("seed1", idle, seeds=SEEDS)
        for node in nodes.values():
            node.database.set("red", node.id, 1)
        await all_see(nodes.values(), "red", dict.fromkeys(nodes, 1), 20)
        network.crash("seed1")
        await trio.sleep(2 * GRACE)
        await all_see(nodes.values(), "red", dict.fromkeys(nodes, 1), 1)


@pytest.mark.parametrize("seed", range(10))
def test_nodes_that_come_with_their_seeds_find_another_one(seed: int) -> None:
    simulate(all_at_once, seed=seed)


async def a_node_dies(network: SimulatedNetwork, silently: bool) -> None:
    async def program(node: Node, value: int) -> None:
        node.database.set("red", "k", value)
        await trio.sleep_forever()

    async with open_nodes(network, "seed1", "seed2", "a") as nodes:
        network.start("b", partial(program, value=1), seeds=SEEDS)
        await all_see(nodes.values(), "red", {"k": 1}, 10)
        network.crash("b", silently=silently)
        await all_see(nodes.values(), "red", {}, 30)
        # It restarts before it was missed, too.
        for value, pause in ((2, 0.0), (3, 1.0), (4, 40.0)):
            network.restart("b", partial(program, value=value))
            await all_see(nodes.values(), "red", {"k": value}, 30)
            network.crash("b", silently=silently)
            await trio.sleep(pause)
        await all_see(nodes.values(), "red", {}, 1)


@pytest.mark.parametrize("silently", [False, True])
def test_what_a_node_has_set_goes_with_it_and_comes_back_with_it(silently: bool) -> None:
    simulate(a_node_dies, silently)


async def no_seed_yet(network: SimulatedNetwork) -> None:
    async with open_nodes(network, "a", "b") as nodes, trio.open_nursery() as nursery:
        nodes["b"].database.set("red", "k", 1)
        for call in (nodes["a"].database.family, nodes["a"].database.keys, nodes["a"].database.values):
            with trio.move_on_after(60) as scope:
                await call("red")
            assert scope.cancelled_caught
        with trio.move_on_after(1) as scope:
            async with nodes["a"].database.watch("red") as changes:
                await anext(changes)
        assert scope.cancelled_caught
        tables: list[object] = []

        async def read() -> None:
            tables.append(await nodes["b"].database.family("red"))

        nursery.start_soon(read)
        await trio.sleep(1)
        assert tables == []
        async with open_nodes(network, "seed1"):
            await all_see(nodes.values(), "red", {"k": 1}, 20)
            assert tables == [{"k": 1}]


def test_who_has_no_seed_yet_waits() -> None:
    simulate(no_seed_yet)


async def far_away(network: SimulatedNetwork) -> None:
    """Two nodes of one network that have nothing but their seeds in common."""
    async with open_nodes(network, "seed1", "seed2", "a", "b") as nodes:
        await trio.sleep(5)
        listening = (await nodes["a"].database.family("trio_mp.nodes")).items()
        expected = sorted((node.id, [node._runtime.incarnation, *node.binds]) for node in nodes.values())
        assert sorted(listening) == expected
        port = nodes["b"].port(lambda *message: received.append(message))
        received: list[object] = []
        nodes["a"].send(port, "hello")
        await trio.sleep(5)
        assert received == [("hello",)]
        assert "b" in nodes["a"].peers


def test_nodes_find_each_other_by_the_database() -> None:
    simulate(far_away)


async def nonsense(network: SimulatedNetwork) -> None:
    async with open_nodes(network, "seed1", "seed2", "a") as nodes:
        nodes["a"].database.set("red", "k", 1)
        await all_see(nodes.values(), "red", {"k": 1}, 10)
        messages: list[tuple[Any, ...]] = [(), ("nonsense",), ("set", "b", 1, "red", "k", 2), ("change", 1, {}, [], 1)]
        for message in messages:
            nodes["seed1"].send("seed2", "db", *message)
        nodes["seed1"].send("seed1", "db", "nonsense")
        await trio.sleep(1)
        nodes["a"].database.set("red", "l", 2)
        await all_see(nodes.values(), "red", {"k": 1, "l": 2}, 1)


def test_nonsense_is_logged_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    simulate(nonsense)
    lines = [record.getMessage() for record in caplog.records if record.name == "trio_mp.database"]
    assert [line.partition(": expected")[0] for line in lines] == ["seed1: a request is not understood"], "once"


async def closing(network: SimulatedNetwork) -> None:
    waiting = trio.Event()
    errors: list[Exception] = []

    async def wait(wanted: Callable[[], Awaitable[object]]) -> None:
        try:
            await wanted()
        except trio.ClosedResourceError as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:
        async with open_nodes(network, "a") as nodes:
            nursery.start_soon(wait, partial(nodes["a"].database.family, "red"))
            nursery.start_soon(wait, partial(wait_until, nodes["a"], "red", {}))
            nursery.start_soon(waiting.wait)
            await trio.sleep(1)
        waiting.set()
    assert [str(error) for error in errors] == ["node a is closed"] * 2


def test_who_waits_is_told_when_the_node_closes() -> None:
    simulate(closing)


async def slow_node(network: SimulatedNetwork) -> None:
    """The queue for one node overflows while it is told of a change, as are others behind it."""
    limit = 64 * 1024
    async with AsyncExitStack() as stack:
        nodes = {
            name: await stack.enter_async_context(
                network.open_node(name, seeds=("seed1",), message_limit=limit, queue_limit=4 * limit)
            )
            for name in ("seed1", "a", "b")
        }
        nursery = await stack.enter_async_context(trio.open_nursery())
        recorded: dict[str, list[Change]] = {name: [] for name in nodes}
        for name, node in nodes.items():
            await nursery.start(record, node, "red", recorded[name])
        network.fill_queue("seed1", "a")
        for number in range(40):
            nodes["seed1"].database.set("red", "k", f"{number} " * 5000)
            await trio.sleep(0.1)
        assert "a" not in nodes["seed1"].peers
        for name in ("seed1", "b"):
            seen = [change.table["k"].partition(" ")[0] for change in recorded[name][1:]]
            assert seen == [str(number) for number in range(40)]
        assert len(recorded["a"]) == 1
        network.heal()
        await all_see(nodes.values(), "red", {"k": "39 " * 5000}, 60)
        await trio.sleep(1)
        assert [len(change.table) for change in recorded["a"]] == [0, 1]
        nursery.cancel_scope.cancel()


def test_a_node_that_is_lost_while_it_is_told_keeps_nobody_from_the_news() -> None:
    simulate(slow_node)
