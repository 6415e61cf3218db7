"""`python -m trio_mp.testing`: hammer the promise with many seeds, or replay one seed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from io import TextIOWrapper

from ._hammer import available_cores, hammer, replay

DESCRIPTION = """\
Each seed makes a network of two to five nodes in one process, under a virtual clock, with everything that can go wrong:
about 1,000 messages, 10 faults and five simulated minutes. One oracle checks the whole promise. The same seed gives the
same run, byte for byte.
"""

STATUS = "exit status: 0 if the promise held in every seed, else 1."


def _whole_number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}")
    return int(text)


def _positive(text: str) -> int:
    number = _whole_number(text)
    if not number:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return number


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m trio_mp.testing", description=DESCRIPTION, epilog=STATUS)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    many = commands.add_parser("hammer", help="many seeds, on all cores", description=DESCRIPTION, epilog=STATUS)
    many.add_argument("--seeds", type=_positive, default=100, metavar="N", help="how many (default: %(default)s)")
    many.add_argument("--first", type=_whole_number, default=0, metavar="S", help="the first (default: %(default)s)")
    many.add_argument("--jobs", type=_positive, metavar="J", help="processes (default: one for each core)")
    one = commands.add_parser("replay", help="one seed again", description=DESCRIPTION, epilog=STATUS)
    one.add_argument("seed", type=_whole_number, metavar="SEED")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns its exit status.

    Args:
      arguments: what follows the program's name; those of this process by default.

    Raises:
      SystemExit: the command line is wrong (2), or asks for help (0).
    """
    parsed = make_parser().parse_args(arguments)
    if isinstance(sys.stdout, TextIOWrapper):
        # An encoding without a ✗ is no reason for the command to fail.
        sys.stdout.reconfigure(errors="replace")
    if parsed.command == "replay":
        return replay(parsed.seed)
    return hammer(range(parsed.first, parsed.first + parsed.seeds), parsed.jobs or available_cores())


if __name__ == "__main__":
    sys.exit(main())
