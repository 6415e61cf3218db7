"""Open nodes with a transport, randomness or clocks of your own::

    transport = MemoryTransport()
    environment = Environment(transport=transport)
    async with open_node_in(environment, "a", binds=["unix:a"], secret=secret) as node:
        ...

Nodes that share a transport can dial each other at its addresses.
"""

from __future__ import annotations

from ._ids import Entropy as Entropy
from ._node.opening import open_node_in as open_node_in
from ._protocol.handshake.session import TLSChannel as TLSChannel
from ._settings.environment import Environment as Environment
from ._transport.addresses import Address as Address, TCPAddress as TCPAddress, UnixAddress as UnixAddress
from ._transport.memory import MemoryTransport as MemoryTransport, memory_pipe_pair as memory_pipe_pair
from ._transport.sockets import SocketTransport as SocketTransport

__all__ = [
    "Address",
    "Entropy",
    "Environment",
    "MemoryTransport",
    "SocketTransport",
    "TCPAddress",
    "TLSChannel",
    "UnixAddress",
    "memory_pipe_pair",
    "open_node_in",
]
