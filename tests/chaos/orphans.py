"""Kill a parent with SIGKILL again and again, and check that none of its processes is left after two seconds.

    PYTHONPATH=tests python -m chaos.orphans --times 100

Each time the parent has five processes: one that waits, one that computes without a checkpoint, one that shields itself
from being stopped, one that does not end when its node has, and one whose interpreter takes long to end. In every other
run a fork of the parent holds copies of the pipes by which they hear of its end.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from child_process import WITHIN, seconds_until_gone, started_parent

CHILDREN = ("idle", "blocking", "stubborn", "lingering", "finalising")


def main() -> int:
    """Kill parents, and print how many of them left nothing. Returns 1 if one left a process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=100, help="how often (100)")
    times: int = parser.parse_args().times
    taken: list[float] = []
    for number in range(times):
        names = (*CHILDREN, "forked") if number % 2 else CHILDREN
        with tempfile.TemporaryDirectory(prefix="mp-", dir="/tmp") as directory:
            log = Path(directory) / "log"
            with started_parent(f"unix:{directory}/s", *names, log=log) as parent:
                taken.append(seconds_until_gone(parent))
    gone = sum(seconds < WITHIN for seconds in taken)
    print(f"{gone} of {times} gone within {WITHIN:g} s; the longest took {max(taken):.2f} s")
    return int(gone != times)


if __name__ == "__main__":
    sys.exit(main())
