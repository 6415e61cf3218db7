"""Explore with other bounds than the test does: `PYTHONPATH=tests python -m explorer --help`."""

from __future__ import annotations

import argparse
import sys
import time

from .parts import Bounds
from .search import explore
from .world import World


def main() -> int:
    parser = argparse.ArgumentParser(prog="explorer", description="Explore every interleaving within bounds.")
    parser.add_argument("--connections", type=int, default=3)
    parser.add_argument("--lower", type=int, default=3, help="messages that the lesser node ID sends")
    parser.add_argument("--higher", type=int, default=0, help="messages that the greater node ID, which decides, sends")
    parser.add_argument("--second-sends", type=int, default=0, help="messages that the second process sends")
    parser.add_argument("--second", choices=["lower", "higher"], help="the node that restarts, or of which two live")
    accidents = ("cuts", "notices", "give-ups", "beliefs", "unanswered", "deaths")
    for name in ("monitors", "demonitors", "asks", *accidents, "queue-limit"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Bounds, name.replace("-", "_")))
    parser.add_argument("--slow-writer", action="store_true", help="writing is a step of its own")
    parser.add_argument("--no-reactions", action="store_true", help="callbacks of monitors do nothing")
    arguments = vars(parser.parse_args())
    senders = (arguments.pop("lower"), arguments.pop("higher"), arguments.pop("second_sends"))
    reactions = not arguments.pop("no_reactions")
    second = {None: None, "lower": 0, "higher": 1}[arguments.pop("second")]
    bounds = Bounds(senders=senders, second=second, reactions=reactions, **arguments)
    began = time.monotonic()
    shown = began

    def progress(states: int, waiting: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown >= 1:
            shown = now
            print(
                f"\r{states:,} states, {waiting:,} waiting, {now - began:.0f} s ", end="", file=sys.stderr, flush=True
            )

    result = explore(World(bounds), progress=progress)
    print(f"\n{bounds}\n{result}\n{result.found or 'no fault'}")
    return 1 if result.found else 0


if __name__ == "__main__":
    sys.exit(main())
