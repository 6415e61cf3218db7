"""The randomness, the clocks and the transport of a node. A simulation replaces them, so that it can be repeated."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import trio

from .._ids import Entropy
from .._protocol.handshake.session import TLSChannel
from .._transport.pipe import Transport
from .._transport.service_manager import ServiceManager
from .._transport.sockets import SocketTransport
from .._transport.tls import client_tls

T = TypeVar("T")


class InThread(Protocol):
    """Runs a function that blocks; see `Environment`."""

    def __call__(self, function: Callable[[], T], /) -> Awaitable[T]:
        """See `Environment`."""
        ...


def _throwaway_tls(server_side: bool) -> TLSChannel:
    if not server_side:
        return client_tls()
    from .._transport.throwaway import throwaway_tls  # here, as nodes that do not encrypt need not load its 9 MiB

    return throwaway_tls(server_side)


async def _in_thread(function: Callable[[], T]) -> T:
    # Not waited for when a node closes: a file system over a network may never answer.
    return await trio.to_thread.run_sync(function, abandon_on_cancel=True)


@dataclass(frozen=True, slots=True)
class Environment:
    """The randomness, the clocks and the transport of a node: all that it takes from the world around it.

    Deadlines are not here: they go by Trio's clock, which a test replaces by itself.

    Attributes:
      entropy: returns random bytes, for tokens and nonces.
      jitter: returns a random number between 0 and 1, for spreading retries.
      transport: reaches other nodes.
      make_tls: makes the TLS object of one connection; called with whether this side is the TLS server.
      fairness_clock: a monotonic clock in seconds, which decides only when other tasks have their turn.
      in_thread: runs a function that blocks, such as one that reads a file, and returns its result. A checkpoint.
        If it is cancelled, the function goes on, and its result is lost.
      manager: the manager that runs this process as a service, if the node is to tell it how it stands.
      wall_clock: the time of day, in seconds since 1970. Answers to `time` and the database's records hold it.
    """

    entropy: Entropy = os.urandom
    jitter: Callable[[], float] = random.random
    transport: Transport = field(default_factory=SocketTransport)
    make_tls: Callable[[bool], TLSChannel] = _throwaway_tls
    fairness_clock: Callable[[], float] = time.perf_counter
    wall_clock: Callable[[], float] = time.time
    in_thread: InThread = _in_thread
    manager: ServiceManager | None = None
