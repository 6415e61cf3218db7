"""The systems and the ways to use them, and which of them this machine has."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STUBS = ROOT / "benchmarks" / "peers" / "stubs"

TRACTOR_PYTHON = "TRIO_MP_BENCH_TRACTOR"
"""The environment variable that names an interpreter with tractor, which needs an old Trio."""

RAY_PYTHON = "TRIO_MP_BENCH_RAY"
"""The environment variable that names an interpreter with Ray, if it is not this one."""

PATIENCE = 60.0

KILLED, CUT = "killed", "cut"
"""The receiver's process is killed; or the connection is reset, and both processes live."""


@dataclass(frozen=True)
class Way:
    """One way to use a system.

    Attributes:
      kind: its name for the system's program.
      title: what it is, for readers.
      faults: which faults it is tried with.
      restarted: whether the harness starts the receiver, and starts it again; else the sender or the system does.
      quiet: seconds without another message after which no more is expected, if some are missing.
    """

    kind: str
    title: str
    faults: tuple[str, ...] = (KILLED, CUT)
    restarted: bool = True
    quiet: float = 3.0


@dataclass(frozen=True)
class System:
    """A system.

    Attributes:
      name: its name for readers.
      module: its module below `programs`, or `erlang`, which is a script.
      ways: the ways to use it.
      imports: the module that it needs, if it is written in Python, and the distribution that it comes from.
      commands: the programs that it needs on the path.
      interpreter: the environment variable that may name its interpreter.
      required: whether that variable is the only way to find it.
    """

    name: str
    module: str
    ways: tuple[Way, ...]
    imports: tuple[str, str] = ("", "")
    commands: tuple[str, ...] = ()
    interpreter: str = ""
    required: bool = False

    @property
    def python(self) -> str:
        """The interpreter that runs its programs; empty if there is none."""
        named = os.environ.get(self.interpreter, "") if self.interpreter else ""
        return named or ("" if self.required else sys.executable)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that its programs get in addition to those of this process."""
        paths = [str(ROOT), *([str(STUBS)] if self.module == "tractor" else [])]
        extra = {"RAY_DISABLE_MEMORY_MONITOR": "1", "RAY_USAGE_STATS_ENABLED": "0"} if self.module == "ray" else {}
        return {"PYTHONPATH": os.pathsep.join(paths), **extra}


SYSTEMS = (
    System(
        "trio_mp",
        "ours",
        (
            Way("monitor", "a monitor; when it fires, a new port"),
            Way("asks", "a monitor; when it fires, a new port, which is asked how far the receiver got"),
            Way("supervised", "a process of a supervisor, with a monitor", restarted=False),
            Way("unmonitored", "a port, without a monitor"),
        ),
        imports=("trio_mp", "trio-mp"),
    ),
    System(
        "Erlang",
        "erlang",
        (
            Way("monitor", "`!` to a registered name, with a monitor"),
            Way("asks", "`!` with a monitor; when it fires, the process is asked how far it got"),
            Way("unmonitored", "`!` to a registered name, without a monitor"),
        ),
        commands=("erl", "escript"),
    ),
    System(
        "tractor",
        "tractor",
        (Way("stream", "a context stream to a child; when sending raises, a new child", restarted=False),),
        imports=("tractor", "tractor"),
        interpreter=TRACTOR_PYTHON,
        required=True,
    ),
    System(
        "Ray",
        "ray",
        (
            Way("once", "an actor, `max_restarts=-1`, `max_task_retries=0`", restarted=False),
            Way("retries", "an actor, `max_restarts=-1`, `max_task_retries=-1`", restarted=False),
        ),
        imports=("ray", "ray"),
        interpreter=RAY_PYTHON,
    ),
    System(
        "NATS",
        "nats",
        (
            Way("core", "core, publish and subscribe"),
            # The server may hand a message to the dead receiver again, and wait for that one's acknowledgement, too.
            Way("jetstream", "JetStream, a durable pull consumer", quiet=10.0),
            Way("jetstream_single", "JetStream, the same with `max_ack_pending=1`", quiet=10.0),
        ),
        imports=("nats", "nats-py"),
        commands=("nats-server",),
    ),
    System(
        "Pykka",
        "pykka",
        (Way("tell", "`tell`; the handler raises in place of a kill; then a new actor", (KILLED,), restarted=False),),
        imports=("pykka", "pykka"),
    ),
)


@functools.cache
def find_version(system: System) -> tuple[str, str]:
    """Return a system's version, and why it cannot be used; one of them is empty."""
    missing = [command for command in system.commands if shutil.which(command) is None]
    if missing:
        return "", f"there is no {' and no '.join(missing)} on the path"
    if not system.python:
        return "", f"{system.interpreter} names no interpreter that has it"
    if not system.imports[0]:
        code = 'io:format("OTP ~s", [erlang:system_info(otp_release)]), halt().'
        command = ["erl", "-noshell", "-eval", code]
    else:
        module, distribution = system.imports
        code = f"import importlib.metadata, {module}; print(importlib.metadata.version({distribution!r}))"
        command = [system.python, "-P", "-c", code]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **system.environment, "PYTHONPATH": str(STUBS)},
        )
    except OSError as error:
        return "", f"{command[0]}: {error.strerror}"
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return "", lines[-1] if lines else "it does not run"
    return done.stdout.strip(), ""


def server_version() -> str:
    """Return the version of the NATS server."""
    done = subprocess.run(["nats-server", "--version"], capture_output=True, text=True, timeout=PATIENCE, check=True)
    return done.stdout.strip().rpartition("v")[2]
