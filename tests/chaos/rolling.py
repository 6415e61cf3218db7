"""A rolling restart of a service under load: `PYTHONPATH=tests python -m chaos.rolling --seconds 60`.

Ten processes serve calls. One after the other is told to end, by SIGTERM, every other one after an operator has had it
drain; it ends with the exit status 0, and is started anew. Clients call all the time, and try again what certainly was
not delivered. Every call is answered, and none is handled twice: each process writes down what it handles.

The processes are forked from one that has imported everything, so that a start takes little. They are real all the
same: each has a node, sockets and signals of its own, and two of them are the seeds of the others.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import trio

from trio_mp import Group, Node, PortDied, open_node, stop_on_signals

from .crew import environment

SECRET = "the secret of a rolling restart"
FAMILY = "rolling"
HEARTBEAT = 1.0
"""In seconds: shorter than the usual one, so that a process that does not leave in good order is noticed."""

WORKING = 0.01
"""How long one call takes, in seconds: some are always in flight."""

CLIENTS = 4
PROCESSES = 10


# A process of the service ---------------------------------------------------------------------------------------------


async def serve(name: str, directory: Path) -> int:
    """Serve until a signal comes. Returns the exit status."""
    seeds = seeds_in(directory)
    handled = os.open(directory / "handled", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    own = f"unix:{directory}/{name}"
    async with (
        open_node(
            name, profile=False, binds=[own], seeds=seeds, secret=SECRET, heartbeat=HEARTBEAT, inspect="act"
        ) as node,
        stop_on_signals(node) as stopping,
    ):
        port = node.port()

        @port.on("work", reply=True)
        async def work(number: int) -> int:
            os.write(handled, f"{number}\n".encode())
            await trio.sleep(WORKING)
            return number

        node.database.register(FAMILY, port)
        say(f"ready {name}")
        await trio.sleep_forever()
    return stopping.exit_status


def seeds_in(directory: Path) -> list[str]:
    """The addresses of the seeds: the first two processes."""
    return [f"unix:{directory}/w0", f"unix:{directory}/w1"]


def say(line: str) -> None:
    """Print a line in one piece, because all processes share the pipe."""
    os.write(1, f"{line}\n".encode())


# The process that forks them ------------------------------------------------------------------------------------------


def forge(directory: Path) -> None:
    """Fork a process for each line of the standard input, which is its name; say when one has ended, and how."""
    # What a node that encrypts loads when it is opened: half of the time that a start would take.
    importlib.import_module("trio_mp._transport.throwaway")
    heard, wake = os.pipe()
    for end in (heard, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    # Ctrl-C is for who has started this.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    names: dict[int, str] = {}
    rest = b""
    while True:
        readable, _, _ = select.select([0, heard], [], [])
        if heard in readable:
            os.read(heard, 1000)
            reap(names)
        if 0 in readable:
            data = os.read(0, 1000)
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                pid = fork(line.decode(), directory)
                names[pid] = line.decode()
    for pid in names:
        os.kill(pid, signal.SIGKILL)


def reap(names: dict[int, str]) -> None:
    while names:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        say(f"ended {names.pop(pid)} {os.waitstatus_to_exitcode(status)}")


def fork(name: str, directory: Path) -> int:
    """Fork one process of the service. Returns its process ID."""
    pid = os.fork()
    if pid:
        say(f"pid {name} {pid}")
        return pid
    status = 70
    try:
        if sys.platform == "linux":
            # It does not outlive whoever has forked it. 1 is PR_SET_PDEATHSIG.
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        status = trio.run(serve, name, directory)
    except BaseException:  # noqa: BLE001 - this process ends in any case
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(status)


# Who restarts them ----------------------------------------------------------------------------------------------------


@dataclass
class Outcome:
    """What has come of a rolling restart.

    Attributes:
      restarts: how many processes were started anew.
      calls: how many calls were made.
      answered: how often each call was answered.
      handled: how often each call was handled.
      problems: what was wrong, for people.
    """

    restarts: int = 0
    calls: int = 0
    answered: Counter[int] = field(default_factory=Counter)
    handled: Counter[int] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def judge(self) -> None:
        """Compare what clients and processes have seen."""
        for number in range(self.calls):
            if self.answered[number] != 1 or self.handled[number] != 1:
                self.problems.append(
                    f"the call {number} was answered {self.answered[number]} times, and handled"
                    f" {self.handled[number]} times"
                )


class Service:
    """The processes of the service, as whoever restarts them sees them."""

    def __init__(self, forger: trio.Process) -> None:
        self._forger = forger
        self._lines: list[list[str]] = []
        self._changed = trio.Event()
        self._typing = trio.Lock()

    async def read(self) -> None:
        """Read what the processes say, until none can say anything any more."""
        assert self._forger.stdout is not None
        rest = b""
        async for data in self._forger.stdout:
            *lines, rest = (rest + data).split(b"\n")
            self._lines += [line.decode().split() for line in lines]
            self._changed.set()
            self._changed = trio.Event()
        raise RuntimeError("the process that forks the others has ended")

    async def start(self, name: str) -> int:
        """Start a process, and wait until it serves. Returns its process ID."""
        assert self._forger.stdin is not None
        async with self._typing:
            await self._forger.stdin.send_all(f"{name}\n".encode())
        pid = await self._take("pid", name)
        await self._take("ready", name)
        return int(pid)

    async def wait_ended(self, name: str) -> int:
        """Wait until the process has ended. Returns its exit status."""
        return int(await self._take("ended", name))

    async def _take(self, word: str, name: str) -> str:
        while True:
            for line in self._lines:
                if line[:2] == [word, name]:
                    self._lines.remove(line)
                    return line[-1]
            await self._changed.wait()


@asynccontextmanager
async def open_service(directory: Path) -> AsyncGenerator[Service, None]:
    process = await trio.lowlevel.open_process(
        [sys.executable, "-P", "-W", "error", "-m", "chaos.rolling", "--forge", str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
    )
    try:
        async with trio.open_nursery() as nursery:
            service = Service(process)
            nursery.start_soon(service.read)
            yield service
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            assert process.stdin is not None
            # It kills all that are left.
            await process.stdin.aclose()
            await process.wait()


async def roll(directory: Path, *, seconds: float = 0.0, processes: int = PROCESSES) -> Outcome:
    """Restart all processes of a service, one after the other, for so long; at least each of them once.

    Args:
      directory: an empty one, with a short path.
      seconds: for how long.
      processes: how many there are.
    """
    outcome, names = Outcome(), [f"w{number}" for number in range(processes)]
    async with open_service(directory) as service:
        pids: dict[str, int] = {}

        async def start(name: str) -> None:
            pids[name] = await service.start(name)

        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(start, name)
        async with (
            open_node("client", profile=False, seeds=seeds_in(directory), secret=SECRET, heartbeat=HEARTBEAT) as node,
            node.open_group(FAMILY, watch=2 * processes) as group,
        ):
            await group.wait(processes)
            numbers, done = count(), trio.Event()
            async with trio.open_nursery() as nursery:
                for _ in range(CLIENTS):
                    nursery.start_soon(call, group, numbers, outcome, done)
                end = trio.current_time() + seconds
                while True:
                    for name in names:
                        await restart(node, service, name, pids, outcome)
                        await group.wait(processes)
                    if trio.current_time() >= end:
                        break
                done.set()
    outcome.calls = next(numbers)
    outcome.handled.update(map(int, (directory / "handled").read_text().split()))
    outcome.judge()
    return outcome


async def restart(node: Node, service: Service, name: str, pids: dict[str, int], outcome: Outcome) -> None:
    """Have one process end, and start it anew."""
    if outcome.restarts % 2:
        drained = await node.inspect(name).drain()
        outcome.problems += [f"{name} has left unfinished: {each}" for each in drained.unfinished]
    os.kill(pids[name], signal.SIGTERM)
    status = await service.wait_ended(name)
    if status:
        outcome.problems.append(f"{name} has ended with the status {status}")
    pids[name] = await service.start(name)
    outcome.restarts += 1


async def call(group: Group, numbers: count[int], outcome: Outcome, done: trio.Event) -> None:
    """Call again and again, until enough was done. The group itself tries again what certainly was not delivered."""
    while not done.is_set():
        number = next(numbers)
        try:
            if await group.call("work", number, reply=int) == number:
                outcome.answered[number] += 1
        except PortDied as death:
            outcome.problems.append(f"the call {number} failed: {death}, maybe delivered: {death.maybe_delivered}")


def main() -> int:
    """Carry out a rolling restart. Returns 1 if something was wrong."""
    parser = argparse.ArgumentParser(prog="chaos.rolling", description="A rolling restart of a service under load.")
    parser.add_argument("--seconds", type=float, default=10, help="for how long, at least one round (10)")
    parser.add_argument("--processes", type=int, default=PROCESSES, help=f"how many there are ({PROCESSES})")
    parser.add_argument("--forge", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.forge is not None:
        forge(arguments.forge)
        return 0
    # In /tmp, because a Unix socket's path is limited to 107 bytes.
    directory = Path(tempfile.mkdtemp(prefix="rolling-", dir="/tmp"))
    try:
        outcome = trio.run(lambda: roll(directory, seconds=arguments.seconds, processes=arguments.processes))
    finally:
        shutil.rmtree(directory)
    print(f"{outcome.restarts} restarts, {outcome.calls} calls, {len(outcome.problems)} problems")
    print("\n".join(outcome.problems[:50]))
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())
