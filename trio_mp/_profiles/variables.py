"""Settings in the environment: `TRIO_MP_` and the name of the setting in capitals."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from .._errors import ConfigurationError
from .._settings import texts
from .._settings.settings import TABLE
from .log_levels import LOG
from .sources import KEYS, Given, Layer, checked

PREFIX = "TRIO_MP_"

CONFIG = "TRIO_MP_CONFIG"
"""The path of the file with the profiles, in place of the one in the platform's folder."""

PROFILE = "TRIO_MP_PROFILE"
"""The profile of nodes whose program names none."""

VARIABLES: dict[str, str] = {PREFIX + name.upper(): name for name in KEYS}
"""The variables of all settings, and the names of the settings."""

NETWORK = (PROFILE, "TRIO_MP_SEEDS", "TRIO_MP_BINDS")
"""The variables by which the environment says that a node shall have a network."""

FOLDERS = ("XDG_CONFIG_HOME", "APPDATA")
"""The variables of the platforms that say where the configuration of a user is."""

_OTHERS = (CONFIG, PROFILE, LOG, "TRIO_MP_TRACE", "TRIO_MP_PARENT_PIPE")


def variables_layer(environ: Mapping[str, str]) -> Layer:
    """Read the settings in the environment. A variable that is empty counts as not set.

    Raises:
      ConfigurationError: a variable has a value that cannot work; the text begins with its name.
    """
    layer: dict[str, Given] = {}
    for variable, name in VARIABLES.items():
        text = environ.get(variable, "")
        if text:
            read = TABLE[name].read if name in TABLE else texts.word
            try:
                value = read(text)
            except ValueError as error:
                raise ConfigurationError(f"{variable}: {error}") from None
            layer[name] = checked(name, value, variable)
    return layer


def find_misspelt(environ: Mapping[str, str]) -> list[str]:
    """Name the variables that are like one of this package, and are none: a text for each, for the log."""
    known = [*VARIABLES, *_OTHERS]
    found: list[str] = []
    for variable in sorted(environ):
        if variable.startswith(PREFIX) and variable not in known:
            near = difflib.get_close_matches(variable, known, n=1, cutoff=0.9)
            found += [f"{variable}: there is no such setting; did you mean {near[0]}?"] if near else []
    return found
