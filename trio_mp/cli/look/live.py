"""Lines in colours, and pictures that change, by Rich.

Beside the demo's live picture no other module imports Rich, which is the extra `cli`. Without it all is plain text.
"""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from .drawing import Line


def print_lines(lines: Iterable[Line]) -> None:
    """Print lines in colours on the terminal. A line is no markup: brackets in it mean nothing."""
    console = Console(highlight=False)
    for each in lines:
        console.print(as_text(each), soft_wrap=True)


def as_text(pieces: Line) -> Text:
    """A line as Rich has it."""
    return Text.assemble(*((each.text, each.tone.value) for each in pieces), no_wrap=True, overflow="ellipsis")
