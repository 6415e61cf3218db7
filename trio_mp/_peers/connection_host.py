"""The network, as its connections know it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from .._ports.boundary import LocalPorts
from .._protocol.handshake.greeting import LocalInfo
from .._protocol.handshake.session import TLSChannel
from .._settings.environment import Environment
from .._settings.settings import Settings
from .node_port import NodePort
from .own_blocks import OwnBlocks
from .peer import Peer
from .stream_handover import ClaimStream

C_contra = TypeVar("C_contra", contravariant=True)


class ConnectionHost(Protocol[C_contra]):
    """What a connection asks of the network that it is part of; see `Network`."""

    dispatcher: LocalPorts
    settings: Settings
    environment: Environment
    local: LocalInfo
    node_port: NodePort
    make_tls: Callable[[bool], TLSChannel]
    claim_stream: ClaimStream
    peers: dict[str, Peer]
    closes_at: float | None
    own_blocks: OwnBlocks

    def peer(self, node_id: str) -> Peer:
        """What is kept about that node."""
        ...

    def progressed(self, connection: C_contra) -> None:
        """The other side has greeted, and goes on."""
        ...

    def authenticated(self, connection: C_contra) -> None:
        """The other side has proven itself."""
        ...
