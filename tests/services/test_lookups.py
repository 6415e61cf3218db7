"""Finding ports by the database: keys of the program's, ports of other nodes, first entries, what is known here."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from network_helpers import FakeNetwork, Inbox, open_test_node, until
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

from trio_mp import Node, PortDied, open_node
from trio_mp.testing import SimulatedNetwork, simulate


class TestAKey:
    async def test_finds_the_port(self) -> None:
        async with open_node("a") as node:
            port = node.port()
            node.database.register("rooms", port, {"size": 3}, key="lobby")
            assert await node.database.whereis("rooms", "lobby") == port
            assert await node.database.family("rooms") == {"lobby": [port, {"size": 3}]}
            node.kill(port)
            await wait_all_tasks_blocked()
            assert await node.database.whereis("rooms", "lobby") is None
            assert await node.database.family("rooms") == {}

    async def test_that_is_registered_again_belongs_to_the_new_port(self) -> None:
        async with open_node("a") as node:
            old, new = node.port(), node.port()
            node.database.register("rooms", old, key="lobby")
            node.database.register("rooms", new, key="lobby")
            node.kill(old)
            await wait_all_tasks_blocked()
            assert await node.database.whereis("rooms", "lobby") == new

    async def test_that_is_the_port_itself(self) -> None:
        async with open_node("a") as node:
            port, other = node.port(), node.port()
            node.database.register("rooms", port, 1)
            assert await node.database.whereis("rooms", port) == port
            assert await node.database.whereis("rooms", other) is None
            with pytest.raises(ValueError, match="a key that is no port ID"):
                node.database.register("rooms", port, key=other)
            with pytest.raises(TypeError, match="key: expected a str"):
                node.database.register("rooms", port, key=1)  # type: ignore[arg-type]

    @pytest.mark.parametrize("value", [None, 1, "lobby", "a", [], ["a", 1], ["a#" + "x" * 16], {"port": 1}])
    async def test_whose_entry_names_no_port_finds_nothing(self, value: object) -> None:
        async with open_node("a") as node:
            node.database.set("rooms", "lobby", value)
            with assert_checkpoints():
                assert await node.database.whereis("rooms", "lobby") is None

    async def test_of_a_child_that_a_supervisor_lists(self) -> None:
        async with open_node("a") as node:
            port = node.port()
            node.database.set("rooms", "lobby", str(port))
            assert await node.database.whereis("rooms", "lobby") == port

    async def test_that_several_nodes_have_registered_is_the_greatest_nodes(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        network = FakeNetwork()
        async with open_test_node(network, "s") as s, open_test_node(network, "n", seeds=["s"]) as n:
            ports = s.port(), n.port()
            s.database.register("rooms", ports[0], key="lobby")
            n.database.register("rooms", ports[1], key="lobby")
            assert await n.database.whereis("rooms", "lobby") == ports[0]
            s.kill(ports[0])
            await trio.sleep(1)
            assert await n.database.whereis("rooms", "lobby") == ports[1]


class TestAPortOfAnotherNode:
    async def test_is_registered_until_it_dies(self, autojump_clock: trio.testing.MockClock) -> None:
        network = FakeNetwork()
        async with open_test_node(network, "s") as s, open_test_node(network, "n", seeds=["s"]) as n:
            port, other = n.port(), n.port()
            s.database.register("rooms", str(port), key="lobby")
            s.database.register("rooms", str(other), "here")
            assert await s.database.family("rooms") == {"lobby": [port, None], other: "here"}
            n.kill(port, "tired")
            await until(lambda: s.database.cached("rooms") == {other: "here"}, 1)
            # It may be set over, and then it does not go with the port.
            s.database.set("rooms", str(other), "to stay")
            n.kill(other)
            await trio.sleep(1)
            assert await s.database.family("rooms") == {other: "to stay"}

    async def test_of_which_nothing_is_known_is_registered_until_its_node_says_that_it_is_not_there(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        network = FakeNetwork()
        async with open_test_node(network, "s") as s, open_test_node(network, "n", seeds=["s"]):
            s.database.register("rooms", "n#" + "x" * 20, key="lobby")
            assert "lobby" in s.database.cached("rooms")
            await until(lambda: s.database.cached("rooms") == {}, 5)


async def cut_for_long(network: SimulatedNetwork, port_dies: bool) -> None:
    async with network.open_node("s") as s, network.open_node("n", seeds=["s"]) as n:
        port = n.port()
        s.database.register("rooms", str(port), key="lobby")
        await until(lambda: n.peers == ("s",), 5)
        network.partition({"s"}, {"n"})
        await until(lambda: s.peers == (), 60)
        await trio.sleep(200)
        # Its monitor has fired, more than once: nothing is known of the port.
        assert await s.database.whereis("rooms", "lobby") == port
        if port_dies:
            n.kill(port)
        network.heal()
        await trio.sleep(100)
        assert await s.database.whereis("rooms", "lobby") == (None if port_dies else port)
        n.kill(port)
        await trio.sleep(1)
        assert await s.database.whereis("rooms", "lobby") is None


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("port_dies", [False, True])
def test_an_entry_outlives_a_lost_connection_and_not_the_port(port_dies: bool, seed: int) -> None:
    simulate(cut_for_long, port_dies, seed=seed)


async def another_run(network: SimulatedNetwork) -> None:
    ports: list[str] = []

    async def program(node: Node) -> None:
        ports.append(str(node.port()))
        await trio.sleep_forever()

    async with network.open_node("s") as s:
        network.start("n", program, seeds=["s"])
        await until(lambda: ports, 5)
        s.database.register("rooms", ports[0], key="lobby")
        await until(lambda: s.peers == ("n",), 5)
        await trio.sleep(5)
        network.crash("n", silently=True)
        await until(lambda: s.peers == (), 60)
        await trio.sleep(60)
        assert await s.database.whereis("rooms", "lobby") == ports[0]
        network.restart("n")
        await trio.sleep(100)
        assert len(ports) == 2
        assert await s.database.whereis("rooms", "lobby") is None


@pytest.mark.parametrize("seed", range(3))
def test_an_entry_ends_with_the_run_of_the_ports_node(seed: int) -> None:
    simulate(another_run, seed=seed)


class TestWaiting:
    async def test_ends_with_the_first_entry(
        self, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
    ) -> None:
        network = FakeNetwork()
        async with open_test_node(network, "s") as s, open_test_node(network, "n", seeds=["s"]) as n:
            found: list[object] = []

            async def wait() -> None:
                found.append(await n.database.wait("rooms"))

            nursery.start_soon(wait)
            await trio.sleep(1)
            assert found == []
            s.database.set("rooms", "lobby", [1])
            await until(lambda: found, 1)
            assert found == [{"lobby": [1]}]
            with assert_checkpoints():
                assert await n.database.wait("rooms") == {"lobby": [1]}
            # Nothing is followed any more.
            assert n.database.cached("rooms") == {}

    async def test_ends_with_the_node(self, nursery: trio.Nursery) -> None:
        closed = trio.Event()

        async def wait(node: Node) -> None:
            with pytest.raises(trio.ClosedResourceError):
                await node.database.wait("rooms")
            closed.set()

        async with open_node("a") as node:
            nursery.start_soon(wait, node)
            await wait_all_tasks_blocked()
        await closed.wait()


class TestWhatIsKnownHere:
    async def test_is_all_on_a_global_node(self, autojump_clock: trio.testing.MockClock) -> None:
        network = FakeNetwork()
        async with open_test_node(network, "s") as s, open_test_node(network, "n", seeds=["s"]) as n:
            n.database.set("rooms", "lobby", {"seats": [1]})
            await until(lambda: s.database.cached("rooms"), 5)
            s.database.cached("rooms")["lobby"]["seats"].append(2)
            assert s.database.cached("rooms") == {"lobby": {"seats": [1]}}
            assert s.database.cached("others") == {}

    async def test_is_what_is_followed_elsewhere(self, autojump_clock: trio.testing.MockClock) -> None:
        network = FakeNetwork()
        async with open_test_node(network, "s") as s, open_test_node(network, "n", seeds=["s"]) as n:
            s.database.set("rooms", "lobby", 1)
            n.database.set("rooms", "cellar", 2)
            await trio.sleep(1)
            assert n.database.cached("rooms") == {"cellar": 2}
            async with n.database.watch("rooms") as changes:
                assert n.database.cached("rooms") == {"cellar": 2}
                await anext(changes)
                assert n.database.cached("rooms") == {"cellar": 2, "lobby": 1}
                s.database.set("rooms", "lobby", 3)
                n.database.set("rooms", "attic", 4)
                assert n.database.cached("rooms") == {"cellar": 2, "lobby": 1, "attic": 4}
                await trio.sleep(1)
                assert n.database.cached("rooms") == {"cellar": 2, "lobby": 3, "attic": 4}
            assert n.database.cached("rooms") == {"cellar": 2, "attic": 4}

    async def test_is_not_said_by_a_closed_node(self) -> None:
        async with open_node("a") as node:
            with pytest.raises(TypeError, match="family: expected a str"):
                node.database.cached(1)  # type: ignore[arg-type]
        for ask in (node.database.families, lambda: node.database.whereis("a", "b"), lambda: node.database.wait("a")):
            with pytest.raises(trio.ClosedResourceError):
                await ask()
        with pytest.raises(trio.ClosedResourceError):
            node.database.cached("rooms")


class TestTheNamesOfFamilies:
    async def test_are_those_of_all_nodes(self, autojump_clock: trio.testing.MockClock) -> None:
        network = FakeNetwork()
        async with open_test_node(network, "s") as s, open_test_node(network, "n", seeds=["s"]) as n:
            assert await n.database.families() == await s.database.families() == []
            s.database.set("red", "k")
            n.database.set("green", "k")
            assert await n.database.families() == await s.database.families() == ["green", "red"]
            s.database.delete("red", "k")
            assert await n.database.families() == ["green"]

    async def test_cannot_be_watched_or_set(self) -> None:
        async with open_node("a") as node:
            with pytest.raises(ValueError, match="use families"):
                async with node.database.watch("trio_mp.families"):
                    pass
            with pytest.raises(ValueError, match="as those of the package do"):
                node.database.set("trio_mp.families", "k")

    async def test_are_not_made_up_where_the_global_node_cannot_say_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with open_node("a") as node:
            # What a node of an older version answers: to it, nobody has set that family.
            monkeypatch.setattr("trio_mp._protocol.database.records.FAMILIES", "another name")
            with pytest.raises(RuntimeError, match="cannot list families"):
                await node.database.families()


async def test_a_dead_port_cannot_be_registered_under_a_key() -> None:
    async with open_node("a") as node:
        port = node.port()
        node.kill(port)
        await wait_all_tasks_blocked()
        with pytest.raises(PortDied):
            node.database.register("rooms", port, key="lobby")
        assert await node.database.family("rooms") == {}


async def test_a_found_port_can_be_called(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "s") as s, open_test_node(network, "n", seeds=["s"]) as n:
        inbox = Inbox(s)
        s.database.register("rooms", inbox.port, key="lobby")
        await n.database.wait("rooms")
        port = await n.database.whereis("rooms", "lobby")
        assert port is not None
        n.send(port, "hello")
        assert await inbox.wait(1) == [("hello",)]
