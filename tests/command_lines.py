"""The command `trio-mp`, run as a process by tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from running_programs import LIMIT, Program

# Without the current folder, where the installed command does not look for modules either, unless it wants to.
_COMMAND = (sys.executable, "-c", "import sys; del sys.path[0]; from trio_mp.cli import main; sys.exit(main())")


def environment(**variables: str) -> dict[str, str]:
    """The variables of this process, and these; without the one by which no program finds modules in its folder."""
    own = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    return {**own, "PYTHONUNBUFFERED": "1", **variables}


def run_command(*words: str, cwd: Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command line, and wait until it has ended."""
    environ = env or environment()
    return subprocess.run(
        [*_COMMAND, *words], capture_output=True, text=True, timeout=LIMIT, check=False, cwd=cwd, env=environ
    )


@asynccontextmanager
async def open_command(*words: str, cwd: Path, env: Mapping[str, str] | None = None) -> AsyncGenerator[Program, None]:
    """Run a command line for the length of the block; both outputs are its lines. It is killed at the end."""
    with trio.fail_after(LIMIT):
        process = await trio.lowlevel.open_process(
            [*_COMMAND, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env or environment(),
            cwd=cwd,
        )
        program = Program(process)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(program.read)
            try:
                yield program
            finally:
                with trio.CancelScope(shield=True):
                    process.kill()
                    await process.wait()
