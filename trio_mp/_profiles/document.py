"""The file with the profiles: a default, profiles, and the parents of profiles. Reads text, and no file."""

from __future__ import annotations

import os.path
import re
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field

from .._errors import ConfigurationError
from .sources import KEYS, Given, Layer, checked, nearest

_TOP = ("use", "default", "profile")
_BARE = re.compile(r"[A-Za-z0-9_-]+")

Table = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Document:
    """The file with the profiles, as far as it is read: a table is checked when a node uses it.

    Attributes:
      path: the path of the file, for errors, and because relative paths in it begin at its folder.
      use: the profile of programs that name none.
      default: the settings that hold for all profiles.
      profiles: the tables of the profiles.
      mode: the permissions of the file, if others than its owner may read it; else None.
    """

    path: str
    use: str | None = None
    default: Table = field(default_factory=dict, repr=False)
    profiles: Mapping[str, Table] = field(default_factory=dict, repr=False)
    mode: int | None = None

    def layers(self, profile: str | None) -> list[Layer]:
        """Read the settings of a profile, of its parents, and the default.

        Args:
          profile: the name of the profile; None for the default alone.

        Raises:
          ConfigurationError: a profile is missing, or parents run in a circle, or a setting cannot work. The text names
            the file, the key and the reason.
        """
        chain = self.chain(profile) if profile is not None else []
        tables = [(_key("profile", name), self.profiles[name]) for name in chain]
        return [self._layer(key, table) for key, table in (*tables, ("default", self.default))]

    def chain(self, profile: str) -> list[str]:
        """The names of a profile, its parent, the parent of that, and so on. Raises `ConfigurationError`."""
        if profile not in self.profiles:
            there = f"it has {', '.join(self.profiles)}" if self.profiles else "it has none"
            raise ConfigurationError(
                f"{self.path}: expected a profile {profile!r}{nearest(profile, self.profiles)}; {there}"
            )
        chain = [profile]
        while "parent" in (table := self.profiles[chain[-1]]):
            place, parent = f"{self.path}: {_key('profile', chain[-1])}.parent", table["parent"]
            if not isinstance(parent, str) or parent not in self.profiles:
                hint = nearest(parent, self.profiles) if isinstance(parent, str) else ""
                raise ConfigurationError(f"{place}: expected the name of a profile of this file, got {parent!r}{hint}")
            if parent in chain:
                circle = " -> ".join([*chain[chain.index(parent) :], parent])
                raise ConfigurationError(f"{place}: expected parents that come to an end, got a circle: {circle}")
            chain.append(parent)
        return chain

    def _layer(self, table_key: str, table: Table) -> Layer:
        folder = os.path.dirname(self.path)  # noqa: PTH120 - a text, and no file
        layer: dict[str, Given] = {}
        for name, value in table.items():
            source = f"{self.path}: {_key(table_key, name)}"
            if name == "parent" and table is not self.default:
                continue
            if name not in KEYS:
                raise ConfigurationError(f"{source}: there is no such setting{nearest(name, KEYS)}")
            if name == "secret" and self.mode is not None:
                raise ConfigurationError(
                    f"{source}: expected a file that nobody but its owner may read, because it holds a secret, got one"
                    f" with the permissions {self.mode:03o}; run `chmod 600 {shlex.quote(self.path)}`"
                )
            layer[name] = checked(name, value, source, folder)
        return layer


def _key(table: str, name: str) -> str:
    """A key of TOML, as it is written behind the name of its table."""
    return f"{table}.{name}" if _BARE.fullmatch(name) else f'{table}."{name}"'


def read_document(text: str, path: str, mode: int | None = None) -> Document:
    """Read the text of a file with profiles.

    Args:
      text: TOML.
      path, mode: see `Document`.

    Raises:
      ConfigurationError: it is no TOML, or has other tables than a file with profiles has.
    """
    try:
        top = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: expected TOML: {error}") from None
    for name in top:
        if name not in _TOP:
            hint = "; settings stand in [default] or in a [profile.NAME]" if name in KEYS else nearest(name, _TOP)
            raise ConfigurationError(f"{path}: {name}: expected one of {', '.join(_TOP)}{hint}")
    use = top.get("use")
    if not isinstance(use, str | None):
        raise ConfigurationError(f"{path}: use: expected the name of a profile, got {use!r}")
    profiles = _table(top.get("profile", {}), f"{path}: profile")
    if "default" in profiles:
        # Commands take `default` for the table of that name.
        raise ConfigurationError(f"{path}: profile.default: expected another name, because [default] has this one")
    return Document(
        path,
        use,
        _table(top.get("default", {}), f"{path}: default"),
        {name: _table(table, f"{path}: {_key('profile', name)}") for name, table in profiles.items()},
        mode,
    )


def _table(value: object, place: str) -> Table:
    if not isinstance(value, dict):
        raise ConfigurationError(f"{place}: expected a table, got a value of the type {type(value).__name__}")
    return value
