"""What a planted fault is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PACKAGE = "trio_mp"


@dataclass(frozen=True, slots=True)
class Change:
    """Other text in one file.

    Attributes:
      file: below the package.
      old: occurs there exactly once.
      new: what stands in its place.
    """

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Fault:
    """A deliberate breakage.

    Attributes:
      name: one word.
      rule: which rule it breaks, and how.
      changes: what is changed.
      tests: the pytest node IDs of those that are to catch it, the fastest first; the first that fails is enough.
      hangs: whether a test that waits for ever is how it is caught; it is given little time then.
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
    """The text of the file with the change. Raises `Stale`."""
    count = text.count(change.old)
    if count != 1:
        raise Stale(f"{change.file} has this {count} times, and not once:\n{change.old}")
    return text.replace(change.old, change.new)
