"""What a command prints: data on the standard output, words on the standard error."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence

from .harmless import harmless
from .text import Screen, Table


class Output:
    """Prints for one command.

    Data is what a script reads: rows, tables and lines. With `--json` each is a JSON object on a line of its own. Words
    are for people: they go to the standard error, and `-q` silences them.

    What other nodes say may be in both, so all of it goes through `harmless` here: no command has to think of it.

    Args:
      arguments: of the command line; `json` and `quiet` count, if it has them.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.json: bool = getattr(arguments, "json", False) is True
        self._quiet: bool = getattr(arguments, "quiet", False)
        self._screen = Screen()

    @property
    def is_terminal(self) -> bool:
        """Whether people see the data at once; colours and pictures are for them alone."""
        return self._screen.is_terminal and not self.json

    @property
    def width(self) -> int:
        """The width of a line, in characters."""
        return self._screen.width

    def row(self, values: Mapping[str, object], text: str | None = None) -> None:
        """Print one thing.

        Args:
          values: the thing, as it is with `--json`.
          text: the same for people, in one line; by default the values, with two spaces between them.
        """
        if self.json:
            self._screen.print(_harmless_json(values))
        else:
            self._screen.print(harmless("  ".join(map(shown, values.values())) if text is None else text))

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]], right: Iterable[int] = ()) -> None:
        """Print a table; with `--json`, an object for each row, by the names of the columns.

        Args:
          columns: their names.
          rows: the values of each row.
          right: the numbers, from 0, of the columns that are aligned to the right.
        """
        if self.json:
            for row in rows:
                self.row(dict(zip(columns, row, strict=True)))
            return
        table = Table(columns, frozenset(right))
        for row in rows:
            table.add(*(harmless(shown(value)) for value in row))
        self._screen.print(table.draw(self._screen.width))

    def text(self, line: str) -> None:
        """Print a line of data; with `--json`, an object with it as `text`."""
        self.row({"text": line}, line)

    def own(self, text: str) -> None:
        """Print lines of this user's own, such as of a file, as they are; with `--json`, an object for each line."""
        for line in text.split("\n"):
            if self.json:
                self.text(line)
            else:
                self._screen.print(line)

    def say(self, words: str) -> None:
        """Tell people something, unless `-q` silences it."""
        if not self._quiet:
            print(f"trio-mp: {harmless(words)}", file=sys.stderr)


def shown(value: object) -> str:
    """Return a value as people read it: text as it is, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=_plain)


def _harmless_json(values: Mapping[str, object]) -> str:
    """Values as JSON on one line that a terminal shows and does not obey. A program reads the same values from it."""
    text = json.dumps(values, ensure_ascii=False, default=_plain)
    if text.isprintable():
        return text
    # JSON escapes some control characters itself, but neither those of 8 bits nor the directions of writing. All that
    # is left stands in texts, where such an escape sequence means the character.
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)


def _plain(value: object) -> object:
    """What JSON has in place of a value that it does not know: bytes become text, with `\\x` for what is none."""
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
