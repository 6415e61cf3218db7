"""Finding and reading the file with the profiles."""

from __future__ import annotations

import os
import shlex
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

from .._errors import ConfigurationError
from .document import Document, read_document
from .variables import CONFIG

NAME = "profiles.toml"


def configuration_file(environ: Mapping[str, str], platform: str = sys.platform) -> Path | None:
    """The path of the file with the profiles, whether it exists or not. None if this user has no home folder.

    It is in the folder where the platform keeps the configuration of a user: `~/.config/trio_mp` (or below
    `$XDG_CONFIG_HOME`), on macOS `~/Library/Application Support/trio_mp`, on Windows `%APPDATA%\\trio_mp`. The working
    directory is not searched: who can write there could run code here, by the setting `services`.

    Args:
      environ: the variables of the process; `TRIO_MP_CONFIG` is the path of another file.
      platform: as `sys.platform`.
    """
    if environ.get(CONFIG):
        return Path(environ[CONFIG])
    try:
        home = Path.home()
    except RuntimeError:
        return None
    if platform == "win32":
        folder = Path(environ.get("APPDATA") or home / "AppData" / "Roaming")
    elif platform == "darwin":
        folder = home / "Library" / "Application Support"
    else:
        # The standard says that a relative path in it is to be ignored.
        configured = Path(environ.get("XDG_CONFIG_HOME", ""))
        folder = configured if configured.is_absolute() else home / ".config"
    return folder / "trio_mp" / NAME


def read_configuration(environ: Mapping[str, str]) -> Document:
    """Read the file with the profiles. Without one there are no profiles, and no default.

    Raises:
      ConfigurationError: `TRIO_MP_CONFIG` names a file that does not exist; or the file cannot be read, is wrong, or
        can be changed by everybody.
    """
    path = configuration_file(environ)
    if path is None:
        return Document("the file of profiles, which a user without a home folder does not have")
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            content = file.read()
    except FileNotFoundError:
        if environ.get(CONFIG):
            raise ConfigurationError(
                f"{CONFIG}: expected the path of a file, got {str(path)!r}, which is none"
            ) from None
        return Document(f"{path} (which does not exist)")
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror or error}") from None
    # Not of a device, such as /dev/null, which stands for no profiles at all.
    mode = stat.S_IMODE(status.st_mode) if os.name == "posix" and stat.S_ISREG(status.st_mode) else 0
    if mode & stat.S_IWOTH:
        raise ConfigurationError(
            f"{path}: expected a file that not everybody can change, because it says what code runs, got one with the"
            f" permissions {mode:03o}; run `chmod o-w {shlex.quote(str(path))}`"
        )
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: expected UTF-8, got other bytes") from None
    return read_document(text, str(path), mode if mode & (stat.S_IRGRP | stat.S_IROTH) else None)
