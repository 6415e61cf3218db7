"""The interface of transports: pipes whose calls never block, and calls that wait until a pipe is ready.

Sending and receiving are plain calls, because the hot path sends and receives without a task switch. Waiting is a call
of its own. The simulated network provides the same three classes.
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from pathlib import Path

import trio

from .._errors import ConfigurationError
from .addresses import Address, InheritedBind, SeedAddress, TCPAddress, UnixAddress
from .service_records import ServiceRecords


class Pipe(ABC):
    """A byte stream in both directions.

    Attributes:
      peer_address: the address of the other side, for people.
      local_host: the IP address of this side; empty if it has none.
      busy_poll: how long `wait_readable` may poll before it lets other tasks run, in seconds. A pipe that gains nothing
        by polling ignores it.
    """

    peer_address: str
    local_host: str = ""
    busy_poll: float = 0.0

    @abstractmethod
    def send_nowait(self, data: bytes | bytearray | memoryview) -> int:
        """Hand over as much as fits now; returns how many bytes, 0 if none. Raises `OSError` if the pipe is broken."""

    @abstractmethod
    def receive_nowait(self, maximum: int) -> bytes | None:
        """Receive what is there, at most so many bytes; None if nothing is there, empty at the end of the stream.

        Raises `OSError` if the pipe is broken.
        """

    def receive_into_nowait(self, buffer: memoryview) -> int | None:
        """Receive as much as fits into a buffer; returns how many bytes, None if nothing is there, 0 at the end.

        Raises `OSError` if the pipe is broken.
        """
        data = self.receive_nowait(len(buffer))
        if data is None:
            return None
        buffer[: len(data)] = data
        return len(data)

    @abstractmethod
    async def wait_writable(self) -> None:
        """Wait until the pipe takes bytes, or has an error. A checkpoint. Cancelled, it changes nothing.

        Raises `trio.ClosedResourceError` if the pipe is closed meanwhile.
        """

    @abstractmethod
    async def wait_readable(self) -> None:
        """Wait until bytes can be received, or the end or an error has come. A checkpoint.

        Cancelled, it changes nothing. Raises `trio.ClosedResourceError` if the pipe is closed meanwhile.
        """

    @abstractmethod
    def send_eof(self) -> None:
        """Tell the other side that nothing more will be sent. Raises `OSError` if the pipe is broken."""

    @abstractmethod
    def close(self) -> None:
        """Close both directions at once. Closing twice does nothing."""


class Listener(ABC):
    """A place where other nodes connect.

    Attributes:
      address: the address of the place, with the real port, for people and for other nodes.
    """

    address: str

    @abstractmethod
    async def accept(self) -> Pipe:
        """Wait for the next connection. A checkpoint. Cancelled, it loses no connection."""

    def accept_nowait(self) -> Pipe | None:
        """The next connection, if one waits and can be had without a checkpoint; else None."""
        return None

    @abstractmethod
    async def aclose(self) -> None:
        """Stop listening."""


class Transport(ABC):
    """A way to reach other nodes."""

    @abstractmethod
    async def dial(self, address: Address) -> Pipe:
        """Connect to an address. A checkpoint. Raises `OSError` if that fails. Cancelled, it leaves nothing behind."""

    @abstractmethod
    async def listen(self, address: Address) -> list[Listener]:
        """Listen at an address, which may be several places. A checkpoint.

        Raises `OSError`, with the address in its text.
        """

    def listen_inherited(self, bind: InheritedBind) -> list[Listener]:
        """Listen on sockets that whoever has started this process has opened for it. Not a checkpoint.

        Raises `ConfigurationError` if there are no such sockets.
        """
        raise ConfigurationError(f"binds: expected addresses of this transport, got {bind}: it has no descriptors")

    async def listen_beside(self, dialled: Address, pipe: Pipe, name: str) -> list[Listener]:
        """Listen where nodes that reach the other end of a pipe should reach this side, too.

        A checkpoint, unless the pipe says no host of this side: then there is nowhere to listen.

        Args:
          dialled: the address that was dialled.
          pipe: the pipe to that address.
          name: the name of the file to make beside the dialled one, for a Unix socket.

        Raises `OSError`, with the address in its text.
        """
        if isinstance(dialled, UnixAddress):
            return await self.listen(UnixAddress(str(Path(dialled.path).with_name(name))))
        return await self.listen(TCPAddress(pipe.local_host, 0)) if pipe.local_host else []

    def own_hosts(self) -> list[str]:
        """The IP addresses by which this machine might be reached, if it has any. Not a checkpoint."""
        return []

    def is_at(self, bind: Address, dialled: Address) -> bool:
        """Whether an address, dialled on this machine, leads to what listens at a bind. Not a checkpoint.

        Args:
          bind: an address where a node of this machine listens, as `Listener.address` has it.
          dialled: an address without a host name; see `resolve`.
        """
        return bind == dialled

    def check_seed(self, seed: SeedAddress) -> None:  # noqa: B027 - most transports have nothing to check
        """Raise `ConfigurationError` if this transport cannot look such a seed up. Not a checkpoint."""

    async def find_service(self, name: str) -> ServiceRecords:
        """The hosts of a service, by its name in DNS. A checkpoint. Raises `OSError`."""
        await trio.lowlevel.checkpoint()
        raise OSError(errno.ENOTSUP, f"there is no DNS here to look up {name}")

    async def resolve(self, address: Address) -> list[Address]:
        """The addresses behind a host name, or the address itself. A checkpoint. Raises `OSError`."""
        await trio.lowlevel.checkpoint()
        return [address]
