"""All mistakes in what is configured, and not only the first: for a command that checks it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial

from .._errors import ConfigurationError
from .document import Document
from .sources import Given, Layer, Merged, merge
from .variables import PROFILE, VARIABLES, find_misspelt, variables_layer


def gather_all(
    profile: str | None, environ: Mapping[str, str], read_file: Callable[[], Document], command_line: Layer
) -> tuple[Merged, list[str]]:
    """Gather the settings of a node as `gather` does, but leave out what is wrong, and say it.

    Args:
      profile: the name of a profile; None for the one that is configured.
      environ: the variables of the process.
      read_file: reads the file with the profiles.
      command_line: the settings that a command line gives.

    Returns:
      The settings that can be used, and a text for each mistake, which names the place.
    """
    mistakes = find_misspelt(environ)
    layers = [command_line]
    given = [partial(variables_layer, {name: environ[name]}) for name in VARIABLES if name in environ]
    layers.append(_read_each(given, mistakes))
    try:
        document = read_file()
        named = profile or environ.get(PROFILE) or document.use
        chain = document.chain(named) if named is not None else []
    except ConfigurationError as error:
        mistakes.append(str(error))
        return merge(layers, {}, {}), mistakes
    tables = [(name, document.profiles[name]) for name in chain]
    layers += [
        _read_each([partial(_profile, document, name, key) for key in table], mistakes) for name, table in tables
    ]
    layers.append(_read_each([partial(_default, document, key) for key in document.default], mistakes))
    return merge(layers, {}, {}), mistakes


def _read_each(readers: list[partial[Layer]], mistakes: list[str]) -> Layer:
    """Read a layer setting by setting. What is wrong becomes one of the mistakes."""
    layer: dict[str, Given] = {}
    for read in readers:
        try:
            layer.update(read())
        except ConfigurationError as error:
            mistakes.append(str(error))
    return layer


def _profile(document: Document, profile: str, key: str) -> Layer:
    """Read one key of a profile."""
    if key == "parent":
        return {}
    table = {profile: {key: document.profiles[profile][key]}}
    return dataclasses.replace(document, profiles=table, default={}).layers(profile)[0]


def _default(document: Document, key: str) -> Layer:
    """Read one key of the default."""
    return dataclasses.replace(document, default={key: document.default[key]}).layers(None)[0]
