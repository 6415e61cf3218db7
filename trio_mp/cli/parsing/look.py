"""The rows of the commands that look inside a running network."""

from __future__ import annotations

import argparse

from ..command import Command, CommandFamily, seconds, whole_number

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

SET = """\
An entry of the database belongs to the node that has set it, and goes with that node. So this command keeps its
entry until Ctrl-C, or for --seconds.
"""

LOGS = """\
No node keeps its log records. So this command shows those that are logged from now on: for --seconds, or with -f
until Ctrl-C. A node whose setting share_logs is off sends none.
"""


INSPECT = """\
A node shows this to others only if its setting inspect says so, which is off by default:
`trio-mp profile set default inspect read`, and start the nodes again. With `act` they show the IDs of
ports and stacks, too, and let others trace and kill.
"""

TOP = f"""\
{INSPECT}
Asks all nodes again and again, and shows on a terminal what they say. Elsewhere, and with --once, it shows one table.
A row has the messages of each second (from other nodes, to others, and within the node), what waits in the node, what
was lost, the calls in flight, the restarts by supervisors, and the delay of the scheduler. Ctrl-C ends it.
"""

ORDERS = ("rate", "queued", "lost", "ports", "calls", "restarts", "delay", "blocked", "up", "node")


def _top(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--once", action="store_true", help="show one table, also on a terminal")
    parser.add_argument(
        "--sort", choices=ORDERS, default="rate", help="the column whose greatest come first (default: %(default)s)"
    )
    parser.add_argument(
        "--interval",
        type=seconds(0.1, 3600),
        default=1.0,
        metavar="S",
        help="the time between two pictures, and for which rates are measured, in seconds (default: %(default)g)",
    )


def _ps(parser: argparse.ArgumentParser) -> None:
    _node(parser)
    parser.add_argument("--tree", action="store_true", help="as a tree: supervisors, their children, and all tasks")
    parser.add_argument("--stacks", action="store_true", help='where each task is; the node needs inspect = "act"')
    parser.add_argument("--all", action="store_true", help="the tasks of the node itself, too")


TRACE = """\
Shows each message that a port gets, as it comes. The port gets what it would get, and when it would. The node needs
inspect = "act", and logs who traces.
"""


def _trace(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("port", metavar="PORT", help="the ID of a port; or the ID of a node, before NUMBER")
    parser.add_argument(
        "number", metavar="NUMBER", nargs="?", type=whole_number(1), help="what `trio-mp ports` calls the port"
    )
    parser.add_argument(
        "--limit",
        type=whole_number(1, 10_000),
        default=100,
        metavar="N",
        help="how many messages are shown (default: %(default)s)",
    )
    parser.add_argument(
        "--seconds",
        type=seconds(0, 3600),
        default=60.0,
        metavar="S",
        help="after how many seconds it ends (default: %(default)g)",
    )


SHELL = """\
A Python prompt in which `node` is open, as a tool that has joined the network, and `await` works: `await
node.call("w1", "time")`. All of it runs here; other nodes get messages, and evaluate nothing. Lines may also come from
a pipe; then the exit status is 1 if one of them has raised.
"""

LINKS = f"""\
{INSPECT}
Global nodes stand at the left, with their guests below them. A connection between other nodes is marked with ↔, and
shown once. A node whose setting inspect is "off" says nothing, but its peers name it.
"""


def _links(parser: argparse.ArgumentParser) -> None:
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--dot", action="store_true", help="for Graphviz: trio-mp links --dot | dot -Tsvg > network.svg")
    forms.add_argument("--mermaid", action="store_true", help="for Mermaid, as Markdown takes it")
    parser.add_argument("--all", action="store_true", help="all connections, however many one node has")


def _node(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("node", metavar="NODE", help="the ID of the node")


def _ports(parser: argparse.ArgumentParser) -> None:
    _node(parser)
    parser.add_argument(
        "--by",
        choices=("queue", "rate", "age"),
        default="queue",
        help="which come first: those with most messages waiting, those that get most, or the oldest"
        " (default: %(default)s)",
    )
    parser.add_argument(
        "--limit", type=whole_number(1), default=20, metavar="N", help="how many are shown (default: %(default)s)"
    )


HEALTH = """\
For probes that run a command. Joins nothing: it asks at the address of the node's setting health, which it takes from
ADDRESS, from TRIO_MP_HEALTH or from the profile. It prints the answer, one line.
"""

HEALTH_STATUS = """\
exit status: 0 yes, 1 no, and the line says why, 2 there is no address or a wrong one, 3 nobody answers, or something
that is no node, 5 time ran out"""


def _health(parser: argparse.ArgumentParser) -> None:
    questions = parser.add_mutually_exclusive_group()
    questions.add_argument("--ready", action="store_true", help="ask whether others may use the node now: the default")
    questions.add_argument("--live", action="store_true", help="ask whether the node works at all")
    parser.add_argument("--profile", metavar="NAME", help="the profile to take the setting health from")
    parser.add_argument(
        "--timeout",
        type=seconds(0, 3600),
        default=5.0,
        metavar="S",
        help="how long the answer may take, in seconds (default: %(default)g)",
    )
    parser.add_argument("address", metavar="ADDRESS", nargs="?", help="unix:PATH or host:port")


def _nothing(_: argparse.ArgumentParser) -> None:
    pass


def _family(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("family", metavar="FAMILY", help="the name of a family; trio_mp.nodes has the nodes")


def _get(parser: argparse.ArgumentParser) -> None:
    _family(parser)
    parser.add_argument("key", metavar="KEY", nargs="?", help="show only the value of this key")


def _set(parser: argparse.ArgumentParser) -> None:
    _family(parser)
    parser.add_argument("key", metavar="KEY")
    parser.add_argument("value", metavar="VALUE", help="text; or JSON, if it begins with [ or {")
    parser.add_argument("--typed", action="store_true", help="VALUE is JSON in any case, so that 5 is a number")
    _for_seconds(parser, None, "how long the entry is kept (default: until Ctrl-C)")


def _for_seconds(parser: argparse.ArgumentParser, default: float | None, text: str) -> None:
    parser.add_argument("--seconds", type=seconds(0, 1e9), default=default, metavar="S", help=text)


def _logs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-f", "--follow", action="store_true", help="until Ctrl-C")
    parser.add_argument(
        "--node", dest="nodes", metavar="ID", action="append", help="only records of this node; may be repeated"
    )
    parser.add_argument(
        "--level", choices=LEVELS, default="INFO", type=str.upper, help="the lowest level (default: %(default)s)"
    )
    _for_seconds(parser, 10.0, "how long records are awaited without -f (default: %(default)g)")


FAMILIES = [CommandFamily("db", "look", "read and follow the database that all nodes share, and set entries")]

_HERE = "trio_mp.cli.look"

COMMANDS = [
    Command(
        name="top",
        group="look",
        help="show what all nodes do now, again and again",
        description=TOP,
        example="trio-mp top --sort queued",
        add_arguments=_top,
        run=f"{_HERE}.top:top",
    ),
    Command(
        name="ps",
        group="look",
        help="show the tasks of a node, its supervisors, and their children",
        description=INSPECT,
        example="trio-mp ps w1 --tree",
        add_arguments=_ps,
        run=f"{_HERE}.processes:ps",
    ),
    Command(
        name="trace",
        group="look",
        help="show the messages that one port gets",
        description=TRACE,
        example="trio-mp trace w1 7 --limit 20",
        add_arguments=_trace,
        run=f"{_HERE}.trace:trace",
    ),
    Command(
        name="shell",
        group="look",
        help="a Python prompt with a node that has joined the network",
        description=SHELL,
        example="""trio-mp shell\necho 'await node.call("w1", "time")' | trio-mp shell""",
        add_arguments=_nothing,
        run=f"{_HERE}.shell:shell",
    ),
    Command(
        name="health",
        group="look",
        help="ask a node whether it is ready, or lives, for probes",
        description=HEALTH,
        example="trio-mp health --live 127.0.0.1:8081",
        add_arguments=_health,
        run="trio_mp.cli.health:health",
        joins=False,
        status=HEALTH_STATUS,
    ),
    Command(
        name="links",
        group="look",
        help="show which nodes there are, and which are connected, as a tree",
        description=LINKS,
        example="trio-mp links\ntrio-mp links --dot | dot -Tsvg > network.svg",
        add_arguments=_links,
        run=f"{_HERE}.links:links",
    ),
    Command(
        name="ports",
        group="look",
        help="show the ports of a node: those with the longest queues first",
        description=INSPECT,
        example="trio-mp ports w1 --by queue --limit 5",
        add_arguments=_ports,
        run=f"{_HERE}.ports:ports",
    ),
    Command("db list", "look", "list the families", "trio-mp db list", _nothing, f"{_HERE}.database:list_families"),
    Command(
        name="db get",
        group="look",
        help="show a family, or the value of one key",
        example="trio-mp db get doublers",
        add_arguments=_get,
        run=f"{_HERE}.database:get",
        status="exit status: 0 if there is such an entry, 1 if not, 2 wrong usage, 3 cannot join, 5 time ran out",
    ),
    Command(
        name="db watch",
        group="look",
        help="show a family, and then each change of it, until Ctrl-C",
        example="trio-mp db watch doublers",
        add_arguments=_family,
        run=f"{_HERE}.database:watch",
    ),
    Command(
        name="db set",
        group="look",
        help="set an entry, for as long as the command runs",
        description=SET,
        example="trio-mp db set limits busy --typed 5",
        add_arguments=_set,
        run=f"{_HERE}.database:set_entry",
    ),
    Command(
        name="logs",
        group="look",
        help="show the log records of all nodes",
        description=LOGS,
        example="trio-mp logs -f --node w1 --level WARNING",
        add_arguments=_logs,
        run=f"{_HERE}.logs:logs",
    ),
]
