"""`trio-mp doctor`."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
from command_lines import environment, run_command
from network_helpers import FakeNetwork, network_of, open_test_node, place
from running_programs import SECRET
from watched_nodes import until

from trio_mp import open_node
from trio_mp._node import assembly
from trio_mp._node.opening import open_node_in
from trio_mp._peers.dialled import Dialled
from trio_mp._peers.network import Network
from trio_mp._settings.environment import Environment
from trio_mp._transport.addresses import Address, parse_address
from trio_mp.cli import doctor as doctor_command
from trio_mp.cli.output import Output

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Unix sockets")

LONG = f"{'x' * 64}.example"
"""A name that nobody has, which is known without asking anybody."""


async def doctor(folder: Path, *words: str, secret: str = SECRET) -> subprocess.CompletedProcess[str]:
    """Run the command while the nodes of the test go on."""
    variables = environment(TRIO_MP_SECRET=secret)
    return await trio.to_thread.run_sync(partial(run_command, "doctor", *words, cwd=folder, env=variables))


def lines(said: subprocess.CompletedProcess[str]) -> list[tuple[str, str, str]]:
    """The result, the subject and the text of each line, without the first one: it is about this machine."""
    first, *rows = [json.loads(line) for line in said.stdout.splitlines()]
    assert first["subject"] == "open files"
    return [(row["result"], row["subject"], row["text"]) for row in rows]


async def test_a_network_in_which_a_clock_and_a_version_differ(
    short_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = Environment(wall_clock=lambda: time.time() + 100)
    async with open_node("a", binds=[f"unix:{short_directory}/a"], secret=SECRET, profile=False):
        monkeypatch.setattr(assembly, "PROVIDER", "trio_mp/0.0.1")
        seeds = [f"unix:{short_directory}/a"]
        async with open_node_in(fast, "b", binds=[f"unix:{short_directory}/b"], seeds=seeds, secret=SECRET):
            said = await doctor(short_directory, "--json", "--seed", "unix:a", "--seed", "unix:b")
    assert said.returncode == 0
    assert said.stderr == ""
    found = lines(said)
    assert [line[:2] for line in found] == [
        ("ok", "unix:a"),
        ("ok", "a: version"),
        ("ok", "a: clock"),
        ("ok", "unix:b"),
        ("warning", "b: version"),
        ("warning", "b: clock"),
        ("ok", "network"),
    ]
    texts = [text for _, _, text in found]
    assert texts[0] == "the node a is there, and the secret agrees"
    assert texts[4].startswith("trio_mp/0.0.1; this node is trio_mp/")
    assert texts[5].startswith("differs by +100.")
    assert texts[6] == "this node has joined it; nodes there: 2"


async def test_what_is_wrong_and_what_to_do(short_directory: Path) -> None:
    async with open_node("a", binds=[f"unix:{short_directory}/a"], secret=SECRET, profile=False):
        seeds = ("--seed", "unix:a", "--seed", "unix:nothing", "--seed", f"{LONG}:4040")
        said = await doctor(short_directory, "--json", *seeds, secret="another secret than theirs")
    assert said.returncode == 1
    found = lines(said)
    assert [line[:2] for line in found] == [("wrong", "unix:a"), ("wrong", "unix:nothing"), ("wrong", f"{LONG}:4040")]
    texts = [text for _, _, text in found]
    assert texts[0].startswith("the port is open, and the handshake fails: ")
    assert "is the secret the same on both sides?" in texts[0]
    assert texts[1].startswith("no connection: No such file or directory")
    assert "does the node run" in texts[1]
    assert texts[2].startswith("the name cannot be resolved: expected a host name")


def test_without_seeds_and_what_people_see(tmp_path: Path) -> None:
    said = run_command("doctor", cwd=tmp_path, env=environment())
    assert said.returncode == 1
    _, last = said.stdout.splitlines()
    assert last == ("wrong    seeds: there are none, so this node finds nobody; give --seed, or set them in a profile")
    said = run_command("doctor", "--seed", "unix:a", cwd=tmp_path, env=environment())
    assert (said.returncode, said.stderr.count("\n")) == (2, 1)
    assert said.stderr.startswith("trio-mp: secret: expected one, or a secret_file or a certificate")


class EndedFirst:
    """A network in which the first connection that is dialled ends, because another one is chosen."""

    def __init__(self, network: Network, node_id: str) -> None:
        self.up_nodes = network.up_nodes
        self.is_there = network.is_there
        self._network = network
        self._node_id = node_id
        self.count = 0

    async def dial(self, address: Address) -> Dialled:
        self.count += 1
        if self.count == 1:
            return Dialled(self._node_id, "the other side has closed it", None)
        return await self._network.dial(address)


@pytest.mark.parametrize("node_id", ["a", "c"])
async def test_a_connection_that_another_one_has_replaced(autojump_clock: trio.testing.MockClock, node_id: str) -> None:
    """The node of the command dials its seeds, too, at the same time."""
    fake = FakeNetwork()
    async with open_test_node(fake, "a"), open_test_node(fake, "b", seeds=["a"]) as b:
        network = EndedFirst(network_of(b), node_id)
        dialled = await doctor_command._dial(parse_address(place("a")), network)  # type: ignore[arg-type]
        assert network.count == (2 if node_id == "a" else 1)
        assert doctor_command._works(dialled, network) == (node_id == "a")  # type: ignore[arg-type]


async def test_only_a_seed_that_no_tool_makes_global(
    autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = FakeNetwork()
    async with open_test_node(fake, "s"), open_test_node(fake, "a", seeds=["s"]) as a:
        await a.wait_attached()
        async with open_test_node(fake, "tool", seeds=["a"], listen=False, tool=True) as tool:
            diagnosis = doctor_command.Diagnosis(Output(argparse.Namespace()))
            await doctor_command._join(tool, network_of(tool), diagnosis)
    assert diagnosis.status == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line == (
        "wrong    network: this node has not joined it within 10 s: unix:/fake/a: a is not a global node: "
        "the peer says: no tool makes a global; join by s (unix:/fake/s) (10 s)"
    )


async def test_a_directory_as_a_seed(short_directory: Path) -> None:
    jobs = short_directory / "jobs"
    place = ["--seed", "dir:jobs"]
    said = await doctor(short_directory, "--json", *place)
    assert said.returncode == 1
    ((_, _, text),) = lines(said)
    assert text.startswith("the directory cannot be read: No such file or directory; is the path right")
    async with open_node(
        "a", binds=[f"unix:{short_directory}/a"], seeds=[f"dir:{jobs}"], secret=SECRET, profile=False
    ) as a:
        await until(lambda: list(jobs.glob("*.node")), 30)
        (jobs / f"{'A' * 16}.node").touch()
        said = await doctor(short_directory, "--json", *place)
        assert a.id == "a"
    found = lines(said)
    assert [line[:2] for line in found] == [
        ("warning", "dir:jobs"),
        ("ok", "dir:jobs"),
        ("ok", f"unix:{short_directory}/a"),
        ("ok", "a: version"),
        ("ok", "a: clock"),
        ("ok", "network"),
    ]
    texts = [text for _, _, text in found]
    assert texts[0] == f"files that are not read: {'A' * 16}.node is no file of a node"
    assert texts[1] == "these nodes are written there: a"
