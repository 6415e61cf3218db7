"""How the commands that look print what was drawn: in colours by Rich on a terminal, if it is there; else as text.

Only this module and `live.py` import Rich, which is the extra `cli`.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..output import Output
from .drawing import Line, plain

if TYPE_CHECKING:
    from rich.text import Text


def has_rich() -> bool:
    """Whether Rich is installed."""
    return importlib.util.find_spec("rich") is not None


def is_picture(out: Output) -> bool:
    """Whether people look at the output, on a terminal that can show colours and pictures by Rich."""
    return out.is_terminal and os.environ.get("TERM", "dumb") != "dumb" and has_rich()


def show(out: Output, draw: Callable[[int], list[Line]]) -> None:
    """Print what was drawn.

    Args:
      out: where to print. With `--json` the command prints rows instead of this.
      draw: draws lines for a terminal of the width that it is given, in characters.
    """
    lines = draw(out.width)
    if not is_picture(out):
        for each in lines:
            out.text(plain(each))
        return
    from rich.console import Console  # not without need: it takes longer to import than Trio

    console = Console(highlight=False)
    for each in lines:
        console.print(as_text(each), soft_wrap=True)


def as_text(pieces: Line) -> Text:
    """A line as Rich has it. It is no markup: brackets in it mean nothing."""
    from rich.text import Text  # as in `show`

    return Text.assemble(*((each.text, each.tone.value) for each in pieces), no_wrap=True, overflow="ellipsis")
