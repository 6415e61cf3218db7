"""The process that runs one workload once. Its argument is a task, as JSON; it prints a figure, as JSON."""

from __future__ import annotations

import signal
import sys
from collections.abc import Awaitable, Callable

import msgspec
import trio

from . import channel, death, growth, local, remote, simulated, slow
from .task import TIMEOUT, Figure, Task, log_faults, report

WORKLOADS: dict[str, Callable[[Task], Awaitable[Figure]]] = {
    "local": local.one_way,
    "one_way": remote.one_way,
    "round_trip": remote.round_trip,
    "bulk": remote.bulk,
    "stream": remote.stream,
    "channel": channel.channel,
    "monitors": death.monitors,
    "kill": death.kill,
    "slow": slow.slow_receiver,
    "idle": growth.idle,
    "start": growth.start_up,
    "form": growth.form,
}


def run_task(task: Task) -> Figure:
    """Run a workload in this process.

    Raises:
      WrongResult: the workload did not do what it claims to measure.
    """
    if task.name == "simulated":
        # The simulated network starts a Trio run of its own, with a virtual clock.
        return simulated.simulated(task)
    return trio.run(WORKLOADS[task.name], task)


if __name__ == "__main__":
    # End this process even if the one that would kill it is gone.
    signal.alarm(TIMEOUT)
    log_faults()
    report(run_task(msgspec.json.decode(sys.argv[1].encode(), type=Task)))
