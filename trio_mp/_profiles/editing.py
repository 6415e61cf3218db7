"""Changing the file with the profiles, so that its comments and its order stay as they are. Text in, text out."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from typing import Any

from .._errors import ConfigurationError
from .sources import KEYS, nearest

DEFAULT = "default"
"""Stands for the table `[default]` where a command takes the name of a profile."""

LISTS = ("binds", "advertise", "seeds", "services", "spawn_modules", "inspect_from")
"""The settings that values can be added to and removed from."""

EDITABLE = ("parent", *KEYS)

_MARK = "trio_mp_marks_the_end_of_this_table"


class ProfileEditor:
    """A file with profiles that is being changed.

    Args:
      text: the file as it is.
      path: of the file, for errors.

    Raises:
      ConfigurationError: the text is no TOML, or tomlkit is not installed.
    """

    def __init__(self, text: str, path: str) -> None:
        try:
            import tomlkit  # an extra: programs only read the file
        except ImportError:
            raise ConfigurationError("to change profiles, install `trio-mp[cli]`; or edit the file by hand") from None
        self._tomlkit, self._path = tomlkit, path
        self._document: Any = self._parse(text)

    def _parse(self, text: str) -> Any:
        try:
            return self._tomlkit.parse(text)
        except self._tomlkit.exceptions.TOMLKitError as error:
            raise ConfigurationError(f"{self._path}: expected TOML: {error}") from None

    @property
    def text(self) -> str:
        """The file as it is to be."""
        return str(self._document.as_string())

    def set(self, profile: str, name: str, value: object) -> None:
        """Set a setting. A profile that does not exist is made."""
        _check(name, EDITABLE)
        table = self._made(profile)
        new = name not in table
        table[name] = value
        if new:
            self._move_up(profile, name)

    def _move_up(self, profile: str, name: str) -> None:
        """Move a new last setting before the comments behind it: these belong to the table that follows."""
        value = self._made(profile).pop(name)
        self._made(profile)[_MARK] = value
        lines = self.text.splitlines(keepends=True)
        place = next(number for number, line in enumerate(lines) if line.startswith(_MARK))
        line, target = lines.pop(place).replace(_MARK, name, 1), place
        while target > 0 and (not lines[target - 1].strip() or lines[target - 1].startswith("#")):
            target -= 1
        lines.insert(target, line)
        self._made(profile).pop(_MARK)
        self._made(profile)[name] = value
        moved = "".join(lines)
        # What looks like a comment may be part of a text. Then the setting stays where it is.
        try:
            alike = tomllib.loads(moved) == tomllib.loads(self.text)
        except tomllib.TOMLDecodeError:
            alike = False
        if alike:
            self._document = self._parse(moved)

    def unset(self, profile: str, name: str) -> bool:
        """Remove a setting; says whether it was there."""
        _check(name, EDITABLE)
        table = self._existing(profile)
        return name in table and table.pop(name) is not None

    def add(self, profile: str, name: str, values: Iterable[object]) -> None:
        """Add values to a list, in which each is once. A list that the profile does not have begins empty."""
        _check(name, LISTS)
        found = self._made(profile).get(name)
        if found is None:
            self.set(profile, name, [])
            found = self._made(profile)[name]
        found.extend([value for value in values if value not in found])

    def remove(self, profile: str, name: str, values: Iterable[object]) -> bool:
        """Remove values from a list; says whether all of them were there. If one was not, nothing is removed."""
        _check(name, LISTS)
        found, wanted = self._existing(profile).get(name, []), list(values)
        if not all(value in found for value in wanted):
            return False
        for value in wanted:
            del found[list(found).index(value)]
        return True

    def use(self, profile: str | None) -> None:
        """Say which profile programs get that name none; None for none."""
        if profile is None:
            self._document.pop("use", None)
        else:
            self._existing(profile)
            self._document["use"] = profile

    def delete(self, profile: str) -> None:
        """Delete a profile. Raises `ConfigurationError` if it is missing, or if something in the file needs it."""
        self._existing(profile)
        children = [name for name, table in self._profiles.items() if table.get("parent") == profile]
        if children and profile != DEFAULT:
            raise ConfigurationError(
                f"{self._path}: {profile} is the parent of {', '.join(children)}; give these another parent first"
            )
        if self._document.get("use") == profile:
            raise ConfigurationError(f"{self._path}: {profile} is the profile in use; use another one first")
        del (self._document if profile == DEFAULT else self._document["profile"])[profile]

    def written(self, profile: str) -> str:
        """The settings of a profile as they are written, with their comments."""
        return str(self._existing(profile).as_string())

    @property
    def _profiles(self) -> Any:
        return self._document.get("profile", {})

    def _existing(self, profile: str) -> Any:
        tables = self._document if profile == DEFAULT else self._profiles
        if profile not in tables:
            raise ConfigurationError(f"{self._path}: expected a profile {profile!r}{nearest(profile, tables)}")
        return tables[profile]

    def _made(self, profile: str) -> Any:
        if profile != DEFAULT and "profile" not in self._document:
            self._document["profile"] = self._tomlkit.table(is_super_table=True)
        tables = self._document if profile == DEFAULT else self._document["profile"]
        if profile not in tables:
            tables[profile] = self._tomlkit.table()
        return tables[profile]


def _check(name: str, allowed: Sequence[str]) -> None:
    if name not in allowed:
        kind = "a setting" if allowed is EDITABLE else "a setting that is a list"
        raise ConfigurationError(f"expected {kind}, one of {', '.join(allowed)}, got {name!r}{nearest(name, allowed)}")
