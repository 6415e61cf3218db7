"""What certificates that name nodes make possible: saying who may be global, and vouchers for database records."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import trio

from .._peers.connection import Connection
from .._peers.network import Network
from .._protocol.database.records import Record
from .._protocol.database.vouchers import check_voucher, implausible
from .._protocol.membership.permissions import Notary
from .redialler import Redialler

RENEW_AGAIN = 60.0
"""How often this node looks whether it has another certificate, in seconds."""

REMEDY = "make one with make_certificate(…, may_be_global=True), or name the node among the seeds"


class CertifiedPermissions:
    """Says by their certificates which nodes may be global; see `Permissions`.

    Args:
      network: the network of this node.
      notary: reads certificates.
      rediallers: returns the rediallers of this node, those of its seeds among them.
    """

    def __init__(self, network: Network, notary: Notary, rediallers: Callable[[], Iterable[Redialler]]) -> None:
        self._network = network
        self._notary = notary
        self._rediallers = rediallers

    def of(self, node_id: str) -> str:
        """See `Permissions.of`."""
        current = self._network.peer(node_id).current
        shown = current.session.peer_certificate if isinstance(current, Connection) else b""
        if self._is_own_seed(node_id) or self._notary.allows_global(shown):
            return ""
        here = self._network.dispatcher.id
        return f"the certificate of {node_id} does not allow it to be global ({REMEDY} of {here})"

    def own(self, asked_by: str) -> str:
        """See `Permissions.own`."""
        if self._notary.may_be_global or self._is_own_seed(asked_by):
            return ""
        node_id = self._network.dispatcher.id
        return f"the certificate of {node_id} does not allow it to be global for {asked_by} ({REMEDY} of {node_id})"

    def _is_own_seed(self, node_id: str) -> bool:
        """Whether the last connection to one of this node's seeds led to that node, which proved who it is."""
        return any(redialler.seed and redialler.proven_id == node_id for redialler in self._rediallers())


def permissions_of(network: Network, rediallers: Callable[[], Iterable[Redialler]]) -> CertifiedPermissions | None:
    """Make what says which nodes may be global; None where each may, because no certificate tells nodes apart."""
    notary = network.notary
    return CertifiedPermissions(network, notary, rediallers) if notary is not None and notary.names_nodes else None


class RecordJudge:
    """Judges the records of the database that other nodes bring: says why one is refused, or nothing.

    Args:
      notary: verifies vouchers; None where there are no certificates.
      wall_clock: the time of day, in seconds since 1970.
    """

    def __init__(self, notary: Notary | None, wall_clock: Callable[[], float]) -> None:
        self._notary = notary if notary is not None and notary.names_nodes else None
        self._wall_clock = wall_clock

    def now(self) -> int:
        """The wall clock, in nanoseconds."""
        return max(0, int(self._wall_clock() * 1e9))

    def __call__(self, from_id: str, owner: str, record: Record) -> str:
        """See `Judge`."""
        why = implausible(record.version, self.now())
        # A node needs no voucher for its own record: it sends that over a connection on which it has proven itself.
        if why or from_id == owner or self._notary is None:
            return why
        return check_voucher(from_id, owner, record, self._notary.check)


async def wait_certificates(notary: Notary | None, renewed: Callable[[], object]) -> None:
    """Call `renewed` each time that this node has another certificate, for as long as the node lives.

    Its voucher must then be signed anew: nodes that become global later refuse one whose certificate has expired.
    """
    if notary is None:
        return
    signed = notary.certificate
    while True:
        await trio.sleep(RENEW_AGAIN)
        notary.refresh()
        if notary.certificate != signed:
            signed = notary.certificate
            renewed()
