"""How a setting is written as one text, such as an environment variable: one function for each kind of value.

Each function takes the text and returns what a program would give in its place. It raises `ValueError` with a text that
goes on after "NAME: ". What the value may be is for `checks.py` to say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

Reader: TypeAlias = Callable[[str], object]

_FLAGS = {"true": True, "false": False, "1": True, "0": False}

# An IPv6 address begins with a bracket, too, but no quote and no other bracket stands behind it.
_LIST = re.compile(r"""\s*\[\s*["'\[]""")


def word(text: str) -> object:
    """A text stands for itself. So does a secret: no character in it separates anything."""
    return text


def flag(text: str) -> object:
    """`true` or `false`, in capitals or not; or `1` or `0`."""
    try:
        return _FLAGS[text.lower()]
    except KeyError:
        raise ValueError(f"expected true or false, got {text!r}") from None


def whole_number(text: str) -> object:
    """An int in decimal digits."""
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"expected a whole number, got {text!r}") from None


def number(text: str) -> object:
    """A number, which may have a decimal point."""
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"expected a number, got {text!r}") from None


def words(text: str) -> object:
    """Several texts, separated by commas; `[]` for none. Spaces around them do not count.

    A list of TOML says the same, and more: `["unix:/run/a,b"]`, or `[["irc:start", "irc.example", 6667]]` for a service
    with arguments.
    """
    if text.strip() == "[]":
        return []
    if _LIST.match(text):
        return _toml(text, 'a list of TOML in one line, ["…", …]')
    return [part.strip() for part in text.split(",") if part.strip()]


def table(text: str) -> object:
    """A table of TOML in one line, such as `{chain = "node.pem", key = "node.key", authority = "authority.pem"}`."""
    return _toml(text, "a table of TOML in one line, {name = value, …}")


def _toml(text: str, expected: str) -> object:
    import tomllib  # 2 ms, which only programs with a table in a variable or with profiles need

    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"expected {expected}: {error}") from None


def reader_for(default: object) -> Reader:
    """The reader for settings whose default is of the same type as this one."""
    for kind, reader in ((bool, flag), (int, whole_number), (float, number), (tuple, words)):
        if isinstance(default, kind):
            return reader
    return word


def written(value: object) -> str:
    """Write a setting as the text from which its reader makes the same again.

    Raises:
      ValueError: it cannot be written as a text; the error goes on after "NAME: ".
    """
    if isinstance(value, str):
        return value
    if not isinstance(value, list | tuple):
        return in_toml(value)
    if not value:
        return "[]"
    joined = ",".join(map(str, value))
    return joined if not _LIST.match(joined) and words(joined) == list(value) else in_toml(value)


def in_toml(value: object) -> str:
    """Write a value as TOML has it in one line.

    Raises:
      ValueError: TOML has no such value, such as None, or a text that is no Unicode.
    """
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return f'"{"".join(map(_escaped, value))}"'
        case Mapping():
            return "{" + ", ".join(f"{in_toml(str(key))} = {in_toml(one)}" for key, one in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(in_toml, value)) + "]"
        case _:
            raise ValueError(f"expected texts, numbers, true, false, and lists and tables of them, got {value!r}")


def _escaped(character: str) -> str:
    """A character as it stands in a text of TOML."""
    if character in '"\\':
        return f"\\{character}"
    if "\ud800" <= character <= "\udfff":
        raise ValueError(f"expected a text of Unicode, got one with the lone surrogate {character!r}")
    return character if character.isprintable() else f"\\U{ord(character):08x}"
