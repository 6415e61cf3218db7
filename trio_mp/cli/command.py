"""What the parser knows of one command: a row. The modules in `parsing` hold the rows."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import NamedTuple

GROUPS = {
    "configure": "configure: profiles, secrets, certificates",
    "run": "run: programs and their networks",
    "talk": "talk: messages, from a terminal",
    "look": "look: see inside a running network",
}
"""The groups of commands, in the order in which the help shows them, and their headings."""


class Command(NamedTuple):
    """One command: what the parser knows of it."""

    name: str
    """What the user writes; two words for a command of a family: `secret new`."""
    group: str
    """Where the help shows it; one of `GROUPS`."""
    help: str
    """What it does, in one line."""
    example: str
    """A command line that works."""
    add_arguments: Callable[[argparse.ArgumentParser], object]
    """Adds the arguments of its own to a parser."""
    run: str
    """The function that runs it, which takes the parsed arguments and returns the exit status: `module:function`."""
    joins: bool = True
    """Whether it joins the network as a tool: then it takes `--profile`, `--seed`, `--secret-file`, `--timeout`."""
    prints: bool = True
    """Whether it takes `--json`, `-q` and `-v`."""
    description: str = ""
    """More about it, for its own help."""
    status: str = ""
    """Its exit statuses, if they are others than those of all commands."""


class CommandFamily(NamedTuple):
    """The first word of several commands of two words."""

    name: str
    group: str
    help: str


def whole_number(least: int, most: float = math.inf) -> Callable[[str], int]:
    """A type of arguments: a whole number from `least` to `most`."""

    def convert(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
            wanted = f"from {least} to {most}" if most < math.inf else f"of at least {least}"
            raise argparse.ArgumentTypeError(f"expected a whole number {wanted}, got {text!r}")
        return int(text)

    return convert


def seconds(least: float, most: float) -> Callable[[str], float]:
    """A type of arguments: a time in seconds, from `least` to `most`; above 0 if `least` is 0."""

    def convert(text: str) -> float:
        try:
            found = float(text)
        except ValueError:
            found = math.nan
        if not least <= found <= most or found in (0, math.inf):
            wanted = f"from {least:g} to {most:g}" if most < math.inf else f"above {least:g}"
            raise argparse.ArgumentTypeError(f"expected a number of seconds {wanted}, got {text!r}")
        return found

    return convert
