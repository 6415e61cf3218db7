"""Fuzz every parser with atheris, and whole nodes by members: `PYTHONPATH=tests python -m fuzzing --help`.

Fuzzing parsers needs CPython 3.11 and atheris. `--target member` needs neither, and its seed repeats it.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import Future, ThreadPoolExecutor, wait

from . import member
from .campaign import CORPUS, Progress, fuzz
from .targets import TARGETS

MEMBER = "member"
"""The one target that is no parser: whole nodes."""

REPORT_EVERY = 30.0
"""Seconds between two lines about a target."""


def show(progress: Progress) -> None:
    """Print one line about the present target."""
    print(
        f"{progress.target:20}{progress.state:9}{progress.executions:>12,} executions {progress.speed:>9,}/s"
        f"  coverage {progress.coverage:,}  features {progress.features:,}  corpus {progress.kept:,}",
        flush=True,
    )


def table(all_progress: list[Progress]) -> str:
    """Return the final table."""
    rows = [("target", "executions", "exec/s", "corpus files", "coverage", "features", "crashes")]
    for progress in all_progress:
        numbers = (progress.executions, progress.speed, progress.kept, progress.coverage, progress.features)
        rows.append((progress.target, *(f"{number:,}" for number in numbers), str(len(progress.crashes))))  # type: ignore[arg-type]
    return "\n".join(f"{row[0]:20}" + "".join(f"{cell:>13}" for cell in row[1:]) for row in rows)


def run(names: list[str], seconds: int, jobs: int) -> list[Progress]:
    """Fuzz the targets, `jobs` at a time and each for so many seconds, and print their progress."""
    all_progress = [Progress(name) for name in names]
    with ThreadPoolExecutor(jobs) as pool:
        futures: list[Future[None]] = [pool.submit(fuzz, progress, seconds) for progress in all_progress]
        while wait(futures, REPORT_EVERY).not_done:
            for progress in all_progress:
                if progress.state in {"fuzzing", "merging"}:
                    show(progress)
    for future in futures:
        future.result()
    return all_progress


def main() -> int:
    """Fuzz the targets of the arguments. Returns 1 if anything broke."""
    about = "Fuzz every parser of bytes from outside, and whole nodes by members that say anything."
    parser = argparse.ArgumentParser(prog="fuzzing", description=about)
    parser.add_argument("--minutes", type=float, default=10, help="for all targets together, without merging")
    every = [*TARGETS, MEMBER]
    parser.add_argument("--target", action="append", choices=every, metavar="NAME", help=", ".join(every))
    parser.add_argument("--jobs", type=int, default=1, help="how many targets at a time")
    parser.add_argument("--seed", type=int, help="of the first round of members; any by default")
    parser.add_argument("--messages", type=int, default=10**6, help="after so many, members have said enough")
    arguments = parser.parse_args()
    names = list(dict.fromkeys(arguments.target or every))
    broken = 0
    if MEMBER in names:
        seed = member.new_seed() if arguments.seed is None else arguments.seed
        broken = member.run(seed, arguments.messages, arguments.minutes / len(names))
        arguments.minutes *= 1 - 1 / len(names)
        names.remove(MEMBER)
    return max(min(broken, 1), fuzz_parsers(names, arguments) if names else 0)


def fuzz_parsers(names: list[str], arguments: argparse.Namespace) -> int:
    """Fuzz parsers. Returns 1 if anything broke."""
    jobs = max(1, min(arguments.jobs, len(names)))
    seconds = max(1, round(arguments.minutes * 60 * jobs / len(names)))
    print(f"{len(names)} targets, {jobs} at a time, {seconds} s each; the corpus is {CORPUS}", flush=True)
    all_progress = run(names, seconds, jobs)
    print("\n" + table(all_progress))
    for progress in all_progress:
        if progress.output:
            print(f"\n{progress.target}:\n{progress.output}")
        for crash in progress.crashes:
            print(f"crash: {crash}")
    return 1 if any(progress.output for progress in all_progress) else 0


if __name__ == "__main__":
    sys.exit(main())
