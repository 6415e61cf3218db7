"""Fuzz every parser with atheris: `PYTHONPATH=tests python -m fuzzing --help`. Needs CPython 3.11 and atheris."""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import Future, ThreadPoolExecutor, wait

from .campaign import CORPUS, Progress, fuzz
from .targets import TARGETS

REPORT_EVERY = 30.0
"""Seconds between two lines about a target."""


def show(progress: Progress) -> None:
    """One line about a target that is being worked on."""
    print(
        f"{progress.target:20}{progress.state:9}{progress.executions:>12,} executions {progress.speed:>9,}/s"
        f"  coverage {progress.coverage:,}  features {progress.features:,}  corpus {progress.kept:,}",
        flush=True,
    )


def table(all_progress: list[Progress]) -> str:
    """The end of it all."""
    rows = [("target", "executions", "exec/s", "corpus files", "coverage", "features", "crashes")]
    for progress in all_progress:
        numbers = (progress.executions, progress.speed, progress.kept, progress.coverage, progress.features)
        rows.append((progress.target, *(f"{number:,}" for number in numbers), str(len(progress.crashes))))  # type: ignore[arg-type]
    return "\n".join(f"{row[0]:20}" + "".join(f"{cell:>13}" for cell in row[1:]) for row in rows)


def run(names: list[str], seconds: int, jobs: int) -> list[Progress]:
    """Fuzz the targets, so many at a time and each for so many seconds, and show how far they are."""
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
    """Returns 1 if anything broke."""
    parser = argparse.ArgumentParser(prog="fuzzing", description="Fuzz every parser of bytes from outside.")
    parser.add_argument("--minutes", type=float, default=10, help="for all targets together, without merging")
    parser.add_argument("--target", action="append", choices=sorted(TARGETS), metavar="NAME", help=", ".join(TARGETS))
    parser.add_argument("--jobs", type=int, default=1, help="how many targets at a time")
    arguments = parser.parse_args()
    names = list(dict.fromkeys(arguments.target or TARGETS))
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
