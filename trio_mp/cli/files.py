"""Writing files that running programs read."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_at_once(path: Path, content: bytes, mode: int) -> None:
    """Write a file at once: nobody reads half of it, and a crash leaves the old one. It keeps its owner.

    The folder is made if it is missing, for its owner alone.

    Raises:
      OSError: it cannot be written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(file, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        _keep_owner(path, temporary)
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _keep_owner(path: Path, temporary: str) -> None:
    """Give a new file to the owner of the old one: else a service could not read what root has changed for it."""
    if os.name != "posix" or not path.exists():
        return
    old, new = path.stat(), Path(temporary).stat()
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        os.chown(temporary, old.st_uid, old.st_gid)
