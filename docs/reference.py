"""Writes the parts of the reference pages that are made from the code.

python docs/reference.py [--check]

On a page, `<!-- begin: NAME -->` and `<!-- end: NAME -->` enclose what `BLOCKS[NAME]` returns. All else is by hand. The
list of settings in the docstring of `open_node` is made here as well. With `--check` nothing is written, and the exit
status is 1 if something would be; a test does the same.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import os
import re
import sys
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import settings_table

import trio_mp
from trio_mp import _reason
from trio_mp._events import EVENTS
from trio_mp._profiles.variables import CONFIG
from trio_mp._protocol.groups import roster
from trio_mp._protocol.requests import WORDS
from trio_mp.cli import command as rows, exits
from trio_mp.cli.parser import all_commands, all_families, find_command, parse, parser_of
from trio_mp.cli.unit.compose import write_compose
from trio_mp.cli.unit.containers import ContainerOptions
from trio_mp.cli.unit.kubernetes import write_kubernetes
from trio_mp.cli.unit.plan import make_plan
from trio_mp.cli.unit.slurm import SlurmOptions, write_slurm
from trio_mp.cli.unit.systemd import SystemdOptions, write_service, write_socket

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(trio_mp.__file__).parent
COMMAND = "python docs/reference.py"

# Reasons --------------------------------------------------------------------------------------------------------------

_PLACEHOLDERS = {"node_id": "nodeid", "port": "nodeid#name", "limit": 100_000}


def reason_makers() -> Iterator[Callable[..., _reason.Reason]]:
    """The functions that make the reasons of the package, in the order of the source."""
    for module in (_reason, roster):
        for function in vars(module).values():
            is_own = inspect.isfunction(function) and function.__module__ == module.__name__
            if is_own and inspect.signature(function).return_annotation == "Reason":
                yield function


def example_of(make: Callable[..., _reason.Reason]) -> _reason.Reason:
    """A reason that this function makes."""
    arguments: list[Any] = []
    for name, parameter in inspect.signature(make).parameters.items():
        if "BaseException" in str(parameter.annotation) or parameter.annotation == "Exception":
            arguments.append(ValueError("…"))
        else:
            arguments.append(_PLACEHOLDERS.get(name, "…"))
    return make(*arguments)


def reasons_table() -> str:
    """All reasons of the package."""
    lines = ["| reason | it is the reason … |", "| --- | --- |"]
    shown = [
        (_reason.NORMAL, "of a normal death: `kill` was called without a reason, a function returned, a block ended")
    ]
    for make in reason_makers():
        text = " ".join((make.__doc__ or "").split()).removeprefix("The reason ")
        shown.append((example_of(make), text.removesuffix(".") if ". " not in text else text))
    for reason, text in shown:
        form = ", ".join(
            ["nodeid" if one == "nodeid" else "…" if place else f'"{one}"' for place, one in enumerate(reason)]
        )
        lines.append(f"| `({form})` | {text} |")
    return "\n".join(lines) + "\n"


# Loggers --------------------------------------------------------------------------------------------------------------

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

ABOUT = {
    "trio_mp": "the node: where its settings are from, its services, requests that it refuses, messages sent later",
    "trio_mp.connection": "connections, peers and seeds: who comes and goes, what is refused, what is lost",
    "trio_mp.inspect": "who has inspected this node, and what was done",
    "trio_mp.port": "ports: deaths, losses, refused messages, handlers that compute for too long",
    "trio_mp.drain": "draining: what this node waits for, what was not finished",
    "trio_mp.database": "the shared database and its entries",
    "trio_mp.group": "groups: who joins and leaves, calls that go to another member",
    "trio_mp.spawn": "what other nodes start here: ports, byte streams, channels",
    "trio_mp.supervisor": "supervisors: children that die, restarts, processes",
    "trio_mp.watchdog": "event loops that do not turn, and where they stand",
    "trio_mp.workers": "worker processes and their tasks",
}
"""What the lines of each logger are about. A logger that is missing here is an error."""


def loggers_of(tree: ast.Module) -> dict[str, str]:
    """The loggers that a module keeps: by the name of the variable, the name of the logger."""
    found = {}
    for node in tree.body:
        match node:
            case ast.Assign(
                targets=[ast.Name(id=variable)],
                value=ast.Call(func=ast.Attribute(attr="getLogger"), args=[ast.Constant(value=str(name))]),
            ):
                found[variable] = name
    return found


def named_levels(tree: ast.AST) -> set[str]:
    """The levels that a piece of code names, such as `logging.DEBUG`."""
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)} & {*LEVELS}


def levels_in(tree: ast.AST, variable: str) -> Iterator[str]:
    """The levels of the lines that a module writes by one of its loggers."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for node in ast.walk(function):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="log")) if name == variable:
                    # The level is computed: one of those that the function names.
                    yield from named_levels(function)
                case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attribute)) if name == variable:
                    level = "ERROR" if attribute == "exception" else attribute.upper()
                    if level in LEVELS:
                        yield level
                case ast.Call(args=arguments):
                    parts = [part for one in arguments if not isinstance(one, ast.Call) for part in ast.walk(one)]
                    if any(isinstance(part, ast.Name) and part.id == variable for part in parts):
                        # It is handed to what limits lines that others can cause: warnings, unless a level is named.
                        yield from named_levels(node) or {"WARNING"}


def loggers_table() -> str:
    """All loggers of the package, with the levels of their lines."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for variable, name in loggers_of(tree).items():
            found[name] |= {*levels_in(tree, variable)}
    lines = ["| logger | it tells of | levels |", "| --- | --- | --- |"]
    for name in sorted(found):
        levels = ", ".join(f"`{level}`" for level in LEVELS if level in found[name])
        if name not in ABOUT:
            raise LookupError(f"{name}: say in ABOUT of docs/reference.py what this logger tells of")
        lines.append(f"| `{name}` | {ABOUT[name]} | {levels} |")
    return "\n".join(lines) + "\n"


def events_table() -> str:
    """All events that log records name."""
    return (
        "\n".join(["| event | |", "| --- | --- |", *(f"| `{name}` | {text} |" for name, text in EVENTS.items())]) + "\n"
    )


# Commands -------------------------------------------------------------------------------------------------------------


def usage_of(parser: argparse.ArgumentParser) -> str:
    """The usage of a command, in one line, whatever the width of the terminal."""
    parser.formatter_class = lambda prog: argparse.HelpFormatter(prog, width=1000)
    return " ".join(parser.format_usage().removeprefix("usage: ").split()).replace(" [-h]", "")


def arguments_of(parser: argparse.ArgumentParser, titles: set[str]) -> list[str]:
    """The rows of a table: the arguments in these groups of a parser, or in all but the named ones."""
    lines = []
    for group in parser._action_groups:
        for action in group._group_actions if group.title in titles else ():
            if action.help is argparse.SUPPRESS or isinstance(action, argparse._HelpAction):
                continue
            metavar = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
            value = "" if action.nargs == 0 else f" {metavar}"
            names = ", ".join(f"`{name}{value}`" for name in action.option_strings) or f"`{metavar}`"
            text = parser._get_formatter()._expand_help(action) if action.help else ""
            if action.choices is not None:
                text = f"{text}; one of {', '.join(map(str, action.choices))}".removeprefix("; ")
            if not text:
                continue
            text = text.replace("|", "\\|")
            lines.append(f"| {names} | {text} |")
    return lines


JOINING, OUTPUT = "joining the network", "output"


def command_section(command: rows.Command) -> str:
    """What the page says of one command."""
    own = argparse.ArgumentParser(prog=f"trio-mp {command.name}")
    command.add_arguments(own)
    does = f"{command.help[0].upper()}{command.help[1:]}."
    parts = [f"### `trio-mp {command.name}`", does, f"```text\n{usage_of(own)}\n```"]
    for paragraph in command.description.strip("\n").split("\n\n") if command.description else ():
        indented = all(line.startswith("  ") for line in paragraph.splitlines())
        parts.append(f"```text\n{textwrap.dedent(paragraph)}\n```" if indented else paragraph.strip())
    arguments = arguments_of(own, {str(group.title) for group in own._action_groups})
    if arguments:
        parts.append("\n".join(["| argument | |", "| --- | --- |", *arguments]))
    both = [(JOINING, command.joins), (OUTPUT, command.prints)]
    takes = [f"[{title}](#options-for-{title.replace(' ', '-')})" for title, does in both if does]
    more = [f"It also takes the options for {' and for '.join(takes)}."] if takes else []
    parts += more
    if command.status:
        parts.append(f"{command.status[0].upper()}{command.status[1:].removesuffix('.')}.")
    parts.append(f"For example:\n\n```console\n{command.example.strip()}\n```")
    return "\n\n".join(parts)


def commands_text() -> str:
    """All commands, by their groups, and the options that several of them take."""
    parts = []
    commands = all_commands()
    families = {family.name: family.help for family in all_families()}
    for group, heading in rows.GROUPS.items():
        members = [command for command in commands if command.group == group]
        if not members:
            continue
        title, _, about = heading.partition(": ")
        parts.append(f"## {title.capitalize()}: {about}")
        for command in members:
            family = command.name.split()[0]
            if family in families:
                # The first of several: what they have in common.
                parts.append(f"`trio-mp {family}`: {families.pop(family)}.")
            parts.append(command_section(command))
    for title, name in ((JOINING, "joins"), (OUTPUT, "prints")):
        example = next((command for command in commands if getattr(command, name)), None)
        if example is not None:
            table = ["| option | |", "| --- | --- |", *arguments_of(parser_of(example), {title})]
            parts += [f"## Options for {title}", "\n".join(table)]
    return "\n\n".join(parts) + "\n"


def statuses_table() -> str:
    """What the exit statuses of all commands mean."""
    lines = [
        "| exit status | |",
        "| --- | --- |",
        *(f"| {number} | {text} |" for number, text in exits.STATUSES.items()),
    ]
    return "\n".join(lines) + "\n"


# Files of managers ----------------------------------------------------------------------------------------------------

UNITS: dict[str, tuple[str, str]] = {
    "unit systemd": ("ini", "trio-mp unit systemd --bind *:4040 --secret-file /etc/app/secret app:main"),
    "unit socket": ("ini", "trio-mp unit socket --bind *:4040 --secret-file /etc/app/secret app:main"),
    "unit compose": ("yaml", "trio-mp unit compose --image app:1.0 app:main"),
    "unit k8s": ("yaml", "trio-mp unit k8s --image app:1.0 --replicas 10 app:main"),
    "unit slurm": ("bash", "trio-mp unit slurm --tasks 64 app:main"),
}
"""The command lines whose output pages show, and the language of that."""

INSTALLED = ("/opt/app/bin/trio-mp",)
"""Where these pages have the program."""


def unit_block(name: str) -> str:
    """What a command line prints on a machine where nothing else is configured, under the command line."""
    language, line = UNITS[name]
    _, *words = line.split()
    command, rest = find_command(words)
    environ = {CONFIG: os.devnull}
    arguments = parse(command, rest)
    plan = make_plan(arguments, environ)
    match command.name.split()[1]:
        case "systemd":
            text = write_service(plan, SystemdOptions(INSTALLED, "", "", arguments.socket))
        case "socket":
            text = write_socket(plan, "")
        case "compose":
            text = write_compose(plan, ContainerOptions(arguments.image, arguments.replicas))
        case "k8s":
            text = write_kubernetes(plan, ContainerOptions(arguments.image, arguments.replicas))
        case _:
            text = write_slurm(plan, SlurmOptions(INSTALLED, arguments.tasks))
    shown = line.replace(" *:4040", " '*:4040'")
    return f"```console\n{shown}\n```\n\n```{language}\n{text}```\n"


# Words of the wire ----------------------------------------------------------------------------------------------------

LACKING = {
    "call": "a call goes there as a message with a reply port behind it, to which the port has to send the answer",
    "refused": "a sender there is not told which messages a port here has refused; the log here says it",
    "inspect": "`trio-mp top`, `ps` and the like fail with `not_understood`, and name the node",
    "draining": "it gives no fence: a drain here cannot wait for what is on its way from there, and the log says so",
}
"""What is different with a node whose greeting lacks a word. A word that is missing here is an error."""


def words_table() -> str:
    """What nodes do with an older node, by the words that its greeting lacks."""
    lines = ["| word | with a node that does not know it |", "| --- | --- |"]
    for word in WORDS:
        if word not in LACKING:
            raise LookupError(f"{word}: say in LACKING of docs/reference.py what nodes do without it")
        lines.append(f"| `{word}` | {LACKING[word]} |")
    return "\n".join(lines) + "\n"


# Pages ----------------------------------------------------------------------------------------------------------------

BLOCKS: dict[str, Callable[[], str]] = {
    "settings": settings_table.markdown_table,
    "each setting": settings_table.sections,
    "reasons": reasons_table,
    "loggers": loggers_table,
    "events": events_table,
    "commands": commands_text,
    "exit statuses": statuses_table,
    "words": words_table,
    **{name: partial(unit_block, name) for name in UNITS},
}

_BLOCK = re.compile(rf"(<!-- begin: ({'|'.join(BLOCKS)}) -->\n)(.*?)(<!-- end: \2 -->)", re.DOTALL)


def fill(page: str) -> str:
    """The text of a page, with its blocks as they should be."""
    return _BLOCK.sub(lambda found: f"{found[1]}{BLOCKS[found[2]]()}{found[4]}", page)


def files() -> Iterator[tuple[Path, Callable[[str], str]]]:
    """The files that have such parts, each with what fills them."""
    yield settings_table.OPENING, settings_table.fill_docstring
    for path in sorted((ROOT / "docs").glob("*.md")):
        if _BLOCK.search(path.read_text(encoding="utf-8")):
            yield path, fill


def main(arguments: list[str]) -> int:
    """Write what differs, or only say so; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; the exit status is 1 if something differs")
    check = parser.parse_args(arguments).check
    differ = []
    for path, fill_file in files():
        text = path.read_text(encoding="utf-8")
        wanted = fill_file(text)
        if wanted != text:
            differ.append(path)
            if not check:
                path.write_text(wanted, encoding="utf-8")
    for path in differ:
        print(
            f"{path.relative_to(ROOT)}: {f'differs from the code; write it with `{COMMAND}`' if check else 'written'}"
        )
    return 1 if differ and check else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
