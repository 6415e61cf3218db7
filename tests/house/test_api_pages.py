"""The reference by topic, `docs/api*.md`: each public name is in it once, and so is each member of a class.

Public means public: what a class has for other rooms of the package alone begins with an underscore.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Set
from contextlib import contextmanager
from functools import cached_property
from types import FunctionType
from typing import Any

import pytest
from doc_pages import ROOT

import trio_mp

DOORS = ("trio_mp", "trio_mp.abc", "trio_mp.lowlevel", "trio_mp.testing")

SAID_OTHERWISE = {
    "PortReference": "what `Port` and `ChildRef` have in common",
    "MapResults": "an async iterator, as `Workers.map` says",
    "InheritedBind": "where a manager has opened the sockets; a transport may refuse",
    "ServiceRecords": "what a transport has found in DNS; a transport may refuse",
    "SettingArguments": "the settings, which have a page",
}
"""Classes that are not public and stand in public signatures, and what users need to know of them."""

_DIRECTIVE = re.compile(
    r"^\.\. (?P<kind>auto(?:class|exception|function|method|property)|py:(?:data|type)):: (?P<name>trio_mp[\w.]*)\n"
    r"(?P<options>(?:[ ]+:.*\n)*)",
    re.MULTILINE,
)

_REFERS_TO = re.compile(r"See `(\w+)\.")
"""A docstring that leaves everything to another class."""

_FOR_THE_PACKAGE = re.compile(r"\b(?:for code of the package|for the package alone|not for users)\b")


def public_names() -> list[str]:
    """The names of all doors."""
    doors = {door: importlib.import_module(door).__all__ for door in DOORS}
    return [f"{door}.{name}" for door, names in doors.items() for name in names]


def public_classes() -> dict[str, type]:
    """The classes of all doors, by their public names."""
    found = {
        name: getattr(importlib.import_module(name.rpartition(".")[0]), name.rpartition(".")[2])
        for name in public_names()
    }
    return {name: value for name, value in found.items() if inspect.isclass(value)}


def members_of(cls: type) -> dict[str, object]:
    """The methods and properties of a class that are public, and that it or a base class of this package defines."""
    ours = [base for base in cls.__mro__ if base.__module__.partition(".")[0] == trio_mp.__name__]
    found = {name: member for base in reversed(ours) for name, member in vars(base).items()}
    return {
        name: member
        for name, member in found.items()
        if not name.startswith("_")
        and isinstance(member, property | cached_property | classmethod | staticmethod | FunctionType)
    }


def inherited_by(cls: type, public: Container[type]) -> set[str]:
    """The members that only base classes define which are not public, and so have no place of their own."""
    shown = {name for base in cls.__mro__ if base is cls or base in public for name in vars(base)}
    return {name for name in members_of(cls) if name not in shown}


def types_of(member: Any) -> set[str]:
    """The classes of this package in the signature of a member, by their names."""
    if isinstance(member, property):
        member = member.fget
    elif isinstance(member, cached_property):
        member = member.func
    elif isinstance(member, classmethod | staticmethod):
        member = member.__func__
    assert isinstance(member, FunctionType)
    function = inspect.unwrap(member)
    words = {word for text in function.__annotations__.values() for word in re.findall(r"\w+", str(text))}
    values = [function.__globals__.get(word) for word in words]
    return {value.__name__ for value in values if isinstance(value, type) and value.__module__.startswith("trio_mp.")}


def not_for_users(cls: type, public: Set[str], explained: Set[str] = frozenset()) -> Iterator[str]:
    """The members of a public class that users cannot use: by their docstrings, or by the types in their signatures.

    Args:
      cls: the class.
      public: the names of public classes, without their doors.
      explained: the names of other classes that a signature may have.
    """
    for name, member in members_of(cls).items():
        text = inspect.getdoc(member) or ""
        behind = _REFERS_TO.match(text)
        place, otherwise = f"{cls.__name__}.{name}", "or an underscore before the name"
        if not text:
            yield f"{place}: expected a docstring, {otherwise}"
        elif (behind is not None and behind[1] not in public) or _FOR_THE_PACKAGE.search(text):
            yield f"{place}: expected a docstring for users, {otherwise}, got {text!r}"
        elif hidden := types_of(member) - public - explained:
            yield f"{place}: expected public types, {otherwise}, got {', '.join(sorted(hidden))}"


def wrong_reference(
    pages: Iterable[str], names: Iterable[str], classes: dict[str, set[str]], inherited: dict[str, set[str]]
) -> Iterator[str]:
    """What these pages leave out, say twice, or say of a name that does not exist.

    Args:
      pages: their texts.
      names: the public names.
      classes: the members of classes. A class whose directive has no option `members` has one for each of them.
      inherited: those of them that only base classes define. The option `inherited-members` shows them.
    """
    found = [match for page in pages for match in _DIRECTIVE.finditer(page)]
    expected = set(names)
    for match in found:
        members = classes.get(match["name"], set())
        if ":members:" in match["options"]:
            members = set() if ":inherited-members:" in match["options"] else inherited[match["name"]]
        expected |= {f"{match['name']}.{member}" for member in members}
    counts = Counter(match["name"] for match in found)
    for name in sorted(expected | set(counts)):
        if counts[name] != (name in expected):
            yield f"docs/api*.md: expected {name} {int(name in expected)} times, got {counts[name]}"


def test_each_public_name_is_in_the_reference_once() -> None:
    pages = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("api*.md"))]
    found = public_classes()
    classes = {name: set(members_of(cls)) for name, cls in found.items()}
    inherited = {name: inherited_by(cls, set(found.values())) for name, cls in found.items()}
    assert list(wrong_reference(pages, public_names(), classes, inherited)) == []


def test_each_member_of_a_public_class_is_for_users() -> None:
    found = public_classes()
    public = {name.rpartition(".")[2] for name in found}
    assert [said for cls in found.values() for said in not_for_users(cls, public, SAID_OTHERWISE.keys())] == []


class Base:
    """A base class of the next class."""

    def under(self) -> None:
        """Do something."""


class Shown(Base):
    """A public class for the next tests."""

    def go(self) -> None:
        """Do something else."""

    def close(self) -> None:
        """See `Shown.go`."""

    def undocumented(self) -> None: ...

    def ended(self) -> None:
        """See `Hidden.ended`."""

    def lend(self) -> Base:
        """A thing of a class that is not public."""
        return self

    @property
    def table(self) -> int:
        """A table, for code of the package."""
        return 0

    @contextmanager
    def follow(self) -> Iterator[None]:
        """Follow a table; not for users."""
        yield

    def _receive(self) -> None: ...


def test_members_that_are_not_for_users_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    for cls in (Base, Shown):
        monkeypatch.setattr(cls, "__module__", "trio_mp.somewhere")
    found = [said.partition(": ")[0] for said in not_for_users(Shown, {"Shown"})]
    assert found == ["Shown.undocumented", "Shown.ended", "Shown.lend", "Shown.table", "Shown.follow"]
    assert "Shown.lend" not in "".join(not_for_users(Shown, {"Shown"}, {"Base"}))
    assert inherited_by(Shown, {Shown}) == {"under"}
    assert inherited_by(Shown, {Shown, Base}) == set()


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
        (WHOLE.replace("Thing", "Heir"), "expected trio_mp.Heir.go 1 times, got 0"),
        (WHOLE.replace("Thing", "Heir").replace(":members:", ":members:\n   :inherited-members:"), None),
    ],
)
def test_a_wrong_reference_is_found(page: str, said: str | None) -> None:
    name = "trio_mp.Heir" if "Heir" in page else "trio_mp.Thing"
    inherited = {"trio_mp.Thing": set[str](), "trio_mp.Heir": {"go"}}
    found = list(wrong_reference([page], ["trio_mp.open", name], {name: {"go"}}, inherited))
    assert found == ([f"docs/api*.md: {said}"] if said else [])
