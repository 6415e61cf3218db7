"""A planted fault: the texts that it changes in the package, and the tests that must notice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PACKAGE = "trio_mp"


@dataclass(frozen=True, slots=True)
class Change:
    """The replacement of one text in a file.

    Attributes:
      file: the path below the package.
      old: the text, which occurs there exactly once.
      new: the text in its place.
    """

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Fault:
    """A deliberate breakage.

    Attributes:
      name: one word.
      rule: the rule that it breaks, and how.
      changes: the texts that it replaces.
      tests: the pytest node IDs of the tests that must catch it, the fastest first. The first failure is enough.
      hangs: whether a test catches it by waiting for ever. That test gets little time then.
    """

    name: str
    rule: str
    changes: tuple[Change, ...]
    tests: tuple[str, ...]
    hangs: bool = False


class Stale(Exception):
    """The code has changed, and the table of faults has not followed it."""


def apply(changes: tuple[Change, ...], package: Path) -> None:
    """Make these changes in a copy of the package. Raises `Stale`."""
    for change in changes:
        path = package / change.file
        path.write_text(changed(change, path.read_text(encoding="utf-8")), encoding="utf-8")


def changed(change: Change, text: str) -> str:
    """Return the text of a file with the change made. Raises `Stale`."""
    count = text.count(change.old)
    if count != 1:
        raise Stale(f"{change.file}: expected this text once, got it {count} times; update the fault:\n{change.old}")
    return text.replace(change.old, change.new)
