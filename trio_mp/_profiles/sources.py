"""Where each setting of a node comes from: layers of settings, of which the first that gives a setting decides."""

from __future__ import annotations

import difflib
import os.path
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TypeAlias

from .._errors import ConfigurationError
from .._ids import check_node_id
from .._settings.settings import TABLE
from .._transport.certificate_files import Certificate

PROGRAM = "the program"
"""The source of arguments of `open_node`."""

KEYS: tuple[str, ...] = ("node_id", *TABLE)
"""The names of all settings that can be given from outside."""


@dataclass(frozen=True, slots=True)
class Given:
    """One setting that one source gives.

    Attributes:
      name: the name of the setting.
      value: as a program would give it.
      source: the place, for people: a variable, a file and a key in it, or `PROGRAM`.
    """

    name: str
    value: object = field(repr=False)  # it may be a secret
    source: str


Layer: TypeAlias = Mapping[str, Given]
"""All settings that one source gives, by their names."""


@dataclass(frozen=True, slots=True)
class Overridden:
    """A setting that was given, and does not count.

    Attributes:
      given: the setting.
      why: the reason, for people.
      barred: whether it was given from outside, and could have no effect there.
    """

    given: Given
    why: str
    barred: bool = False


@dataclass(frozen=True, slots=True)
class Merged:
    """The settings of a node, and the source of each.

    Attributes:
      chosen: the settings that count, by name.
      overridden: those that were given and do not count.
    """

    chosen: Layer
    overridden: tuple[Overridden, ...]

    @property
    def values(self) -> dict[str, object]:
        """The values of the settings that count, by name."""
        return {name: given.value for name, given in self.chosen.items()}

    @property
    def outside(self) -> dict[str, Given]:
        """The settings that count and are not from the program, by name."""
        return {name: given for name, given in self.chosen.items() if given.source != PROGRAM}

    def sources_in(self, text: str) -> str:
        """Say where the settings come from that a text names; empty if all of them are from the program."""
        words = set(re.findall(r"\w+", text))
        named = [f"{name} is from {given.source}" for name, given in self.outside.items() if name in words]
        return f" ({', '.join(named)})" if named else ""


def merge(outside: Sequence[Layer], program: Layer, barred: Mapping[str, str]) -> Merged:
    """Merge the layers of one node.

    Args:
      outside: the layers that are not the program's. The first that gives a setting decides.
      program: the program's arguments, which count where no other layer gives the setting.
      barred: settings that cannot come from outside, each with the reason.
    """
    chosen: dict[str, Given] = {}
    overridden: list[Overridden] = []
    decided: dict[str, Given] = {}
    reasons = {_subject(name): why for name, why in barred.items()}
    for layer, from_program in [*((layer, False) for layer in outside), (program, True)]:
        found: dict[str, Given] = {}
        for name, given in layer.items():
            subject = _subject(name)
            if subject in reasons and not from_program:
                overridden.append(Overridden(given, reasons[subject], barred=True))
            elif subject in decided:
                overridden.append(Overridden(given, f"{decided[subject].source} decides"))
            else:
                found[name] = given
        # Only now: a layer that gives two settings for one subject contradicts itself, and the check of both says so.
        chosen |= found
        decided |= {_subject(name): given for name, given in found.items()}
    return Merged(chosen, tuple(overridden))


def _subject(name: str) -> str:
    """What a setting is about. Who gives one setting about something decides about the other one, too."""
    return "secret" if name == "secret_file" else name


def checked(name: str, value: object, source: str, folder: str = "") -> Given:
    """Check a setting that comes from outside.

    Args:
      name, value: the setting.
      source: see `Given`.
      folder: the folder at which relative paths of files begin; if empty, the present one.

    Raises:
      ConfigurationError: the value cannot work; the text begins with the source.
    """
    try:
        if name == "certificate" and isinstance(value, Mapping):
            value = _certificate(value, source, folder)
        if name == "node_id":
            _check_node_id(value, source)
        else:
            TABLE[name].check(source, value)
        if name == "secret_file":
            value = absolute(value, folder)
    except TypeError as error:
        # A program that gives a wrong type is wrong; here the one who configures is.
        raise ConfigurationError(str(error)) from None
    return Given(name, value, source)


def _certificate(table: Mapping[str, object], source: str, folder: str) -> Certificate:
    """Make a certificate from a table of TOML, which names what `Certificate` takes."""
    names = [one.name for one in fields(Certificate)]
    for name in table:
        if name not in names:
            raise ConfigurationError(f"{source}.{name}: expected one of {', '.join(names)}{nearest(name, names)}")
    try:
        found = {name: absolute(value, folder) for name, value in table.items()}
        return Certificate(**found)  # type: ignore[arg-type]
    except TypeError as error:
        raise ConfigurationError(f"{source}: expected a table with chain, key and authority: {error}") from None


def absolute(path: object, folder: str) -> object:
    """A path as it is meant in a file of that folder, with `~` as the home folder. All but a str is left as it is."""
    return os.path.join(folder, os.path.expanduser(path)) if isinstance(path, str) else path  # noqa: PTH111, PTH118


def _check_node_id(value: object, source: str) -> None:
    try:
        check_node_id(value)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{source}: {str(error).removeprefix('node ID: ')}") from None


def program_layer(arguments: Mapping[str, object]) -> Layer:
    """The layer of the arguments that the program gives. They are checked when it is known which of them count."""
    return {name: Given(name, value, PROGRAM) for name, value in arguments.items()}


def nearest(name: str, names: Iterable[str]) -> str:
    """The known name that is most like this one, as a hint at the end of an error; empty if none is like it."""
    near = difflib.get_close_matches(name.lower(), list(names), n=1, cutoff=0.75)
    return f" (did you mean {near[0]}?)" if near else ""
