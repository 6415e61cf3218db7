"""The commands that look into a network, each as a process."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.lowlevel
import trio.testing
from command_line import COMMAND, LIMIT, SECRET, Terminal, Told

from trio_mp import Node, Port, open_node
from trio_mp.cli import main

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


class Here:
    """Runs commands in a thread of this process: what they print, without the start of a process for each.

    Args:
      terminal: joins the network.
      capture: has what is printed.
    """

    def __init__(self, terminal: Terminal, capture: pytest.CaptureFixture[str]) -> None:
        self._terminal = terminal
        self._capture = capture

    async def run(self, line: str) -> Told:
        """Run a command until it ends."""
        with trio.fail_after(LIMIT):
            words = [*line.split(), *self._terminal.joining]
            status = await trio.to_thread.run_sync(main, words)
        captured = self._capture.readouterr()
        return Told(status, captured.out, captured.err)


# The database ------------------------------------------------------------------------------------------------------


async def test_the_database_is_read(seed: Node, terminal: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    here = Here(terminal, capsys)
    seed.database.set("doublers", "fast", {"speed": 9, "raw": b"\x00a"})
    seed.database.set("doublers", HOSTILE, HOSTILE)
    seed.database.set("limits", "busy", 5)
    families = await here.run("db list")
    of_one = await here.run("db get doublers")
    as_json = await here.run("db get doublers --json")
    value = await here.run("db get limits busy")
    text = await here.run("db get limits busy --json")
    no_key = await here.run("db get limits idle")
    no_family = await here.run("db get nothing")
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
            with trio.move_on_after(0.5):
                raise AssertionError(f"the entry has gone: {await anext(changes)}")
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


async def test_wrong_words_about_the_database(terminal: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    here = Here(terminal, capsys)
    reserved = await here.run("db set trio_mp.nodes w1 x")
    no_json = await here.run("db set limits busy five --typed")
    assert reserved.status == 2
    assert "does not begin with 'trio_mp.'" in reserved.err
    assert no_json.status == 2
    assert no_json.err.startswith("trio-mp: VALUE: expected JSON, got 'five': ")
    for told in (reserved, no_json):
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
        async with running(terminal, "logs", "-f", "--json", "--level", "warning") as command:
            for_a_while, nobody = await run_all(
                terminal, "logs --level error --seconds 1 --node seed", "logs --node w9 --seconds 1 -q"
            )
            rows = [json.loads(await command.line()) for _ in range(4)]
            assert await command.interrupt() == 130
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


# Inspection --------------------------------------------------------------------------------------------------------


async def waits(port: Port, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    task_status.started()
    await trio.sleep_forever()


@asynccontextmanager
async def open_crew(folder: Path) -> AsyncGenerator[tuple[Node, Node], None]:
    """A seed and a guest that may be inspected, and a guest `w2` that may not. The seed has two supervisors."""
    binds = [f"unix:{folder}/s"]
    async with (
        open_node("seed", binds=binds, secret=SECRET, profile=False, inspect="act") as seed,
        open_node("w1", seeds=binds, secret=SECRET, profile=False, inspect="read") as guest,
        open_node("w2", seeds=binds, secret=SECRET, profile=False),
        seed.open_supervisor(name=HOSTILE) as outer,
        seed.open_supervisor("one_for_all", name="inner") as inner,
    ):
        await outer.start(waits)
        await inner.start(waits)
        busy = guest.start_port(waits)
        guest.port(handles)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(3):
            seed.send(busy, number)
        await seed.call("w1", "time")
        yield seed, guest


def handles(*message: object) -> None:
    """Does nothing; its name is what matters."""


handles.__qualname__ = HOSTILE


@pytest.fixture
async def crew(short_directory: Path) -> AsyncGenerator[tuple[Node, Node], None]:
    async with open_crew(short_directory) as nodes:
        yield nodes


@pytest.fixture
def terminal_of_crew(crew: tuple[Node, Node], short_directory: Path) -> Terminal:
    return Terminal(crew[0], short_directory)


async def test_a_node_that_is_alone_is_global(short_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    binds = [f"unix:{short_directory}/alone"]
    async with open_node("alone", binds=binds, secret=SECRET, profile=False, inspect="read") as node:
        _, row = (await Here(Terminal(node, short_directory), capsys).run("links")).out.splitlines()
    assert row.split() == ["alone", "global"]


async def test_what_is_connected(terminal_of_crew: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    here = Here(terminal_of_crew, capsys)
    tree = await here.run("links")
    assert tree.status == 0
    assert tree.err == "trio-mp: 1 of 3 nodes do not say what they are connected with; --json shows why\n"
    head, seed, first, second = tree.out.splitlines()
    assert head.split() == ["node", "kind", "connection", "queued", "since", "remark"]
    assert seed.split() == ["seed", "global"]
    assert first.split()[:6] == ["├─", "w1", "guest", "unix,", "encrypted", "0"]
    assert second.split()[:6] == ["└─", "w2", "guest", "unix,", "encrypted", "0"]
    assert second.endswith("inspect is off")
    dot = await here.run("links --dot -q")
    assert dot.out.startswith("graph network {\n")
    assert '  "seed" -- "w1" [label="unix, encrypted", style=bold];\n' in dot.out
    mermaid = await here.run("links --mermaid -q")
    assert mermaid.out.startswith('graph LR\n  n0["seed<br>global"]:::global\n')
    rows = (await here.run("links --json -q")).rows
    assert [row for row in rows if "node" in row] == [
        {"node": "seed", "global": True, "anchor": None, "remark": ""},
        {"node": "w1", "global": False, "anchor": "seed", "remark": ""},
        {"node": "w2", "global": False, "anchor": "seed", "remark": "inspect is off"},
    ]
    assert [row["connection"] for row in rows if "connection" in row] == [["seed", "w1"], ["seed", "w2"]]
    assert [set(row["queued"]) for row in rows if "connection" in row] == [{"seed", "w1"}, {"seed"}]


async def test_the_ports_of_a_node(terminal_of_crew: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    here = Here(terminal_of_crew, capsys)
    told = await here.run("ports w1")
    assert (told.status, told.err) == (0, "")
    head, first, second = told.out.splitlines()
    assert "port" not in head.split()
    assert first.split()[:4] == ["1", f"{__name__}:waits", "idle", "3"]
    assert second.split()[0] == "2"
    assert SHOWN in second
    rows = (await here.run("ports w1 --json --limit 1 --by age")).rows
    assert [(row["node"], row["number"], row["queued"], row["id"]) for row in rows] == [("w1", 1, 3, None)]
    limited = await here.run("ports w1 --limit 1")
    assert limited.err == "trio-mp: 1 of 2 ports; --limit shows more\n"
    # Who may act sees the IDs.
    assert "  seed#" in (await here.run("ports seed")).out
    refused = await here.run("ports w2")
    assert (refused.status, refused.out) == (4, "")
    assert "the setting `inspect` of w2 is 'off'" in refused.err
    nobody = await here.run("ports w3")
    assert (nobody.status, nobody.out, nobody.err) == (
        1,
        "",
        "trio-mp: there is no node w3 in the network; did you mean w2?\n",
    )


async def test_tasks_and_supervisors(terminal_of_crew: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    here = Here(terminal_of_crew, capsys)
    tree = await here.run("ps seed --tree")
    assert tree.status == 0
    assert tree.err.endswith("tasks of the node itself are not shown: --all\n")
    head, root, *branches = tree.out.splitlines()
    assert head.split() == ["name", "port", "state", "at", "waits", "for", "remark"]
    assert root == "seed"
    assert [branch.split()[:-1][:5] for branch in branches] == [
        ["└─", "supervisor", SHOWN, "running", "one_for_one,"],
        ["├─", "waits", "1", "up", "line"],
        ["└─", "supervisor", "inner", "running", "one_for_all,"],
        ["└─", "waits", "2", "up", "line"],
    ]
    assert [len(branch) - len(branch.lstrip("│ ")) for branch in branches] == [0, 3, 3, 6]
    whole = await here.run("ps seed --tree --all")
    assert len(whole.out.splitlines()) > len(branches) + 5
    assert whole.err == ""
    tasks = await here.run("ps seed -q")
    assert [line.split()[:2] for line in tasks.out.splitlines()[1:]] == [
        ["1", f"{__name__}:waits"],
        ["2", f"{__name__}:waits"],
    ]
    assert tasks.out.splitlines()[1].endswith(f"{SHOWN}: waits")
    stacks = await here.run("ps seed --stacks -q")
    assert stacks.out.count("in waits\n    await trio.sleep_forever()\n") == 2
    rows = (await here.run("ps seed --json")).rows
    assert [(row["name"], row["parent"]) for row in rows if row["what"] == "supervisor"] == [
        (HOSTILE, None),
        ("inner", 0),
    ]
    assert [(row["name"], row["supervisor"], row["port"]) for row in rows if row["what"] == "child"] == [
        ("waits", 0, 1),
        ("waits", 1, 2),
    ]
    tasks_of_ports = [row for row in rows if row["what"] == "task" and row["port"] is not None]
    assert [(row["port"], row["above"]) for row in tasks_of_ports] == [(1, 0), (2, 0)]
    refused = await here.run("ps w1 --stacks")
    assert (refused.status, refused.out) == (4, "")


async def test_what_all_nodes_do(
    crew: tuple[Node, Node], terminal_of_crew: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    seed, _ = crew
    port = seed.port(lambda *_: None)

    async def load() -> None:
        while True:
            seed.send(port, "x")
            await trio.sleep(0.01)

    here = Here(terminal_of_crew, capsys)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(load)
        told = await here.run("top --interval 0.3")
        rows = (await here.run("top --interval 0.3 --json --sort node")).rows
        nursery.cancel_scope.cancel()
    assert (told.status, told.err) == (0, "")
    summary, empty, head, *table = told.out.splitlines()
    assert summary.startswith("3 nodes, ")
    assert summary.endswith(", 1 without an answer")
    assert empty == ""
    assert head.split()[:7] == ["node", "up", "ports", "queued", "in/s", "out/s", "here/s"]
    # The busiest one is the first; what does not answer is the last.
    assert [line.split()[0] for line in table] == ["seed", "w1", "w2"]
    assert table[-1].split() == ["w2", "inspect", "is", "off"]
    by_node = {row["node"]: row for row in rows}
    assert list(by_node) == ["seed", "w1", "w2"]
    assert by_node["seed"]["ports"] == 3
    assert by_node["seed"]["here_per_second"] > 5
    # The question of this command is not counted.
    assert by_node["seed"]["calls"] == 0
    assert by_node["w2"]["remark"] == "inspect is off"
    assert "'off'" in by_node["w2"]["text"]


async def test_each_of_them_is_a_command(crew: tuple[Node, Node], terminal_of_crew: Terminal) -> None:
    lines = ("links -q", "ports w1", "ps seed --tree -q", "top --once --interval 0.1", "db list", "db get names")
    crew[0].database.set("names", "hostile", HOSTILE)
    for told in await run_all(terminal_of_crew, *lines):
        assert (told.status, told.err) == (0, "")
        assert all(line.isprintable() for line in told.out.splitlines())
        assert "forged" not in [line.strip() for line in told.out.splitlines()]


# The shell ---------------------------------------------------------------------------------------------------------


async def test_a_shell_runs_what_comes_by_a_pipe(terminal_of_crew: Terminal) -> None:
    lines = [
        'len(await node.call("w1", "time"))',
        "for number in range(2):",
        "    await trio.sleep(0)",
        "",
        f"print({HOSTILE!r})",
        "1 / 0",
        "if number:",
        "    number",
    ]
    with trio.fail_after(LIMIT):
        done = await trio.run_process(
            [*COMMAND, "shell", *terminal_of_crew.joining],
            stdin="\n".join(lines).encode() + b"\n",
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
    # A line break is no hostile one where the operator's own line prints.
    assert done.stdout.decode() == "1\n\\x1b[2J\\x9b6n\\u202e\nforged\n1\n"
    first, second, *_, last = done.stderr.decode().splitlines()
    assert first == "Traceback (most recent call last):"
    # No frame of this package and none of Trio.
    assert second == '  File "<console>", line 1, in <module>'
    assert last == "ZeroDivisionError: division by zero"
    assert done.returncode == 1


class Typist:
    """Types on a terminal, and reads what is shown there."""

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal
        self.shown = ""

    async def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    async def expect(self, text: str) -> None:
        """Read until this is shown."""
        while text not in self.shown:
            await trio.lowlevel.wait_readable(self._terminal)
            self.shown += os.read(self._terminal, 4096).decode()
        self.shown = self.shown.partition(text)[2]


@pytest.mark.skipif(sys.platform == "win32", reason="it has no such terminals")
async def test_a_shell_on_a_terminal(terminal_of_crew: Terminal, tmp_path: Path) -> None:
    import pty  # not on Windows

    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "dumb", "XDG_STATE_HOME": str(tmp_path)}
    process = await trio.lowlevel.open_process(
        [*COMMAND, "shell", *terminal_of_crew.joining],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        start_new_session=True,
        preexec_fn=partial(make_terminal_of_session, theirs),
    )
    os.close(theirs)
    typist = Typist(ours)
    try:
        with trio.fail_after(LIMIT):
            await typist.expect("`node` is open: ")
            await typist.expect(">>> ")
            await typist.type("6 * 7\n")
            await typist.expect("42")
            await typist.expect(">>> ")
            # What is typed is shown as well, so what is printed is put together.
            await typist.type('print("be" + "gun"); await trio.sleep_forever()\n')
            await typist.expect("begun")
            # Ctrl-C ends the line, and not the shell.
            await typist.type("\x03")
            await typist.expect("KeyboardInterrupt")
            await typist.expect(">>> ")
            await typist.type('print("still" + " here")\n')
            await typist.expect("still here")
            await typist.expect(">>> ")
            await typist.type("\x04")
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(ours)
    history = tmp_path / "trio_mp" / "shell_history"
    assert "6 * 7" in history.read_text(encoding="utf-8").splitlines()
    assert history.stat().st_mode & 0o077 == 0


def make_terminal_of_session(terminal: int) -> None:
    """Have Ctrl-C on this terminal interrupt this process, which leads a session."""
    import fcntl  # not on Windows
    import termios  # as that

    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)


# Traces ------------------------------------------------------------------------------------------------------------


async def test_the_messages_of_a_port(crew: tuple[Node, Node], terminal_of_crew: Terminal) -> None:
    seed, guest = crew
    port = seed.port(lambda *_: None)

    async def load() -> None:
        while True:
            guest.send(port, "work", HOSTILE)
            await trio.sleep(0.02)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(load)
        number = next(view.number for view in (await seed.inspect("seed").ports()).ports if view.id == port)
        as_text, as_json = await run_all(
            terminal_of_crew,
            f"trace seed {number} --limit 2",
            f"trace {seed.port(lambda *_: None)} --seconds 0.2 --json",
        )
        nursery.cancel_scope.cancel()
    assert as_text.status == 0
    first, second = as_text.out.splitlines()
    assert first.split()[0] == "1"
    assert second.split()[0] == "2"
    assert "forged" in first
    assert first.isprintable()
    assert as_text.err == "trio-mp: seed says what the port gets; Ctrl-C ends it\ntrio-mp: --limit is reached\n"
    assert (as_json.status, as_json.out) == (0, "")
    assert as_json.err.endswith("trio-mp: the time of --seconds is over\n")


@pytest.mark.parametrize(
    "words, text",
    [
        ("trace w1", "expected a port, got the node w1; `trio-mp ports w1` shows the numbers of its ports"),
        ("trace w1#x 5", "expected the ID of a port, or a node and a number, got w1#x 5"),
        ("trace w1 0", "expected a whole number of at least 1, got '0'"),
        ("db get", "FAMILY"),
        ("links --dot --mermaid", "not allowed with argument"),
        ("ports", "NODE"),
        ("ports w1 --by size", "'size'"),
        ("top --sort size", "'size'"),
        ("logs --level loud", "'LOUD'"),
    ],
)
def test_wrong_words_get_one_line(words: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = main(words.split())
    except SystemExit as end:
        status = int(end.code or 0)
    told = capsys.readouterr()
    assert (status, told.out) == (2, "")
    assert text in told.err
    assert told.err.count("\n") == 1
