"""How a setting is written as one text, such as an environment variable: one function for each kind of value.

Each function takes the text and returns what a program would give in its place. It raises `ValueError` with a text that
goes on after "NAME: ". What the value may be is for `checks.py` to say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Reader: TypeAlias = Callable[[str], object]

_FLAGS = {"true": True, "false": False, "1": True, "0": False}


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
    """Several texts, separated by commas; `[]` for none. Spaces around them do not count."""
    if text.strip() == "[]":
        return []
    return [part.strip() for part in text.split(",") if part.strip()]


def table(text: str) -> object:
    """A table of TOML in one line, such as `{chain = "node.pem", key = "node.key", authority = "authority.pem"}`."""
    import tomllib  # 2 ms, which only programs with a table in a variable or with profiles need

    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"expected a table of TOML in one line, {{name = value, …}}: {error}") from None


def reader_for(default: object) -> Reader:
    """The reader for settings whose default is of the same type as this one."""
    for kind, reader in ((bool, flag), (int, whole_number), (float, number), (tuple, words)):
        if isinstance(default, kind):
            return reader
    return word
