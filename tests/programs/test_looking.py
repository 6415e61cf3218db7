"""The commands that look into a network, each as a process."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.lowlevel
from command_line import COMMAND, LIMIT, SECRET, Terminal, Told

from trio_mp import Node, open_node

HOSTILE = "\x1b[2J\x9b6n\u202e\nforged"
"""What a terminal would obey, and a line of its own."""

SHOWN = r"\x1b[2J\x9b6n\u202e\nforged"
"""The same, for people."""


@pytest.fixture
async def seed(short_directory: Path) -> AsyncGenerator[Node, None]:
    async with open_node("seed", binds=[f"unix:{short_directory}/s"], secret=SECRET, profile=False) as node:
        yield node


@pytest.fixture
def terminal(seed: Node, short_directory: Path) -> Terminal:
    return Terminal(seed, short_directory)


class Running:
    """A command that runs until somebody ends it."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self._rest = b""

    async def line(self) -> str:
        """Wait for the next line of its data."""
        assert self.process.stdout is not None
        while b"\n" not in self._rest:
            received = await self.process.stdout.receive_some()
            assert received, "the command has ended"
            self._rest += received
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()

    async def interrupt(self) -> int:
        """Type Ctrl-C; returns the exit status."""
        self.process.send_signal(signal.SIGINT)
        return await self.process.wait()


@asynccontextmanager
async def running(terminal: Terminal, *words: str) -> AsyncGenerator[Running, None]:
    """A command of this terminal, for the length of a block. It is killed at the end, if it still runs."""
    with trio.fail_after(LIMIT):
        process = await trio.lowlevel.open_process(
            [*COMMAND, *words, *terminal.joining],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        try:
            yield Running(process)
        finally:
            if process.returncode is None:
                process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


async def run_all(terminal: Terminal, *lines: str) -> list[Told]:
    """Run several commands at once; returns what each has told."""
    told: dict[str, Told] = {}

    async def run(line: str) -> None:
        told[line] = await terminal.run(*line.split())

    async with trio.open_nursery() as nursery:
        for line in lines:
            nursery.start_soon(run, line)
    return [told[line] for line in lines]


# The database ------------------------------------------------------------------------------------------------------


async def test_the_database_is_read(seed: Node, terminal: Terminal) -> None:
    seed.database.set("doublers", "fast", {"speed": 9, "raw": b"\x00a"})
    seed.database.set("doublers", HOSTILE, HOSTILE)
    seed.database.set("limits", "busy", 5)
    families, of_one, as_json, value, text, no_key, no_family = await run_all(
        terminal,
        "db list",
        "db get doublers",
        "db get doublers --json",
        "db get limits busy",
        "db get limits busy --json",
        "db get limits idle",
        "db get nothing",
    )
    assert (families.status, families.out, families.err) == (0, "doublers\nlimits\n", "")
    head, hostile, fast = of_one.out.splitlines()
    assert head.split() == ["key", "value"]
    assert hostile.split() == [SHOWN, SHOWN]
    assert fast.split(maxsplit=1) == ["fast", r'{"speed": 9, "raw": "\u0000a"}']
    assert as_json.rows == [
        {"key": HOSTILE, "value": HOSTILE},
        {"key": "fast", "value": {"speed": 9, "raw": "\0a"}},
    ]
    assert all(line.isprintable() for line in as_json.out.splitlines())
    assert (value.status, value.out) == (0, "5\n")
    assert text.rows == [{"key": "busy", "value": 5}]
    assert (no_key.status, no_key.out) == (1, "")
    assert no_key.err == "trio-mp: the family limits has no key idle\n"
    assert (no_family.status, no_family.out) == (1, "")
    assert "`trio-mp db list`" in no_family.err


async def test_the_database_is_followed(seed: Node, terminal: Terminal) -> None:
    seed.database.set("prices", "apple", 3)
    async with (
        running(terminal, "db", "watch", "prices") as text,
        running(terminal, "db", "watch", "prices", "--json") as rows,
    ):
        assert await text.line() == "+ apple  3"
        assert json.loads(await rows.line()) == {"event": "added", "key": "apple", "value": 3}
        seed.database.set("prices", "apple", 4)
        assert await text.line() == "~ apple  4"
        assert json.loads(await rows.line()) == {"event": "changed", "key": "apple", "value": 4}
        seed.database.delete("prices", "apple")
        assert await text.line() == "- apple"
        assert json.loads(await rows.line()) == {"event": "deleted", "key": "apple"}
        seed.database.set("prices", HOSTILE, HOSTILE)
        assert await text.line() == f"+ {SHOWN}  {SHOWN}"
        assert await text.interrupt() == 130


async def test_an_entry_is_there_as_long_as_the_command_runs(seed: Node, terminal: Terminal) -> None:
    async with seed.database.watch("limits") as changes:
        assert (await anext(changes)).table == {}
        async with running(terminal, "db", "set", "limits", "busy", "5", "--typed", "-q") as command:
            assert (await anext(changes)).table == {"busy": 5}
            assert await command.line() == "busy  5"
            assert await command.interrupt() == 130
        assert (await anext(changes)).table == {}
        # Words are text; what begins as a list or an object is JSON. Here it is a script that waits.
        told = await terminal.run("db", "set", "limits", "words", '["a", 1]', "--seconds", "0.01", "--json")
        assert (told.status, told.rows) == (0, [{"family": "limits", "key": "words", "value": ["a", 1]}])
        assert told.err == "trio-mp: the entry is there as long as this command runs: 0.01 s\n"
        assert (await anext(changes)).table == {"words": ["a", 1]}


async def test_an_entry_that_another_node_hides_is_said(seed: Node, terminal: Terminal) -> None:
    # Of two nodes with the same key the greater ID wins, and a tool's ID is random.
    async with open_node("zzzz", seeds=list(seed.binds), secret=SECRET, profile=False) as greatest:
        greatest.database.set("limits", "busy", "theirs")
        await seed.database.wait("limits")
        told = await terminal.run("db", "set", "limits", "busy", "ours", "--seconds", "0.01")
        assert told.status == 0
        assert told.err.startswith(
            "trio-mp: another node has set busy, too, and its value is the one that is seen: theirs\n"
        )


async def test_wrong_words_about_the_database(terminal: Terminal) -> None:
    reserved, no_json, no_family = await run_all(
        terminal, "db set trio_mp.nodes w1 x", "db set limits busy five --typed", "db get"
    )
    assert reserved.status == 2
    assert "does not begin with 'trio_mp.'" in reserved.err
    assert no_json.status == 2
    assert no_json.err.startswith("trio-mp: VALUE: expected JSON, got 'five': ")
    assert no_family.status == 2
    for told in (reserved, no_json, no_family):
        assert told.out == ""
        assert told.err.count("\n") == 1


# Logs --------------------------------------------------------------------------------------------------------------


async def test_log_records_of_all_nodes(seed: Node, terminal: Terminal) -> None:
    log = logging.getLogger("app.disks")

    async def repeat() -> None:
        while True:
            log.error("disk 3 is full%s", HOSTILE)
            log.warning("little room")
            log.info("too little")
            await trio.sleep(0.05)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(repeat)
        for_a_while = await terminal.run("logs", "--level", "error", "--seconds", "1", "--node", "seed")
        async with running(terminal, "logs", "-f", "--json", "--level", "warning") as command:
            rows = [json.loads(await command.line()) for _ in range(4)]
            assert await command.interrupt() == 130
        nobody = await terminal.run("logs", "--node", "w9", "--seconds", "0.5", "-q")
        nursery.cancel_scope.cancel()
    assert (for_a_while.status, for_a_while.err) == (0, "trio-mp: records of the next 1 s; with -f until Ctrl-C\n")
    first, second = for_a_while.out.splitlines()[:2]
    assert first.split(" ", 1)[1] == r"seed ERROR   app.disks: disk 3 is full\x1b[2J\x9b6n\u202e"
    # A line of the text cannot pass for a record.
    assert second == "    forged"
    assert {row["text"] for row in rows} == {f"disk 3 is full{HOSTILE}", "little room"}
    assert {(row["node"], row["level"], row["logger"]) for row in rows} == {
        ("seed", "ERROR", "app.disks"),
        ("seed", "WARNING", "app.disks"),
    }
    assert (nobody.status, nobody.out, nobody.err) == (0, "", "")
