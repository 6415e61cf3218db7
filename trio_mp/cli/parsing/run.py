"""The rows of the commands that run programs: the demo and the benchmark among them."""

from __future__ import annotations

import argparse

from ..command import Command, CommandFamily, seconds, whole_number

DEFAULT_NODES, MINIMUM_NODES, MAXIMUM_NODES = 4, 2, 12
DEFAULT_SECONDS, MINIMUM_SECONDS, MAXIMUM_SECONDS = 12.0, 3.0, 3600.0

RUN = """\
Imports MODULE, whose folder may be the current one, and runs its async function FUNCTION in a node:
`async def main(node, *arguments)`. The node's settings are from the options, the variables TRIO_MP_…
and the profile, and its services run with it. Without MODULE the services run alone, until the last of
them has ended.

The program ends by itself, or by SIGTERM or Ctrl-C: then the node drains, for at most its drain_timeout;
the program is cancelled and unwinds, and what it has sent still goes out. A second SIGTERM cancels it
now, and a third one ends the process at once; a second Ctrl-C interrupts it. Options stand before
MODULE; what is behind it belongs to the program.

With --workers each of N processes runs all of that, in a node of its own; none of them outlives the
process that supervises them. That one has the binds of the settings. It gives up when there are more
than three restarts a worker within half a minute.
"""

RESTARTS = ("never", "on-failure", "always")

RUN_STATUS = """\
exit status: 0 the program has ended, or the node has drained and was stopped; 1 it was cut short while
it drained, or the program has raised an exception, which is shown, or a worker has failed; 2 there is no
such program, or a setting is wrong; 3 the node cannot listen where it should, or is not in the network
within its attach_timeout; 75 an operator wants it to be started again; 130 a second Ctrl-C. What the
program gives to sys.exit() wins."""

SEED = """\
Runs a node by which others find the network, and nothing else: it has no services, and no program.
It prints where it listens, one address a line, and runs until it is stopped.
"""

SEED_STATUS = """\
exit status: 0 it was stopped, and had drained; 1 it was cut short; 2 a setting is wrong; 3 it cannot
listen where it should, or is not in the network within its attach_timeout; 75 an operator wants it
to be started again; 130 a second Ctrl-C."""

DRAIN = """\
Has the node take leave of its work, and waits until it has: what was registered there is withdrawn, others
are told that it goes, calls are answered, and messages that were sent before are handled. The node goes on
running; send its process SIGTERM then, or see `trio-mp stop`. It cannot be undone, except by a new start.
The node needs the setting inspect = "act".
"""

STOP = """\
Has the program of the node end in good order, as SIGTERM does: the node drains, for at most its
drain_timeout; then the program is cancelled, and the node closes. Waits until that has happened. It works
with nodes of `trio-mp run` and `trio-mp seed`, and with programs that use stop_on_signals(). The node needs
the setting inspect = "act".
"""

RESTART = """\
As `trio-mp stop`, but the process ends with the status 75, by which it asks whoever runs it to start it
again; waits until a node of that ID is in the network again. Refused if nobody is known who would start it:
the process must be a worker of `trio-mp run --workers` that is restarted, or a service of systemd, or run
in Kubernetes, or be the first process of a container.
"""

GUEST_STATUS = """\
exit status: 0 nothing was unfinished; 1 something was, or there is no such node; 2 wrong usage; 3 cannot
join; 4 refused; 5 time ran out, and the node goes on with it"""


DOCTOR = """\
Tries, for each seed, what a node does to join the network: it resolves the name, dials, proves that it
has the secret and asks for the same, compares versions and clocks, and waits until it has joined. Each
line is `ok`, a `warning`, or `wrong`, with what to do about it. What is wrong with the configuration
itself says `trio-mp check`.
"""

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


def add_node_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that give the settings of a node; they win over variables and profiles."""
    group = parser.add_argument_group("the node")
    group.add_argument("--profile", metavar="NAME", help="the profile to take the settings from")
    group.add_argument("--id", dest="node_id", metavar="ID", help="the node ID; random by default")
    group.add_argument(
        "--seed",
        dest="seeds",
        metavar="ADDRESS",
        action="append",
        help="a node to find the network by: host:port or unix:PATH; may be repeated",
    )
    group.add_argument(
        "--bind",
        dest="binds",
        metavar="ADDRESS",
        action="append",
        help="where to listen: host:port, where the host may be `*`, or unix:PATH; may be repeated",
    )
    group.add_argument("--secret-file", metavar="PATH", help="the file with the secret of the network")


def add_worker_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that have several processes run a program."""
    workers = parser.add_argument_group("processes")
    workers.add_argument(
        "--workers",
        type=whole_number(1),
        metavar="N",
        help="run the program in N processes, with the node IDs ID/1 to ID/N, beside a node ID that supervises them",
    )
    workers.add_argument(
        "--restart",
        choices=RESTARTS,
        help="when a worker is started again that has ended (default: on-failure); with the exit status 75 it is"
        " started again unless this is `never`",
    )


def _run(parser: argparse.ArgumentParser) -> None:
    # Of its own argparse would show `...` for the words.
    parser.usage = "%(prog)s [OPTION …] [MODULE[:FUNCTION] [ARGUMENT …]]"
    add_node_options(parser)
    add_worker_options(parser)
    # How the supervising process starts a worker.
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument(
        "words",
        metavar="MODULE[:FUNCTION] [ARGUMENT …]",
        nargs=argparse.REMAINDER,
        help="the program, and what its function gets behind the node; FUNCTION is `main` by default",
    )


def _node(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("node", metavar="NODE", help="the ID of the node")


def _restart(parser: argparse.ArgumentParser) -> None:
    _node(parser)
    parser.add_argument("--force", action="store_true", help="also if the node knows of nobody who starts it again")


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
        "run",
        "run",
        "run a program and the services of a profile in a node",
        "trio-mp run --id ruth --seed seed.example:4040 app:main eggs spam\n"
        "trio-mp run --profile ruth --workers 4 --restart always",
        _run,
        "trio_mp.cli.run:run",
        joins=False,
        description=RUN,
        status=RUN_STATUS,
    ),
    Command(
        "seed",
        "run",
        "run a node by which others find the network, and nothing else",
        "trio-mp seed --bind '*:4040' --secret-file secret",
        add_node_options,
        "trio_mp.cli.run:seed",
        joins=False,
        description=SEED,
        status=SEED_STATUS,
    ),
    Command(
        "drain",
        "run",
        "have a node finish its work and take no more",
        "trio-mp drain w1 --timeout 60",
        _node,
        "trio_mp.cli.guest:drain",
        description=DRAIN,
        status=GUEST_STATUS,
    ),
    Command(
        "stop",
        "run",
        "have a node drain and its program end",
        "trio-mp stop w1",
        _node,
        "trio_mp.cli.guest:stop",
        description=STOP,
        status=GUEST_STATUS,
    ),
    Command(
        "restart",
        "run",
        "have a node drain and its program start anew",
        "trio-mp restart w1 --timeout 60",
        _restart,
        "trio_mp.cli.guest:restart",
        description=RESTART,
        status=GUEST_STATUS,
    ),
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
    Command(
        "doctor",
        "run",
        "try all that a node needs to join the network, and say what to do about what does not work",
        "trio-mp doctor --seed seed.example:4040 --secret-file secret",
        lambda _: None,
        "trio_mp.cli.doctor:doctor",
        description=DOCTOR,
        status="exit status: 0 nothing is wrong, 1 something is, 2 a setting is wrong, 5 time ran out",
    ),
]
