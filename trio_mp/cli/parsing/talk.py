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


COMMANDS: list[Command] = [
    Command(
        "ping",
        "talk",
        "ask a node whether it is there, and show how long its answers take",
        "trio-mp ping w1 --seed localhost:4040 --secret-file secret",
        _ping,
        "trio_mp.cli.talk:ping",
    ),
]
