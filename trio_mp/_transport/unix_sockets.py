"""The files of Unix sockets: taking the place of a dead one, and removing those that nobody else would.

A process that is killed leaves its socket's file behind. A node with an ID of its own comes back, and takes the file's
place; one with a random ID never does, so whoever finds its file removes it.

Whether a socket is dead is asked with a socket of the wrong type: the kernel says whether somebody is bound there, also
if that one does not listen yet, and the one that is there notices nothing. So a node that is just binding is not taken
for dead. What is dead is judged, removed and replaced under a lock of its directory: otherwise the file that somebody
judged could be another's when it is removed.
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
"""At how many files of a directory it is looked, for those of dead nodes, by one that begins to listen there."""

_TRIES = 100
_TRY_AGAIN = 0.01
"""How often, and after how many seconds each, a lock is tried that somebody else holds, mostly for a millisecond. Then
it goes without: any user who may read the directory could hold it for ever."""

_RANDOM_ID = re.compile(r"anon_([A-Za-z0-9]{16})-[0-9a-f]{8}\.sock")


def socket_name(node_id: str) -> str:
    """The name of the file of a node that listens beside another."""
    name = "".join(character if character.isalnum() else "_" for character in node_id)
    if name != node_id:
        # Another node's may differ from it in nothing else.
        name += f"-{hashlib.sha256(node_id.encode()).hexdigest()[:8]}"
    return f"{name}.sock"


def is_of_random_id(name: str) -> bool:
    """Whether this is the name of the file of a node whose ID was random, so that it never comes back."""
    parts = _RANDOM_ID.fullmatch(name)
    return parts is not None and socket_name(f"anon/{parts[1]}") == name


def is_dead(path: Path) -> bool:
    """Whether nobody is bound to the socket at this path. It does not disturb who is, and does not block.

    Raises:
      OSError: that cannot be told; the socket is another user's, for example.
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
    """Bind a socket to a path, where only this user can connect, and take the place of a dead one; then listen.

    A checkpoint.

    Raises:
      OSError: something listens there, there is another kind of file, or the path cannot be used.
    """
    await trio.lowlevel.checkpoint()
    for left in reversed(range(_TRIES)):
        with _locked(path.parent) as locked:
            if locked is not False or not left:
                # No checkpoint from here on.
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
    """Remove the socket file that a process left behind when it died; refuse one that is alive."""
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
    """Remove all such files in the directory of this path. Raises nothing."""
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
    """Hold the lock of a directory, without waiting for it; it ends with the process, if not before.

    Yields whether it is held; None if it cannot be: not all file systems have it, and not all directories can be read.
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
    """Lock a directory, if nobody else has: whether that has gone well; None if it cannot be locked at all."""
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
