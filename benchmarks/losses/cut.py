"""Reset the TCP connections between two processes, without a proxy between them. Linux only."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Iterator
from pathlib import Path

_PIDFD_GETFD = 438
"""The number of the system call, which is the same on all architectures."""


def sockets_of(process: int) -> Iterator[tuple[int, int]]:
    """Return the descriptors of a process that are sockets, each with its inode."""
    for entry in Path(f"/proc/{process}/fd").iterdir():
        try:
            target = str(entry.readlink())
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            yield int(entry.name), int(target[8:-1])


def connections() -> dict[int, tuple[str, str]]:
    """Return the established TCP connections of this machine: inode to own and other address."""
    found = {}
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            if fields[3] == "01":
                # An IPv4 connection may be in tcp6 at one end: the last eight digits are the address in both.
                own, other = (part.split(":")[0][-8:] + ":" + part.split(":")[1] for part in fields[1:3])
                found[int(fields[9])] = own, other
    return found


def cut(process: int, other: int) -> int:
    """Reset all connections between two processes, at the end of the first one.

    What waits in the buffers of that end is gone, and both ends learn at once that the connection is broken. Requires
    the right to trace the process.

    Returns:
      how many connections there were.

    Raises:
      OSError: this system does not do that, or it is not allowed.
    """
    established = connections()
    others = {established[inode][0] for _, inode in sockets_of(other) if inode in established}
    number = 0
    handle = os.pidfd_open(process)
    try:
        for descriptor, inode in sockets_of(process):
            if inode in established and established[inode][1] in others:
                _reset(handle, descriptor)
                number += 1
    finally:
        os.close(handle)
    return number


def can_cut() -> bool:
    """Whether this system lets a process have the sockets of another one."""
    handle = os.pidfd_open(os.getpid()) if hasattr(os, "pidfd_open") else -1
    if handle < 0:
        return False
    try:
        os.close(_copy(handle, 0))
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def _copy(handle: int, descriptor: int) -> int:
    """Return a copy of a descriptor of another process."""
    library = ctypes.CDLL(None, use_errno=True)
    copy: int = library.syscall(_PIDFD_GETFD, handle, descriptor, 0)
    if copy < 0:
        raise OSError(ctypes.get_errno(), f"pidfd_getfd: {os.strerror(ctypes.get_errno())}")
    return copy


def _reset(handle: int, descriptor: int) -> None:
    """Disconnect a socket of another process: for TCP that sends a reset, and empties its buffers."""
    library = ctypes.CDLL(None, use_errno=True)
    copy = _copy(handle, descriptor)
    with socket.socket(fileno=copy):
        # An address of the family AF_UNSPEC, which is 0.
        if library.connect(copy, ctypes.create_string_buffer(16), 16):
            raise OSError(ctypes.get_errno(), f"connect: {os.strerror(ctypes.get_errno())}")
