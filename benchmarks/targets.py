"""The targets: what the package wants to reach, and whether it does."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.rivals import ERLANG, PYKKA, RAW, TRACTOR, UVLOOP
from trio_mp.cli.bench.analysis import Estimate
from trio_mp.cli.bench.results import BenchResults
from trio_mp.cli.bench.runner import OURS
from trio_mp.cli.bench.screen import interval, number
from trio_mp.cli.bench.slow import LIMIT
from trio_mp.cli.text import Table

PAIRS = 9
"""How many interleaved pairs, or figures, a verdict needs."""

CHANNEL_OF_TRIO = ("channel/memory", OURS)

TCP, TRIP, BULK = "one_way/tcp/1/100", "round_trip/tcp", "bulk/1MiB"


@dataclass(frozen=True)
class Target:
    """One target.

    Attributes:
      text: the target in words, for readers.
      workload: the key of our workload.
      limit: the limit of the ratio to the other figure; without another figure, of ours.
      at_least: whether the figure must be above the limit.
      other: the name and the program of the figure that ours is divided by.
      margin: our median may be larger than the other by so much, instead of a ratio.
      figures: how many figures are needed.
    """

    text: str
    workload: str
    limit: float
    at_least: bool = False
    other: tuple[str, str] | None = None
    margin: bool = False
    figures: int = PAIRS


TARGETS = (
    Target("remote one-way, plain: at least 2.0 × Erlang", f"{TCP}/plain", 2.0, True, (TCP, ERLANG)),
    Target("remote one-way, plain: at least 1.5 × asyncio+uvloop", f"{TCP}/plain", 1.5, True, (TCP, UVLOOP)),
    Target("remote one-way, plain: at least 60 × tractor", f"{TCP}/plain", 60.0, True, (TCP, TRACTOR)),
    Target("remote one-way, encrypted: at least 0.6 × plain", f"{TCP}/encrypted", 0.6, True, (f"{TCP}/plain", OURS)),
    Target("local one-way, sync handler: at least 10 × Pykka", "local/sync", 10.0, True, ("local", PYKKA)),
    Target("local one-way, sync handler: at least 0.6 × Erlang", "local/sync", 0.6, True, ("local", ERLANG)),
    Target("local one-way, port with a task: at least 0.2 × Erlang", "local/process", 0.2, True, ("local", ERLANG)),
    Target("round trip of handlers: at most 1.5 × Erlang", f"{TRIP}/handler", 1.5, False, (TRIP, ERLANG)),
    Target("round trip of handlers: at most 0.25 × tractor", f"{TRIP}/handler", 0.25, False, (TRIP, TRACTOR)),
    # With the setting `busy_poll` in both nodes, which is off by default.
    Target("round trip, low latency: at most 0.7 × Erlang", f"{TRIP}/handler_low_latency", 0.7, False, (TRIP, ERLANG)),
    Target("round trip of node.call: at most 2.0 × Erlang", f"{TRIP}/call", 2.0, False, (TRIP, ERLANG)),
    Target("messages of 1 MiB: at least 1.2 × Erlang", f"{BULK}/plain", 1.2, True, (BULK, ERLANG)),
    Target("messages of 1 MiB: at least 0.7 × raw sockets", f"{BULK}/plain", 0.7, True, (BULK, RAW)),
    Target("channel to another process: at least Trio's memory channel", "channel/there", 1.0, True, CHANNEL_OF_TRIO),
    Target("channel within a node: at least Trio's memory channel", "channel/here", 1.0, True, CHANNEL_OF_TRIO),
    Target("send_nowait: at least 0.5 × plain sends", "channel/nowait", 0.5, True, ("channel/plain", OURS)),
    Target("idle port, bare, with its ID: at most 300 bytes", "idle/bare", 300.0),
    Target("idle port with two handlers: at most 700 bytes", "idle/handlers", 700.0),
    Target("1,000,000 ports in less than 6 s", "create/1m", 6.0),
    Target("SIGKILL to notice: at most 2 ms more than a raw socket", "kill/tcp", 2.0, False, ("kill", RAW), True, 30),
    # Every run checks that each loss is reported; a run that misses a report fails.
    Target(
        "slow receiver: its sender grows by at most twice its queue_limit, every loss told",
        "slow/send",
        2 * LIMIT / 2**20,
    ),
)


@dataclass(frozen=True)
class Judgement:
    """What is known about a target.

    Attributes:
      measured: the figure or ratio; None if it was not measured.
      holds: whether the median keeps to the limit.
      verdict: the verdict in words.
    """

    measured: Estimate | None
    holds: bool
    verdict: str


def judge(target: Target, results: BenchResults) -> Judgement:
    """Compare the results with the limit of a target."""
    measured = _measured(target, results)
    if measured is None:
        return Judgement(None, False, _why_not(target, results))
    holds = measured.median >= target.limit if target.at_least else measured.median <= target.limit
    # A quick run makes a tenth of the ports, so its figure says nothing about the limit.
    verdict = "holds" if holds else "does not hold"
    if measured.count < target.figures or results.quick:
        few = f"{measured.count} of {target.figures} figures" if measured.count < target.figures else "a quick run"
        verdict = f"{verdict} so far: {few}"
    return Judgement(measured, holds, verdict)


def _measured(target: Target, results: BenchResults) -> Estimate | None:
    line = results.line(target.workload)
    if line is None:
        return None
    if target.other is None:
        return line.estimate
    if not target.margin:
        return results.ratio(target.workload, *target.other)
    other = results.line(*target.other)
    if other is None:
        return None
    ours, theirs = line.estimate, other.estimate.median
    return Estimate(ours.median - theirs, ours.low - theirs, ours.high - theirs, ours.confidence, ours.count)


def _why_not(target: Target, results: BenchResults) -> str:
    names = [f"{target.workload} ({OURS})", *([f"{target.other[0]} ({target.other[1]})"] if target.other else [])]
    failed = [name for name in names if name in results.failures]
    if failed:
        return f"failed: {failed[0]}: {results.failures[failed[0]]}"
    program = target.other[1] if target.other else OURS
    return f"not measured{f': {program} is not here' if program in results.skipped else ''}"


def draw_targets(results: BenchResults) -> Table:
    """Draw all targets as a table."""
    table = Table(("target", "measured", "interval", ""), title="targets")
    for target in TARGETS:
        found = judge(target, results)
        measured = found.measured
        shown = ("", "") if measured is None else (number(measured.median), interval(measured))
        table.add(target.text, *shown, found.verdict)
    return table
