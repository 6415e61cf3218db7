"""The page docs/comparison.md: its experiment runs here in small, and it says what the experiment has shown."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load(name: str) -> ModuleType:
    """A module of `benchmarks`, from the checkout, of which nothing else can be imported here."""
    if "benchmarks" not in sys.modules:
        folder = ROOT / "benchmarks"
        spec = importlib.util.spec_from_file_location(
            "benchmarks", folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        assert spec is not None
        assert spec.loader is not None
        sys.modules["benchmarks"] = package = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(package)
    return importlib.import_module(f"benchmarks.losses.{name}")


judging, systems, tables = load("judge"), load("systems"), load("table")

# The judge ------------------------------------------------------------------------------------------------------------


def verdict(count: int, arrivals: str, *notices: tuple[int, float, int]) -> Any:
    """What is judged of numbers that arrive at the seconds 1, 2, 3 …, and of notices: next, second, about."""
    clock = itertools.count(1)
    arrived = [judging.Arrival(int(number), next(clock) * 10**9) for number in arrivals.split()]
    told = [judging.Notice(following, int(second * 10**9), about, "it") for following, second, about in notices]
    return judging.judge(count, arrived, told)


def outcome(found: Any) -> tuple[int, int, int]:
    assert found.lost == found.in_time + found.late + found.untold
    return found.in_time, found.late, found.untold


def test_nothing_is_lost() -> None:
    found = verdict(3, "1 2 3")
    assert (found.lost, found.twice, found.disordered, found.notices, found.by) == (0, 0, 0, 0, ())


@pytest.mark.parametrize(
    "notices, expected",
    [
        # 3 and 4 are missing; 5 arrives in the third second.
        ([], (0, 0, 2)),
        ([(5, 2.5, 0)], (2, 0, 0)),
        ([(6, 3.5, 0)], (0, 2, 0)),
        # The sender had sent 3 when it was told, but not 4.
        ([(4, 2.5, 0)], (1, 0, 1)),
        ([(4, 2.5, 0), (7, 9, 0)], (1, 1, 0)),
        # It was told of an earlier loss.
        ([(3, 0.5, 0)], (0, 0, 2)),
        # The system has named a number.
        ([(6, 2.5, 4)], (1, 0, 1)),
        ([(6, 2.5, 4), (6, 3.5, 3)], (1, 1, 0)),
        # A sender that has asked where to go on may be told at a smaller number later.
        ([(5, 2.5, 0), (2, 2.6, 0)], (2, 0, 0)),
    ],
)
def test_when_the_sender_was_told(notices: list[tuple[int, float, int]], expected: tuple[int, int, int]) -> None:
    assert outcome(verdict(6, "1 2 5 6", *notices)) == expected


def test_what_is_lost_at_the_end_is_told_whenever_it_is() -> None:
    assert outcome(verdict(4, "1 2", (5, 99, 0))) == (2, 0, 0)
    assert outcome(verdict(4, "1 2")) == (0, 0, 2)


def test_what_comes_twice_or_late() -> None:
    found = verdict(5, "1 2 4 3 2 5")
    assert (found.lost, found.twice, found.disordered) == (0, 1, 1)


# What the page says ---------------------------------------------------------------------------------------------------


def test_the_page_says_what_was_found() -> None:
    """Otherwise: python -m benchmarks.losses.document."""
    document = load("document")
    page = document.PAGE.read_text(encoding="utf-8")
    assert {found[2] for found in document.MARKS.finditer(page)} == {"setting", systems.KILLED, systems.CUT}
    assert document.fill(page, load("results").read_losses(document.FIGURES)) == page


def test_what_was_found_is_complete() -> None:
    """Every way of every system that was there has runs of each fault, and no run of ours has a silent hole."""
    results = load("results").read_losses(load("document").FIGURES)
    expected = {
        (system.name, way.kind, fault)
        for system in systems.SYSTEMS
        if system.name not in results.skipped
        for way in system.ways
        for fault in way.faults
    }
    assert {(case.system, case.kind, case.fault) for case in results.cases} == expected
    assert all(len(case.runs) >= 5 for case in results.cases)
    for case in results.cases:
        if case.system == "trio_mp":
            check_ours(case.kind, case.fault, [run.verdict for run in case.runs])


def check_ours(kind: str, fault: str, verdicts: list[Any]) -> None:
    """What trio_mp promises of each way to use it."""
    for found in verdicts:
        assert found.twice == found.disordered == 0
        if kind == "asks":
            assert found.lost == 0
        elif kind == "unmonitored":
            assert found.notices == 0
            assert found.untold == found.lost
        else:
            assert found.in_time == found.lost
            assert found.notices >= 1
        # What has arrived while the receiver was busy dies with it.
        assert fault != systems.KILLED or kind == "asks" or found.lost > 0


def test_the_cells_of_the_tables() -> None:
    assert tables.spread([3, 1, 2]) == "2 (1 to 3)"
    assert tables.spread([1234.4, 1234.3]) == "1,234"
    results, runner = load("results"), load("runner")

    def case(*verdicts: Any) -> Any:
        runs = tuple(runner.Run(one, 2.0 if one.notices else None, 1) for one in verdicts)
        return results.Case("system", "kind", "title", "killed", runs)

    lost, told = verdict(3, "1 3"), verdict(3, "1 3", (3, 1.5, 0))
    late = verdict(3, "1 3", (3, 2.5, 0))
    assert tables.in_time(case(verdict(1, "1"))) == "nothing lost"
    assert tables.in_time(case(told)) == "yes, all"
    assert tables.in_time(case(lost)) == "no; never: 1"
    assert tables.in_time(case(told, late, lost)) == "1 of 3; later: 1; never: 1"
    assert tables.told(case(lost)) == "no"
    assert tables.told(case(told, lost)) == "`it` in 1 of 2 runs, after 2 ms"


# The experiment itself ------------------------------------------------------------------------------------------------

OURS = systems.SYSTEMS[0]
CASES = [
    pytest.param(system, way, fault, id=f"{system.name}-{way.kind}-{fault}")
    for system in systems.SYSTEMS
    for way in system.ways
    for fault in way.faults
]


@pytest.mark.skipif(sys.platform != "linux", reason="it cuts connections in a way that only Linux has")
@pytest.mark.usefixtures("require_tcp")
@pytest.mark.parametrize("system, way, fault", CASES)
def test_the_experiment(system: Any, way: Any, fault: str) -> None:
    _, why = systems.find_version(system)
    if why:
        pytest.skip(why)
    if fault == systems.CUT and not load("cut").can_cut():
        pytest.skip("this system does not let a process have the sockets of another one")
    plan, runner = load("contract").Plan("", count=600, rate=2000), load("runner")
    if way.kind.startswith("jetstream"):
        # A server that has nothing else to hand out was seen to hand out nothing again, either: version 2.9.10.
        plan = load("contract").Plan("", count=1200, rate=200)
    # The sender of ours has an answer behind the last number: nothing comes later.
    run = runner.run_once(system, way, fault, plan, quiet=0.5 if system is OURS else None)
    if system is OURS:
        check_ours(way.kind, fault, [run.verdict])
    if (system.name, way.kind) in LOSES_NOTHING:
        assert run.verdict.lost == 0
    if (system.name, way.kind) in TELLS_NOBODY:
        assert run.verdict.untold == run.verdict.lost


LOSES_NOTHING = {("Erlang", "asks"), ("Ray", "retries"), ("NATS", "jetstream"), ("NATS", "jetstream_single")}
TELLS_NOBODY = {("Erlang", "unmonitored"), ("NATS", "core")}
