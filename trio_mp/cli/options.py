"""The settings that the options of a command line give."""

from __future__ import annotations

import argparse
from typing import cast

from .._errors import ConfigurationError
from .._profiles.sources import Layer, checked
from .._settings import texts


def command_line_layer(arguments: argparse.Namespace) -> Layer:
    """Give the settings that the options of a command line say, read as the variables of the same settings are.

    Args:
      arguments: with the options of `add_node_options`, or those of a tool, which has neither `--id` nor `--bind`.

    Raises:
      ConfigurationError: one has a value that cannot work; the text begins with the option.
    """
    given = {
        "--id": ("node_id", getattr(arguments, "node_id", None)),
        "--bind": ("binds", _words("--bind", getattr(arguments, "binds", None))),
        "--seed": ("seeds", _words("--seed", arguments.seeds)),
        "--secret-file": ("secret_file", arguments.secret_file),
    }
    return {name: checked(name, value, option) for option, (name, value) in given.items() if value is not None}


def _words(option: str, given: list[str] | None) -> list[object] | None:
    """The addresses of an option that may be repeated, each time with several; None if it was not given."""
    if given is None:
        return None
    try:
        return [one for text in given for one in cast("list[object]", texts.words(text))]
    except ValueError as error:
        raise ConfigurationError(f"{option}: {error}") from None
