"""The rows of the commands that configure: profiles, secrets, certificates."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from ..command import Command, CommandFamily

RUN_PROFILE = "trio_mp.cli.profile:run_profile"

PROFILE = """\
NAME is the name of a profile, or `default` for the settings that hold for all profiles. Comments in
the file, and its order, stay.
"""

FAMILIES = [
    CommandFamily("profile", "configure", "show and change the profiles, from which nodes take their settings"),
    CommandFamily("secret", "configure", "make secrets"),
]


def _nothing(_: argparse.ArgumentParser) -> None:
    pass


def _name(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?" if optional else None)


def _show(parser: argparse.ArgumentParser) -> None:
    _name(parser, optional=True)
    text = "all settings that a node would take, and where each is from"
    parser.add_argument("--effective", action="store_true", help=text)


def _setting(parser: argparse.ArgumentParser, *, values: bool = True) -> None:
    _name(parser)
    parser.add_argument("setting", metavar="SETTING")
    if values:
        parser.add_argument("values", metavar="VALUE", nargs="+")


def _new_secret(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--file", type=Path, metavar="PATH", help="the file, which must not exist yet")


_row = partial(Command, group="configure", run=RUN_PROFILE, joins=False)

COMMANDS: list[Command] = [
    _row(
        name="init",
        help="make the file with the profiles, and a file with a new secret beside it",
        description="Makes both files where they are missing, so that nobody else can read them, and says where.",
        example="trio-mp init",
        add_arguments=_nothing,
    ),
    _row(
        name="profile list",
        help="the names of the profiles, one a line; * marks the one in use",
        example="trio-mp profile list",
        add_arguments=_nothing,
    ),
    _row(
        name="profile show",
        help="a profile as it is written; without a name the whole file",
        description=PROFILE,
        example="trio-mp profile show ruth --effective",
        add_arguments=_show,
    ),
    _row(
        name="profile set",
        help="set a setting; several values, or one with commas, are a list; `[]` is an empty one",
        description=PROFILE,
        example="trio-mp profile set ruth node_id ruth",
        add_arguments=_setting,
    ),
    _row(
        name="profile unset",
        help="remove a setting from a profile",
        description=PROFILE,
        example="trio-mp profile unset ruth heartbeat",
        add_arguments=partial(_setting, values=False),
    ),
    _row(
        name="profile add",
        help="add values to a list: binds, seeds, services, spawn_modules",
        description=PROFILE,
        example="""trio-mp profile add ruth services chat.server '["irc:start", "irc.example", 6667]'""",
        add_arguments=_setting,
    ),
    _row(
        name="profile remove",
        help="remove values from a list",
        description=PROFILE,
        example="trio-mp profile remove ruth services chat.server",
        add_arguments=_setting,
    ),
    _row(
        name="profile use",
        help="say which profile programs get that name none; without a name, none",
        example="trio-mp profile use ruth",
        add_arguments=partial(_name, optional=True),
    ),
    _row(
        name="profile delete",
        help="delete a profile",
        example="trio-mp profile delete ruth",
        add_arguments=_name,
    ),
    _row(
        name="secret new",
        help="print a new secret, or write it to a file that only you can read",
        example="trio-mp secret new --file secret",
        add_arguments=_new_secret,
    ),
]
