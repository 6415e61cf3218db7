"""Groups in the simulated network: members are killed and restarted, nodes crash, and the network does its worst.

`PYTHONPATH=tests python tests/groups/test_groups_under_faults.py 10000` makes that many calls at the same time.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from functools import partial
from typing import Any

import pytest
import trio

from trio_mp import Group, Joined, Left, Node, Port, PortDied, current_node
from trio_mp.testing import SimulatedNetwork, simulate

MEMBERS = 5


async def be_a_seed(node: Node) -> None:
    await trio.sleep_forever()


async def be_a_member(node: Node, *, seconds: float = 0.2) -> None:
    """A node whose port answers `work` after a while. The port is restarted when it dies."""

    async def serve(port: Port) -> None:
        async def answer(number: int, reply: str) -> None:
            await trio.sleep(seconds)
            node.send(reply, number, node.id)

        node.database.register("workers", port, node.id)
        async for tag, *arguments in port:
            if tag == "work":
                port.start_soon(answer, *arguments)
            elif tag == "die":
                raise ValueError("as it was told")

    while True:
        await node.wait_death(node.start_port(serve))
        await trio.sleep(0.05)


class Record:
    """What a group has told one reader, and what its roster was told before: who answered behind which monitor."""

    def __init__(self) -> None:
        self.there: dict[str, str] = {}
        self.counts: Counter[str] = Counter()
        self.answered: set[str] = set()

    def attach(self, group: Group) -> None:
        """Note each answer that the roster of this group is told."""
        roster = group._roster
        answered = roster.answered

        def note(attempt: int) -> Any:
            monitor = group._monitors.get(attempt)
            assert monitor is not None, "an answer counts only behind a monitor"
            assert monitor.active, "an answer counts only behind a monitor that has not fired"
            self.answered.add(monitor.port)
            return answered(attempt)

        roster.answered = note  # type: ignore[method-assign]

    async def read(self, group: Group) -> None:
        """Check the rules for each event."""
        async for event in group:
            self.counts[type(event).__name__] += 1
            if isinstance(event, Joined):
                assert event.key not in self.there, f"{event} without having left"
                assert event.port in self.answered, f"{event} has not answered"
                self.there[event.key] = event.port
            else:
                assert isinstance(event, Left)
                assert self.there.pop(event.key) == event.port, f"{event} without having joined"
                assert event.reason


async def many_calls(network: SimulatedNetwork, count: int, again: bool, faults: bool) -> Counter[str]:
    """So many calls at the same time, while members are killed and nodes crash. Returns what has become of them."""
    numbers = network.generator("test")
    outcomes: Counter[str] = Counter()
    done = trio.Event()
    network.start("seed", be_a_seed)
    for number in range(MEMBERS):
        network.start(f"m{number}", be_a_member, seeds=["seed"])

    async def ask(group: Group, number: int) -> None:
        await trio.sleep(numbers.random() * 30)
        how: Any = {"key": f"user-{number % 100}"} if number % 3 == 0 else {"by": "least_busy"}
        try:
            answer = await group.call("work", number, again=again, **(how if number % 2 else {}))
        except PortDied as error:
            outcomes["failed"] += 1
            outcomes[str(error.reason[0])] += 1
        else:
            assert answer[0] == number
            outcomes["answered"] += 1

    async def disturb(group: Group) -> None:
        while not done.is_set():
            await trio.sleep(0.3 * numbers.random())
            what = numbers.choice(["kill", "kill", "crash", "silent", "reset", "partition"] if faults else ["kill"])
            name = f"m{numbers.randrange(MEMBERS)}"
            if what == "kill" and group.members:
                group.send("die") if numbers.random() < 0.1 else client.send(group.pick(), "die")
            elif what in ("crash", "silent") and name in network.nodes:
                network.crash(name, silently=what == "silent")
                await trio.sleep(numbers.random())
                network.restart(name)
            elif what == "reset":
                network.reset("client", name)
            elif what == "partition":
                network.partition({"client", "seed"}, {name})
                await trio.sleep(5 * numbers.random())
                network.heal()

    async with network.open_node("client", seeds=["seed"]) as client, client.open_group("workers") as group:
        record = Record()
        record.attach(group)
        with trio.fail_after(600):
            await group.wait(MEMBERS)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(record.read, group)
                nursery.start_soon(disturb, group)
                async with trio.open_nursery() as calls:
                    for number in range(count):
                        calls.start_soon(ask, group, number)
                done.set()
                # All come back, by themselves.
                await trio.sleep(100)
                assert sorted(group.members.values()) == [f"m{number}" for number in range(MEMBERS)]
                assert sorted(record.there.values()) == sorted(group.members)
                assert not any(place.busy or place.wanted for place in group._roster.known)
                nursery.cancel_scope.cancel()
        outcomes["left"] = record.counts["Left"]
    assert outcomes["answered"] + outcomes["failed"] == count, outcomes
    return outcomes


@pytest.mark.parametrize("seed", range(4))
def test_every_call_is_answered_or_fails(seed: int) -> None:
    outcomes = simulate(many_calls, 300, False, True, seed=seed)
    assert outcomes["failed"] > 0
    assert outcomes["answered"] > 0


@pytest.mark.parametrize("seed", range(4))
def test_every_call_that_may_be_made_again_is_answered(seed: int) -> None:
    outcomes = simulate(many_calls, 300, True, True, seed=seed)
    assert outcomes["answered"] == 300
    assert outcomes["left"] > 0


async def numbered(network: SimulatedNetwork) -> tuple[int, int]:
    """A client sends numbers to each member that has joined: between Joined and Left none of them is missing."""
    numbers = network.generator("test")
    heard: dict[tuple[str, int], list[int]] = {}
    sent: dict[tuple[str, int], int] = {}
    spans: Counter[str] = Counter()
    current: dict[str, int] = {}

    async def member(node: Node) -> None:
        async def listen(port: Port) -> None:
            node.database.register("workers", port, node.id)
            async for _, span, number in port:
                heard.setdefault((str(port), span), []).append(number)

        while True:
            port = node.start_port(listen)
            await trio.sleep(20 + 20 * numbers.random())
            node.kill(port, "tired")
            await node.wait_death(port)

    network.start("seed", be_a_seed)
    for number in range(3):
        network.start(f"m{number}", member, seeds=["seed"])
    async with network.open_node("client", seeds=["seed"]) as client, client.open_group("workers") as group:
        record = Record()
        record.attach(group)
        closed: list[tuple[str, int]] = []

        async def follow() -> None:
            async for event in group:
                if isinstance(event, Joined):
                    assert event.port in record.answered
                    spans[event.port] += 1
                    current[event.port] = spans[event.port]
                else:
                    closed.append((event.port, current.pop(event.port)))

        async def send() -> None:
            while True:
                await trio.sleep(0.05)
                for port in tuple(group.members):
                    # Only to who has joined as far as the reader knows: so each number is of one span.
                    if port in current:
                        span = (port, current[port])
                        sent[span] = sent.get(span, 0) + 1
                        client.send(port, "number", span[1], sent[span])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            nursery.start_soon(send)
            for _ in range(15):
                await trio.sleep(5 * numbers.random())
                name = f"m{numbers.randrange(3)}"
                what = numbers.choice(["reset", "partition", "half open", "silent"])
                if what == "reset":
                    network.reset("client", name)
                elif what == "half open":
                    network.half_open(name, "client")
                elif what == "partition":
                    network.partition({"client"}, {name})
                    await trio.sleep(30 * numbers.random())
                    network.heal()
                else:
                    network.crash(name, silently=True)
                    await trio.sleep(30 * numbers.random())
                    network.restart(name)
            await trio.sleep(60)
            ended = dict.fromkeys(closed)
            nursery.cancel_scope.cancel()
    for span, got in heard.items():
        assert got == list(range(1, len(got) + 1)), f"{span}: a hole in {got}"
        if span not in ended:
            # It never left: at most what was under way at the end is missing.
            assert sent[span] - len(got) < 40, f"{span}: {sent[span]} were sent and {len(got)} arrived"
    return len(closed), len(heard)


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_missing_between_joining_and_leaving(seed: int) -> None:
    closed, heard = simulate(numbered, seed=seed)
    assert closed > 0
    assert heard > 3


async def many_clients(network: SimulatedNetwork) -> list[int]:
    """Clients of many members: how many nodes each of them is connected with."""
    members, clients, connected = 30, 5, []

    async def member(node: Node) -> None:
        port = node.port()
        port.on("name")(lambda reply: current_node().send(reply, node.id))
        node.database.register("workers", port, node.id, key=node.id)
        await trio.sleep_forever()

    network.start("seed", be_a_seed)
    for number in range(members):
        network.start(f"m{number:02}", member, seeds=["seed"])

    async def client(name: str) -> None:
        async with network.open_node(name, seeds=["seed"]) as node, node.open_group("workers", watch=4) as group:
            await group.wait(4)
            await trio.sleep(30)
            for _ in range(8):
                await group.call("name")
            connected.append(len(node.peers))

    async with trio.open_nursery() as nursery:
        for number in range(clients):
            nursery.start_soon(client, f"c{number}")
    return connected


def test_clients_and_members_are_no_mesh() -> None:
    connected = simulate(many_clients)
    assert len(connected) == 5
    # The seed, and those it monitors.
    assert max(connected) <= 5


def main() -> None:
    """The full number of calls, each way."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    for faults in (False, True):
        for again in (False, True):
            start = time.perf_counter()
            outcomes = simulate(partial(many_calls, count=count, again=again, faults=faults))
            print(f"again={again} faults={faults}: {dict(outcomes)}, {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
