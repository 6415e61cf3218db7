"""Lines in colours, and pictures that change, by Rich.

Beside the demo's live picture no other module imports Rich, which is the extra `cli`. Without it all is plain text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Self

from rich.console import Console, Group
from rich.live import Live
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


class LiveLines:
    """Lines that are drawn again and again in the same place, on a screen of their own that is gone afterwards."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, screen=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, draw: Callable[[int, int], list[Line]]) -> None:
        """Draw lines, for the width and the height of the terminal as it is now, in characters."""
        size = self._console.size
        lines = draw(size.width, size.height)
        self._live.update(Group(*map(as_text, lines)), refresh=True)
