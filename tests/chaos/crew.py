"""The crew of chaos starts processes, reads what they say, tells them what to do, signals and restarts them.

The demo has a crew of its own, which shows on a board what its processes report, and only kills them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import trio

import trio_mp

from .process import Order

PATIENCE = 60.0
"""How long a process may take to obey, in seconds. A process that takes longer is a violation."""


class Unexpected(Exception):
    """A process did something that it must not do; the text says what."""


@dataclass(eq=False)
class Diary:
    """Notes each fault, its victim and its time, by the clock of the journals.

    Attributes:
      counts: how often each kind of fault has happened.
      problems: the violations that were seen.
    """

    path: Path
    began: float
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def note(self, now: float, subject: str, kind: str, detail: str = "", *, count: bool = True) -> None:
        """Note a fault that happens now."""
        self.counts[kind] += count
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{now:.3f} ({now - self.began:7.3f} s) {subject}: {kind} {detail}\n")


class Member:
    """One node, in one process after the other.

    Args:
      order: the order for its first process.
      environment: the environment of its processes.

    Attributes:
      address: the address on which it listens; empty while it does not.
    """

    def __init__(self, order: Order, environment: dict[str, str]) -> None:
        self.order = order
        self.address = ""
        self._environment = environment
        self._process: trio.Process | None = None
        self._said: dict[str, list[str]] = {}
        self._changed = trio.lowlevel.ParkingLot()

    @property
    def node(self) -> str:
        return self.order.node

    @property
    def _running(self) -> trio.Process:
        assert self._process is not None
        return self._process

    async def start(self, nursery: trio.Nursery) -> None:
        """Start the process, and wait until its node listens. Raises `Unexpected` if it does not."""
        directory = Path(self.order.directory)
        with (directory / f"{self.node}-{self.order.run}.log").open("wb") as log:
            self._process = await trio.lowlevel.open_process(
                [sys.executable, "-P", "-W", "error", "-m", Order.__module__, json.dumps(asdict(self.order))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environment,
            )
        self._said = {}
        nursery.start_soon(self._listen, self._process)
        self.address = (await self.wait_said("ready"))[0]

    async def _listen(self, process: trio.Process) -> None:
        assert process.stdout is not None
        data = b""
        async with process.stdout:
            while more := await process.stdout.receive_some():
                *lines, data = (data + more).split(b"\n")
                for line in lines:
                    word, *rest = line.decode().split()
                    self._said[word] = rest
                self._changed.unpark_all()
        await process.wait()
        self._changed.unpark_all()

    async def wait_said(self, word: str) -> list[str]:
        """Wait until the process says a word; return the rest of that line. Raises `Unexpected` if it never says it."""
        with trio.move_on_after(PATIENCE):
            while word not in self._said:
                if self._running.returncode is not None:
                    raise Unexpected(f"{self.name} ended with {self._running.returncode} instead of saying {word!r}")
                await self._changed.park()
            return self._said[word]
        raise Unexpected(f"{self.name} has not said {word!r} within {PATIENCE:g} s")

    @property
    def name(self) -> str:
        """The name of the present run."""
        return f"{self.node}-{self.order.run}"

    async def tell(self, word: str) -> None:
        """Write a word to the process. Raises `Unexpected` if it has ended."""
        assert self._running.stdin is not None
        try:
            await self._running.stdin.send_all(word.encode() + b"\n")
        except trio.BrokenResourceError:
            raise Unexpected(f"{self.name} has ended by itself") from None

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal. Raises `Unexpected` if it has ended."""
        if self._running.poll() is not None:
            raise Unexpected(f"{self.name} has ended by itself, with {self._running.returncode}")
        self._running.send_signal(number)

    async def kill(self) -> None:
        """Kill the process, whatever it is doing."""
        self.signal(signal.SIGKILL)
        await self._end()

    async def exit(self) -> None:
        """Have the process close its node and end. Raises `Unexpected` if it does not end well."""
        await self.tell("exit")
        with trio.move_on_after(PATIENCE) as scope:
            await self._end()
        if scope.cancelled_caught:
            raise Unexpected(f"{self.name} has not exited within {PATIENCE:g} s")
        if self._running.returncode:
            raise Unexpected(f"{self.name} exited with {self._running.returncode}")

    async def _end(self) -> None:
        await self._running.wait()
        assert self._running.stdin is not None
        await self._running.stdin.aclose()
        self.address = ""

    async def restart(self, nursery: trio.Nursery) -> None:
        """Start another process under the same node ID."""
        self.order = replace(self.order, run=self.order.run + 1, seed=self.order.seed + "'")
        await self.start(nursery)

    def abandon(self) -> None:
        """Kill the process, if there is one."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()

    async def reap(self) -> None:
        """After `abandon`, wait until the process is gone, and close its pipes."""
        if self._process is not None:
            await self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    await stream.aclose()


def environment() -> dict[str, str]:
    """Return an environment in which a process finds this package and trio_mp where this process has found them.

    No settings are in it, and no profiles.
    """
    found = [str(Path(file).resolve().parents[1]) for file in (trio_mp.__file__, __file__)]
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TRIO_MP_")}
    return {**inherited, "PYTHONPATH": os.pathsep.join([*found, *paths]), "TRIO_MP_CONFIG": os.devnull}
