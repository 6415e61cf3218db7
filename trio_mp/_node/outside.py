"""What `open_node` takes from outside the program, and what the log says of it."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from .._errors import ConfigurationError
from .._events import fields
from .._profiles.first import FIRST_NODE
from .._profiles.gathering import ONCE, TAKEN, check_request, explain, explain_barred, gather
from .._profiles.log_levels import LOG, LOG_VARIABLE
from .._profiles.sources import Layer, Merged
from .._profiles.variables import FOLDERS, PREFIX, PROFILE, find_misspelt
from .._services.spawning import import_modules
from .._settings.settings import SettingArguments, check_settings
from .services import find_services

if TYPE_CHECKING:
    # For the type alone, as below.
    from .._profiles.document import Document

log = logging.getLogger("trio_mp")


@contextmanager
def from_outside(
    node_id: str | None,
    profile: str | bool | None,
    fixed: Iterable[str],
    settings: Mapping[str, object],
    command_line: Layer | None = None,
) -> Generator[tuple[str | None, SettingArguments]]:
    """Give the node ID and the settings of a node that is open for the length of the block.

    Args:
      node_id, profile, fixed, settings: see `open_node`.
      command_line: the settings that a command line gives; then it has given `profile`, too.

    Raises:
      TypeError, ConfigurationError: see `open_node`.
    """
    request = check_request(node_id, profile, fixed, settings)
    if request is None:
        yield node_id, cast(SettingArguments, settings)
        return
    if not (request.wants_network or any(name.startswith(PREFIX) for name in os.environ)):
        # The usual case of a program that opens many nodes: nothing outside says anything.
        # Not `settings`, whose iterators have been looked at.
        yield node_id, cast(SettingArguments, {name: request.arguments[name] for name in settings})
        return
    # As they are now: a program may have set some. Not all of them: a copy would take as long as opening a node.
    environ = {name: os.environ[name] for name in os.environ if name.startswith(PREFIX) or name in FOLDERS}
    if command_line is not None and isinstance(profile, str):
        # The command line wins over the variable, as for every setting, so nobody needs to be told.
        environ.pop(PROFILE, None)
    # First: what is said below may be what the operator wants to see.
    LOG_VARIABLE.take(environ.get(LOG, ""))
    merged = gather(request, environ, lambda: _read_file(environ), command_line=command_line)
    if not any(name in merged.outside for name in ONCE):
        yield _checked(merged, environ)
        return
    with FIRST_NODE.claim() as first:
        if not first:
            merged = gather(
                request,
                environ,
                lambda: _read_file(environ),
                barred=dict.fromkeys(ONCE, TAKEN),
                command_line=command_line,
            )
        yield _checked(merged, environ)


def _read_file(environ: Mapping[str, str]) -> Document:
    from .._profiles.finding import read_configuration  # with tomllib: 5 ms, which nodes without profiles need not wait

    return read_configuration(environ)


def _checked(merged: Merged, environ: Mapping[str, str]) -> tuple[str | None, SettingArguments]:
    """The node ID and the settings of a node. Logs where they are from."""
    values = merged.values
    node_id = cast("str | None", values.pop("node_id", None))
    settings = cast(SettingArguments, values)
    for text in find_misspelt(environ):
        log.warning("%s", text, extra=fields("settings", node_id or ""))
    if not merged.outside:
        # Whoever opens the node checks the same once more, and no error needs a place in it.
        _tell(merged)
        return node_id, settings
    try:
        found = check_settings(node_id, settings)
        # Now, because an error of theirs is one of whoever has given the setting.
        import_modules(found.spawn_modules, "spawn_modules")
        find_services(found.services)
    except ConfigurationError as error:
        # Two settings may contradict each other that come from different places.
        raise ConfigurationError(f"{error}{merged.sources_in(str(error))}") from None
    _tell(merged)
    return node_id, settings


def _tell(merged: Merged) -> None:
    """Say in the log where the settings are from, and which have no effect."""
    for text in explain_barred(merged):
        log.warning("%s", text, extra=fields("settings"))
    told = explain(merged)
    if told:
        log.info("settings of the node: %s", "; ".join(told), extra=fields("settings"))
