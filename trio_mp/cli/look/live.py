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
    """Lines that are drawn again and again, on a screen of their own. The last ones are printed when that is left."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, screen=True)
        self._lines: list[Line] = []

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()
        print_lines(self._lines)

    def show(self, draw: Callable[[int, int], list[Line]]) -> None:
        """Draw lines, for the width and the height of the terminal as it is now, in characters."""
        size = self._console.size
        self._lines = draw(size.width, size.height)
        self._live.update(Group(*map(as_text, self._lines)), refresh=True)
