"""The randomness, the clocks and the transport of a node; all can be replaced, so that a simulation can be repeated."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from .._ids import Entropy
from .._protocol.handshake.session import TLSChannel
from .._transport.pipe import Transport
from .._transport.sockets import SocketTransport


def _throwaway_tls(server_side: bool) -> TLSChannel:
    from .._transport.throwaway import throwaway_tls  # not loaded by nodes that do not encrypt: see there

    return throwaway_tls(server_side)


@dataclass(frozen=True, slots=True)
class Environment:
    """The randomness, the clocks and the transport of a node: all that it takes from the world around it.

    Deadlines are not among them: they are those of Trio's clock.

    Attributes:
      entropy: random bytes, for tokens and nonces.
      jitter: a number between 0 and 1, for spreading retries.
      transport: how other nodes are reached.
      make_tls: makes the TLS object of one connection; called with whether this side is the TLS server.
      fairness_clock: a monotonic clock in seconds; it only says when to let other tasks run.
      wall_clock: the time of day, in seconds since 1970; only told to whoever asks for it.
    """

    entropy: Entropy = os.urandom
    jitter: Callable[[], float] = random.random
    transport: Transport = field(default_factory=SocketTransport)
    make_tls: Callable[[bool], TLSChannel] = _throwaway_tls
    fairness_clock: Callable[[], float] = time.perf_counter
    wall_clock: Callable[[], float] = time.time
