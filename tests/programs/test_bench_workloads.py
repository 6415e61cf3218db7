"""Every workload of the benchmark, in small: it runs, and checks what it measured."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import msgspec
import pytest
from msgspec import structs

from trio_mp.cli.bench.catalogue import GROUPS, Workload, WorkloadGroup
from trio_mp.cli.bench.runner import OURS, Cell, own_command, run_cell
from trio_mp.cli.bench.slow import _judge
from trio_mp.cli.bench.task import Figure, Task, WrongResult

ROOT = Path(__file__).resolve().parents[2]

SMALL = {"form": 3, "simulated": 5, "slow": 20_000}
"""What is smaller still than a thousandth: processes, nodes; and what has to be enough to fill a queue."""


def small(task: Task, workload: Workload) -> Task:
    return structs.replace(
        workload.scaled(0.001), count=SMALL.get(task.name, workload.scaled(0.001).count), peers=min(task.peers, 2)
    )


def run_small(workload: Workload) -> Figure:
    task = small(workload.task, workload)
    return run_cell(Cell("group", workload.key, OURS, own_command(task), 1))


ALL = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
"""Whether every workload is tried, or one of each group."""

WORKLOADS = [
    pytest.param(group, workload, id=workload.key)
    for group in GROUPS
    for workload in group.workloads[: None if ALL else 1]
]


@pytest.mark.exhaustive
@pytest.mark.usefixtures("require_tcp")
@pytest.mark.parametrize("group, workload", WORKLOADS)
def test_a_workload(group: WorkloadGroup, workload: Workload) -> None:
    figure = run_small(workload)
    # What does not grow grows by nothing, or, where it had been given back, by less.
    assert figure.value > 0 or group.key in {"slow", "idle"}
    assert group.title.endswith(f" {figure.unit}")
    if workload.key == "slow/send":
        assert figure.extra["received"] < figure.extra["sent"]


@pytest.mark.usefixtures("require_tcp")
@pytest.mark.parametrize("name", ["one_way", "round_trip", "bulk", "kill"])
@pytest.mark.parametrize("peer", ["raw", "erlang"])
def test_a_peer_that_needs_nothing_else(peer: str, name: str) -> None:
    if peer == "erlang" and not (shutil.which("erl") and shutil.which("escript")):
        pytest.skip("Erlang is not here")
    text = msgspec.json.encode(Task(name, 1 if name == "kill" else 30, size=1000 if name == "bulk" else 0)).decode()
    command = (sys.executable, "-m", "benchmarks.peers", peer, text)
    figure = run_cell(Cell("group", name, peer, command, 1, {"PYTHONPATH": str(ROOT)}, str(ROOT)))
    assert figure.value > 0
    assert figure.unit == {"one_way": "messages/s", "round_trip": "µs", "bulk": "MB/s", "kill": "ms"}[name]


@pytest.mark.parametrize(
    "before, sent, fired, figures",
    [
        # One is missing, and nobody was told; or it was told of another place; or twice; or the end never came.
        (100, 100, 0, (99, 99, [[50, 52]])),
        (100, 100, 0, (99, 98, [])),
        (100, 110, 1, (109, 109, [[50, 52]])),
        (100, 110, 2, (60, 109, [[49, 100]])),
        (100, 110, 1, (60, 105, [[49, 100]])),
        (100, 110, 1, (61, 109, [[49, 100], [102, 104]])),
    ],
)
def test_a_silent_loss_is_no_figure(
    before: int, sent: int, fired: int, figures: tuple[int, int, list[list[int]]]
) -> None:
    with pytest.raises(WrongResult):
        _judge(before, sent, fired, figures)


def test_a_loss_that_was_told_is_one() -> None:
    _judge(100, 110, 1, (60, 109, [[49, 100]]))
    _judge(100, 100, 0, (100, 99, []))
