"""The command line of `trio-mp`: its parser, and what runs each command."""

from __future__ import annotations

import argparse
import importlib.metadata
import math
import socket
import sys
from collections.abc import Callable, Sequence

from .bench.main import add_arguments, options_of, run_bench
from .demo.main import (
    DEFAULT_NODES,
    DEFAULT_SECONDS,
    MAXIMUM_NODES,
    MINIMUM_NODES,
    MINIMUM_SECONDS,
    DemoOptions,
    run_demo,
)
from .profile import add_profile_parsers, run_profile

MAXIMUM_SECONDS = 3600

DEMO = """\
Starts a seed and several nodes as processes of this machine. They connect by Unix sockets in a
temporary directory, with a random secret; there is nothing to configure. Every node sends numbered
messages to all others, and monitors them. While messages flow, the demo cuts a connection whose two
nodes live on, then kills a node with SIGKILL, and then starts that node again.

Every node writes a journal of what it sends, of the losses that are reported to it, and of what it
receives; SIGKILL cannot erase that. At the end the demo compares the journals: each message was
delivered, in order and at most once, or its loss was reported before any later message arrived.
"""

BENCH = """\
Measures every workload in processes of its own, in rounds through all of them, and prints medians
with their nonparametric intervals. Each run also checks that it did what it claims to measure: that
all messages arrived, in order. In the source repository, `nox -s bench` compares with other
programs.

The benchmark takes up to twenty minutes, and needs a machine that does nothing else.
"""

STATUS = "exit status: 0 if there was no hole and everything above happened, else 1, with the reason."


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="trio-mp", description="Message passing for Trio programs: nodes, ports, monitors, and no silent holes."
    )
    version = importlib.metadata.version("trio_mp")
    parser.add_argument("--version", action="version", version=f"trio-mp {version}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    demo = commands.add_parser(
        "demo",
        help="show the promise: several nodes, live, with a connection cut and a node killed, and a verdict at the end",
        description=DEMO,
        epilog=STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    demo.add_argument(
        "--nodes",
        type=_whole_number(MINIMUM_NODES, MAXIMUM_NODES),
        default=DEFAULT_NODES,
        metavar="N",
        help=f"how many nodes there are beside the seed, {MINIMUM_NODES} to {MAXIMUM_NODES} (default: %(default)s)",
    )
    demo.add_argument(
        "--seconds",
        type=_seconds(MINIMUM_SECONDS, MAXIMUM_SECONDS),
        default=DEFAULT_SECONDS,
        metavar="S",
        help=f"for how long messages flow, in seconds, at least {MINIMUM_SECONDS:g} (default: %(default)g)",
    )
    demo.add_argument(
        "--plain",
        action="store_true",
        help="print a line for each event and each second, as for logs; the default where the output is no terminal",
    )
    bench = commands.add_parser(
        "bench",
        help="measure this machine: medians, intervals, and what has changed since an earlier benchmark",
        description=BENCH,
        epilog="exit status: 0 if every workload gave a figure, else 1, with the reason.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(bench)
    add_profile_parsers(commands)
    return parser


def _whole_number(least: int, most: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"expected a whole number from {least} to {most}, got {text!r}")
        return int(text)

    return convert


def _seconds(least: float, most: float) -> Callable[[str], float]:
    def convert(text: str) -> float:
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if not least <= seconds <= most:
            raise argparse.ArgumentTypeError(f"expected a number of seconds from {least:g} to {most:g}, got {text!r}")
        return seconds

    return convert


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns its exit status.

    Args:
      arguments: what follows the program's name; those of this process by default.

    Raises:
      SystemExit: the command line is wrong (2), or asks for help or the version (0).
    """
    parser = make_parser()
    parsed = parser.parse_args(arguments)
    if parsed.command in ("profile", "init", "secret"):
        return run_profile(parsed)
    if not hasattr(socket, "AF_UNIX"):
        parser.error(f"expected a platform with Unix sockets, which the {parsed.command} needs, got {sys.platform}")
    if parsed.command == "bench":
        return run_bench(options_of(parsed))[0]
    return run_demo(DemoOptions(nodes=parsed.nodes, seconds=parsed.seconds, plain=parsed.plain))
