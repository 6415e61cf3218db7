"""The file with the secrets of a node: read when the node opens, and again when it has changed.

To replace a secret everywhere without cutting anybody off, the file of each node changes in steps, as
docs/configuration.md says: the new one is accepted by all before any node dials with it.
"""

from __future__ import annotations

import logging
import os
import shlex
import stat
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import trio

from .._errors import ConfigurationError
from .._events import fields
from .._protocol.handshake.auth import MINIMUM_SECRET, stretch_secret

LOOK_AGAIN = 5.0
"""How often the file is read again, in seconds."""

LOOK_TWICE = 1.0
"""How long a change must have stood in the file before it is believed, in seconds: whoever writes may not be done, and
half a line may look like a secret."""

MOST_SECRETS = 8
"""How many secrets there may be: each costs 50 ms to stretch, and is tried in each handshake."""

LARGEST_FILE = 64 * 1024

log = logging.getLogger("trio_mp.connection")


@dataclass(frozen=True, slots=True)
class Secrets:
    """The secrets of a file, stretched.

    Attributes:
      secrets: as they stand in the file, in its order.
      keys: the key of each.
      warning: what is wrong with the permissions of the file; empty if nothing is.
    """

    secrets: tuple[bytes, ...] = field(repr=False)
    keys: tuple[bytes, ...] = field(repr=False)
    warning: str = ""


class SecretUser(Protocol):
    """Uses secrets: a node's network."""

    @property
    def secrets(self) -> tuple[bytes, ...]:
        """Those in force."""
        ...

    def use_secrets(self, secrets: Secrets) -> None:
        """Go by these in all handshakes that begin from now on."""
        ...


def read_secret_file(path: str) -> Secrets:
    """Read the secrets in a file, one a line, and stretch them. Blocks, for 50 ms a secret that is new.

    Empty lines and spaces at both ends of a line do not count.

    Raises:
      ConfigurationError: the file cannot be read, or holds no secrets. The text shows nothing of what is in it.
    """
    place = f"secret_file: {path}"
    try:
        with Path(path).open("rb") as file:
            warning = _find_readers(path, file.fileno())
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise ConfigurationError(f"{place}: cannot be read: {error.strerror or error}") from None
    if len(content) > LARGEST_FILE:
        raise ConfigurationError(f"{place}: expected at most {LARGEST_FILE} bytes, got more")
    lines = [(number, line.strip()) for number, line in enumerate(content.splitlines(), 1)]
    secrets = tuple(dict.fromkeys(line for _, line in lines if line))
    if not 1 <= len(secrets) <= MOST_SECRETS:
        raise ConfigurationError(f"{place}: expected 1 to {MOST_SECRETS} secrets, one a line, got {len(secrets)}")
    for number, line in lines:
        if line and len(line) < MINIMUM_SECRET:
            raise ConfigurationError(
                f"{place}, line {number}: expected a secret of at least {MINIMUM_SECRET} bytes, got {len(line)};"
                " print a good secret with `openssl rand -hex 16`"
            )
    return Secrets(secrets, tuple(map(stretch_secret, secrets)), warning)


def _find_readers(path: str, file: int) -> str:
    """Say who else can read a file with a secret; empty if nobody can, or if the file system cannot be changed."""
    if os.name != "posix":
        return ""
    mode = stat.S_IMODE(os.fstat(file).st_mode)
    # Secrets that an orchestrator mounts can be read by all in the container, and nobody there can change that.
    if not mode & (stat.S_IRGRP | stat.S_IROTH) or os.fstatvfs(file).f_flag & os.ST_RDONLY:
        return ""
    return (
        f"secret_file: {path}: expected a file that nobody but its owner may read, got one with the permissions"
        f" {mode:03o}; run `chmod 600 {shlex.quote(path)}`"
    )


class SecretFileWatch:
    """Reads the file with the secrets of a node again, and has its network use what is new there.

    Args:
      user: the network.
      path: the file.
      in_thread: see `Environment`.
    """

    def __init__(
        self, user: SecretUser, path: str, in_thread: Callable[[Callable[[], Secrets | str]], Awaitable[Secrets | str]]
    ) -> None:
        self._user = user
        self._path = path
        self._in_thread = in_thread
        self._complained = ""

    async def run(self) -> None:
        """Look into the file again and again, until this is cancelled."""
        while True:
            await trio.sleep(LOOK_AGAIN)
            await self._look()

    async def _look(self) -> None:
        """Look into the file once, and take up a change that lasts. What does not work is logged once."""
        found = await self._in_thread(self._read)
        if not self._is_new(found):
            return
        await trio.sleep(LOOK_TWICE)
        if await self._in_thread(self._read) != found:
            # Somebody is writing.
            return
        if isinstance(found, str):
            self._complained = found
            log.warning("%s; the secrets that were read before stay in force", found, extra=fields("secret"))
            return
        self._complained = ""
        if found.secrets != self._user.secrets:
            self._user.use_secrets(found)
            count = len(found.secrets)
            now = "1 secret is" if count == 1 else f"{count} secrets are"
            log.info("%s has changed: %s in force", self._path, now, extra=fields("secret"))

    def _is_new(self, found: Secrets | str) -> bool:
        if isinstance(found, str):
            return found != self._complained
        return bool(self._complained) or found.secrets != self._user.secrets

    def _read(self) -> Secrets | str:
        """The secrets, or why they cannot be read."""
        try:
            return read_secret_file(self._path)
        except ConfigurationError as error:
            return str(error)
