"""The commands of docs/running.md, in their order, and what they print."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from command_lines import environment
from doc_pages import ROOT, pieces_of

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Unix sockets, and a shell")

PAGE = "docs/running.md"

CHANGING = (
    (re.compile(r"\([0-9.]+ s\)"), "(… s)"),
    (re.compile(r"at most [0-9.]+( s)?"), "at most …"),
    (re.compile(r"trio_mp/[0-9][^,\s]*"), "trio_mp/…"),
)
"""What differs from run to run, and what the page shows in its place."""


def commands_of(page: str) -> list[tuple[str, str]]:
    """The commands of a page, and what each prints."""
    found: list[tuple[str, str]] = []
    for piece in pieces_of((ROOT / page).read_text(encoding="utf-8")):
        if piece.kind == "console":
            for part in piece.text.split("$ ")[1:]:
                command, _, printed = part.partition("\n")
                found.append((command, printed))
    return found


def test_the_commands_of_the_page(short_directory: Path) -> None:
    pieces = list(pieces_of((ROOT / PAGE).read_text(encoding="utf-8")))
    for comment, program_text in pairwise(pieces):
        if comment.kind == "file":
            (short_directory / comment.text).write_text(program_text.text, encoding="utf-8")
    commands = commands_of(PAGE)
    assert len(commands) >= 9
    programs: list[subprocess.Popen[str]] = []
    python = f"exec {shlex.quote(sys.executable)} -m trio_mp.cli"
    try:
        for command, expected in commands:
            started = command.endswith(" &")
            line = re.sub(r"^((?:\w+=\S+ )*)trio-mp", rf"\1{python}", command.removesuffix(" &"))
            # Variables before `exec` hold for what it starts.
            line = re.sub(r"^((?:\w+=\S+ )+)exec", r"export \1; exec", line)
            # Enough open files for the doctor, wherever this runs.
            program = subprocess.Popen(
                f"ulimit -n 1024; {line}",
                shell=True,
                cwd=short_directory,
                env=environment(),
                stdout=subprocess.PIPE,
                text=True,
            )
            programs.append(program)
            assert program.stdout is not None
            if started:
                printed = "".join(program.stdout.readline() for _ in expected.splitlines())
            else:
                printed, _ = program.communicate(timeout=60)
            assert normal(printed, short_directory) == expected, command
            assert (program.poll() is None) == started, command
    finally:
        for program in programs:
            if program.poll() is None:
                program.kill()
            # It also closes its output.
            program.communicate()


def normal(printed: str, directory: Path) -> str:
    """What a command has printed, as the page shows it."""
    # A command line shows the path of a temporary directory, which may be a link.
    for path in (str(directory.resolve()), str(directory)):
        printed = printed.replace(path, "/home/me")
    for pattern, text in CHANGING:
        printed = pattern.sub(text, printed)
    return printed
