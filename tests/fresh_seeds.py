"""Hammer the promise for some minutes with seeds that no other commit tries, and print one line of JSON about it.

python tests/fresh_seeds.py [--minutes M] [--jobs J]

The first seed is drawn from the hash of the commit, or from the content of the package where that is not the one of a
commit. So each commit has seeds of its own, the same commit has the same ones again, and a line can be counted once:
`tally.py` adds lines up. A seed that fails is shown on stderr, with the command that replays it, and stands in the
line. It does not change the exit status: nobody's change should wait for what a seed has found that was tried by
chance. The exit status is 1 if the hammer itself has crashed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import subprocess
import sys
import time
from collections.abc import Iterable
from itertools import takewhile
from pathlib import Path

import trio_mp
from trio_mp import testing
from trio_mp.testing._hammer import Summary, available_cores, draw, results_of, show_violation

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(trio_mp.__file__).parent
HAMMER = Path(testing.__file__).parent

LINE = "trio_mp_tally"
"""The first key of the line. Its value is the version of the line's form."""

BLOCK = 100_000
"""How many seeds belong to one commit: more than a machine of 100 cores tries in five minutes."""

BLOCKS = 10**9
"""How many blocks there are. Two of a thousand commits share one with a probability of 1 to 2,000."""


def digest_of(folder: Path) -> str:
    """The SHA-256 of the modules in a folder, with their names."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*.py"), key=lambda path: path.relative_to(folder).as_posix()):
        for part in (path.relative_to(folder).as_posix().encode(), path.read_bytes()):
            found.update(len(part).to_bytes(8, "big") + part)
    return found.hexdigest()


def source_of(package: Path, checkout: Path) -> str:
    """Where a package is from: `commit` and its hash, or `content` and the digest of its modules.

    Args:
      package: the folder of the package.
      checkout: where it may have been installed from.
    """
    content = digest_of(package)
    commit = _ask_git(checkout, "rev-parse", "--verify", "HEAD")
    changed = _ask_git(checkout, "status", "--porcelain", "--", "trio_mp")
    if commit and changed == "" and digest_of(checkout / "trio_mp") == content:
        return f"commit {commit}"
    return f"content {content}"


def _ask_git(checkout: Path, *arguments: str) -> str | None:
    """What git says; None if there is no git, or if the folder is not the root of a checkout."""
    if not (checkout / ".git").exists():
        return None
    try:
        said = subprocess.run(["git", "-C", str(checkout), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return said.stdout.strip()


def first_seed(source: str) -> int:
    """The first seed of a commit, or of a content. The first block is for seeds that people choose."""
    return BLOCK * (1 + int.from_bytes(hashlib.sha256(source.encode()).digest(), "big") % BLOCKS)


def hammer(seeds: Iterable[int], jobs: int) -> Summary:
    """Run seeds, and show on stderr those that fail."""
    summary = Summary()
    start = time.monotonic()
    with results_of(seeds, jobs) as results:
        for result in results:
            summary.add(result)
            if result.violation:
                show_violation(result, file=sys.stderr)
    summary.elapsed = time.monotonic() - start
    return summary


def line_of(source: str, first: int, summary: Summary) -> str:
    """The line of JSON about seeds that have run, from the first one on."""
    return json.dumps(
        {
            LINE: 1,
            "source": source,
            "first": first,
            "seeds": summary.seeds,
            "hours": round(summary.simulated / 3600, 3),
            "messages": summary.sent,
            "monitors": summary.fired,
            "faults": summary.faults.total(),
            "failed": sorted(result.seed for result in summary.violations),
            "hammer": digest_of(HAMMER)[:16],
            "version": trio_mp.__version__,
            "python": platform.python_version(),
        }
    )


def main(arguments: list[str]) -> int:
    """Run a command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Hammer with seeds of this commit, and print a line for the tally.")
    parser.add_argument("--minutes", type=float, default=5.0, help="how long (default: %(default)g)")
    parser.add_argument("--jobs", type=int, default=available_cores(), help="processes (default: one for each core)")
    parsed = parser.parse_args(arguments)
    source = source_of(PACKAGE, ROOT)
    first = first_seed(source)
    end = time.monotonic() + 60 * parsed.minutes
    summary = hammer(takewhile(lambda _: time.monotonic() < end, range(first, first + BLOCK)), parsed.jobs)
    print(draw(summary), file=sys.stderr)
    print(line_of(source, first, summary), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
