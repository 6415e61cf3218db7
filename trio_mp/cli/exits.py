"""The exit statuses of `trio-mp`, and how an exception becomes one of them with a line on the standard error."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from typing import Final

from .harmless import harmless, harmless_lines

# What each means stands once, in `STATUSES`.
OK: Final = 0
NO: Final = 1
USAGE: Final = 2
CANNOT_JOIN: Final = 3
REFUSED: Final = 4
TIME_RAN_OUT: Final = 5
OUR_ERROR: Final = 70
START_AGAIN: Final = 75
CTRL_C: Final = 130

STATUSES: dict[int, str] = {
    OK: "yes: what was asked for has happened",
    NO: "no: the port is dead, the node is not there, the answer was an error",
    USAGE: "the command line, a variable or the file of profiles is wrong",
    CANNOT_JOIN: "the command could not join the network, or nobody answers where it asks",
    REFUSED: "a node refuses it",
    TIME_RAN_OUT: "the time of --timeout has passed",
    OUR_ERROR: "an error in trio-mp itself",
    START_AGAIN: "whoever runs this process is to start it again: `trio-mp restart` has asked for that",
    CTRL_C: "interrupted by Ctrl-C; a command that runs programs, by the second one",
}
"""All exit statuses and what they mean, for who reads the code and for the documentation."""

_OF_CALLS = {"refused": REFUSED, "expired": TIME_RAN_OUT}
"""What a call is answered with that has a status of its own. Its time is that of `--timeout`."""


class CommandFailed(Exception):
    """A command ends, with a status and a line for people.

    Args:
      status: one of the statuses of this module.
      text: what is wrong, and what to do.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def report(error: BaseException, arguments: argparse.Namespace) -> int:
    """Say on the standard error why a command has ended, in one line. Returns the exit status."""
    error = _single(error)
    status = status_of(error)
    if isinstance(error, BrokenPipeError):
        # Nobody reads the output any more. Python flushes it again when it exits, which would fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return status
    if status == OUR_ERROR:
        # A command without -v, or a command line that could not be read, shows all at once.
        shown = getattr(arguments, "verbose", True)
        if shown:
            for line in harmless_lines("".join(traceback.format_exception(error))):
                print(line, file=sys.stderr)
        name, more = type(error).__name__, "the lines above" if shown else "what -v shows"
        told = f"an error in trio-mp itself: {name}: {error}; please report it, with {more}"
    elif status == TIME_RAN_OUT:
        told = f"the {arguments.timeout:g} s of --timeout have passed"
    else:
        told = str(error)
    if status != CTRL_C:
        print(f"trio-mp: {harmless(told)}", file=sys.stderr)
    return status


def status_of(error: BaseException) -> int:
    """Return the exit status of a command that has ended by this exception."""
    if isinstance(error, CommandFailed):
        return error.status
    if isinstance(error, KeyboardInterrupt):
        return CTRL_C
    import trio  # now at the latest: the parser, whose errors never come here, does without it

    from .._errors import CallError, ConfigurationError, PortDied  # as well

    match error:
        case trio.TooSlowError():
            return TIME_RAN_OUT
        case CallError():
            return _OF_CALLS.get(error.type_name, NO)
        case PortDied() | BrokenPipeError():
            return NO
        case ConfigurationError() | OSError():
            return USAGE
        case _:
            return OUR_ERROR


def _single(error: BaseException) -> BaseException:
    """Return the one exception in a group; the group, if there are several. Ctrl-C wins over all others."""
    if isinstance(error, BaseExceptionGroup):
        if error.subgroup(KeyboardInterrupt):
            return KeyboardInterrupt()
        if len(error.exceptions) == 1:
            return _single(error.exceptions[0])
    return error
