"""The rows of the commands that look inside a running network."""

from __future__ import annotations

import argparse

from ..command import Command, CommandFamily, seconds

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

SET = """\
An entry of the database belongs to the node that has set it, and goes with that node. So this command keeps its
entry until Ctrl-C, or for --seconds.
"""

LOGS = """\
No node keeps its log records. So this command shows those that are logged from now on: for --seconds, or with -f
until Ctrl-C. A node whose setting share_logs is off sends none.
"""


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
