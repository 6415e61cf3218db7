"""How the commands that look print what was drawn: in colours by Rich on a terminal, if it is there; else as text."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable

from ..output import Output
from .drawing import Line, plain


def is_picture(out: Output) -> bool:
    """Whether people look at the output, on a terminal that can show colours and pictures, and Rich is installed."""
    return out.is_terminal and os.environ.get("TERM", "dumb") != "dumb" and importlib.util.find_spec("rich") is not None


def show(out: Output, draw: Callable[[int], list[Line]]) -> None:
    """Print what was drawn.

    Args:
      out: where to print. With `--json` the command prints rows instead of this.
      draw: draws lines for a terminal of the width that it is given, in characters.
    """
    lines = draw(out.width)
    if is_picture(out):
        from .live import print_lines  # Rich takes longer to import than Trio, and may not be there

        print_lines(lines)
        return
    for each in lines:
        out.text(plain(each))
