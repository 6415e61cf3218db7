"""Who may be global, where certificates name nodes.

A global node speaks for others, so not everybody may be one: a certificate can allow it, and each node takes its own
seeds for global nodes, whatever their certificates say. A node becomes global at another one's word only if its own
certificate allows it or that one is a seed of its own: else any member could cut it off from the rest, who would not
take it for a global node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class Notary(Protocol):
    """Signs for this node, and verifies what others have signed, by certificates."""

    @property
    def names_nodes(self) -> bool:
        """Whether the certificates of others must name them; else any of them may have any node ID."""
        ...

    @property
    def certificate(self) -> bytes:
        """This node's certificate, as DER; another one when it was replaced while the node runs."""
        ...

    @property
    def may_be_global(self) -> bool:
        """Whether this node's certificate allows it to be global."""
        ...

    def allows_global(self, der: bytes) -> bool:
        """Whether a certificate (DER), which was verified, allows the nodes that it names to be global."""
        ...

    def refresh(self) -> None:
        """Take up new certificates, if there are any."""
        ...

    def sign(self, text: bytes) -> list[str]:
        """The signature of a text and the certificates that it needs; nothing if the key cannot sign."""
        ...

    def check(self, node_id: str, text: bytes, proof_untrusted: Sequence[object]) -> str:
        """Why a proof is no signature of a text by a node, as the rest of a sentence; an empty text if it is one."""
        ...


@dataclass(frozen=True, slots=True)
class Declined:
    """That node, which was joined, is no global node for this one: it says so, or may not be."""

    node_id: str
    why: str


@dataclass(frozen=True, slots=True)
class NotAllowed:
    """That node has said `join`, and was answered that it may not be: somebody should look into it."""

    node_id: str
    why: str


class Permissions(Protocol):
    """Who may be global; without certificates that name nodes everybody."""

    def of(self, node_id: str) -> str:
        """Why a connected node may not be global for this one; an empty text if it may."""
        ...

    def own(self, asked_by: str) -> str:
        """Why this node may not become global when that one asks it to; an empty text if it may."""
        ...


class EverybodyMay:
    """Permissions where nobody can be told apart."""

    def of(self, node_id: str) -> str:
        """See `Permissions.of`."""
        return ""

    def own(self, asked_by: str) -> str:
        """See `Permissions.own`."""
        return ""
