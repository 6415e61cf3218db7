"""The files of Unix sockets: taking the place of a dead one, and removing files that no node would ever take over.

A process that is killed leaves the file of its socket behind. A node with an ID of its own comes back and takes the
file's place. A node with a random ID never comes back, so the next node that finds the file removes it.

To find out whether a socket is dead, a node connects to it with a socket of the wrong type. The kernel then says
whether a process is bound there, even if it does not listen yet, and the process notices nothing. So a node that is
just binding is not taken for dead. A dead file is judged, removed and replaced under a lock of its directory: without
the lock another node could replace the file between the judgement and the removal.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import trio

LOOKED_AT = 10_000
"""At how many files of a directory a node looks for those of dead nodes, when it begins to listen there."""

_TRIES = 100
_TRY_AGAIN = 0.01
"""How often a lock is tried that another process holds, and how many seconds lie between. Mostly it is held for a
millisecond. After that a node goes on without it: a user who may read the directory could hold it for ever."""

_RANDOM_ID = re.compile(r"anon_([A-Za-z0-9]{16})-[0-9a-f]{8}\.sock")


def socket_name(node_id: str) -> str:
    """The name of the file of a node that listens beside the file of another node."""
    name = "".join(character if character.isalnum() else "_" for character in node_id)
    if name != node_id:
        # Without the digest the names of two nodes could be the same, since characters were replaced.
        name += f"-{hashlib.sha256(node_id.encode()).hexdigest()[:8]}"
    return f"{name}.sock"


def is_of_random_id(name: str) -> bool:
    """Whether a file has the name that a node with a random ID gives it. Such a node never comes back."""
    parts = _RANDOM_ID.fullmatch(name)
    return parts is not None and socket_name(f"anon/{parts[1]}") == name


def is_dead(path: Path) -> bool:
    """Whether no process is bound to the socket at this path. A process that is bound notices nothing. Never blocks.

    Raises:
      OSError: the kernel does not say; the socket is another user's, for example.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except OSError as error:
            if error.errno not in {errno.ECONNREFUSED, errno.ENOENT, errno.EPROTOTYPE}:
                raise
            return error.errno != errno.EPROTOTYPE
    return False


async def bind(listening: socket.socket, path: Path) -> None:
    """Bind a socket to a path where only this user can connect, and take the place of a dead socket. A checkpoint.

    Raises:
      OSError: something listens there, there is another kind of file, or the path cannot be used.
    """
    await trio.lowlevel.checkpoint()
    for left in reversed(range(_TRIES)):
        with _locked(path.parent) as locked:
            if locked is not False or not left:
                # There is no checkpoint from here on: other tasks must run neither under the lock nor with the mask.
                _remove_stale(path)
                # The file is made with the mode that the mask leaves, so there is no moment at which others can
                # connect. The mask is the process's, so the plain socket is used: Trio's binds in a thread, while other
                # tasks run.
                mask = os.umask(0o177)
                try:
                    listening.bind(str(path))
                finally:
                    os.umask(mask)
                return
        await trio.sleep(_TRY_AGAIN)


def _remove_stale(path: Path) -> None:
    """Remove the socket file that a process left behind when it died. Raises `OSError` if the socket is alive."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(errno.EEXIST, "there is a file of that name, and it is no socket")
        if not is_dead(path):
            raise OSError(errno.EADDRINUSE, "something listens there already")
        path.unlink()


def remove_dead(path: Path) -> None:
    """Remove the file of a socket if its node is dead, had a random ID, and was this user's. Raises nothing."""
    with contextlib.suppress(OSError), _locked(path.parent) as locked:
        _remove_if_dead(path, locked)


def remove_dead_beside(path: Path) -> None:
    """Remove all files in the directory of this path that `remove_dead` would remove. Raises nothing."""
    with contextlib.suppress(OSError), _locked(path.parent) as locked, os.scandir(path.parent) as entries:
        for entry in islice(entries, LOOKED_AT):
            _remove_if_dead(path.with_name(entry.name), locked)


def _remove_if_dead(path: Path, locked: bool | None) -> None:
    if not (locked and is_of_random_id(path.name)):
        return
    with contextlib.suppress(OSError):
        found = path.lstat()
        if stat.S_ISSOCK(found.st_mode) and found.st_uid == os.geteuid() and is_dead(path):
            path.unlink()


@contextmanager
def _locked(directory: Path) -> Iterator[bool | None]:
    """Hold the lock of a directory, without waiting for it. The lock ends with the process, if not before.

    Yields whether the lock is held; None if there is none: some file systems have no locks, and some directories cannot
    be read.
    """
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except OSError:
        yield None
        return
    try:
        yield _lock(descriptor)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """Lock a directory; returns whether that went well, False if another process has it, None if there are no locks."""
    if sys.platform == "win32":
        return None
    import fcntl  # which is not there on Windows

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
