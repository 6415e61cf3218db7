"""What `trio-mp` understands on its command line."""

from __future__ import annotations

import argparse
import importlib.metadata
import math
import socket
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

MAXIMUM_SECONDS = 3600

DEMO = """\
Starts a seed and several nodes as processes of this machine, connected by Unix sockets in a temporary directory, with
a random secret; there is nothing to configure. All send numbered messages to all others, and monitor them. While
messages flow a connection is cut whose two ends live on, then a node is killed with SIGKILL, then it is started again.

Every node records what it sends, what it is told of losses, and what it receives, where SIGKILL cannot erase it. At the
end these records are compared: each message was delivered, in order and at most once, or its loss was reported before
anything sent after it arrived.
"""

BENCH = """\
Measures every workload in processes of its own, in rounds through all of them, and prints medians with the
nonparametric interval of the median, from order statistics. Each run also checks that what it measured is true: that
all messages arrived, in order. The comparison with other programs is in the source repository: `nox -s bench`.

It takes up to twenty minutes, and wants a machine that does nothing else.
"""

STATUS = "exit status: 0 if there was no hole and everything above was seen to happen, else 1, with the reason."


def make_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="trio-mp", description="Message passing for Trio programs: nodes, ports, monitors, and no silent holes."
    )
    version = importlib.metadata.version("trio_mp")
    parser.add_argument("--version", action="version", version=f"trio-mp {version}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    demo = commands.add_parser(
        "demo",
        help="see it: several nodes, live, with a connection cut and a node killed, and a verdict at the end",
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
        help=f"for how long messages flow, at least {MINIMUM_SECONDS:g} (default: %(default)g)",
    )
    demo.add_argument(
        "--plain",
        action="store_true",
        help="a line for each event and each second, for logs and pipes; the default where the output is no terminal",
    )
    bench = commands.add_parser(
        "bench",
        help="measure it on this machine: medians, intervals, and what has changed since an earlier run",
        description=BENCH,
        epilog="exit status: 0 if every workload gave a figure, else 1, with the reason.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(bench)
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
    if not hasattr(socket, "AF_UNIX"):
        parser.error(f"the {parsed.command} connects nodes by Unix sockets, which this platform does not have")
    if parsed.command == "bench":
        return run_bench(options_of(parsed))[0]
    return run_demo(DemoOptions(nodes=parsed.nodes, seconds=parsed.seconds, plain=parsed.plain))
