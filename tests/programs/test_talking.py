"""The commands that join a network and talk to it, each as a process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from command_line import COMMAND, SECRET, Terminal, Told, run
from spawned_functions import picky, store

from trio_mp import Node, NodeChange, Port, open_node
from trio_mp.cli import main

NOBODY = "w1#0000000000000000"
"""A port that never was."""


@asynccontextmanager
async def open_network(folder: Path) -> AsyncGenerator[tuple[Terminal, Node, Node], None]:
    """A seed `s`, and a node `w1` of which commands may spawn."""
    settings: dict[str, Any] = {"secret": SECRET, "profile": False, "spawn_modules": ["spawned_functions"]}
    async with (
        open_node("s", binds=[f"unix:{folder}/s"], **settings) as seed,
        open_node("w1", seeds=[f"unix:{folder}/s"], **settings) as w1,
    ):
        async with w1.watch_nodes() as changes:
            assert {(await anext(changes)).node_id for _ in range(2)} == {"s", "w1"}
        yield Terminal(seed, folder), seed, w1


def is_one_line(told: Told, status: int, text: str) -> None:
    assert told.status == status, told
    assert told.out == ""
    assert re.match(r"trio-mp\b[\w -]*: ", told.err)
    assert text in told.err
    assert told.err.count("\n") == 1


# Sending -------------------------------------------------------------------------------------------------------------


async def test_a_message_that_is_delivered(short_directory: Path) -> None:
    async with open_network(short_directory) as (terminal, _, w1), w1.open_port() as port:
        told = await terminal.run("send", str(port), "greet", "ruth")
        assert (told.status, told.out, told.err) == (0, "delivered\n", "")
        assert await port.receive("greet") == ("greet", "ruth")
        told = await terminal.run("send", str(port), '["n", 5, [true, null]]', "--json")
        assert told.rows == [{"port": str(port), "outcome": "delivered"}]
        assert await port.receive("n") == ("n", 5, [True, None])
        # Options may stand anywhere; behind -- all is the message.
        told = await run("send", *terminal.joining, str(port), "--", "-q", "--json")
        assert told.out == "delivered\n"
        assert await port.receive("-q") == ("-q", "--json")


async def test_a_message_to_a_dead_port(short_directory: Path) -> None:
    async with open_network(short_directory) as (terminal, _, w1):
        port = w1.port()
        store(port)
        told = await terminal.run("send", str(port), "crash")
        assert told.status == 1
        assert told.out.startswith("dead: die: ValueError: as you wish")
        told = await terminal.run("send", str(port), "put", "x", "--json")
        assert (told.status, told.rows[0]["outcome"], told.rows[0]["reason"][0]) == (1, "dead", "no_such_port")


async def test_a_message_that_is_refused(short_directory: Path) -> None:
    async with open_network(short_directory) as (terminal, _, w1):
        port = w1.port(on_bad="refuse")
        picky(port)
        told = await terminal.run("send", str(port), "number", "5", "6")
        assert told.status == 1
        assert told.out.startswith("refused: bad_message: ")
        assert (await terminal.run("send", str(port), "number", "5")).out == "delivered\n"


async def test_a_message_whose_connection_breaks_is_perhaps_lost(short_directory: Path) -> None:
    async with open_network(short_directory) as (terminal, seed, _):
        port = seed.port()

        @port.on("cut")
        def cut() -> None:
            network = seed._runtime.network
            assert network is not None
            for node_id, peer in network.peers.items():
                if node_id.startswith("anon/"):
                    for connection in tuple(peer.connections.values()):
                        connection.close("the test cuts it")

        told = await terminal.run("send", str(port), "cut", "--json")
        assert (told.status, told.rows[0]["outcome"], told.rows[0]["reason"][0]) == (
            1,
            "perhaps lost",
            "transport_error",
        )


# Calling -------------------------------------------------------------------------------------------------------------


async def test_answers_are_printed(short_directory: Path) -> None:
    async with open_network(short_directory) as (terminal, _, w1), w1.open_port() as silent:
        port = w1.port()
        store(port, "a", 5)
        assert (await terminal.run("call", str(port), "get")).out == '[["a", 5]]\n'
        assert (await terminal.run("call", str(port), "get", "--json")).rows == [{"answer": [["a", 5]]}]
        assert (await terminal.run("call", "w1", "info")).out == "w1\n"
        is_one_line(await terminal.run("call", str(port), "fail", "no luck"), 1, "LookupError: no luck")
        is_one_line(await terminal.run("call", str(port), "crash"), 1, "it may have got the message")
        is_one_line(await terminal.run("call", str(port), "get"), 1, "no_such_port: there is no port")
        is_one_line(
            await terminal.run("call", str(silent), "hello", "--timeout", "1"), 5, "1 s of --timeout have passed"
        )
        is_one_line(await terminal.run("call", "w1", "dance"), 2, "known_nodes")


# Spawning, monitoring, killing ---------------------------------------------------------------------------------------


async def test_spawning(short_directory: Path) -> None:
    async with open_network(short_directory) as (terminal, _, w1):
        told = await terminal.run("spawn", "w1", "spawned_functions:store", "x")
        assert told.status == 0
        port = told.out.strip()
        assert port.startswith("w1#")
        assert await w1.call(port, "get") == (["x"],)
        told = await terminal.run("spawn", "w1", "spawned_functions:short", "--json")
        assert told.rows[0]["port"].startswith("w1#")
        is_one_line(await terminal.run("spawn", "w1", "spawned_functions:nothing"), 1, "spawn_failed")


async def test_monitoring_and_killing(short_directory: Path) -> None:
    async with open_network(short_directory) as (terminal, _, w1):
        port = str(w1.port())
        command = [*COMMAND, "monitor", port, NOBODY, "--json", *terminal.joining]
        with trio.fail_after(60):
            process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
            assert process.stdout is not None
            # The port that never was is reported when both monitors are set.
            first = json.loads(await process.stdout.receive_some())
            assert (first["port"], first["reason"][0]) == (NOBODY, "no_such_port")
            told = await terminal.run("kill", port, "--yes", "too", "slow")
            assert (told.status, told.out) == (0, f"{port}: too: slow\n")
            assert json.loads(await process.stdout.receive_some()) == {"port": port, "reason": ["too", "slow"]}
            assert await process.wait() == 0
            await process.stdout.aclose()
        is_one_line(await terminal.run("kill", port, "--yes"), 1, "is dead already")


async def test_some_of_several_deaths(short_directory: Path) -> None:
    async with open_network(short_directory) as (terminal, _, w1):
        port = str(w1.port())
        told = await terminal.run("monitor", port, NOBODY, "--count", "1")
        assert told.out.startswith(f"{NOBODY}: no_such_port: ")
        assert (await terminal.run("kill", port, "--yes")).out == f"{port}: killed: by trio-mp kill\n"


async def test_a_port_is_killed_whose_tasks_take_their_time_to_unwind(short_directory: Path) -> None:
    async with open_network(short_directory) as (terminal, _, w1):

        async def slow(_: Port) -> None:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(0.5)

        port = w1.start_port(slow)
        told = await terminal.run("kill", str(port), "--yes", "too", "slow")
        assert (told.status, told.out) == (0, f"{port}: too: slow\n")


# Looking -------------------------------------------------------------------------------------------------------------


async def test_nodes(short_directory: Path) -> None:
    async with open_network(short_directory) as (terminal, seed, w1), seed.watch_nodes() as changes:
        assert {await anext(changes) for _ in range(2)} == {NodeChange("s", True), NodeChange("w1", True)}
        told = await terminal.run("nodes")
        assert [line.split()[:2] for line in told.out.splitlines()[2:]] == [["s", "node"], ["w1", "node"]]
        told = await terminal.run("nodes", "--json", "--tools")
        assert [(row["node"], row["kind"]) for row in told.rows[:2]] == [("s", "node"), ("w1", "node")]
        assert [row["kind"] for row in told.rows[2:]] == ["tool"]
        assert told.rows[1]["addresses"] == w1.binds[0]
        told = await terminal.run("nodes", "--watch", "--count", "2")
        assert sorted(told.out.splitlines()) == ["up    node  s", "up    node  w1"]
        with trio.move_on_after(0) as nothing:
            await anext(changes)
        assert nothing.cancelled_caught


async def test_ping(short_directory: Path) -> None:
    async with open_network(short_directory) as (terminal, _, _):
        told = await terminal.run("ping", "w1", "--count", "2", "--interval", "0.001")
        assert (told.status, told.err) == (0, "")
        assert [line.partition(" after ")[0] for line in told.out.splitlines()] == ["w1 answered"] * 2
        told = await terminal.run("ping", "w1", "--count", "1", "--json")
        assert [row["node"] for row in told.rows] == ["w1"]
        assert 0 < told.rows[0]["milliseconds"] < 30_000
        is_one_line(await terminal.run("ping", "w2"), 1, "there is no node w2 in the network; did you mean w1?")
        is_one_line(await terminal.run("ping", "Zebra"), 1, "`trio-mp nodes` shows which there are")


# What every command has ----------------------------------------------------------------------------------------------


async def test_a_network_that_cannot_be_joined_is_named(short_directory: Path) -> None:
    binds = [f"unix:{short_directory}/s"]
    async with open_node("w1", binds=binds, secret="another secret, as long", profile=False) as node:
        terminal = Terminal(node, short_directory)
        told = await terminal.run("ping", "w1", "--timeout", "1")
        is_one_line(told, 3, f"cannot join the network: {node.binds[0]}: ")
        assert "is the secret the same on both sides?" in told.err
        told = await terminal.run("ping", "w1", "--timeout", "1", "--seed", f"unix:{short_directory}/nobody")
        is_one_line(told, 3, f"unix:{short_directory}/nobody: No such file or directory")
        assert node.binds[0] in told.err


async def test_settings_of_the_command_line_decide(short_directory: Path) -> None:
    async with open_network(short_directory) as (terminal, _, _):
        profiles = short_directory / "profiles.toml"
        profiles.write_text(
            f"""
            [default]
            secret_file = "nowhere"
            [profile.right]
            node_id = "w1"
            binds = ["unix:{short_directory}/w1"]
            services = ["no_such_module"]
            seeds = ["unix:{short_directory}/s"]
            secret_file = "secret"
            """
        )
        environ = {"TRIO_MP_CONFIG": str(profiles), "TRIO_MP_SEEDS": f"unix:{short_directory}/nobody"}
        told = await terminal.run("ping", "w1", "--count", "1", environ=environ)
        assert told.status == 0
        told = await run("call", "w1", "info", "--profile", "right", environ={"TRIO_MP_CONFIG": str(profiles)})
        assert (told.status, told.out, told.err) == (0, "w1\n", "")
        told = await run("ping", "w1", "--profile", "wrong", environ=environ)
        is_one_line(told, 2, "expected a profile 'wrong'")
        told = await run("ping", "w1", "--seed", "a b")
        is_one_line(told, 2, "--seed")
        # As all commands read them.
        joined = f"unix:{short_directory}/nobody,unix:{short_directory}/s"
        told = await terminal.run("ping", "w1", "--count", "1", "--seed", joined)
        assert told.status == 0
        told = await run("ping", "w1", "--seed", '["a')
        is_one_line(told, 2, "--seed: expected a list of TOML in one line")


async def test_no_seed_is_wrong_usage() -> None:
    is_one_line(
        await run("ping", "w1"), 2, "seeds: expected the address of a node of the network, got none; give it by"
    )


async def test_more_words_with_v(short_directory: Path) -> None:
    async with open_network(short_directory) as (terminal, _, _):
        told = await terminal.run("call", "w1", "info", "-v")
        assert told.out == "w1\n"
        assert "trio_mp.connection: INFO: this node is attached to s, its anchor" in told.err


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
async def test_ctrl_c(short_directory: Path) -> None:
    async with open_network(short_directory) as (terminal, seed, w1), seed.watch_nodes(tools=True) as changes:
        command = [*COMMAND, "monitor", str(w1.port()), *terminal.joining]
        with trio.fail_after(30):
            process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            while not (await anext(changes)).tool:
                pass
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 130
            assert process.stdout is not None
            assert process.stderr is not None
            assert await process.stdout.receive_some() == b""
            assert await process.stderr.receive_some() == b""


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
async def test_nobody_reads_any_more(short_directory: Path) -> None:
    async with open_network(short_directory) as (terminal, _, _):
        command = [*COMMAND, "ping", "w1", "--count", "1000", "--interval", "0.001", *terminal.joining]
        with trio.fail_after(30):
            process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            assert process.stdout is not None
            assert process.stderr is not None
            await process.stdout.receive_some()
            await process.stdout.aclose()
            assert await process.wait() == 1
            assert await process.stderr.receive_some() == b""


def test_no_words_with_q(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for options in ([], ["-q"]):
        path = tmp_path / f"{len(options)}" / "profiles.toml"
        monkeypatch.setenv("TRIO_MP_CONFIG", str(path))
        assert main(["init", *options]) == 0
        told = capsys.readouterr()
        assert told.out.startswith(f"made {path}")
        assert bool(told.err) == (not options)


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
@pytest.mark.parametrize("words", [["--help"], ["send", "--help"], ["profile", "--help"], ["completion", "bash"]])
def test_nobody_reads_at_all(words: list[str]) -> None:
    # With a buffer, as users have it.
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [*COMMAND, *words], stdout=writing, stderr=subprocess.PIPE, check=False, timeout=60, env=environ
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


def test_an_error_of_our_own_says_how_to_report_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run_profile(_: object) -> int:
        raise RuntimeError("a bug")

    monkeypatch.setattr("trio_mp.cli.profile.run_profile", run_profile)
    assert main(["profile", "list"]) == 70
    told = capsys.readouterr().err
    assert told == "trio-mp: an error in trio-mp itself: RuntimeError: a bug; please report it, with what -v shows\n"
    assert main(["profile", "list", "-v"]) == 70
    told = capsys.readouterr().err
    assert "in run_profile" in told
    assert told.endswith("RuntimeError: a bug; please report it, with the lines above\n")
    monkeypatch.setenv("TRIO_MP_TRACE", "1")
    assert main(["profile", "list"]) == 70
    assert "Traceback" not in capsys.readouterr().err


def test_a_command_without_verbose_shows_an_error_of_our_own_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def completion(_: object) -> int:
        raise RuntimeError("a bug")

    monkeypatch.setattr("trio_mp.cli.completion.completion", completion)
    assert main(["completion", "bash"]) == 70
    told = capsys.readouterr().err
    assert "in completion" in told
    assert told.endswith("RuntimeError: a bug; please report it, with the lines above\n")


WRONG = [
    (["kill", NOBODY, "too", "slow"], f"kill: expected --yes, because others may monitor {NOBODY}"),
    (["spawn", "w1", "spawned functions"], "package.module:function"),
    (["send"], "the following arguments are required: PORT"),
    (["send", "no port"], "expected the ID of a port, NODE#NAME, got 'no port'"),
    (["send", "w1", "x"], "got 'w1', which is that of a node; `trio-mp ports w1` and `trio-mp db` show ports"),
    (["call", "no port"], "expected the ID of a port, NODE#NAME, or of a node, got 'no port'"),
    (["send", NOBODY, "[1,"], "expected a list of JSON, because the one word begins with [, got '[1,'"),
    (["call", "w1#short"], "got 'w1#short'; expected a name of 16 to 64 characters behind the #, got 5"),
    (["spawn", "w1"], "required: MODULE:FUNCTION"),
    (["monitor"], "required: PORT"),
    (["monitor", "w1", "--count", "0"], "argument --count: expected a whole number of at least 1, got '0'"),
    (["kill", "w1", "--yes"], "got 'w1', which is that of a node"),
    (["nodes", "--wach"], "unrecognized arguments: --wach"),
    (["ping", "w1", "--timeout", "-1"], "argument --timeout"),
    (["pin"], "expected a command, got 'pin'; did you mean ping?"),
    (["eval"], "expected a command, got 'eval'; did you mean shell?"),
    (["profile", "seed", "binds", "*:4040"], "got 'seed'; did you mean `trio-mp profile set seed binds …`?"),
    (["profile", "lst", "x"], "got 'lst'; did you mean list?"),
    (["--json", "ping"], "expected a command first, got '--json': options stand behind the command"),
]


@pytest.mark.parametrize("words, text", WRONG, ids=[" ".join(words) for words, _ in WRONG])
def test_wrong_arguments_are_one_line(words: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = main(words)
    except SystemExit as ended:
        status = int(str(ended.code))
    told = capsys.readouterr()
    is_one_line(Told(status, told.out, told.err), 2, text)
