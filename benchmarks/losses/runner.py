"""One run: start the programs, break something at the middle, and read what was written down."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.losses.contract import TICK, Plan
from benchmarks.losses.cut import cut
from benchmarks.losses.judge import Arrival, Notice, Verdict, judge
from benchmarks.losses.systems import CUT, ROOT, System, Way

PATIENCE = 90.0
"""Seconds that a run may take for each of its steps."""

GRACE = 15.0
"""Seconds that a sender gets to end by itself."""


class FailedRun(Exception):
    """A run that says nothing about losses: a program did not start, or did not end."""


@dataclass(frozen=True)
class Run:
    """What one run has shown.

    Attributes:
      verdict: what became of the numbers.
      delay: milliseconds from the fault to the first notice after it, or None if there was none.
      lives: how many lives of the receiver there were.
    """

    verdict: Verdict
    delay: float | None
    lives: int


def run_once(
    system: System,
    way: Way,
    fault: str,
    plan: Plan,
    *,
    errors: int | None = subprocess.DEVNULL,
    quiet: float | None = None,
) -> Run:
    """Run one way to use a system once, with a fault.

    Args:
      system, way: what is run.
      fault: `KILLED` or `CUT`.
      plan: what is sent; its folder, kind and port are set here.
      errors: where the programs' errors go.
      quiet: takes the place of the way's own `quiet`.

    Raises:
      FailedRun: a program has not done what it should.
    """
    with tempfile.TemporaryDirectory(prefix="losses-") as folder:
        plan = replace(plan, folder=folder, kind=way.kind, port=_free_port())
        with _Programs(system, plan, errors) as programs:
            return _run(programs, way, fault, plan, way.quiet if quiet is None else quiet)


def _run(programs: _Programs, way: Way, fault: str, plan: Plan, quiet: float) -> Run:
    server = programs.start_server()
    life = programs.start("receiver") if way.restarted else None
    if way.restarted:
        _wait(lambda: _lines(plan, "lives") != [], "the receiver to be ready")
    sender = programs.start("sender")
    _wait(lambda: plan.path("middle").exists() or sender.poll() is not None, "the receiver to get to the middle")
    if sender.poll() is not None:
        raise FailedRun(f"the sender has ended with {sender.returncode} before the middle")
    time.sleep(plan.busy / 2)
    struck = time.time_ns()
    process = int(_lines(plan, "lives")[-1][0])
    other = server.pid if server is not None else int(_lines(plan, "sender")[0][0])
    if fault == CUT:
        if not cut(process, other):
            raise FailedRun("there was no connection to cut")
    elif process != int(_lines(plan, "sender")[0][0]):
        # A receiver that is a thread of the sender fails by itself.
        os.kill(process, signal.SIGKILL)
        if life is not None:
            life.wait(PATIENCE)
            programs.start("receiver")
    _wait(lambda: plan.path("sent").exists() or sender.poll() is not None, "the sender to send all")
    if not plan.path("sent").exists():
        raise FailedRun(f"the sender has ended with {sender.returncode} before it had sent all")
    _wait_for_rest(plan, quiet)
    return _read(plan, struck)


def _wait_for_rest(plan: Plan, quiet: float) -> None:
    """Wait until all numbers have arrived, or none for a while."""
    size, since = -1, time.monotonic()
    path = plan.path("received")
    while time.monotonic() - since < quiet:
        if path.stat().st_size != size:
            size, since = path.stat().st_size, time.monotonic()
            if len({line[0] for line in _lines(plan, "received")}) == plan.count:
                # One that comes twice may still be on its way.
                since -= quiet / 2
        time.sleep(TICK * 5)


def _read(plan: Plan, struck: int) -> Run:
    arrivals = [Arrival(int(number), int(when)) for number, when in _lines(plan, "received")]
    notices = [
        Notice(int(following), int(when), int(about), " ".join(by))
        for following, when, about, *by in _lines(plan, "told")
    ]
    after = [notice.time - struck for notice in notices if notice.time >= struck]
    delay = min(after) / 1e6 if after else None
    return Run(judge(plan.count, arrivals, notices), delay, len(_lines(plan, "lives")))


def _lines(plan: Plan, name: str) -> list[list[str]]:
    """Return the complete lines of a file, each as its words; none if there is no file yet."""
    try:
        text = plan.path(name).read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return [line.split() for line in text[: text.rfind("\n") + 1].splitlines()]


class _Programs:
    """The processes of one run; all that they have started ends with it."""

    def __init__(self, system: System, plan: Plan, errors: int | None) -> None:
        self.system = system
        self.plan = plan
        self.errors = errors
        self.environment = {**os.environ, **system.environment}
        self.processes: list[subprocess.Popen[bytes]] = []
        self.senders: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> _Programs:
        if self.system.module == "erlang":
            self.environment["ERL_EPMD_PORT"] = str(self.plan.port)
            self._start([find_epmd(), "-port", str(self.plan.port), "-address", "127.0.0.1"])
            _wait_for_port(self.plan.port)
        elif self.system.module == "ray":
            # Ray leaves a token in the home of its user.
            self.environment["HOME"] = self.plan.folder
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.senders:
            # It may have to end what it has started.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)
        for process in reversed(self.processes):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def start_server(self) -> subprocess.Popen[bytes] | None:
        """Start the server through which all messages go, if the system has one."""
        if self.system.module != "nats":
            return None
        folder = str(self.plan.path("store"))
        server = self._start(["nats-server", "-a", "127.0.0.1", "-p", str(self.plan.port), "-js", "-sd", folder])
        _wait_for_port(self.plan.port)
        return server

    def start(self, role: str) -> subprocess.Popen[bytes]:
        """Start a sender or a receiver."""
        plan = self.plan
        if self.system.module == "erlang":
            script = str(Path(__file__).parent / "programs" / "erlang.escript")
            numbers = [str(number) for number in (plan.count, plan.rate, int(plan.busy * 1000))]
            command = ["escript", script, role, plan.folder, plan.kind, *numbers]
        else:
            module = "benchmarks.losses.programs"
            command = [self.system.python, "-m", module, self.system.module, role, json.dumps(asdict(plan))]
        process = self._start(command)
        if role == "sender":
            self.senders.append(process)
        return process

    def _start(self, command: list[str]) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self.errors,
            start_new_session=True,
        )
        self.processes.append(process)
        return process


def find_epmd() -> str:
    """Return the path of Erlang's name server, which is not always on the path."""
    program = shutil.which("epmd")
    if program is None:
        roots = Path(os.path.realpath(shutil.which("erl") or "erl")).parents
        program = str(next(found for root in roots for found in root.glob("erts-*/bin/epmd")))
    return program


def _wait(condition: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds. Raises `FailedRun` if it does not in time."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise FailedRun(f"expected {what} within {PATIENCE:.0f} s")
        time.sleep(TICK)


def _wait_for_port(port: int) -> None:
    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    _wait(listens, "a server to listen")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
