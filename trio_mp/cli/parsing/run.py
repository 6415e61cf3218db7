"""The rows of the commands that run programs: the demo and the benchmark among them."""

from __future__ import annotations

import argparse

from ..command import Command, CommandFamily, seconds, whole_number

DEFAULT_NODES, MINIMUM_NODES, MAXIMUM_NODES = 4, 2, 12
DEFAULT_SECONDS, MINIMUM_SECONDS, MAXIMUM_SECONDS = 12.0, 3.0, 3600.0

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

FAMILIES: list[CommandFamily] = []


def _demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--nodes",
        type=whole_number(MINIMUM_NODES, MAXIMUM_NODES),
        default=DEFAULT_NODES,
        metavar="N",
        help=f"how many nodes there are beside the seed, {MINIMUM_NODES} to {MAXIMUM_NODES} (default: %(default)s)",
    )
    parser.add_argument(
        "--seconds",
        type=seconds(MINIMUM_SECONDS, MAXIMUM_SECONDS),
        default=DEFAULT_SECONDS,
        metavar="S",
        help=f"for how long messages flow, in seconds, at least {MINIMUM_SECONDS:g} (default: %(default)g)",
    )
    parser.add_argument(
        "--plain",
        action="store_true",
        help="print a line for each event and each second, as for logs; the default where the output is no terminal",
    )


def _bench(parser: argparse.ArgumentParser) -> None:
    from ..bench.main import add_arguments  # with all workloads, whose names are among its arguments

    add_arguments(parser)


COMMANDS: list[Command] = [
    Command(
        "demo",
        "run",
        "show the promise: several nodes, live, with a connection cut and a node killed, and a verdict",
        "trio-mp demo --nodes 6 --seconds 20",
        _demo,
        "trio_mp.cli.demo.main:run_parsed",
        joins=False,
        prints=False,
        description=DEMO,
        status="exit status: 0 if there was no hole and everything above happened, else 1, with the reason.",
    ),
    Command(
        "bench",
        "run",
        "measure this machine: medians, intervals, and what has changed since an earlier benchmark",
        "trio-mp bench --quick --only local",
        _bench,
        "trio_mp.cli.bench.main:run_parsed",
        joins=False,
        prints=False,
        description=BENCH,
        status="exit status: 0 if every workload gave a figure, else 1, with the reason.",
    ),
]
