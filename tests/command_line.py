"""`trio-mp` as a process, for a network that lives in the test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from trio_mp import Node

SECRET = "a secret for the command line"

COMMAND = [sys.executable, "-P", "-m", "trio_mp.cli"]

LIMIT = 60.0
"""For how many seconds a command may run."""


@dataclass(frozen=True)
class Told:
    """What a command has printed, and its exit status."""

    status: int
    out: str
    err: str

    @property
    def rows(self) -> list[Any]:
        """What it has printed with `--json`."""
        return [json.loads(line) for line in self.out.splitlines()]


async def run(*words: str, environ: dict[str, str] | None = None) -> Told:
    """Run a command until it ends."""
    with trio.fail_after(LIMIT):
        done = await trio.run_process(
            [*COMMAND, *words],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env={**os.environ, **(environ or {})},
            stdin=subprocess.DEVNULL,
        )
    return Told(done.returncode, done.stdout.decode(), done.stderr.decode())


class Terminal:
    """Runs commands that join one network.

    Args:
      node: a node of the network that listens.
      folder: where the file with the secret is made.
    """

    def __init__(self, node: Node, folder: Path) -> None:
        path = folder / "secret"
        path.write_text(f"{SECRET}\n", encoding="utf-8")
        path.chmod(0o600)
        self.joining = ("--seed", node.binds[0], "--secret-file", str(path))

    async def run(self, *words: str, environ: dict[str, str] | None = None) -> Told:
        """Run a command that joins the network, until it ends."""
        return await run(*words, *self.joining, environ=environ)
