"""Tools: members that come to look or to say something, go, and leave the network as it was."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
from command_line import COMMAND, SECRET, Terminal
from membership_helpers import is_settled, rules_of, service_of
from network_helpers import FakeNetwork, network_of, open_test_node, peer_of, until

from trio_mp import ConfigurationError, Node, NodeChange, open_node
from trio_mp._protocol.database.records import NODES, TOOLS
from trio_mp.lowlevel import Environment, open_node_in
from trio_mp.testing import SimulatedNetwork, address_of, simulate


@asynccontextmanager
async def open_test_tool(network: FakeNetwork, seed: str) -> AsyncGenerator[Node, None]:
    """A tool that has joined by a seed."""
    async with open_test_node(network, "tool", seeds=[seed], listen=False, tool=True) as tool:
        await until(lambda: rules_of(tool).anchor)
        yield tool


async def ask(node: Node, word: str, of: str) -> set[str]:
    """Ask the node port of a node for the nodes that it knows."""
    return set(await node.call(of, word))


async def test_programs_see_nothing_of_tools_that_come_and_go(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    seen: dict[str, list[NodeChange]] = {"s": [], "t": [], "a": []}

    async def watch(node: Node) -> None:
        async with node.watch_nodes() as changes:
            async for change in changes:
                seen[node.id].append(change)

    async with (
        open_test_node(network, "s") as s,
        open_test_node(network, "t", seeds=["t", "s"]) as t,
        open_test_node(network, "a", seeds=["t"]) as a,
        trio.open_nursery() as nursery,
    ):
        await until(lambda: is_settled([s, t, a]))
        for node in (s, t, a):
            nursery.start_soon(watch, node)
        await until(lambda: all(len(changes) == 3 for changes in seen.values()))
        for number in range(20):
            async with open_test_tool(network, "s" if number % 2 else "t") as tool:
                assert "a" in tool.peers or await tool.call("a", "time")
                assert await ask(tool, "up_nodes", "a") <= {"s", "t"}
                assert {*s.peers, *t.peers, *a.peers} == {"s", "t", "a"}
                assert await ask(tool, "known_nodes", "a") == {"s", "t", "a"}
                assert await ask(tool, "known_nodes", "s") == {"s", "t", "a"}
                assert "tool" not in await ask(a, "up_nodes", "s")
        await until(lambda: not any(TOOLS in node.database._replica._families._entries for node in (s, t)))
        assert all([change.up for change in changes] == [True] * 3 for changes in seen.values())
        assert is_settled([s, t, a])
        nursery.cancel_scope.cancel()


async def test_who_asks_for_tools_is_told(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "s") as s, open_test_node(network, "a", seeds=["s"]) as a:
        with trio.fail_after(1000):
            async with a.watch_nodes(tools=True) as changes:
                assert {await anext(changes) for _ in range(2)} == {NodeChange("s", True), NodeChange("a", True)}
                async with open_test_tool(network, "s"):
                    assert await anext(changes) == NodeChange("tool", up=True, tool=True)
                assert await anext(changes) == NodeChange("tool", up=False, tool=True)
                async with open_test_node(network, "b", seeds=["s"]):
                    assert await anext(changes) == NodeChange("b", up=True)
                    async with open_test_tool(network, "s") as tool, tool.watch_nodes(tools=True) as its:
                        assert {(await anext(its)).node_id for _ in range(4)} == {"s", "a", "b", "tool"}
                        assert [(await anext(changes)).tool] == [True]
                assert {(await anext(changes)).node_id for _ in range(2)} == {"tool", "b"}
                with trio.move_on_after(50) as nothing:
                    await anext(changes)
                assert nothing.cancelled_caught
                # One task at a time, as with all iterators of this package.
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(anext, changes)
                    await trio.testing.wait_all_tasks_blocked()
                    with pytest.raises(trio.BusyResourceError):
                        await anext(changes)
                    nursery.cancel_scope.cancel()
        assert s.peers == ("a",)


async def test_a_node_with_the_id_of_a_tool_that_went_is_a_node(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "s") as s, s.watch_nodes(tools=True) as changes:
        assert (await anext(changes)).node_id == "s"
        async with open_test_tool(network, "s"):
            assert await anext(changes) == NodeChange("tool", up=True, tool=True)
        async with open_test_node(network, "tool", seeds=["s"]):
            told = {await anext(changes) for _ in range(2)}
            assert told == {NodeChange("tool", up=False, tool=True), NodeChange("tool", up=True)}
            await until(lambda: s.peers == ("tool",))


async def test_a_tool_is_never_global(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "s") as s, open_test_tool(network, "s") as tool:
        assert tool.binds == ()
        # Somebody who says it all the same is answered, and remembered as nothing.
        peer_of(s, "tool").send("", ("join", True, []))
        await until(lambda: "tool" not in rules_of(s).mesh)
        await trio.sleep(30)
        assert not rules_of(tool).is_global
        assert rules_of(tool).anchor == "s"


async def test_a_tool_makes_no_node_global(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    network = FakeNetwork()
    async with open_test_node(network, "s") as s, open_test_node(network, "a", seeds=["s"]) as a:
        await until(lambda: is_settled([s, a]))
        async with open_test_node(network, "tool", seeds=["a"], listen=False, tool=True) as tool:
            await until(lambda: network_of(tool).failures)
            (failure,) = network_of(tool).failures.values()
            assert "a is not a global node: the peer says: no tool makes a global; join by s (unix:/fake/s)" in failure
            await trio.sleep(30)
            assert not rules_of(a).is_global
            assert rules_of(tool).anchor is None
        # Who uses the tool has made the mistake: the tool warns of it, and the node has nothing to report.
        assert {record.getMessage().partition(":")[0] for record in caplog.records} == {"the seed unix"}
        # With the right seed beside it the tool joins, and goes on.
        async with open_test_node(network, "tool2", seeds=["a", "s"], listen=False, tool=True) as tool:
            await until(lambda: rules_of(tool).anchor == "s")
        assert not rules_of(a).is_global


async def test_nothing_is_remembered_of_tools(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with open_test_node(network, "s") as s:
        async with open_test_tool(network, "s") as tool, tool.open_port() as port:
            await tool.call("s", "time")
            async with s.open_port() as witness:
                monitor = s.monitor(str(port), witness)
                await tool.call("s", "time")
                assert monitor is not None
        await trio.sleep(1)
        assert "tool" not in service_of(s).sightings
        assert not rules_of(s).guests
        assert s.database._replica.held(TOOLS) == {}
        assert set(s.database._replica.held(NODES)) == {"s"}
        await trio.sleep(400)
        assert "tool" not in network_of(s).peers


async def test_a_tool_listens_nowhere_and_can_be_called(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with (
        open_test_node(network, "s"),
        open_test_node(network, "a", seeds=["s"]) as a,
        open_test_tool(network, "s") as tool,
        tool.open_port() as port,
    ):
        assert tool.binds == ()
        a.send(str(port), "hello")
        assert await port.receive("hello") == ("hello",)


def test_what_cannot_be_a_tool() -> None:
    async def listens() -> None:
        async with open_node("x", tool=True, binds=["127.0.0.1:0"], secret=SECRET, profile=False):
            pass

    with pytest.raises(ConfigurationError, match=r"^binds: expected none in a tool.* got 127\.0\.0\.1:0"):
        trio.run(listens)


async def test_a_tool_takes_the_network_of_a_profile_and_not_its_service(
    short_directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = short_directory / "profiles.toml"
    path.write_text(
        f"""
        [profile.service]
        node_id = "service"
        binds = ["unix:{short_directory}/service"]
        services = ["no_such_module"]
        spawn_modules = ["no_such_module"]
        attach_timeout = 0.000001
        health = "unix:{short_directory}/no/such/folder"
        seeds = ["unix:{short_directory}/s"]
        secret_file = "secret"
        """
    )
    monkeypatch.setenv("TRIO_MP_CONFIG", str(path))
    async with open_node("s", binds=[f"unix:{short_directory}/s"], secret=SECRET, profile=False) as s:
        Terminal(s, short_directory)
        async with open_node(tool=True, profile="service") as tool:
            assert tool.id.startswith("anon/")
            assert tool.binds == ()
            await tool.call("s", "time")
        fixed = ["services", "spawn_modules", "attach_timeout", "health"]
        async with open_node(profile="service", fixed=fixed) as service:
            assert service.id == "service"
            async with open_node(tool=True, profile="service") as tool:
                assert await tool.call("service", "time")
    assert [record.msg for record in caplog.records if "effect" in record.getMessage()] == ["%s", "%s", "%s", "%s"]


def test_in_a_simulation() -> None:
    async def main(network: SimulatedNetwork) -> None:
        async with network.open_node("s") as s:
            async with network.open_node("a", seeds=[address_of("s")], binds=(), tool=True) as tool:
                await tool.call("s", "time")
            assert s.peers == ()

    simulate(main, seed=1)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
async def test_a_tool_that_is_killed_leaves_nothing_behind(short_directory: Path) -> None:
    environment = Environment()
    bind = f"unix:{short_directory}/s"
    async with open_node_in(environment, "s", binds=[bind], secret=SECRET) as s, s.watch_nodes(tools=True) as changes:
        assert await anext(changes) == NodeChange("s", up=True)
        terminal = Terminal(s, short_directory)
        words = ["ping", "s", "--count", "1000000", "--interval", "0.001", *terminal.joining]
        with trio.fail_after(30):
            process = await trio.lowlevel.open_process([*COMMAND, *words], stdout=subprocess.DEVNULL)
            came = await anext(changes)
            assert (came.up, came.tool) == (True, True)
            assert came.node_id in rules_of(s).guests
            process.send_signal(signal.SIGKILL)
            assert await process.wait() == -signal.SIGKILL
            assert await anext(changes) == NodeChange(came.node_id, up=False, tool=True)
        assert s.database._replica.held(TOOLS) == {}
        assert not rules_of(s).guests
        assert not rules_of(s).heard
        assert not network_of(s).peers[came.node_id].connections
        assert not any(short_directory.glob("*.sock"))
