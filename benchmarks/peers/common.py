"""What all peers share. It needs nothing but the standard library."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

TIMEOUT = 120
TEXT = "hello"
WARM = 10
"""The first tenth of all round trips warms up, and is not counted."""

Figure = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """What to do: see `trio_mp.cli.bench.task`."""

    name: str
    count: int
    kind: str = ""
    transport: str = "tcp"
    encrypted: bool = False
    batch: int = 100
    peers: int = 1
    size: int = 0
    busy: bool = False


class WrongResult(Exception):
    """A peer did not do what it claims to measure."""


def expect(condition: bool, what: str = "messages are missing, or out of order") -> None:
    """Raise `WrongResult` unless a condition holds."""
    if not condition:
        raise WrongResult(what)


def figure(value: float, unit: str, **extra: float) -> Figure:
    """Make the figure that `main` returns."""
    return {"value": value, "unit": unit, "extra": extra}


def speed(task: Task, seconds: float) -> Figure:
    """Messages a second or, where they have a size, megabytes; from the first that is sent until the last has come."""
    if task.size:
        return figure(task.count * task.size / seconds / 1e6, "MB/s")
    return figure(task.count / seconds, "messages/s")


def say_start() -> None:
    """Said by the second process before it sends; one clock serves the whole machine."""
    print(time.monotonic(), flush=True)


def since_start(process: subprocess.Popen[str]) -> float:
    """Seconds since the second process said so; called when the last message has come."""
    end = time.monotonic()
    return end - float(read_line(process))


def round_trips(nanoseconds: list[int]) -> Figure:
    """The median in microseconds, without the first ones, and the 99th percentile."""
    ordered = sorted(nanoseconds[len(nanoseconds) // WARM :])
    return figure(statistics.median(ordered) / 1e3, "µs", p99=ordered[len(ordered) * 99 // 100] / 1e3)


def start_other(name: str, task: Task, *arguments: str) -> subprocess.Popen[str]:
    """Start the second process: `main(task, *arguments)` of the same module. It has a pipe for what it prints."""
    command = [sys.executable, "-m", "benchmarks.peers", name, json.dumps(asdict(task)), *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def read_line(process: subprocess.Popen[str]) -> str:
    """The next line that it prints."""
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    expect(bool(line), "the second process has ended")
    return line


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Make a folder for Unix sockets, whose paths must be short."""
    with tempfile.TemporaryDirectory(prefix="peer-", dir="/tmp") as name:
        yield Path(name)


@contextlib.contextmanager
def listening(task: Task) -> Iterator[tuple[socket.socket, str]]:
    """A socket that listens, and its address as text."""
    if task.transport == "tcp":
        with socket.create_server(("127.0.0.1", 0)) as server:
            yield server, str(server.getsockname()[1])
    else:
        with folder() as place, socket.socket(socket.AF_UNIX) as server:
            server.bind(str(place / "s"))
            server.listen()
            yield server, str(place / "s")


def connect(address: str) -> socket.socket:
    """A connection with what listens there."""
    if address.isdigit():
        return without_delay(socket.create_connection(("127.0.0.1", int(address))))
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    return connection


def without_delay(connection: socket.socket) -> socket.socket:
    """Have small segments leave at once."""
    if connection.family != socket.AF_UNIX:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def resident() -> int:
    """The memory of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


def kill_and_wait(process: subprocess.Popen[str], wait: Callable[[], object]) -> Figure:
    """Milliseconds from SIGKILL of a process until `wait` returns."""
    time.sleep(0.1)
    start = time.perf_counter()
    os.kill(process.pid, signal.SIGKILL)
    wait()
    return figure((time.perf_counter() - start) * 1e3, "ms")


HEAD = struct.Struct(">I")
"""The length before a message, where there is one."""
