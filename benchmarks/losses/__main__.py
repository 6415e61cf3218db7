"""Run all systems that this machine has, and print what became of the numbers.

    python -m benchmarks.losses [--runs N] [--quick] [--json FILE] [--only NAME] [--errors]

Linux only. Systems that are not installed are named and left out: `find_version` in systems.py says what each needs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.losses.contract import Plan
from benchmarks.losses.results import Case, LossResults, describe_machine, write_losses
from benchmarks.losses.runner import FailedRun, Run, run_once
from benchmarks.losses.systems import CUT, KILLED, SYSTEMS, System, Way, find_version, server_version
from benchmarks.losses.table import HEAD, rows_of

TITLES = {KILLED: "The receiver's process is killed", CUT: "The connection is reset, and both processes live"}


def main() -> int:
    """Read the arguments, and run. Returns the exit status."""
    description = "Send numbered messages through several systems, break them, and say who was told."
    parser = argparse.ArgumentParser(prog="python -m benchmarks.losses", description=description)
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="runs of each case; 5 by default")
    parser.add_argument("--quick", action="store_true", help="a check: fewer numbers, one run")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found there")
    parser.add_argument("--only", action="append", metavar="NAME", help="only this system, or SYSTEM/KIND")
    parser.add_argument("--fault", choices=[KILLED, CUT], help="only this fault")
    parser.add_argument("--errors", action="store_true", help="show what the programs write to standard error")
    arguments = parser.parse_args()
    plan = Plan("", count=1000) if arguments.quick else Plan("")
    runs = 1 if arguments.quick else arguments.runs
    errors = None if arguments.errors else subprocess.DEVNULL
    versions, skipped, cases, failed = {}, {}, [], False
    for system in SYSTEMS:
        chosen = [way for way in system.ways if _wanted(arguments.only, system, way)]
        version, why = find_version(system) if chosen else ("", "")
        if why:
            skipped[system.name] = why
            print(f"without {system.name}: {why}", flush=True)
        elif chosen:
            versions[system.name] = version
            if system.module == "nats":
                versions["NATS server"] = server_version()
        for way in chosen if version else ():
            for fault in way.faults:
                if arguments.fault in {None, fault}:
                    found = _run_all(system, way, fault, plan, runs, errors)
                    failed = failed or len(found) < runs
                    if found:
                        cases.append(Case(system.name, way.kind, way.title, fault, tuple(found)))
    results = LossResults(
        datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        describe_machine() | versions,
        skipped,
        plan.count,
        plan.rate,
        plan.busy,
        tuple(cases),
    )
    _print(results)
    if arguments.json is not None:
        write_losses(arguments.json, results)
    return int(failed)


def _wanted(only: list[str] | None, system: System, way: Way) -> bool:
    return only is None or system.name in only or f"{system.name}/{way.kind}" in only


def _run_all(system: System, way: Way, fault: str, plan: Plan, runs: int, errors: int | None) -> list[Run]:
    """Run one case as often as wanted. A run that fails is named, and left out."""
    found = []
    for number in range(1, runs + 1):
        name = f"{system.name}/{way.kind}, {fault}, run {number}"
        try:
            run = run_once(system, way, fault, plan, errors=errors)
        except (FailedRun, OSError, subprocess.SubprocessError) as error:
            print(f"{name} FAILED: {error}", flush=True)
            continue
        print(f"{name}: {run}", flush=True)
        found.append(run)
    return found


def _print(results: LossResults) -> None:
    for fault, title in TITLES.items():
        if results.of(fault):
            print(f"\n{title}\n")
            table = [HEAD, *rows_of(results, fault)]
            widths = [max(map(len, column)) for column in zip(*table, strict=True)]
            for row in table:
                print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


if __name__ == "__main__":
    sys.exit(main())
