"""The rows of the commands that talk to a running network: messages, calls, spawns, monitors."""

from __future__ import annotations

import argparse

from ..command import Command, CommandFamily, seconds, whole_number

FAMILIES: list[CommandFamily] = []


def _ping(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("node", metavar="NODE", help="the ID of the node")
    parser.add_argument(
        "--count", type=whole_number(1), default=4, metavar="N", help="how many questions to ask (default: %(default)s)"
    )
    parser.add_argument(
        "--interval",
        type=seconds(0, 3600),
        default=0.2,
        metavar="S",
        help="how long to wait between two questions, in seconds (default: %(default)g)",
    )


def _words(parser: argparse.ArgumentParser, name: str = "WORD", text: str = "the message") -> None:
    parser.add_argument(
        "words", metavar=name, nargs="*", help=f"{text}: texts; or all of it as JSON, if the one word begins with ["
    )


def _send(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("port", metavar="PORT", help="the ID of the port, NODE#NAME, or of a node for its own port")
    _words(parser)


def _spawn(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("node", metavar="NODE", help="the ID of the node, or of any port there")
    parser.add_argument("function", metavar="MODULE:FUNCTION", help="a @spawnable function of its spawn_modules")
    _words(parser, "ARG", "the function's arguments")


def _monitor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ports", metavar="PORT", nargs="+", help="the ID of a port, or of a node for its connection")
    parser.add_argument("--count", type=whole_number(1), metavar="N", help="end after so many deaths (default: all)")


def _kill(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("port", metavar="PORT", help="the ID of the port, NODE#NAME")
    _words(parser, "REASON", "why, for who monitors it (default: killed)")
    parser.add_argument("--yes", action="store_true", help="needed, because others may monitor the port")


def _nodes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--watch", action="store_true", help="show who comes and goes, until Ctrl-C")
    parser.add_argument("--tools", action="store_true", help="show tools as well: commands such as this one")
    parser.add_argument("--count", type=whole_number(1), metavar="N", help="with --watch: end after so many lines")


SEND = """\
Sends a message, and asks the node of the port behind it what became of it:

  delivered     the port has it: a handler has taken it, or it waits in the mailbox
  refused       the port lives, and does not take such a message
  dead          the port is dead; it may have died of this message
  perhaps lost  the connection was lost, and nobody knows
"""

KILL = """\
Who monitors the port is told, and ports that are linked to it die with it. Which these are only the
port's node knows, and tells nobody: so this command wants --yes in any case.
"""

COMMANDS: list[Command] = [
    Command(
        "send",
        "talk",
        "send a message to a port, and say what became of it",
        "trio-mp send w1#rkLDX2Y9xIWc6QgE.1 greet ruth",
        _send,
        "trio_mp.cli.talk:send",
        description=SEND,
    ),
    Command(
        "call",
        "talk",
        "send a message to a port, and print its answer",
        "trio-mp call w1 info --timeout 5",
        _send,
        "trio_mp.cli.talk:call",
    ),
    Command(
        "spawn",
        "talk",
        "have a node make a port, and print its ID",
        "trio-mp spawn w1 app.jobs:counter 5",
        _spawn,
        "trio_mp.cli.talk:spawn",
    ),
    Command(
        "monitor",
        "talk",
        "wait until ports die, and print why",
        "trio-mp monitor w1#rkLDX2Y9xIWc6QgE.1 w2#c0FKa3_1Zi0u2mHb.4 --count 1",
        _monitor,
        "trio_mp.cli.talk:monitor",
    ),
    Command(
        "kill",
        "talk",
        "kill a port",
        "trio-mp kill w1#rkLDX2Y9xIWc6QgE.1 --yes too slow",
        _kill,
        "trio_mp.cli.talk:kill",
        description=KILL,
    ),
    Command(
        "nodes",
        "look",
        "the nodes of the network, and where they listen",
        "trio-mp nodes --watch",
        _nodes,
        "trio_mp.cli.talk:nodes",
    ),
    Command(
        "ping",
        "look",
        "ask a node whether it is there, and show how long its answers take",
        "trio-mp ping w1 --seed localhost:4040 --secret-file secret",
        _ping,
        "trio_mp.cli.talk:ping",
    ),
]
