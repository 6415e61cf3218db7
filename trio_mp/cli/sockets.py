"""Whether this platform has the sockets that a command needs."""

from __future__ import annotations

import socket
import sys

from .exits import USAGE, CommandFailed


def check_unix_sockets(who: str) -> None:
    """Raise `CommandFailed` on a platform without Unix sockets.

    Args:
      who: what needs them, for the error.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise CommandFailed(USAGE, f"expected a platform with Unix sockets, which {who} needs, got {sys.platform}")
