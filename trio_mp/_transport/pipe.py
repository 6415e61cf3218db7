"""What the runtime asks of a transport: pipes that never block, and places to wait.

Sending and receiving are plain calls, because the hot path sends and receives without a task switch; waiting is apart.
The simulated network provides the same three classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import trio

from .addresses import Address, TCPAddress, UnixAddress


class Pipe(ABC):
    """A byte stream in both directions.

    Attributes:
      peer_address: the other side's address, for people.
      local_host: the IP address of this side, if it has one.
      busy_poll: for how long `wait_readable` may look again and again before it lets others run, in seconds. Where
        there is nothing to be gained by it, it is ignored.
    """

    peer_address: str
    local_host: str = ""
    busy_poll: float = 0.0

    @abstractmethod
    def send_nowait(self, data: bytes | bytearray | memoryview) -> int:
        """Hand over as much as fits now; returns how many bytes, 0 if none. Raises `OSError` if it is broken."""

    @abstractmethod
    def receive_nowait(self, maximum: int) -> bytes | None:
        """What is there, at most so many bytes: None if nothing, empty at the end. Raises `OSError` if it is broken."""

    def receive_into_nowait(self, buffer: memoryview) -> int | None:
        """Receive what fits into a buffer: how many bytes, None if nothing is there; otherwise as `receive_nowait`."""
        data = self.receive_nowait(len(buffer))
        if data is None:
            return None
        buffer[: len(data)] = data
        return len(data)

    @abstractmethod
    async def wait_writable(self) -> None:
        """Wait until something can be sent, or an error be found. A checkpoint; cancelling it changes nothing.

        Raises `trio.ClosedResourceError` if the pipe is closed meanwhile.
        """

    @abstractmethod
    async def wait_readable(self) -> None:
        """Wait until something can be received, or an error or the end be found; otherwise as `wait_writable`."""

    @abstractmethod
    def send_eof(self) -> None:
        """Nothing more will be sent. Raises `OSError` if it is broken."""

    @abstractmethod
    def close(self) -> None:
        """Close both directions at once. Closing twice does nothing."""


class Listener(ABC):
    """A place where others connect.

    Attributes:
      address: where it listens, with the real port, for people and for other nodes.
    """

    address: str

    @abstractmethod
    async def accept(self) -> Pipe:
        """Wait for the next connection. A checkpoint; cancelling it loses none."""

    def accept_nowait(self) -> Pipe | None:
        """The next connection, if one waits and it is known without asking for it in `accept`; else None."""
        return None

    @abstractmethod
    async def aclose(self) -> None:
        """Stop listening."""


class Transport(ABC):
    """A way to reach other nodes."""

    @abstractmethod
    async def dial(self, address: Address) -> Pipe:
        """Connect. A checkpoint. Raises `OSError` if it cannot be done; cancelled, it leaves nothing behind."""

    @abstractmethod
    async def listen(self, address: Address) -> list[Listener]:
        """Listen, perhaps in several places. A checkpoint. Raises `OSError`, with the address in its text."""

    async def listen_beside(self, dialled: Address, pipe: Pipe, name: str) -> list[Listener]:
        """Listen where whoever reaches the other end of a pipe should reach this side, too. As `listen`.

        Args:
          dialled: the address that was dialled.
          pipe: what came of it.
          name: of the socket's file, beside that of a Unix socket.
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
          bind: where something listens here, as `Listener.address` says it.
          dialled: without a host name; see `resolve`.
        """
        return bind == dialled

    async def resolve(self, address: Address) -> list[Address]:
        """The addresses behind a host name, or the address itself. A checkpoint. Raises `OSError`."""
        await trio.lowlevel.checkpoint()
        return [address]
