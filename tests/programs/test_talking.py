"""The commands that join a network and talk to it, each as a process."""

from __future__ import annotations

from pathlib import Path

from command_line import SECRET, Terminal, run

from trio_mp import open_node


async def test_ping(short_directory: Path) -> None:
    async with open_node("w1", binds=[f"unix:{short_directory}/s"], secret=SECRET, profile=False) as node:
        terminal = Terminal(node, short_directory)
        told = await terminal.run("ping", "w1", "--count", "2", "--interval", "0.001")
        assert (told.status, told.err) == (0, "")
        assert [line.partition(" after ")[0] for line in told.out.splitlines()] == ["w1 answered"] * 2
        told = await terminal.run("ping", "w1", "--count", "1", "--json")
        assert [row["node"] for row in told.rows] == ["w1"]
        assert 0 < told.rows[0]["milliseconds"] < 30_000


async def test_a_network_that_cannot_be_joined_is_named(short_directory: Path) -> None:
    binds = [f"unix:{short_directory}/s"]
    async with open_node("w1", binds=binds, secret="another secret, as long", profile=False) as node:
        terminal = Terminal(node, short_directory)
        told = await terminal.run("ping", "w1", "--timeout", "1")
        assert told.status == 3
        assert told.err.startswith(f"trio-mp: cannot join the network: {node.binds[0]}: ")
        assert "is the secret the same on both sides?" in told.err
        assert told.err.count("\n") == 1


async def test_no_seed_is_wrong_usage() -> None:
    told = await run("ping", "w1")
    assert (told.status, told.out) == (2, "")
    assert told.err.startswith("trio-mp: seeds: expected the address of a node of the network, got none; give it by")
    assert told.err.count("\n") == 1
