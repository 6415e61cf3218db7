"""How long commands of `trio-mp` take to start, beside `import trio`: the least of many runs, one after the other.

    python -m benchmarks.starting [--rounds N] [--json FILE]

Each is a process, as the installed script `trio-mp` runs it, with the bytecode that an installed package has. Processor
time is counted, which says the same on a machine that has other things to do, and beside it the time that passes. The
commands that join a network join one of this machine: a node of another process, over a Unix socket, encrypted.

exit status: 0 if the targets hold, else 1.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from trio_mp.cli.text import Screen, Table

ROUNDS = 20

SECRET = "a secret for those who start"

BASE = "import trio"

TARGETS = {"trio-mp --help": 1.5, "trio-mp send": 4.0}
"""How many times as long as `import trio` these may take, in processor time."""

MAIN = "import sys; from trio_mp.cli import main; sys.exit(main())"
"""What the installed script does."""

NODE = """
import sys, trio, trio_mp

async def main():
    async with trio_mp.open_node("w1", profile=False, binds=["unix:" + sys.argv[1]], secret_file=sys.argv[2]) as node:
        print(node.port(lambda *_: None), flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)

trio.run(main)
"""


class Times(NamedTuple):
    """How long a process has taken, in seconds."""

    processor: float
    """Of the processor, for the program and the system."""
    wall: float
    """From its start to its end."""


def measure(command: list[str], environ: dict[str, str]) -> Times:
    """Run a command once. Raises `subprocess.CalledProcessError` if it fails."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environ)
    after, ended = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    return Times(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, ended - began)


def commands(address: str, secret_file: Path, port: str) -> dict[str, list[str]]:
    """What is measured, by its name."""
    joining = ["--seed", address, "--secret-file", str(secret_file)]
    python = [sys.executable, "-P", "-c"]
    return {
        "python": [*python, "pass"],
        BASE: [*python, "import trio"],
        "import trio_mp": [*python, "import trio_mp; trio_mp.open_node"],
        "trio-mp --help": [*python, MAIN, "--help"],
        "trio-mp send --help": [*python, MAIN, "send", "--help"],
        "trio-mp send": [*python, MAIN, "send", port, "x", *joining],
        "trio-mp nodes": [*python, MAIN, "nodes", *joining],
    }


@contextmanager
def running_node(address: str, secret_file: Path) -> Generator[str]:
    """A node that runs in a process of its own, for the length of the block; gives the ID of a port of it."""
    path = address.removeprefix("unix:")
    command = [sys.executable, "-P", "-c", NODE, path, str(secret_file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield process.stdout.readline().decode().strip()
        process.communicate()


def run(rounds: int) -> dict[str, Times]:
    """Measure everything so many times, interleaved. Returns the least of each."""
    least: dict[str, Times] = {}
    # Without it each process would compile the package anew.
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory(prefix="trio-mp-") as folder:
        secret_file, address = Path(folder) / "secret", f"unix:{folder}/s"
        secret_file.write_text(f"{SECRET}\n", encoding="utf-8")
        secret_file.chmod(0o600)
        with running_node(address, secret_file) as port:
            for _ in range(rounds + 1):
                for name, command in commands(address, secret_file, port).items():
                    times = measure(command, environ)
                    least[name] = Times(*map(min, least.get(name, times), times))
    return least


def main(arguments: list[str] | None = None, screen: Screen | None = None) -> int:
    """Measure, print a table, and say whether the targets hold. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.starting", description="Measure how commands start.")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures there")
    options = parser.parse_args(arguments)
    screen = screen or Screen()
    least = run(options.rounds)
    base = least[BASE]
    table = Table(
        ["process", "processor, ms", "wall, ms", "times `import trio`", "target"],
        frozenset({1, 2, 3, 4}),
        caption=f"The least of {options.rounds} runs. The ratio is that of processor time.",
    )
    for name, (processor, wall) in least.items():
        target = f"at most {TARGETS[name]:g}" if name in TARGETS else ""
        table.add(name, f"{1000 * processor:.1f}", f"{1000 * wall:.1f}", f"{processor / base.processor:.2f}", target)
    screen.print(table.draw(screen.width))
    if options.json is not None:
        options.json.write_text(json.dumps({name: times._asdict() for name, times in least.items()}, indent=1) + "\n")
    missed = [name for name, most in TARGETS.items() if least[name].processor > most * base.processor]
    for name in missed:
        screen.print(f"✗ {name} takes more than {TARGETS[name]:g} times as long as {BASE}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
