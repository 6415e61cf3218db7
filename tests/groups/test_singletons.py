"""`node.run_singleton`: one turn after the other, in the simulated network and out of it."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_mp import Node, Port, PortDied, TurnEpoch, open_node
from trio_mp._groups.singleton import TurnTaker
from trio_mp._protocol.groups.singleton import CandidateState
from trio_mp.testing import SimulatedNetwork, simulate

FAMILY = "leaders"


class TestOnOneNode:
    async def test_returns_what_the_function_returns_and_frees_the_place(self) -> None:
        async def lead(epoch: TurnEpoch, *arguments: Any) -> Any:
            assert epoch.node_id == "a"
            return (epoch.number, *arguments)

        async with open_node("a") as node:
            assert await node.run_singleton(FAMILY, lead, "x", seen=41) == (42, "x")
            assert await node.database.family(FAMILY) == {}
            assert node.database._watches == {}

    async def test_raises_what_the_function_raises_as_it_is(self) -> None:
        async def lead(_epoch: TurnEpoch) -> None:
            raise KeyError("as it is")

        async with open_node("a") as node:
            with pytest.raises(KeyError):
                await node.run_singleton(FAMILY, lead)
            assert await node.database.family(FAMILY) == {}

    async def test_candidates_have_one_turn_after_the_other(self, nursery: trio.Nursery) -> None:
        running: list[str] = []
        numbers: list[int] = []
        go_on = trio.Event()

        async def lead(epoch: TurnEpoch, name: str) -> None:
            assert running == []
            running.append(name)
            numbers.append(epoch.number)
            try:
                await go_on.wait()
                await trio.lowlevel.checkpoint()
            finally:
                running.remove(name)

        async with open_node("a") as node:
            async with trio.open_nursery() as candidates:
                for name in "xyz":
                    candidates.start_soon(node.run_singleton, FAMILY, lead, name)
                await wait_all_tasks_blocked()
                assert len(running) == 1
                assert len(await node.database.family(FAMILY)) == 3
                go_on.set()
            assert numbers == sorted(set(numbers))
            assert len(numbers) == 3

    async def test_its_entry_goes_when_it_has_unwound(self, nursery: trio.Nursery) -> None:
        seen: list[object] = []

        async def lead(epoch: TurnEpoch) -> None:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.lowlevel.checkpoint()
                    # Not `cached`, which a task of a dead port may not ask.
                    seen.append(dict(node.database._replica.known(FAMILY)))

        async with open_node("a") as node:
            with trio.CancelScope() as scope:
                nursery.start_soon(stop_soon, scope)
                await node.run_singleton(FAMILY, lead)
            assert seen != [{}]
            assert node.database.cached(FAMILY) == {}
            # A port that dies ends its turn in the same way.
            port = node.start_port(lambda _: node.run_singleton(FAMILY, lead))
            await wait_all_tasks_blocked()
            node.kill(port)
            await wait_all_tasks_blocked()
            await wait_all_tasks_blocked()
            assert len(seen) == 2
            assert seen[1] != {}
            assert node.database.cached(FAMILY) == {}

    async def test_a_newer_claim_ends_the_turn(self, nursery: trio.Nursery) -> None:
        numbers: list[int] = []

        async def lead(epoch: TurnEpoch) -> None:
            numbers.append(epoch.number)
            await trio.sleep_forever()

        async with open_node("a") as node, trio.open_nursery() as candidates:
            candidates.start_soon(node.run_singleton, FAMILY, lead)
            await wait_all_tasks_blocked()
            node.database.set(FAMILY, "x", [7, "x", "x" * 16, True])
            await wait_all_tasks_blocked()
            assert numbers == [1]
            ((number, _, _, claims),) = [
                value for key, value in node.database.cached(FAMILY).items() if key.startswith("a/")
            ]
            assert (number, claims) == (7, False)
            node.database.delete(FAMILY, "x")
            await wait_all_tasks_blocked()
            assert numbers == [1, 8]
            candidates.cancel_scope.cancel()

    async def test_a_claim_that_is_called_off_before_the_turn_begins(self, nursery: trio.Nursery) -> None:
        """The newer claim comes between the moment when the turn is due and the function."""
        begun: list[TurnEpoch] = []

        async def lead(epoch: TurnEpoch) -> None:
            begun.append(epoch)

        async with open_node("a") as node:
            database, newer = node.database, [99, "x", "x" * 16, True]
            taker = TurnTaker(node._runtime, database, FAMILY, 0)
            database.set(FAMILY, "x", [7, "x", "x" * 16, True])
            nursery.start_soon(taker.run, lead, ())
            await wait_all_tasks_blocked()
            candidate = taker._candidate
            database.set(FAMILY, "x", newer)
            # All of it before the task that waits for its turn has taken a step.
            taker._look({candidate.key: candidate.entry})
            taker._look({candidate.key: candidate.entry})
            assert candidate.state is CandidateState.RUNS
            taker._look({candidate.key: candidate.entry, "x": newer})
            await wait_all_tasks_blocked()
            assert not begun
            database.delete(FAMILY, "x")
            await wait_all_tasks_blocked()
            assert len(begun) == 1

    @pytest.mark.parametrize(
        "arguments, how, error",
        [
            ((1, print), {}, TypeError),
            (("trio_mp.x", print), {}, ValueError),
            ((FAMILY, "print"), {}, TypeError),
            ((FAMILY, print), {"seen": True}, TypeError),
            ((FAMILY, print), {"seen": -1}, ValueError),
            ((FAMILY, print), {"seen": 2**62}, ValueError),
        ],
        ids=str,
    )
    async def test_what_cannot_work_is_refused(self, arguments: Any, how: Any, error: type[Exception]) -> None:
        async with open_node("a") as node:
            with pytest.raises(error, match="expected"):
                await node.run_singleton(*arguments, **how)

    async def test_ends_with_the_node(self, nursery: trio.Nursery) -> None:
        ended: list[str] = []

        async def lead(_epoch: TurnEpoch) -> None:
            await trio.sleep_forever()

        async def wait(node: Node) -> None:
            with pytest.raises(trio.ClosedResourceError):
                await node.run_singleton(FAMILY, lead)
            ended.append("waited")

        async with open_node("a") as node:
            node.database.set(FAMILY, "x", [7, "x", "x" * 16, True])
            nursery.start_soon(wait, node)
            await wait_all_tasks_blocked()
        await wait_all_tasks_blocked()
        assert ended == ["waited"]
        with pytest.raises(trio.ClosedResourceError):
            await node.run_singleton(FAMILY, lead)

    async def test_a_dead_port_is_no_candidate(self) -> None:
        errors: list[PortDied] = []

        async def late(port: Port) -> None:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True), pytest.raises(PortDied) as caught:
                    await port.node.run_singleton(FAMILY, trio.sleep)
                errors.append(caught.value)

        async with open_node("a") as node:
            port = node.start_port(late)
            await wait_all_tasks_blocked()
            node.kill(port)
            await wait_all_tasks_blocked()
        assert [error.port for error in errors] == [port]


async def stop_soon(scope: trio.CancelScope) -> None:
    await wait_all_tasks_blocked()
    scope.cancel()


class Resource:
    """Keeps the greatest epoch that it was told, and refuses older ones. It is outside the network."""

    def __init__(self) -> None:
        self.greatest = TurnEpoch(0, "", "")
        self.accepted: list[TurnEpoch] = []
        self.refused = 0

    def write(self, epoch: TurnEpoch) -> None:
        if epoch < self.greatest:
            self.refused += 1
        else:
            self.greatest = epoch
            self.accepted.append(epoch)


async def leaders(network: SimulatedNetwork) -> tuple[int, int]:
    """Candidates on four nodes, under faults. Returns how many turns there were, and how many at once at the most."""
    numbers, resource = network.generator("test"), Resource()
    running: dict[TurnEpoch, Node] = {}
    turns: list[TurnEpoch] = []
    most = 0

    async def lead(epoch: TurnEpoch, node: Node) -> None:
        nonlocal most
        assert epoch not in turns
        turns.append(epoch)
        running[epoch] = node
        most = max(most, len(running))
        try:
            while True:
                resource.write(epoch)
                await trio.sleep(0.1)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.05)
            if not network.was_crashed(node.id):
                key = f"{epoch.node_id}/{epoch.run}"
                assert node.database.cached(FAMILY)[key] == [*epoch, True], "its entry says so until it has unwound"
            del running[epoch]

    async def candidate(node: Node) -> None:
        await node.run_singleton(FAMILY, lead, node)

    async def be_a_seed(_node: Node) -> None:
        await trio.sleep_forever()

    network.start("seed", be_a_seed)
    names = [f"n{number}" for number in range(4)]
    for name in names:
        network.start(name, candidate, seeds=["seed"])
    await trio.sleep(10)
    assert len(running) == 1
    for _ in range(8):
        name = numbers.choice(names)
        what = numbers.choice(["partition", "crash", "leader", "reset"])
        if what == "partition":
            network.partition({"seed", *(other for other in names if other != name)}, {name})
            await trio.sleep(60 * numbers.random())
            network.heal()
        elif what == "reset":
            network.reset("seed", name)
        else:
            name = next(iter(running.values())).id if what == "leader" and running else name
            network.crash(name, silently=True)
            await trio.sleep(5 * numbers.random())
            network.restart(name)
        await trio.sleep(20 * numbers.random())
    await trio.sleep(120)
    # All is whole: one runs, the newest, and the resource listens to it.
    assert len(running) == 1
    (epoch,) = running
    count = len(resource.accepted)
    await trio.sleep(1)
    assert resource.greatest == epoch
    assert set(resource.accepted[count:]) == {epoch}
    assert resource.accepted == sorted(resource.accepted)
    return len(turns), most


@pytest.mark.parametrize("seed", range(6))
def test_turns_are_comparable_and_the_older_one_ends(seed: int) -> None:
    turns, _ = simulate(leaders, seed=seed)
    assert turns > 1
