"""The reference by topic, `docs/api*.md`: each public name is in it once, and so is each member of a class."""

from __future__ import annotations

import importlib
import inspect
import re
from collections import Counter
from collections.abc import Iterable, Iterator

import pytest
from doc_pages import ROOT

import trio_mp

DOORS = ("trio_mp", "trio_mp.abc", "trio_mp.lowlevel", "trio_mp.testing")

FOR_THE_PACKAGE = {
    "trio_mp.Database": {
        *("closed", "drop_own", "find_listed", "find_registered", "follow", "followed", "held_nodes", "observe"),
        *("receive", "renew_voucher", "set_own", "set_owned", "went_down", "withdraw_ports"),
    },
}
"""What other rooms of the package call of a class, and no program does. The reference leaves it out."""

_DIRECTIVE = re.compile(
    r"^\.\. (?P<kind>auto(?:class|exception|function|method|property)|py:(?:data|type)):: (?P<name>trio_mp[\w.]*)\n"
    r"(?P<options>(?:[ ]+:.*\n)*)",
    re.MULTILINE,
)


def public_names() -> list[str]:
    """The names of all doors."""
    doors = {door: importlib.import_module(door).__all__ for door in DOORS}
    return [f"{door}.{name}" for door, names in doors.items() for name in names]


def members_of(cls: type) -> set[str]:
    """The methods and properties of a class that are public, and that it defines itself."""
    return {
        name
        for name, member in vars(cls).items()
        if not name.startswith("_") and isinstance(member, property | classmethod | staticmethod | type(members_of))
    }


def wrong_reference(pages: Iterable[str], names: Iterable[str], classes: dict[str, set[str]]) -> Iterator[str]:
    """What these pages leave out, say twice, or say of a name that does not exist.

    Args:
      pages: their texts.
      names: the public names.
      classes: the members of classes. A class whose directive has no option `members` has one for each of them.
    """
    found = [match for page in pages for match in _DIRECTIVE.finditer(page)]
    expected = set(names)
    for match in found:
        if match["name"] in classes and ":members:" not in match["options"]:
            expected |= {f"{match['name']}.{member}" for member in classes[match["name"]]}
    counts = Counter(match["name"] for match in found)
    for name in sorted(expected | set(counts)):
        if counts[name] != (name in expected):
            yield f"docs/api*.md: expected {name} {int(name in expected)} times, got {counts[name]}"


def test_each_public_name_is_in_the_reference_once() -> None:
    pages = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("api*.md"))]
    found = {f"trio_mp.{name}": getattr(trio_mp, name) for name in trio_mp.__all__}
    classes = {name: members_of(cls) for name, cls in found.items() if inspect.isclass(cls)}
    for name, members in FOR_THE_PACKAGE.items():
        assert members <= classes[name]
        classes[name] -= members
    assert list(wrong_reference(pages, public_names(), classes)) == []


WHOLE = ".. autofunction:: trio_mp.open\n\n.. autoclass:: trio_mp.Thing\n   :members:\n"
APART = ".. autofunction:: trio_mp.open\n\n.. autoclass:: trio_mp.Thing\n\n.. automethod:: trio_mp.Thing.go\n"


@pytest.mark.parametrize(
    "page, said",
    [
        (WHOLE, None),
        (APART, None),
        (WHOLE.replace(".. autofunction:: trio_mp.open\n", ""), "expected trio_mp.open 1 times, got 0"),
        (WHOLE + ".. autofunction:: trio_mp.open\n", "expected trio_mp.open 1 times, got 2"),
        (WHOLE + ".. automethod:: trio_mp.Thing.go\n", "expected trio_mp.Thing.go 0 times, got 1"),
        (APART.replace(".. automethod:: trio_mp.Thing.go\n", ""), "expected trio_mp.Thing.go 1 times, got 0"),
        (WHOLE + ".. autofunction:: trio_mp.close\n", "expected trio_mp.close 0 times, got 1"),
    ],
)
def test_a_wrong_reference_is_found(page: str, said: str | None) -> None:
    found = list(wrong_reference([page], ["trio_mp.open", "trio_mp.Thing"], {"trio_mp.Thing": {"go"}}))
    assert found == ([f"docs/api*.md: {said}"] if said else [])
