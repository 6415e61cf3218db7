"""The network, as its connections know it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from .._protocol.handshake import LocalInfo
from .._protocol.session import TLSChannel
from .dispatcher import Dispatcher
from .environment import Environment
from .node_port import NodePort
from .peer import Peer
from .settings import Settings

C_contra = TypeVar("C_contra", contravariant=True)


class ConnectionHost(Protocol[C_contra]):
    """What a connection asks of the network that it is part of; see `Network`."""

    host: Dispatcher
    settings: Settings
    environment: Environment
    local: LocalInfo
    node_port: NodePort
    make_tls: Callable[[bool], TLSChannel]
    peers: dict[str, Peer]
    closes_at: float | None

    def peer(self, node_id: str) -> Peer:
        """What is kept about that node."""
        ...

    def progressed(self, connection: C_contra) -> None:
        """The other side has greeted, and goes on."""
        ...

    def authenticated(self, connection: C_contra) -> None:
        """The other side has proven itself."""
        ...
