"""Programs that a test runs as processes: it reads what they print, types, and kills them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
import trio.lowlevel

LIMIT = 60.0
"""For how many seconds the programs of one test may run."""

SECRET = "a secret for the examples"


class Program:
    """A program that runs.

    Attributes:
      process: the process.
      lines: what it has printed.
      ended: set when nobody can print anything more: neither the program nor a process that it has started.
    """

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self.ended = trio.Event()
        self._changed = trio.Event()

    async def read(self) -> None:
        assert self.process.stdout is not None
        rest = b""
        async for data in self.process.stdout:
            *lines, rest = (rest + data).split(b"\n")
            self.lines += [line.decode() for line in lines]
            self._changed.set()
            self._changed = trio.Event()
        self.ended.set()
        self._changed.set()

    async def expect(self, pattern: str, after: int = 0) -> int:
        """Wait for a line; returns how many lines there are up to it. Fails when no further line can come."""
        while True:
            for index, line in enumerate(self.lines[after:], after):
                if re.search(pattern, line):
                    return index + 1
            assert not self.ended.is_set(), f"expected a line {pattern!r}, got no more than {self.lines}"
            await self._changed.wait()

    async def line(self, index: int) -> str | None:
        """The line of that number, from 0, as soon as it is printed; None when no further line can come."""
        while len(self.lines) <= index and not self.ended.is_set():
            await self._changed.wait()
        return self.lines[index] if len(self.lines) > index else None

    async def type(self, line: str) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send_all(line.encode() + b"\n")

    async def end_of_input(self) -> int:
        """Type nothing more, and wait until it ends by itself."""
        assert self.process.stdin is not None
        await self.process.stdin.aclose()
        return await self.process.wait()


class Stage:
    """Runs programs in one directory, and ends them.

    Args:
      directory: where they run.
      nursery: reads what they print.
      library: where they find modules to import; beside themselves they find none.
    """

    def __init__(self, directory: Path, nursery: trio.Nursery, library: Path) -> None:
        self.directory = directory
        self._library = library
        self._nursery = nursery
        self._programs: list[Program] = []

    async def run(self, path: Path, *arguments: str) -> Program:
        """Start a program."""
        environment = {**os.environ, "SECRET": SECRET, "PYTHONUNBUFFERED": "1"}
        environment["PYTHONPATH"] = os.pathsep.join([str(self._library), *filter(None, [os.environ.get("PYTHONPATH")])])
        process = await trio.lowlevel.open_process(
            [sys.executable, "-P", str(path), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            cwd=self.directory,
        )
        program = Program(process)
        self._programs.append(program)
        self._nursery.start_soon(program.read)
        return program

    async def end(self) -> None:
        """Kill all that still run."""
        for program in self._programs:
            if program.process.returncode is None:
                program.process.kill()
                await program.process.wait()


@asynccontextmanager
async def open_stage(directory: Path, library: Path) -> AsyncGenerator[Stage, None]:
    """A stage, whose programs end with the block. It fails after `LIMIT`."""
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            stage = Stage(directory, nursery, library)
            try:
                yield stage
            finally:
                with trio.CancelScope(shield=True):
                    await stage.end()
            nursery.cancel_scope.cancel()
