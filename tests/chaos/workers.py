"""Workers killed under load: a check that every task is answered once, or its loss reported.

    PYTHONPATH=tests python -m chaos.workers [--seconds N] [--seed N] [--workers N]

The program calls tasks of all kinds without a pause: short and long, sync and async, with little and much data, some
cancelled and some that may run twice. Each task writes its number into a file when it runs, so the file says how often
it has run. Meanwhile the program kills workers. The seed fixes the calls and kills, but not what they meet.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio
import worker_functions as functions

import trio_mp
from trio_mp import WorkerLost, Workers

BULK = 300_000


@dataclass
class Tally:
    """The results of all tasks.

    Attributes:
      journal: the file with the numbers of the tasks that have run, one line for each run.
      answered, lost, cancelled: the numbers of the tasks that have ended in this way.
      idempotent: the numbers of the tasks that may run more than once.
      wrong: texts about errors.
      kills: how many workers were killed.
    """

    journal: Path
    answered: set[int] = field(default_factory=set)
    lost: set[int] = field(default_factory=set)
    cancelled: set[int] = field(default_factory=set)
    idempotent: set[int] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    kills: int = 0

    def check(self, count: int) -> None:
        """Compare the results with the journal, after the last call; `count` tasks were called."""
        runs = Counter(map(int, self.journal.read_text().split())) if self.journal.exists() else Counter[int]()
        ends = Counter([*self.answered, *self.lost, *self.cancelled])
        for number in range(count):
            if ends[number] != 1:
                self.wrong.append(f"task {number} has ended {ends[number]} times")
            if number in self.answered and not runs[number]:
                self.wrong.append(f"task {number} was answered, and has never run")
            if runs[number] > (3 if number in self.idempotent else 1):
                self.wrong.append(f"task {number} has run {runs[number]} times")
        if self.lost & self.idempotent and self.kills < 3:
            self.wrong.append("tasks that may run again were lost")

    def __str__(self) -> str:
        told = f"{len(self.answered)} answered, {len(self.lost)} told as lost, {len(self.cancelled)} cancelled"
        return f"{self.kills} workers killed; {told}; {len(self.wrong)} wrong"


async def call(workers: Workers, tally: Tally, number: int, kind: str, *, idempotent: bool, patience: float) -> None:
    """Call one task, and note its result."""
    if idempotent:
        tally.idempotent.add(number)
    path, data = str(tally.journal), bytes(BULK) if kind == "bulk" else b""
    seconds = {"long": 0.03, "async": 0.02}.get(kind, 0.0)
    function = functions.note_async if kind == "async" else functions.note
    with trio.move_on_after(patience) as scope:
        try:
            result = await workers.run(function, path, number, seconds, data, idempotent=idempotent)
        except WorkerLost:
            tally.lost.add(number)
        except Exception as error:  # noqa: BLE001 - any other exception is an error
            tally.wrong.append(f"task {number} has raised {error!r}")
        else:
            tally.answered.add(number)
            if result != [number, data]:
                tally.wrong.append(f"task {number} has returned {result!s:.80}")
    if scope.cancelled_caught:
        tally.cancelled.add(number)


async def run_campaign(seconds: float, seed: int, count: int, journal: Path) -> Tally:
    """Call tasks and kill workers for so many seconds; return the results."""
    numbers = random.Random(seed)
    tally = Tally(journal)
    called = 0
    settings: Any = {"modules": [functions.__name__], "limit": 10**6}
    async with trio_mp.open_node(profile=False) as node, node.open_workers(count, **settings) as workers:
        end = trio.current_time() + seconds

        async def kill() -> None:
            while trio.current_time() < end:
                await trio.sleep(numbers.uniform(0.02, 1.5))
                if workers.processes:
                    os.kill(numbers.choice(workers.processes), signal.SIGKILL)
                    tally.kills += 1

        async def load() -> None:
            nonlocal called
            while trio.current_time() < end:
                kind = numbers.choice(["short", "short", "short", "long", "async", "bulk"])
                patience = numbers.uniform(0, 0.2) if numbers.random() < 0.1 else float("inf")
                number, called = called, called + 1
                await call(workers, tally, number, kind, idempotent=numbers.random() < 0.3, patience=patience)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(kill)
            for _ in range(10 * count):
                nursery.start_soon(load)
    tally.check(called)
    return tally


def main() -> int:
    """Run the campaign of the arguments; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m chaos.workers", description="Kill workers under load.")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        journal = Path(directory) / "journal"
        tally = trio.run(run_campaign, arguments.seconds, arguments.seed, arguments.workers, journal)
    print(f"seed {arguments.seed}: {tally}")
    for text in tally.wrong[:20]:
        print(text)
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
