"""Listening sockets that whoever has started this process has opened for it: systemd, a supervisor, or a shell.

`fd:N` is the socket of that descriptor. `fd:NAME` is every socket that systemd has passed by this name: the variables
`LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES` say which. The variables are about this process alone, so they leave its
environment when they are read: a process that it starts must not take them for its own.

A socket closes with the node that listens on it. Its number may then be that of any other file, so nobody gets it again
by this number.
"""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import MutableMapping

from .._errors import ConfigurationError
from .addresses import TCPAddress, UnixAddress

FIRST = 3
"""The descriptor of the first socket that systemd passes."""

VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")
"""How systemd says which sockets it passes, and to which process."""

UNNAMED = "unknown"
"""The name that systemd's own reader gives sockets without names."""


class InheritedSockets:
    """The sockets that this process was started with."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._named: list[tuple[str, int]] = []
        # Why there are none with names, for an error.
        self._why = "the variable LISTEN_FDS is not set"
        self._used: set[int] = set()

    def take_variables(self, environ: MutableMapping[str, str]) -> None:
        """Take what systemd says out of the environment, and remember it. What another process is told is ignored."""
        found = {name: environ.pop(name) for name in VARIABLES if name in environ}
        if "LISTEN_FDS" not in found:
            return
        count, names = found["LISTEN_FDS"], found.get("LISTEN_FDNAMES", "").split(":")
        if found.get("LISTEN_PID") != str(os.getpid()):
            self._why = (
                f"LISTEN_PID is {found.get('LISTEN_PID', 'not set')}, and this is process {os.getpid()}: if a shell"
                " has started it, let the shell `exec` it"
            )
            return
        if not (count.isascii() and count.isdigit() and len(count) < 5):
            self._why = f"LISTEN_FDS is {count!r}, and no number"
            return
        self._why = f"LISTEN_FDS is {count}"
        if len(names) != int(count):
            names = [UNNAMED] * int(count)
        self._named = [(name, FIRST + number) for number, name in enumerate(names)]
        for _, descriptor in self._named:
            try:
                os.set_inheritable(descriptor, False)
            except OSError:
                # It is not open. Whoever wants it is told.
                continue

    def open(self, name: str) -> list[tuple[socket.socket, str]]:
        """The sockets of a bind `fd:NAME` or `fd:N`, each with the address where it listens.

        They belong to the caller, who closes them.

        Args:
          name: what stands behind `fd:`.

        Raises:
          ConfigurationError: there is no such socket, it does not listen, or a node has used it already.
        """
        with self._lock:
            self.take_variables(os.environ)
            opened: list[tuple[socket.socket, str]] = []
            try:
                for descriptor in self._find(name):
                    one = self._open(name, descriptor)
                    opened.append(one)
                opened += [_as_ipv4(each) for each, _ in opened if _hears_ipv4(each)]
            except BaseException:
                for each, _ in opened:
                    if each.fileno() in self._used:
                        self._used.discard(each.detach())
                    else:
                        each.close()
                raise
            return opened

    def _find(self, name: str) -> list[int]:
        if name.isascii() and name.isdigit():
            return [int(name)]
        found = [descriptor for each, descriptor in self._named if each == name]
        if not found:
            names = ", ".join(dict.fromkeys(f"fd:{each}" for each, _ in self._named))
            got = f"it has passed {names}" if names else self._why
            raise ConfigurationError(
                f"binds: expected a socket of the name {name!r} from whoever has started this process, got none: {got};"
                f" give FileDescriptorName={name} in the socket unit"
            )
        return found

    def _open(self, name: str, descriptor: int) -> tuple[socket.socket, str]:
        what = f"the descriptor {descriptor}"
        if descriptor in self._used:
            raise _wrong(name, f"{what} that no node has used, got one that is in use, or was closed with its node")
        try:
            mode = os.fstat(descriptor).st_mode
        except (OSError, OverflowError):
            raise _wrong(
                name, f"{what} to be open, got a closed one: whoever starts this process has to open it"
            ) from None
        if not stat.S_ISSOCK(mode):
            raise _wrong(name, f"{what} to be a socket, got another kind of file")
        inherited = socket.socket(fileno=descriptor)
        try:
            address = _address_of(inherited, name, what)
        except BaseException:
            inherited.detach()
            raise
        inherited.setblocking(False)
        inherited.set_inheritable(False)
        self._used.add(descriptor)
        return inherited, address


def _address_of(inherited: socket.socket, name: str, what: str) -> str:
    """Where a socket listens. Raises `ConfigurationError` if no node can listen on it."""
    unix = getattr(socket, "AF_UNIX", None)
    if inherited.family not in {socket.AF_INET, socket.AF_INET6, unix} or inherited.type != socket.SOCK_STREAM:
        kind = f"{_name_of(inherited.family)}, {_name_of(inherited.type)}"
        raise _wrong(name, f"{what} to be a stream socket of TCP or in the file system, got {kind}: use ListenStream=")
    try:
        listens = bool(inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        # macOS does not say, so whoever has opened it is trusted.
        listens = True
    if not listens:
        raise _wrong(name, f"{what} to listen, got a socket that does not: use Accept=no in the socket unit")
    own = inherited.getsockname()
    if inherited.family != unix:
        return str(TCPAddress(str(own[0]), int(own[1])))
    if not isinstance(own, str) or not own:
        raise _wrong(name, f"{what} to listen at a path, which others can dial, got a Unix socket without one")
    return str(UnixAddress(own))


def _hears_ipv4(inherited: socket.socket) -> bool:
    """Whether a socket listens for both kinds of IP addresses on all interfaces: systemd's `ListenStream=4040`."""
    if inherited.family != socket.AF_INET6 or inherited.getsockname()[0] != "::":
        return False
    return not inherited.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)


def _as_ipv4(inherited: socket.socket) -> tuple[socket.socket, str]:
    """Return the same socket as one for IPv4. Else nobody would be told that this node can be reached so."""
    other = inherited.dup()
    other.setblocking(False)
    return other, str(TCPAddress("0.0.0.0", int(inherited.getsockname()[1])))  # noqa: S104 - the manager has said so


def _name_of(number: int) -> str:
    return getattr(number, "name", str(number))


def _wrong(name: str, text: str) -> ConfigurationError:
    return ConfigurationError(f"binds: fd:{name}: expected {text}")


INHERITED = InheritedSockets()
"""Of this process."""
