"""The sessions of docs/command-line.md, in one shell: what is typed there prints what stands there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import IO, NamedTuple

import pytest
from command_line import COMMAND
from doc_pages import ROOT, pieces_of

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a shell of POSIX")

PAGE = ROOT / "docs" / "command-line.md"
PORT = re.compile(r"w1#[\w.-]+")


class Step(NamedTuple):
    """What is typed at one prompt, and what stands below it."""

    line: int
    typed: str
    printed: list[str]


def steps_of(page: str) -> Iterator[Step]:
    for piece in pieces_of(page):
        if piece.kind != "console":
            continue
        step: Step | None = None
        for number, line in enumerate(piece.text.splitlines(), piece.line + 1):
            if line.startswith("$ "):
                if step is not None:
                    yield step
                step = Step(number, line[2:], [])
            else:
                assert step is not None
                step.printed.append(line)
        if step is not None:
            yield step


class Shell:
    """Runs what is typed, as far as the page needs it: variables, commands, and `&` behind those that go on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
        self.environ["PYTHONPATH"] = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
        self.running: list[subprocess.Popen[str]] = []
        # The ports of the page, and those that they are in this run.
        self.ports: dict[str, str] = {}

    def type(self, step: Step) -> list[str]:
        """Run one step. Returns what it has printed; of a command that goes on, as many lines as stand there."""
        words = shlex.split(PORT.sub(lambda found: self.ports.get(found[0], found[0]), step.typed))
        if words[0] == "export":
            for word in words[1:]:
                name, _, value = word.partition("=")
                self.environ[name] = value
            return []
        environ = dict(self.environ)
        while "=" in words[0]:
            name, _, environ[name] = words.pop(0).partition("=")
        assert words.pop(0) == "trio-mp"
        stays = words[-1] == "&"
        process = subprocess.Popen(
            [*COMMAND, *(words[:-1] if stays else words)],
            env=environ,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            # A command that goes on may say more than the page needs to show.
            stderr=None if stays else subprocess.STDOUT,
            text=True,
        )
        self.running.append(process)
        assert process.stdout is not None
        if stays:
            return [line_of(process.stdout) for _ in step.printed]
        return process.communicate(timeout=60)[0].splitlines()

    def end(self) -> None:
        for process in self.running:
            with process:
                process.terminate()


def line_of(stream: IO[str]) -> str:
    return stream.readline().rstrip("\n")


def compare(step: Step, printed: list[str], ports: dict[str, str]) -> None:
    """What was printed is what stands there; `…` stands for anything, and a port for the port of this run."""
    assert len(printed) == len(step.printed), (step, printed)
    for expected, found in zip(step.printed, printed, strict=True):
        for shown, real in zip(PORT.findall(expected), PORT.findall(found), strict=False):
            ports.setdefault(shown, real)
        wanted = PORT.sub(lambda port: ports.get(port[0], port[0]), expected)
        pattern = ".*".join(map(re.escape, wanted.split("…")))
        assert re.fullmatch(pattern, found), f"{PAGE.name}:{step.line}: expected {wanted!r}, got {found!r}"


def wait_for_both(shell: Shell) -> None:
    """The page's reader is slower than `trio-mp run`, which needs a moment to join."""
    watch = Step(0, "trio-mp nodes --watch --count 2", [])
    assert sorted(line.split()[-1] for line in shell.type(watch)) == ["seed", "w1"]


def test_the_page(short_directory: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    pieces = list(pieces_of(text))
    for before, piece in pairwise(pieces):
        if before.kind == "file":
            (short_directory / before.text).write_text(piece.text, encoding="utf-8")
    shell = Shell(short_directory)
    try:
        steps = list(steps_of(text))
        assert len(steps) > 15
        for step in steps:
            compare(step, shell.type(step), shell.ports)
            if "trio-mp run" in step.typed:
                wait_for_both(shell)
    finally:
        shell.end()
