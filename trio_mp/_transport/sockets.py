"""TCP and Unix sockets."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import sys
import time
from pathlib import Path

import trio

from . import unix_sockets
from .addresses import Address, InheritedBind, SeedAddress, ServiceSeed, TCPAddress, UnixAddress
from .inherited import INHERITED, InheritedSockets
from .interfaces import interface_hosts, is_own_host
from .pipe import Listener, Pipe, Transport
from .service_records import ServiceRecords, check_dns, find_records

_BACKLOG = 4096
_ACCEPT_RETRY = 0.05
POLL_TURN = 0.001
"""How long polling may keep other tasks from running, in seconds, however much it finds."""

POLL_PAUSES = 64
"""How many waits at most go without polling, after polling was in vain."""

_UNSENT = 1024 * 1024
"""How many unsent bytes the kernel takes for a TCP connection. Trio sets 16 KiB; then the kernel takes two packets at a
time, and a message of 1 MiB has to be written in eight parts, with a wait before each."""

_OUT_OF_FILES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


class SocketPipe(Pipe):
    """A connected stream socket, used without blocking.

    Trio's own socket methods are checkpoints; here most calls must not be, so the plain socket is used and Trio only
    waits for it.
    """

    __slots__ = ("_closed", "_poller", "_socket", "_turn_ends", "_unpolled", "_vain")

    def __init__(self, connected: socket.socket, peer_address: str, local_host: str = "") -> None:
        connected.setblocking(False)
        self._socket = connected
        self._closed = False
        # When other tasks are to run again; how many more waits go without polling; how many did so the last time.
        self._turn_ends = 0.0
        self._unpolled = self._vain = 0
        self._poller: select.poll | None = None
        self.peer_address = peer_address
        self.local_host = local_host

    def send_nowait(self, data: bytes | bytearray | memoryview) -> int:
        """See `Pipe.send_nowait`."""
        try:
            return self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0

    def receive_nowait(self, maximum: int) -> bytes | None:
        """See `Pipe.receive_nowait`."""
        try:
            return self._socket.recv(maximum)
        except (BlockingIOError, InterruptedError):
            return None

    def receive_into_nowait(self, buffer: memoryview) -> int | None:
        """See `Pipe.receive_into_nowait`."""
        try:
            return self._socket.recv_into(buffer)
        except (BlockingIOError, InterruptedError):
            return None

    async def wait_writable(self) -> None:
        """See `Pipe.wait_writable`."""
        if self._closed:
            raise trio.ClosedResourceError
        await trio.lowlevel.wait_writable(self._socket)

    async def wait_readable(self) -> None:
        """See `Pipe.wait_readable`."""
        if self._closed:
            raise trio.ClosedResourceError
        if self.busy_poll and await self._poll():
            return
        await trio.lowlevel.wait_readable(self._socket)

    async def _poll(self) -> bool:
        """Poll the socket for `busy_poll` seconds; no other task runs meanwhile. Returns whether it can be read.

        Waiting for 10 µs costs 30 µs, most of it for waking up; polling costs the 10 µs. Linux calls this busy polling.
        After polling in vain the next waits do not poll: 1 of them, then 2, 4 and at last 64. Where both processes
        share one core, polling only keeps the other one from answering.
        """
        if self._unpolled:
            self._unpolled -= 1
            return False
        now = time.perf_counter()
        if now >= self._turn_ends:
            await trio.lowlevel.checkpoint()
            self._turn_ends = now + POLL_TURN
            if self._closed:
                raise trio.ClosedResourceError
        if self._poller is None:
            self._poller = select.poll()
            self._poller.register(self._socket, select.POLLIN)
        poll, end = self._poller.poll, now + self.busy_poll
        if not poll(0):
            if trio.lowlevel.current_statistics().tasks_runnable:
                return False
            while not poll(0):
                if time.perf_counter() > end:
                    self._vain = self._unpolled = min(2 * self._vain or 1, POLL_PAUSES)
                    return False
        self._vain = 0
        return True

    def send_eof(self) -> None:
        """See `Pipe.send_eof`."""
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """See `Pipe.close`."""
        if not self._closed:
            self._closed = True
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()


def _to_pipe(stream: trio.SocketStream) -> SocketPipe:
    try:
        peer, own = stream.socket.getpeername(), stream.socket.getsockname()
    except OSError:
        # The other side has closed the connection before this side could look at it.
        stream.socket.close()
        raise
    if isinstance(peer, tuple):
        peer_address = str(TCPAddress(str(peer[0]), int(peer[1])))
    else:
        peer_address = f"unix:{peer}" if peer else "unix:"
    local_host = str(own[0]) if isinstance(own, tuple) else ""
    connected = socket.socket(fileno=stream.socket.detach())
    if isinstance(own, tuple) and hasattr(socket, "TCP_NOTSENT_LOWAT"):
        with contextlib.suppress(OSError):
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)
    return SocketPipe(connected, peer_address, local_host)


class SocketListener(Listener):
    """A listening socket. The file of a Unix socket is removed when the listener closes."""

    def __init__(self, listener: trio.SocketListener, address: str, path: Path | None) -> None:
        self._listener = listener
        self._path = path
        self._inode = path.stat().st_ino if path is not None else 0
        self.address = address

    async def accept(self) -> Pipe:
        """See `Listener.accept`. When the process has no file descriptor left, waits a moment and tries again."""
        while True:
            try:
                stream = await self._listener.accept()
            except OSError as error:
                if error.errno not in _OUT_OF_FILES:
                    raise
                await trio.sleep(_ACCEPT_RETRY)
                continue
            with contextlib.suppress(OSError):
                return _to_pipe(stream)

    def accept_nowait(self) -> Pipe | None:
        """See `Listener.accept_nowait`. An error is left to `accept`, which finds it again."""
        number = self._listener.socket.fileno()
        if number < 0:
            # Closed since the last one was accepted.
            return None
        # The plain socket is used, because each call of Trio's socket is a checkpoint: too slow for a flood.
        listening = socket.socket(fileno=number)
        try:
            connected, _ = listening.accept()
        except OSError:
            return None
        finally:
            listening.detach()
        with contextlib.suppress(OSError):
            return _to_pipe(trio.SocketStream(trio.socket.from_stdlib_socket(connected)))
        return None

    def take_socket(self, backlog: int) -> socket.socket:
        """Hand the plain socket over to a thread that accepts by itself, and closes it.

        Args:
          backlog: how many connections may wait there until they are accepted.
        """
        taken = socket.socket(fileno=self._listener.socket.detach())
        try:
            taken.listen(backlog)
        except OSError:
            taken.close()
            raise
        return taken

    def remove_file(self) -> None:
        """Remove the file of a Unix socket. Raises nothing. Not a checkpoint."""
        if self._path is not None:
            # The file may be another node's by now, which took the place of one that somebody removed.
            with contextlib.suppress(OSError):
                if self._path.stat().st_ino == self._inode:
                    self._path.unlink()

    def close_nowait(self) -> None:
        """Close the socket, unless it was handed over, and remove the file of a Unix socket. Not a checkpoint."""
        self.remove_file()
        self._listener.socket.close()

    async def aclose(self) -> None:
        """See `Listener.aclose`."""
        self.remove_file()
        await self._listener.aclose()


class SocketTransport(Transport):
    """Reaches other nodes over the sockets of the operating system.

    Args:
      inherited: the sockets that this process was started with.
      server: the IP address and the port of the server of DNS to ask for SRV records; by default the machine's.
    """

    def __init__(self, inherited: InheritedSockets = INHERITED, server: tuple[str, int] | None = None) -> None:
        self._inherited = inherited
        self._server = server

    async def dial(self, address: Address) -> Pipe:
        """See `Transport.dial`."""
        try:
            if isinstance(address, UnixAddress):
                _check_unix()
                return _to_pipe(await trio.open_unix_socket(address.path))
            return _to_pipe(await trio.open_tcp_stream(address.host, address.port))
        except UnicodeError as error:
            raise OSError(errno.EINVAL, f"expected a host name, got {address}: {error}") from error
        except OSError as error:
            if isinstance(address, UnixAddress) and error.errno == errno.ECONNREFUSED:
                unix_sockets.remove_dead(Path(address.path))
            raise OSError(error.errno, f"{_why(error)}{_whole_path(address)}") from error

    async def listen_beside(self, dialled: Address, pipe: Pipe, name: str) -> list[Listener]:
        """See `Transport.listen_beside`. Removes what killed nodes with random IDs have left there."""
        listeners = await super().listen_beside(dialled, pipe, name)
        if isinstance(dialled, UnixAddress):
            unix_sockets.remove_dead_beside(Path(dialled.path))
        return listeners

    async def listen(self, address: Address) -> list[Listener]:
        """See `Transport.listen`."""
        try:
            if isinstance(address, UnixAddress):
                return [await _listen_unix(address)]
            host = None if address.host == "*" else address.host
            listeners = await trio.open_tcp_listeners(address.port, host=host, backlog=_BACKLOG)
        except UnicodeError as error:
            raise OSError(errno.EINVAL, f"cannot listen on {address}: expected a host name: {error}") from error
        except OSError as error:
            raise OSError(error.errno, f"cannot listen on {address}: {_why(error)}{_whole_path(address)}") from error
        found: list[Listener] = []
        for listener in listeners:
            name = listener.socket.getsockname()
            found.append(SocketListener(listener, str(TCPAddress(str(name[0]), int(name[1]))), None))
        return found

    def listen_inherited(self, bind: InheritedBind) -> list[Listener]:
        """See `Transport.listen_inherited`. The file of a Unix socket stays: whoever has made it removes it."""
        found: list[Listener] = []
        for inherited, address in self._inherited.open(bind.name):
            found.append(SocketListener(trio.SocketListener(trio.socket.from_stdlib_socket(inherited)), address, None))
        return found

    def own_hosts(self) -> list[str]:
        """See `Transport.own_hosts`."""
        return interface_hosts()

    def is_at(self, bind: Address, dialled: Address) -> bool:
        """See `Transport.is_at`."""
        if isinstance(bind, UnixAddress) and isinstance(dialled, UnixAddress):
            return os.path.realpath(bind.path) == os.path.realpath(dialled.path)
        if isinstance(bind, TCPAddress) and isinstance(dialled, TCPAddress) and bind.port == dialled.port:
            everywhere = "::" if ":" in dialled.host else "0.0.0.0"  # noqa: S104 - it is compared with
            return bind.host == dialled.host or (bind.host == everywhere and is_own_host(dialled.host))
        return False

    def check_seed(self, seed: SeedAddress) -> None:
        """See `Transport.check_seed`."""
        if isinstance(seed, ServiceSeed):
            check_dns()

    async def find_service(self, name: str) -> ServiceRecords:
        """See `Transport.find_service`."""
        return await find_records(name, self._server)

    async def resolve(self, address: Address) -> list[Address]:
        """See `Transport.resolve`."""
        if isinstance(address, UnixAddress):
            return await super().resolve(address)
        try:
            found = await trio.socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        except UnicodeError as error:
            raise OSError(errno.EINVAL, f"expected a host name, got {address}: {error}") from error
        # A dict for its order: a name may be there twice.
        return list(dict.fromkeys(TCPAddress(str(info[4][0]), address.port) for info in found))


def _why(error: OSError) -> str:
    """Say what went wrong, without numbers. Trio keeps the errors in a group, one for each address of a host name."""
    if isinstance(error.__cause__, ExceptionGroup):
        numbers = [one.errno for one in error.__cause__.exceptions if isinstance(one, OSError) and one.errno]
        return ", ".join(dict.fromkeys(map(os.strerror, numbers))) or str(error)
    return error.strerror or str(error)


def _whole_path(address: Address) -> str:
    """The absolute path of a relative one, for the end of an error: each process may run in another directory."""
    relative = isinstance(address, UnixAddress) and not Path(address.path).is_absolute()
    return f" ({Path(str(address)[5:]).absolute()})" if relative else ""


def _check_unix() -> None:
    """Raise `OSError` on a platform without Unix sockets."""
    if not hasattr(socket, "AF_UNIX"):
        raise OSError(errno.EAFNOSUPPORT, f"expected a platform with Unix sockets, got {sys.platform}")


async def _listen_unix(address: UnixAddress) -> SocketListener:
    _check_unix()
    path = Path(address.path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.setblocking(False)
    try:
        await unix_sockets.bind(listening, path)
        listening.listen(_BACKLOG)
    except BaseException:
        listening.close()
        raise
    return SocketListener(trio.SocketListener(trio.socket.from_stdlib_socket(listening)), str(address), path)
