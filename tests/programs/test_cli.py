"""The command line of `trio-mp`, and what it shows."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import shlex
import socket
import subprocess
import sys
import time
from io import StringIO

import pytest
import trio
import trio.testing
from rich.console import Console, ConsoleDimensions

from trio_mp.cli import main
from trio_mp.cli.command import GROUPS
from trio_mp.cli.demo import main as demo
from trio_mp.cli.demo.board import DemoBoard, Failure, NodeState, Progress, ScenarioStep
from trio_mp.cli.demo.checker import ReportedLoss, Verdict
from trio_mp.cli.demo.live import draw
from trio_mp.cli.demo.main import DemoOptions, DemoOutcome
from trio_mp.cli.demo.summary import figures_line, summarise
from trio_mp.cli.demo.talk import Arrived, Figures, Fired, Ready
from trio_mp.cli.parser import all_commands, all_families, find_command, parse


def run_main(*arguments: str) -> int:
    """The status with which the command line ends."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main("--version") == 0
    assert capsys.readouterr().out == f"trio-mp {importlib.metadata.version('trio_mp')}\n"


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main("--help") == 0
    assert re.search(r"^\s+demo\s", capsys.readouterr().out, re.MULTILINE)


def test_help_of_the_demo(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main("demo", "--help") == 0
    text = capsys.readouterr().out
    assert all(option in text for option in ("--nodes N", "--seconds S", "--plain", "SIGKILL", "exit status"))


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["dance"],
        ["demo", "node"],
        ["demo", "--nodes", "1"],
        ["demo", "--nodes", "13"],
        ["demo", "--nodes", "-4"],
        ["demo", "--nodes", "four"],
        ["demo", "--nodes", "4.0"],
        ["demo", "--seconds", "2.9"],
        ["demo", "--seconds", "3601"],
        ["demo", "--seconds", "nan"],
        ["demo", "--seconds", "inf"],
        ["demo", "--seconds", "soon"],
    ],
)
def test_a_wrong_command_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(*arguments) == 2
    told = capsys.readouterr()
    assert not told.out
    assert told.err.startswith("trio-mp")
    assert "--help` shows" in told.err
    assert told.err.count("\n") == 1
    for value in arguments[2:]:
        assert value in told.err


def test_what_the_demo_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[DemoOptions] = []

    def run_demo(options: DemoOptions) -> int:
        asked.append(options)
        return 7

    monkeypatch.setattr(demo, "run_demo", run_demo)
    assert main(["demo"]) == 7
    assert main(["demo", "--nodes", "12", "--seconds", "3.5", "--plain"]) == 7
    assert asked == [DemoOptions(nodes=4, seconds=12, plain=False), DemoOptions(nodes=12, seconds=3.5, plain=True)]


def test_without_unix_sockets(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")
    assert main(["demo"]) == 2
    assert "Unix sockets" in capsys.readouterr().err


def test_as_a_module() -> None:
    command = [sys.executable, "-P", "-m", "trio_mp.cli", "--version"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert said == f"trio-mp {importlib.metadata.version('trio_mp')}\n"


def test_the_installed_command() -> None:
    (found,) = importlib.metadata.entry_points(group="console_scripts", name="trio-mp")
    assert found.load() is main


# What is known, and how it looks --------------------------------------------------------------------------------------


def make_board(others: int) -> DemoBoard:
    board = DemoBoard(("seed", *(f"node-{number}" for number in range(1, others + 1))))
    board.steps = [ScenarioStep(progress.value, "x" * 300, progress) for progress in (*Progress, Progress.WAITING)]
    for node in board.nodes:
        node.start(10_000 + node.number, 0)
        board.handle(node.number, Ready())
        for at in (1.0, 2.0):
            board.handle(node.number, Figures(at, others, int(at) * 100, int(at) * 90, 0, 410.0, 1234.0))
    return board


@pytest.mark.parametrize("width, height", [(80, 24), (120, 40), (40, 24), (80, 5)])
@pytest.mark.parametrize("others", [2, 4])
def test_the_picture_fits(width: int, height: int, others: int) -> None:
    board = make_board(others)
    for _ in range(100):
        board.handle(1, Fired(2.0, 0, "transport_error"))
    board.nodes[2].state = NodeState.KILLED
    board.nodes[2].forget()
    console = Console(file=StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(draw(board, 12.0, ConsoleDimensions(width, height)))
    lines = capture.get().splitlines()
    assert all(len(line) <= width for line in lines)
    assert len(lines) < max(height, len(board.steps) + len(board.nodes) + 6)
    if width >= 80:
        assert re.search(r"node-1 +10001 +up +\d +100 +90 +410 +1,234 +100", capture.get())
        assert re.search(r"node-2 +10002 +killed +–", capture.get())


def test_one_line() -> None:
    assert figures_line(make_board(4)) == (
        "5/5 up  10/10 connections  out 500/s  in 450/s  round trip 410 µs, p99 1,234 µs  losses told 0"
    )
    assert "0/3 up  0/3 connections  out 0/s" in figures_line(DemoBoard(("seed", "a", "b")))


def summary(verdict: Verdict, failure: str = "") -> str:
    return "\n".join(map(str, summarise(verdict, ("seed", "a", "b"), failure)))


def test_the_summary() -> None:
    loss = ReportedLoss(sender=1, receiver=2, messages=1)
    good = Verdict(sent=3, delivered=1, reported=1, untold=1, streams=1, losses=[loss])
    assert good.holds
    text = summary(good)
    for line in (
        r"sent +3 ",
        r"delivered +1 ",
        r"reported lost +1 ",
        r"a to b +1\n",
        r"sender gone +1 ",
        r"unaccounted +0",
    ):
        assert re.search(line, text)
    assert "✓ No hole" in text
    assert "✗ it rained" in summary(good, "it rained")
    assert "✓ No hole" not in summary(good, "it rained")
    bad = Verdict(problems=[f"problem {number}" for number in range(25)])
    text = summary(bad)
    assert "There is a hole" in text
    assert "problem 9\n" in text
    assert "problem 10" not in text
    assert "and 15 more" in text


def test_the_status() -> None:
    assert DemoOutcome(Verdict()).status == 0
    assert DemoOutcome(Verdict(problems=["a hole"])).status == 1
    assert DemoOutcome(Verdict(sent=1, unaccounted=1)).status == 1
    assert DemoOutcome(Verdict(), failure="it rained").status == 1
    assert DemoOutcome().status == 1
    assert DemoOutcome(Verdict(), interrupted=True).status == 130


async def test_waiting_at_the_board(autojump_clock: trio.testing.MockClock) -> None:
    board = make_board(2)
    board.handle(1, Arrived(5.0, sender=0, run=0))
    assert board.arrived(0, 1, since=4.0) == 5.0
    assert board.arrived(0, 1, since=5.5) is None
    assert board.arrived(1, 0, since=0.0) is None
    await board.wait_until(lambda: True, 1, "nothing")
    with pytest.raises(Failure, match="expected within 3 s: the impossible"):
        await board.wait_until(lambda: False, 3, "the impossible")
    await board.sleep_until(time.monotonic() + 1)
    board.fail("first")
    board.fail("second")
    with pytest.raises(Failure, match="first"):
        await board.wait_until(lambda: False, 3, "the impossible")
    with pytest.raises(Failure, match="first"):
        await board.sleep_until(time.monotonic() + 1)


# What the parser costs, and how it answers ----------------------------------------------------------------------------

HEAVY = {"trio", "msgspec", "cryptography", "trio_mp._public", "importlib.metadata"}


@pytest.mark.parametrize("words", [[], ["--help"], ["ping", "--help"], ["profile", "--help"], ["pong"]])
def test_the_parser_imports_neither_trio_nor_the_package(words: list[str]) -> None:
    code = (
        "import sys\nfrom trio_mp.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    told = subprocess.run([sys.executable, "-P", "-c", code, *words], capture_output=True, text=True, check=True)
    assert not HEAVY & set(told.stderr.split())


def test_the_package_alone_imports_neither_trio_nor_its_parts() -> None:
    code = "import sys, trio_mp; dir(trio_mp); print(*sys.modules)"
    told = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(told.stdout.split())


def test_every_command_has_a_row_that_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    names = [command.name for command in all_commands()]
    assert len(set(names)) == len(names)
    families = {family.name: family for family in all_families()}
    for command in all_commands():
        assert command.group in GROUPS
        assert command.help.strip()
        assert command.example.startswith(f"trio-mp {command.name}")
        module, _, function = command.run.partition(":")
        assert callable(getattr(importlib.import_module(module), function))
        first, *more = command.name.split()
        assert not more or families[first].group == command.group
        assert run_main(*command.name.split(), "--help") == 0
        told = capsys.readouterr().out
        assert command.example.splitlines()[0] in told
        # The example is a command line that the parser takes, perhaps with others behind a pipe.
        for line in (line for line in command.example.splitlines() if line.startswith("trio-mp")):
            own = shlex.split(re.split(r" [|>] ", line)[0])
            found, words = find_command(own[1:])
            assert found is command
            parse(command, words)


def test_the_help_of_a_family(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main("profile", "--help") == 0
    told = capsys.readouterr().out
    assert all(command.name in told for command in all_commands() if command.name.startswith("profile "))
