"""The command line of `trio-mp`: the rows of its commands, and what runs one of them.

Neither this module nor `parsing`, where the rows are, imports Trio or the rest of the package: a help, a completion and
a wrong command line cost the start of Python and little more. A row names the function that runs its command, which is
imported when the command is run.
"""

from __future__ import annotations

import argparse
import importlib
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NoReturn

from .._version import VERSION
from . import exits
from .command import GROUPS, Command, CommandFamily, seconds
from .parsing import configure, look, run, talk

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

ABOUT = "Message passing for Trio programs: nodes, ports, monitors, and no silent holes."

NEAR_IN_SENSE = {"eval": "shell"}
"""The command for a word that looks like another one."""


class ArgumentParser(argparse.ArgumentParser):
    """A parser that answers a wrong command line with one line, which says where the help is."""

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        """Print the help, at once; see `_print_and_exit`."""
        print(self.format_help(), end="", file=file)
        sys.stdout.flush()

    def error(self, message: str) -> NoReturn:
        """Print what is wrong, and exit with the status 2."""
        self.exit(exits.USAGE, f"{self.prog}: {message}; `{self.prog} --help` shows more\n")


def add_joining(parser: argparse.ArgumentParser) -> None:
    """Add the options of a command that joins the network as a tool."""
    group = parser.add_argument_group("joining the network")
    group.add_argument("--profile", metavar="NAME", help="the profile to take the settings from")
    group.add_argument(
        "--seed",
        dest="seeds",
        metavar="ADDRESS",
        action="append",
        help="a node to find the network by: host:port or unix:PATH; may be repeated",
    )
    group.add_argument("--secret-file", metavar="PATH", help="the file with the secret of the network")
    group.add_argument(
        "--timeout",
        type=seconds(0, math.inf),
        metavar="S",
        help="how long the command may take, in seconds; otherwise it may take 10 s to join, and then any time",
    )


def add_printing(parser: argparse.ArgumentParser) -> None:
    """Add the options of a command that prints data and words."""
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help="print a JSON object a line")
    group.add_argument("-q", "--quiet", action="store_true", help="no words, only data and errors")
    group.add_argument("-v", "--verbose", action="store_true", help="more words: the log, and tracebacks of errors")


def all_commands() -> list[Command]:
    """The rows of all commands."""
    return [*configure.COMMANDS, *run.COMMANDS, *talk.COMMANDS, *look.COMMANDS]


def all_families() -> list[CommandFamily]:
    """The first words of the commands of two words."""
    return [*configure.FAMILIES, *run.FAMILIES, *talk.FAMILIES, *look.FAMILIES]


def parser_of(command: Command) -> argparse.ArgumentParser:
    """Make the parser of one command."""
    parser = ArgumentParser(
        prog=f"trio-mp {command.name}",
        description=command.description or f"{command.help[0].upper()}{command.help[1:]}.",
        epilog="\n".join(_epilog(command)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        # An abbreviation in a script would break when another option is added that begins alike.
        allow_abbrev=False,
    )
    command.add_arguments(parser)
    if command.joins:
        add_joining(parser)
    if command.prints:
        add_printing(parser)
    return parser


def _epilog(command: Command) -> Iterator[str]:
    yield "example:"
    yield from (f"  {line}" for line in command.example.splitlines())
    yield ""
    yield command.status or "exit status: 0 yes, 1 no, 2 wrong usage" + (
        ", 3 cannot join, 4 refused, 5 time ran out" if command.joins else ""
    )


def help_of_all() -> str:
    """The help of `trio-mp` itself: all commands, by their groups."""
    commands, families = all_commands(), {family.name: family for family in all_families()}
    shown: dict[str, tuple[str, str]] = {}
    for command in commands:
        first = command.name.split()[0]
        shown[first] = (families[first].group, families[first].help) if first in families else command[1:3]
    width = max(map(len, shown)) + 2
    lines = ["usage: trio-mp COMMAND …", "", ABOUT]
    for group, heading in GROUPS.items():
        members = [(name, text) for name, (its_group, text) in shown.items() if its_group == group]
        lines += ["", heading, *(f"  {name:{width}}{text}" for name, text in members)] if members else []
    return "\n".join(
        [*lines, "", "`trio-mp COMMAND --help` shows an example of each. `trio-mp --version` shows the version."]
    )


def help_of_family(family: str, commands: Sequence[Command]) -> str:
    """The help of a first word, such as `trio-mp profile`: its commands."""
    width = max(len(command.name) for command in commands) + 2
    lines = [f"usage: trio-mp {family} COMMAND …", ""]
    lines += [f"  {command.name:{width}}{command.help}" for command in commands]
    return "\n".join([*lines, "", f"`trio-mp {commands[0].name} --help` shows an example, as with the others."])


def find_command(words: Sequence[str]) -> tuple[Command, Sequence[str]]:
    """Find the row of a command line, and what follows the command's name.

    Raises:
      SystemExit: there is no such command (2), or the command line asks for the help or the version (0).
    """
    commands = all_commands()
    word = words[0] if words else ""
    if word in ("-h", "--help", "help"):
        _print_and_exit(help_of_all())
    if word == "--version":
        _print_and_exit(f"trio-mp {VERSION}")
    family = [command for command in commands if command.name.startswith(f"{word} ")]
    if family and word:
        if words[1:2] and words[1] in ("-h", "--help"):
            _print_and_exit(help_of_family(word, family))
        found = next((command for command in family if command.name.split()[1:] == list(words[1:2])), None)
        if found is None:
            _refuse(f"trio-mp {word}", words[1:], [command.name.split()[1] for command in family])
        return found, words[2:]
    found = next((command for command in commands if command.name == word), None)
    if found is None:
        _refuse("trio-mp", words[:1], list(dict.fromkeys(command.name.split()[0] for command in commands)))
    return found, words[1:]


def _print_and_exit(text: str) -> NoReturn:
    # Now, so that an error comes where it is caught: nobody may read it any more, as in `trio-mp --help | head -1`.
    print(text, flush=True)
    raise SystemExit(exits.OK)


def _refuse(program: str, words: Sequence[str], names: Sequence[str]) -> NoReturn:
    """Say that this is no command, with one that is most like it."""
    import difflib  # for a wrong command line alone

    if not words:
        told = "expected a command"
    elif words[0].startswith("-"):
        told = f"expected a command first, got {words[0]!r}: options stand behind the command"
    else:
        known = [name for name in (NEAR_IN_SENSE.get(words[0]),) if name in names]
        near = known or difflib.get_close_matches(words[0], names, n=1)
        meant = near[0] if near else ""
        if not near and program == "trio-mp profile" and len(words) > 2:
            # `profile NAME SETTING VALUE`, as the tool of AnyEvent::MP has it.
            meant = f"`trio-mp profile set {words[0]} {words[1]} …`"
        told = f"expected a command, got {words[0]!r}{f'; did you mean {meant}?' if meant else ''}"
    print(f"{program}: {told}; `{program} --help` shows all commands", file=sys.stderr)
    raise SystemExit(exits.USAGE)


def parse(command: Command, words: Sequence[str]) -> argparse.Namespace:
    """Parse what follows the name of a command."""
    parser = parser_of(command)
    # Options may stand between the words of a message; argparse cannot do that for what it is to leave alone.
    takes_rest = any(action.nargs in (argparse.PARSER, argparse.REMAINDER) for action in parser._actions)
    parse_words = parser.parse_args if takes_rest or "--" in words else parser.parse_intermixed_args
    return parse_words(list(words))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns its exit status.

    Args:
      arguments: what follows the program's name; those of this process by default.

    Raises:
      SystemExit: the command line is wrong (2), or asks for help or the version (0).
    """
    parsed = argparse.Namespace()
    try:
        command, rest = find_command(sys.argv[1:] if arguments is None else arguments)
        parsed = parse(command, rest)
        parsed.command = command.name
        module, _, function = command.run.partition(":")
        run_command: Callable[[argparse.Namespace], int] = getattr(importlib.import_module(module), function)
        status = run_command(parsed)
        sys.stdout.flush()
        return status
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - becomes a line and an exit status
        return exits.report(error, parsed)
