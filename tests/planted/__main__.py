"""Break the package, a fault at a time, and see that the tests notice: `PYTHONPATH=tests python -m planted --help`."""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import replace

from .fault import Fault
from .faults import FAULTS
from .trial import Outcome, broken_copy, run_tests, try_fault


def try_nothing(faults: list[Fault]) -> Outcome:
    """Run all tests that are named against an unbroken copy: one that fails anyway catches nothing."""
    tests = tuple(dict.fromkeys(test for fault in faults for test in fault.tests))
    with broken_copy(lambda _package: None) as copy:
        return run_tests(copy, tests, first_only=False)


def table(faults: list[Fault], outcomes: dict[str, Outcome], *, why: bool) -> str:
    """The end of it all."""
    width = max(len(fault.name) for fault in faults)
    lines: list[str] = []
    for fault in faults:
        outcome = outcomes[fault.name]
        lines.append(f"{fault.name:{width}}  {outcome.seconds:5.1f} s  {outcome.verdict:8}  {outcome.test}")
        if why or outcome.verdict != "caught":
            lines.append(f"{'':{width}}           {fault.rule}\n{'':{width}}           {outcome.why}")
    return "\n".join(lines)


def main() -> int:
    """Returns 1 if a fault was not caught."""
    parser = argparse.ArgumentParser(prog="planted", description="Plant faults, and see that the tests catch them.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these; all of them by default")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    parser.add_argument("--why", action="store_true", help="show which rule each one breaks, and how its test failed")
    parser.add_argument("--against", action="append", metavar="TEST", help="these tests, and not those that are named")
    parser.add_argument("--list", action="store_true", help="show the faults, and plant none")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - {fault.name for fault in FAULTS}
    if unknown:
        parser.error(f"no such fault: {', '.join(sorted(unknown))}")
    faults = [fault for fault in FAULTS if not arguments.names or fault.name in arguments.names]
    if arguments.against:
        faults = [replace(fault, tests=tuple(arguments.against)) for fault in faults]
    if arguments.list:
        print("\n".join(f"{fault.name}: {fault.rule}" for fault in faults))
        return 0
    began = time.monotonic()
    outcomes: dict[str, Outcome] = {}
    with ThreadPoolExecutor(max(1, arguments.jobs)) as pool:
        unbroken = pool.submit(try_nothing, faults)
        trials: dict[Future[Outcome], str] = {pool.submit(try_fault, fault): fault.name for fault in faults}
        for trial in as_completed(trials):
            name, outcome = trials[trial], trial.result()
            outcomes[name] = outcome
            print(f"{len(outcomes):3}/{len(faults)}  {name}: {outcome.verdict}, {outcome.seconds:.1f} s", flush=True)
    print("\n" + table(faults, outcomes, why=arguments.why))
    missed = [name for name, outcome in outcomes.items() if outcome.verdict != "caught"]
    seconds = time.monotonic() - began
    print(f"\n{len(faults)} faults, {len(faults) - len(missed)} caught, {len(missed)} not; {seconds:.0f} s")
    if unbroken.result().verdict != "survived":
        print(f"the unbroken package does not pass these tests: {unbroken.result()}")
        return 1
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
