"""What certificates that name nodes add: who may be global, and vouchers for records of the database."""

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
"""How often it is looked whether this node has another certificate, in seconds."""

REMEDY = "make one with make_certificate(…, may_be_global=True), or name the node among the seeds"


class CertifiedPermissions:
    """Who may be global, by what certificates say; see `Permissions`.

    Args:
      network: the node's.
      notary: reads certificates.
      rediallers: those of the node; seeds are among them.
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
        """Whether that node was there, and has proven who it is, when a seed of this node was reached last."""
        return any(redialler.seed and redialler.proven_id == node_id for redialler in self._rediallers())


def permissions_of(network: Network, rediallers: Callable[[], Iterable[Redialler]]) -> CertifiedPermissions | None:
    """Who may be global; None if everybody may, as nodes cannot be told apart."""
    notary = network.notary
    return CertifiedPermissions(network, notary, rediallers) if notary is not None and notary.names_nodes else None


class RecordJudge:
    """Says why a record of the database is refused that a node brings, or nothing.

    Args:
      notary: verifies vouchers, where there are certificates.
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
        # What a node says of itself it says on a connection that has proven it.
        if why or from_id == owner or self._notary is None:
            return why
        return check_voucher(from_id, owner, record, self._notary.check)


async def wait_certificates(notary: Notary | None, renewed: Callable[[], object]) -> None:
    """For as long as the node lives: each time that it has another certificate, have its voucher signed anew.

    Else it would be refused, by who becomes global later, as soon as the certificate expires with which it was signed.
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
