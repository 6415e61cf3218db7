"""The manager that runs this process as a service: systemd, or whoever speaks as it does.

The manager gives the process a socket for datagrams, by the variable `NOTIFY_SOCKET`, and perhaps asks for a sign of
life, by `WATCHDOG_USEC`. The variables are about this process alone, so they leave its environment when they are read:
a process that it starts must not speak in its place.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import threading
from collections import deque
from collections.abc import Generator, MutableMapping
from contextlib import contextmanager

from .._events import fields

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
"""How the manager says where it listens, and how often it wants to hear from which process."""

_BUSY = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.EINTR, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""What passes: the manager has much to read, or this process has no file descriptor or memory left."""

log = logging.getLogger("trio_mp")


class ServiceManager:
    """The manager of this process, if it has one.

    Attributes:
      address: where it listens; empty if there is no manager.
      watchdog: within how many seconds it wants the next sign of life; None if it wants none.
    """

    def __init__(self) -> None:
        self.address: str = ""
        self.watchdog: float | None = None
        self._is_broken = False
        self._claimed = threading.Lock()
        # One entry for each node that waits to speak; a deque, because these may run in several threads.
        self._waiting: deque[None] = deque()

    def take_variables(self, environ: MutableMapping[str, str]) -> None:
        """Take what the manager says out of the environment, and remember it."""
        found = {name: environ.pop(name) for name in VARIABLES if name in environ}
        address = found.get("NOTIFY_SOCKET", "")
        if not address:
            return
        if address[0] not in "/@" or not hasattr(socket, "AF_UNIX"):
            text = "NOTIFY_SOCKET: expected a path, or '@' and a name, got %r: the service's manager hears nothing"
            log.warning(text, address, extra=fields("service_manager"))
            return
        self.address = address
        self.watchdog = None
        wanted, process = found.get("WATCHDOG_USEC", ""), found.get("WATCHDOG_PID", "")
        if process not in {"", str(os.getpid())}:
            # Another process of the service is to give it.
            return
        if wanted.isascii() and wanted.isdigit() and len(wanted) < 20 and int(wanted):
            self.watchdog = int(wanted) / 1_000_000
        elif wanted:
            text = "WATCHDOG_USEC: expected a number of microseconds, got %r: the manager gets no sign of life"
            log.warning(text, wanted, extra=fields("service_manager"))

    @property
    def name(self) -> str:
        """What the manager is called, for people; empty if there is none."""
        return "systemd" if self.address else ""

    @contextmanager
    def waiting(self) -> Generator[None]:
        """Note that a node waits to speak for this process, for the length of the block."""
        self._waiting.append(None)
        try:
            yield
        finally:
            self._waiting.pop()

    @property
    def others_wait(self) -> bool:
        """Whether a node waits to speak: the program goes on when the one that speaks has closed."""
        return bool(self._waiting)

    def claim(self) -> bool:
        """Be the one node that speaks for this process; says whether that has succeeded. Never waits."""
        return bool(self.address) and self._claimed.acquire(blocking=False)

    @property
    def is_claimed(self) -> bool:
        """Whether a node speaks for this process."""
        return self._claimed.locked()

    def release(self) -> None:
        """Let another node speak."""
        self._claimed.release()

    def tell(self, *lines: str) -> bool:
        """Tell the manager something; False if it cannot take it now. Never waits.

        A manager that does not listen is named in the log, once.
        """
        address = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        try:
            # A socket for each message, as systemd's own function has: the manager may have begun anew.
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as telling:
                telling.setblocking(False)
                telling.connect(address)
                telling.send("\n".join(lines).encode("utf-8", "backslashreplace"))
        except OSError as error:
            if error.errno in _BUSY:
                return False
            if not self._is_broken:
                self._is_broken = True
                text = "the manager of this service cannot be told anything, at %s: %s"
                log.warning(text, self.address, error.strerror or error, extra=fields("service_manager"))
            return True
        self._is_broken = False
        return True


SERVICE_MANAGER = ServiceManager()
"""Of this process."""
