"""Where the time of a message goes: the parts of the hot path, and what they add up to.

    python -m benchmarks.profiles [--quick] [--json FILE] [--markdown]

`hot_path.py` measures the parts, each alone; `wholes.py` measures the wholes, between two processes. The last part of a
whole is the rest, which is not measured. `python -m benchmarks.document` puts docs/profiles.json into
docs/performance.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import trio

from benchmarks import hot_path, wholes
from benchmarks.wholes import Effort
from trio_mp.cli.bench.results import machine
from trio_mp.cli.text import Screen, Table

QUICK = Effort(messages=500, runs=5, flood=5_000, trips=200, rounds=1)


class Part(msgspec.Struct, frozen=True):
    """One part of the time.

    Attributes:
      name: its name for readers.
      value: the time, in the unit of the profile.
    """

    name: str
    value: float


class Profile(msgspec.Struct, frozen=True):
    """The parts of the time that one whole takes.

    Attributes:
      key, title: its name in files, and for readers.
      unit: the unit of all values.
      parts: its parts; the last one is the rest, which is not measured.
      whole: the sum of the parts, which is measured.
    """

    key: str
    title: str
    unit: str
    parts: list[Part]
    whole: float


class Profiles(msgspec.Struct, frozen=True):
    """All profiles, and the machine on which they were measured.

    Attributes:
      date: the date and time, in UTC.
      machine: see `BenchResults`.
      quick: whether this was only a check, with too few runs for a measurement.
      profiles: the profiles.
    """

    date: str
    machine: dict[str, str]
    quick: bool
    profiles: list[Profile]


def measure(effort: Effort, *, quick: bool = False, before: Callable[[str], object] = lambda _: None) -> Profiles:
    """Measure all profiles.

    Args:
      effort: how often each part runs.
      quick: see `Profiles`.
      before: called with the name of each measurement before it begins.
    """
    before("the receiver")
    receiving, decoding, dispatching = trio.run(_receiver, effort)
    before("the sender")
    calling, flushing, sent, in_kernel, received = trio.run(_sender, effort)
    before("the system call that sends")
    writing = wholes.write_calls(effort, len(hot_path.frames_of("a" * 18, 1)[0]))
    before("round trips")
    trips = wholes.ask(effort)
    call = sum(calling.values())
    sending = calling | {"flushing: system calls": in_kernel}
    trip = {
        "the system calls send and recv, and the switches between the processes": trips["sockets"],
        "epoll": trips["epoll"] - trips["sockets"],
        "Trio's run loop": trips["trio"] - trips["epoll"],
        "splitting, decoding and checking, twice": 2 * decoding / 1e3,
        "dispatching, with the handler, twice": 2 * dispatching / 1e3,
        "the call of send, twice": 2 * call / 1e3,
        "flushing, without the system call, twice": 2 * (flushing - writing) / 1e3,
    }
    rest = "all else: the reader, waiting, the rest of the process"
    found = [
        _profile("receiver", "One way, the receiver", "ns of CPU time a message", receiving, received, rest),
        _profile(
            "sender", "One way, the sender, 100 messages a pass", "ns of CPU time a message", sending, sent,
            "flushing: all else, with the pass of the scheduler",
        ),
        _profile(
            "round_trip", "Round trip, from handler to handler and back", "µs", trip, trips["node"],
            "all else: the reader, the session, the passes of the node, twice",
        ),
    ]  # fmt: skip
    return Profiles(time.strftime("%Y-%m-%d %H:%M", time.gmtime()), machine(), quick, found)


async def _receiver(effort: Effort) -> tuple[dict[str, float], float, float]:
    return await hot_path.receiver(effort), *await hot_path.single(effort)


async def _sender(effort: Effort) -> tuple[dict[str, float], float, float, float, float]:
    async with wholes.other_node() as (node, other):
        there = node.spawn(other, "::ignore")
        calling = await hot_path.sender(effort, node, there)
        flushing = await hot_path.flushing(effort, node, there)
        return calling, flushing, *await wholes.flood(effort, node, other)


def _profile(key: str, title: str, unit: str, parts: dict[str, float], whole: float, rest: str) -> Profile:
    named = [Part(name, value) for name, value in parts.items()]
    return Profile(key, title, unit, [*named, Part(rest, whole - sum(parts.values()))], whole)


def read_profiles(path: Path) -> Profiles:
    """Read profiles from a file.

    Raises:
      OSError: there is no such file.
      ValueError: the file does not hold profiles.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Profiles)
    except msgspec.DecodeError as error:
        raise ValueError(f"{path} holds no profiles: {error}") from None


def rows(profile: Profile) -> list[tuple[str, str, str]]:
    """Return each part with its value and its share, and the whole."""
    shares = [(part.name, part.value, f"{part.value / profile.whole:.0%}") for part in profile.parts]
    shares.append(("the whole", profile.whole, ""))
    digits = 0 if profile.unit.startswith("ns") else 1
    return [(name, f"{value:.{digits}f}", share) for name, value, share in shares]


def markdown(profile: Profile) -> str:
    """Draw a table for the documentation."""
    lines = [f"| {profile.title} | {profile.unit} | share |", "| --- | ---: | ---: |"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows(profile))])


def draw(profile: Profile) -> Table:
    """Draw a table for the terminal."""
    table = Table(("part", profile.unit, "share"), right=frozenset({1, 2}), title=profile.title)
    for row in rows(profile):
        table.add(*row)
        if row[0] == profile.parts[-1].name:
            table.add_rule()
    return table


def main(arguments: list[str] | None = None, screen: Screen | None = None) -> int:
    """Measure as the arguments say; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profiles", description="Say where the time goes.")
    parser.add_argument("--quick", action="store_true", help="a few runs of each: a check, and no measurement")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep all figures there")
    parser.add_argument("--markdown", action="store_true", help="print tables for the documentation")
    options = parser.parse_args(arguments)
    screen = screen or Screen()
    effort = QUICK if options.quick else Effort()
    found = measure(effort, quick=options.quick, before=lambda what: screen.say(f"Measuring {what}"))
    if options.json is not None:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    for profile in found.profiles:
        if options.markdown:
            screen.print(markdown(profile) + "\n")
        else:
            screen.print(draw(profile).draw(screen.width) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
