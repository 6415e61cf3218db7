"""The secrets of a node whose settings name a file."""

from __future__ import annotations

import dataclasses
import logging
from functools import partial

from .._events import fields
from .._peers.secret_file import read_secret_file
from .._settings.environment import Environment
from .._settings.settings import Settings

log = logging.getLogger("trio_mp.connection")


async def load_secrets(settings: Settings, environment: Environment) -> Settings:
    """Return the settings with the secrets of the file that they name. A checkpoint if they name one.

    Without a network no secret is needed, so the file is not read then.

    Raises:
      ConfigurationError: the file cannot be used.
    """
    if settings.secret_file is None or not settings.networked:
        return settings
    # In a thread: stretching a secret takes 50 ms. The network finds the keys in the cache.
    found = await environment.in_thread(partial(read_secret_file, settings.secret_file))
    if found.warning:
        log.warning("%s", found.warning, extra=fields("secret", settings.node_id or ""))
    return dataclasses.replace(settings, secret=found.secrets)
