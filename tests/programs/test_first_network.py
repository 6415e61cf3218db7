"""The page about a first network from a terminal: each command on it runs, and prints what stands there.

A block of the page is a terminal: `$ ` and a command, and below it what it prints, on both outputs. Before a block

- `<!-- terminal: NAME -->` means that the command runs on in a terminal of that name, or, without a command, that
  these lines come there later;
- `<!-- status: N -->` is its exit status, otherwise 0.

What differs from run to run is compared by its form: IDs of ports, the folder, times, sizes, and in `top` all numbers.
"""

from __future__ import annotations

import re
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import command_lines
import pytest
import trio
from command_lines import environment, open_command, run_command
from doc_pages import ROOT, pieces_of
from running_programs import Program

from trio_mp.cli.parser import all_commands, help_of_all

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the nodes use Unix sockets")

PAGE = "docs/first-network.md"
FOLDER = "/home/ruth/desks"
"""The folder of the page."""

PORT = re.compile(r"\b(\w+)#[\w.-]{16,}")
MEASURED = re.compile(r"\d+\.\d+( (KiB|s|ms|µs)\b)?|\b\d+ (B|s|ms|µs)\b|–")
NUMBER = re.compile(r"\b\d+( (s|ms|µs)\b)?")


@dataclass
class Step:
    """One command of the page, or lines that come in a terminal without one.

    Attributes:
      words: the command; empty if there is none.
      lines: what is printed.
      terminal: where it runs on; empty if it ends.
      status: its exit status.
    """

    words: list[str]
    lines: list[str] = field(default_factory=list)
    terminal: str = ""
    status: int = 0


def steps() -> Iterator[Step]:
    """What the page does, in order."""
    said: dict[str, str] = {}
    for piece in pieces_of((ROOT / PAGE).read_text(encoding="utf-8")):
        if piece.kind != "console":
            found = re.fullmatch(r"<!-- (terminal|status): (\w+) -->", piece.text.strip())
            said = {found[1]: found[2]} if found else {}
            continue
        terminal, status = said.get("terminal", ""), int(said.get("status", "0"))
        said = {}
        step = None
        for line in piece.text.splitlines():
            if line.startswith("$ trio-mp "):
                if step is not None:
                    yield step
                step = Step(shlex.split(line)[2:], [], terminal, status)
            else:
                step = step or Step([], [], terminal)
                step.lines.append(line)
        assert step is not None
        yield step


def form_of(line: str, folder: str, command: str) -> list[str]:
    """The words of a line, without what differs from run to run."""
    line = PORT.sub(r"\1#ID", line.replace(folder, FOLDER))
    line = MEASURED.sub("N", line)
    if command == "top":
        line = NUMBER.sub("N", line)
    return re.sub(r"─{3,}", "──", line).split()


def test_a_new_user_finds_the_commands_by_the_help() -> None:
    shown = help_of_all()
    names = {command.name for command in all_commands()}
    for step in steps():
        if step.words:
            assert re.search(rf"^  {step.words[0]} ", shown, re.MULTILINE), step.words
            assert step.words[0] in names or " ".join(step.words[:2]) in names


@pytest.mark.parametrize(
    "page, printed, same",
    [
        ("w1#Cnj8G34J.E337aUcA5HO2JE-K: too: slow", "w1#AAAAAAAA.AAAAAAAAAAAAAAA_: too: slow", True),
        ("w1#Cnj8G34J.E337aUcA5HO2JE-K: too: slow", "w2#AAAAAAAA.AAAAAAAAAAAAAAA_: too: slow", False),
        ("     1  desk:main  idle  2  326 B  –", " 1  desk:main  idle  2  9 B  5.2", True),
        ("     1  desk:main  idle  2  326 B  –", " 1  desk:main  idle  3  9 B  5.2", False),
        ("made /home/ruth/desks/secret", "made /tmp/x/secret", True),
        ("made /home/ruth/desks/secret", "made /tmp/y/secret", False),
    ],
)
def test_what_counts_as_the_same(page: str, printed: str, same: bool) -> None:
    assert (form_of(page, "/tmp/x", "ports") == form_of(printed, "/tmp/x", "ports")) == same


async def test_the_page_runs(short_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The nodes of the page run while twenty commands start, one after the other.
    monkeypatch.setattr(command_lines, "LIMIT", 240.0)
    folder = short_directory
    for name, text in files_of_page().items():
        (folder / name).write_text(text, encoding="utf-8")
    env = environment(TRIO_MP_CONFIG=str(folder / "profiles.toml"))
    real: dict[str, str] = {}
    terminals: dict[str, Program] = {}
    async with AsyncExitStack() as stack:
        for step in steps():
            words = [PORT.sub(lambda found: real[found[0]], word) for word in step.words]
            command = words[0] if words else ""
            wanted = [form_of(line, FOLDER, command) for line in step.lines]
            if step.terminal:
                if words:
                    assert step.terminal not in terminals
                    program = await stack.enter_async_context(open_command(*words, cwd=folder, env=env))
                    terminals[step.terminal] = program
                for line in step.lines:
                    await terminals[step.terminal].expect(f"^{re.escape(line)}$")
                continue
            run = partial(run_command, *words, cwd=folder, env=env)
            told = await trio.to_thread.run_sync(run)
            while command == "nodes" and len(told.stdout.splitlines()) < len(step.lines):
                # The nodes have not all joined, for which a user would have waited.
                told = await trio.to_thread.run_sync(run)
            printed = (told.stdout + told.stderr).splitlines()
            assert told.returncode == step.status, (words, printed)
            assert [form_of(line, str(folder), command) for line in printed] == wanted, words
            for line, shown in zip(printed, step.lines, strict=True):
                for found, of_page in zip(PORT.finditer(line), PORT.finditer(shown), strict=True):
                    assert real.setdefault(of_page[0], found[0]) == found[0], "one ID on the page is one port"
        # It has ended by itself, when its only service was killed.
        assert await terminals.pop("w1").process.wait() == 1
        for program in terminals.values():
            program.process.send_signal(signal.SIGTERM)
            assert await program.process.wait() == 0


def files_of_page() -> dict[str, str]:
    """The files that the page shows."""
    files, name = {}, ""
    for piece in pieces_of((ROOT / PAGE).read_text(encoding="utf-8")):
        if piece.kind == "python" and name:
            files[name] = piece.text
        name = piece.text if piece.kind == "file" else ""
    return files
