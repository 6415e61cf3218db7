"""`PYTHONPATH=tests python -m chaos --help`."""

from __future__ import annotations

import argparse
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

import trio

from .campaign import Campaign, Outcome, Plan


def carry_out(plan: Plan, *, keep: bool) -> Outcome:
    """Carry out a plan in a directory of its own, print the outcome, and keep the directory if something is wrong."""
    # In /tmp, because a Unix socket's path is limited to 107 bytes.
    directory = Path(tempfile.mkdtemp(prefix="chaos-", dir="/tmp"))
    outcome = trio.run(Campaign(plan, directory).run)
    print(outcome.table(), flush=True)
    if not outcome.holds:
        print(outcome.limited_log(), flush=True)
    if keep or not outcome.holds:
        print(f"journals, logs and faults.log: {directory}", flush=True)
    else:
        shutil.rmtree(directory)
    return outcome


def main() -> int:
    """Carry out the plans of the arguments. Returns 1 if something was wrong."""
    parser = argparse.ArgumentParser(prog="chaos", description="Chaos between real processes, under the oracle.")
    parser.add_argument("--minutes", type=float, default=10, help="how long things go wrong, in each run (10)")
    parser.add_argument("--seed", type=int, help="what the choices come from (random)")
    parser.add_argument("--kind", choices=("unix", "tcp", "all"), default="all", help="of sockets")
    parser.add_argument("--encryption", choices=("on", "off", "all"), default="all")
    parser.add_argument("--heartbeat", type=float, default=0.3, help="in seconds (0.3)")
    parser.add_argument("--keep", action="store_true", help="keep the journals and logs of a clean run too")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else secrets.randbelow(10**6)
    kinds = ("unix", "tcp") if arguments.kind == "all" else (arguments.kind,)
    encryptions = {"on": (True,), "off": (False,), "all": (True, False)}[arguments.encryption]
    plans = [
        Plan(arguments.minutes * 60, seed, kind, encryption, arguments.heartbeat)
        for kind in kinds
        for encryption in encryptions
    ]
    outcomes = [carry_out(plan, keep=arguments.keep) for plan in plans]
    return 0 if all(outcome.holds for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
