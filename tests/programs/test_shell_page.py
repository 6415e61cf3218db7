"""The script of docs/shell.md runs, and prints what the page says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from command_lines import environment
from doc_pages import ROOT, pieces_of

pytestmark = pytest.mark.skipif(sys.platform == "win32" or shutil.which("bash") is None, reason="a script for bash")


PAGE = ROOT / "docs" / "shell.md"


def file_on(page: Path, name: str) -> str:
    """A file that a page shows."""
    pieces = pieces_of(page.read_text(encoding="utf-8"))
    return next(block.text for comment, block in pairwise(pieces) if (comment.kind, comment.text) == ("file", name))


def test_the_script_of_the_page(short_directory: Path) -> None:
    (short_directory / "service.sh").write_text(file_on(PAGE, "service.sh"))
    (short_directory / "app.py").write_text(file_on(PAGE.with_name("running.md"), "app.py"))
    programs = short_directory / "bin"
    programs.mkdir()
    (programs / "trio-mp").write_text(f'#!/bin/sh\nexec {sys.executable} -m trio_mp.cli "$@"\n')
    (programs / "trio-mp").chmod(0o755)
    environ = environment(PATH=f"{programs}:{os.environ['PATH']}")
    done = subprocess.run(
        ["bash", short_directory / "service.sh"], capture_output=True, text=True, timeout=120, check=False, env=environ
    )
    logs = [path.read_text() for path in short_directory.glob("*.log")]
    assert (done.returncode, done.stderr) == (0, ""), logs
    (printed,) = [piece.text for piece in pieces_of(PAGE.read_text(encoding="utf-8")) if piece.kind == "text"]
    assert done.stdout == printed
