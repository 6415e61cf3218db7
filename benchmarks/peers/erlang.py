"""Erlang: starts what `erlang.escript` needs, an epmd of its own among it, and hands its figure on."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

from benchmarks.peers import common
from benchmarks.peers.common import Figure, Task, expect

SCRIPT = Path(__file__).with_suffix(".escript")
ALONE = {"local", "idle"}
"""Tasks that need no second node."""


def main(task: Task) -> Figure:
    """All of it; whoever runs this kills what is left of the group."""
    environment = {**os.environ, "ERL_EPMD_PORT": str(common.free_port())}
    command = ["escript", str(SCRIPT), task.name, str(task.count), str(task.size)]
    process_id = "0"
    if task.name not in ALONE:
        start_epmd(environment)
        other = subprocess.Popen([*command, "other"], env=environment, stdout=subprocess.PIPE, text=True)
        process_id = common.read_line(other)
    measured = subprocess.run(
        [*command, process_id], env=environment, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.split()
    expect(len(measured) >= 2, f"it printed {measured}")
    value, unit, *extra = measured
    pairs = [text.partition("=") for text in extra]
    return common.figure(float(value), unit.replace("us", "µs"), **{name: float(number) for name, _, number in pairs})


def start_epmd(environment: dict[str, str]) -> None:
    """Not as a daemon: a daemon would outlive the run."""
    program = shutil.which("epmd")
    if program is None:
        roots = Path(os.path.realpath(shutil.which("erl") or "erl")).parents
        program = str(next(found for root in roots for found in root.glob("erts-*/bin/epmd")))
    command = [program, "-port", environment["ERL_EPMD_PORT"], "-address", "127.0.0.1"]
    subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(100):
        try:
            common.connect(environment["ERL_EPMD_PORT"]).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
