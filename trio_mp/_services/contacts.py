"""Seeds, and global nodes that this one has heard of: dialled, again and again, when a connection is wanted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

import trio

from .._node.network import Dialled, Network
from .._node.peer import Peer
from .._protocol.handshake import Step
from .._transport.addresses import Address

FIRST_RETRY = 0.1
LAST_RETRY = 5.0
"""How long after a failure an address is dialled again, in seconds: doubled every time, from the first to the last."""

FAILURES = 10
"""How many ways in which a seed cannot be used are logged, until it can."""

_PROVEN = frozenset({Step.DECISION, Step.OK, Step.LINKED, Step.OPEN, Step.REFUSED})
"""Where a handshake that this side has begun stands when the other one has proven who it is."""

log = logging.getLogger("trio_mp.connection")


class Backoff:
    """How long to wait before something that has failed is tried again.

    Args:
      jitter: answers a number from 0 to 1: those that have failed together are not to come again together.
    """

    def __init__(self, jitter: Callable[[], float]) -> None:
        self._jitter = jitter
        self._retry = FIRST_RETRY

    def reset(self) -> None:
        """It has not failed this time."""
        self._retry = FIRST_RETRY

    def next(self) -> float:
        """How long this time, in seconds."""
        seconds = self._retry * (0.5 + self._jitter())
        self._retry = min(self._retry * 2, LAST_RETRY)
        return seconds


class ContactHost(Protocol):
    """What a contact asks of the membership that it is part of; see `MembershipService`."""

    network: Network

    async def wait_turn(self, contact: Contact) -> None:
        """Wait until a contact is to be dialled, or is gone. A checkpoint."""
        ...

    async def wait_changed(self) -> None:
        """Wait until something may be different."""
        ...

    def is_wanted(self, contact: Contact) -> bool:
        """Whether there should be a connection with it."""
        ...

    def is_gone(self, contact: Contact) -> bool:
        """Whether it need not be kept in mind any more."""
        ...

    def reached(self, peer: Peer) -> None:
        """There is a connection with it."""
        ...

    def is_itself(self) -> None:
        """What was reached is this node itself."""
        ...

    def listens(self) -> None:
        """This node may listen somewhere now."""
        ...


class Seed:
    """A seed as it was given: one address, or the name of several.

    Args:
      name: what it is called.

    Attributes:
      addresses: of it, when it was last looked up.
      contacts: one for each.
      said: in which ways it could not be used, as far as that was logged since it could.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.addresses: frozenset[str] = frozenset()
        self.contacts: list[Contact] = []
        self.said: set[str] = set()

    def complain(self, address: str, failure: str) -> None:
        """Log that one of its addresses cannot be used, if that means that the seed cannot, and was not said before.

        Of a name with several addresses one may be of no use from the start: `localhost` is in IPv6, too.
        """
        in_use = "is in use" in failure
        hopeless = all(contact.failed_at is not None for contact in self.contacts)
        if not (in_use or hopeless):
            log.info("the seed %s cannot be used at %s: %s", self.name, address, failure)
        elif failure not in self.said and len(self.said) < FAILURES:
            level = logging.ERROR if in_use else logging.WARNING
            called = self.name if self.name == address else f"{self.name} ({address})"
            log.log(level, "the seed %s cannot be used: %s; trying again for as long as it takes", called, failure)
            self.said.add(failure)


class Contact:
    """One address, or the addresses of one node.

    Args:
      host: what it is part of.
      addresses: where it is; changed when others are known.
      seed: the seed whose address it is; None for a node that was heard of.
      node_id: who is there, as far as it is known.

    Attributes:
      texts: the addresses as they were last heard.
      turn: contacts that wait for the same thing are dialled in the order of this number.
      proven_id: the node that was there when it was reached last, and has proven that it is that one.
      refusal: why the node that is there is no global one for this one; empty as long as that is not known.
      failed_at: since when it has not been reached, by Trio's clock; None if it was the last time.
    """

    def __init__(
        self,
        host: ContactHost,
        addresses: tuple[Address, ...],
        *,
        seed: Seed | None = None,
        node_id: str = "",
    ) -> None:
        self.addresses = addresses
        self.seed = seed
        self.node_id = node_id
        self.texts: tuple[str, ...] = ()
        self.turn = 0.0
        self.proven_id = ""
        self.failed_at: float | None = None
        self.refusal = ""
        self._host = host

    async def run(self) -> bool:
        """Keep a connection with it for as long as one is wanted; returns whether it may be forgotten then."""
        network = self._host.network
        backoff, index = Backoff(network.environment.jitter), 0
        while True:
            await self._host.wait_turn(self)
            if self._host.is_gone(self):
                return True
            begun = trio.current_time()
            peer, failure = network.peers.get(self.node_id), ""
            if peer is None or not peer.is_up() or self._is_unproven():
                address = self.addresses[index % len(self.addresses)]
                outcome = await network.dial(address)
                if self.seed and outcome.node_id == network.host.id and not outcome.failure:
                    log.info("the seed %s is this node itself", address)
                    self._host.is_itself()
                    return False
                failure = self._judge(outcome)
                if _has_proven(outcome):
                    self.proven_id = outcome.node_id
                peer = network.peers.get(self.node_id)
                if failure:
                    index += 1
                    self._failed(address, failure)
                else:
                    self._succeeded(address)
                    connection = outcome.connection
                    if connection is not None and connection.was_up:
                        await network.listen_beside(address, connection.pipe)
                        self._host.listens()
            if peer is not None and not failure and not self._is_unproven():
                self.refusal = ""
                await self._use(peer)
                if failure := self.refusal:
                    self._failed(self.addresses[index % len(self.addresses)], f"{peer.id} is no global node: {failure}")
                    index += 1
            if network.closes_at is not None and not failure:
                return False
            if not failure:
                backoff.reset()
                if trio.current_time() - begun >= LAST_RETRY:
                    # It was good for a while: the first attempt to get it back need not wait.
                    continue
            await trio.sleep(backoff.next())

    def _is_unproven(self) -> bool:
        """Whether it matters who is there, and nobody has proven it: the greeting alone says what a stranger likes."""
        notary = self._host.network.notary
        return bool(self.seed) and notary is not None and notary.names_nodes and self.proven_id != self.node_id

    def _judge(self, outcome: Dialled) -> str:
        """Why what was dialled is not what was meant; empty if it is."""
        peer = self._host.network.peers.get(outcome.node_id)
        # Whatever became of this connection: another one with that node may be in use, or chosen.
        if outcome.failure and (peer is None or not peer.association.incarnation):
            return outcome.failure
        if self.seed:
            self.node_id = outcome.node_id
        # An address may be another node's by now, which has nothing to do with what is wanted of this one.
        return "" if self.node_id == outcome.node_id else f"{outcome.node_id} is there now"

    async def _use(self, peer: Peer) -> None:
        """Keep the connection with a peer for as long as it is there and wanted, and it is not refused."""
        current = peer.current
        if current is None:
            return
        peer.keep("contact")
        try:
            self._host.reached(peer)
            # Another one may have taken its place before this task runs again: who is there then has to be told anew.
            while not self.refusal and peer.current is current and self._host.is_wanted(self):
                await self._host.wait_changed()
        finally:
            peer.release("contact")
        if peer.current is current:
            peer.ask_to_part()

    def _succeeded(self, address: Address) -> None:
        self._host.network.failures.pop(str(address), None)
        self.failed_at = None
        if self.seed and not self.refusal:
            self.seed.said.clear()

    def _failed(self, address: Address, failure: str) -> None:
        if self.failed_at is None:
            self.failed_at = trio.current_time()
        if self.seed:
            self._host.network.failures[str(address)] = failure
            self.seed.complain(str(address), failure)
        else:
            log.debug("%s cannot be reached at %s: %s", self.node_id, address, failure)


def _has_proven(outcome: Dialled) -> bool:
    """Whether who was dialled has proven who it is, even if another connection with it is in use."""
    return outcome.connection is not None and outcome.connection.session.handshake.step in _PROVEN
