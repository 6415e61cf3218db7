"""Seeds, and global nodes that this one has heard of: dialled, again and again, when a connection is wanted."""

from __future__ import annotations

import logging
from typing import Protocol

import trio

from .._node.network import Network
from .._node.peer import Peer
from .._transport.addresses import Address

FIRST_RETRY = 0.1
LAST_RETRY = 5.0
"""How long after a failure an address is dialled again, in seconds: doubled every time, from the first to the last."""

FAILURES = 10
"""How many ways in which a seed cannot be used are logged, until it can."""

_SEVERAL = 3

log = logging.getLogger("trio_mp.connection")


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


class Contact:
    """One address, or the addresses of one node.

    Args:
      host: what it is part of.
      addresses: where it is; changed when others are known.
      seed: what the seed is called whose address it is; empty for a node that was heard of.
      node_id: who is there, as far as it is known.
      alone: whether it is the only address of its seed.

    Attributes:
      turn: contacts that wait for the same thing are dialled in the order of this number.
      failed_at: since when it has not been reached, by Trio's clock; None if it was the last time.
    """

    def __init__(
        self,
        host: ContactHost,
        addresses: tuple[Address, ...],
        *,
        seed: str = "",
        node_id: str = "",
        alone: bool = True,
    ) -> None:
        self.addresses = addresses
        self.seed = seed
        self.node_id = node_id
        self.turn = 0.0
        self.failed_at: float | None = None
        self._host = host
        self._alone = alone
        self._failures = 0
        # Each failure is logged once: which of two it is may be different every time.
        self._said: set[str] = set()

    async def run(self) -> bool:
        """Keep a connection with it for as long as one is wanted; returns whether it may be forgotten then."""
        network = self._host.network
        retry, index = FIRST_RETRY, 0
        while True:
            await self._host.wait_turn(self)
            if self._host.is_gone(self):
                return True
            begun = trio.current_time()
            peer, failure = network.peers.get(self.node_id), ""
            if peer is None or not peer.is_up():
                address = self.addresses[index % len(self.addresses)]
                outcome = await network.dial(address)
                failure = outcome.failure
                if outcome.node_id == network.host.id and not failure:
                    log.info("the seed %s is this node itself", address)
                    self._host.is_itself()
                    return False
                peer = network.peers.get(outcome.node_id)
                if peer is not None and (peer.association.incarnation or not failure):
                    # Whatever became of this connection: another one with that node is in use, or chosen.
                    failure = ""
                    self.node_id = peer.id
                if failure:
                    index += 1
                    self._failed(address, failure)
                else:
                    self._succeeded(address)
                    connection = outcome.connection
                    if connection is not None and connection.was_up:
                        await network.listen_beside(address, connection.pipe)
            if peer is not None and peer.id == self.node_id and not failure:
                await self._use(peer)
            if network.closes_at is not None and not failure:
                return False
            if not failure:
                retry = FIRST_RETRY
                if trio.current_time() - begun >= LAST_RETRY:
                    # It was good for a while: the first attempt to get it back need not wait.
                    continue
            await trio.sleep(retry * (0.5 + network.environment.jitter()))
            retry = min(retry * 2, LAST_RETRY)

    async def _use(self, peer: Peer) -> None:
        """Keep the connection with a peer for as long as it is there and wanted."""
        if not peer.is_up():
            return
        peer.keep("contact")
        try:
            self._host.reached(peer)
            while peer.is_up() and self._host.is_wanted(self):
                await self._host.wait_changed()
        finally:
            peer.release("contact")
        if peer.is_up():
            peer.ask_to_part()

    def _succeeded(self, address: Address) -> None:
        self._host.network.failures.pop(str(address), None)
        self._said.clear()
        self._failures, self.failed_at = 0, None

    def _failed(self, address: Address, failure: str) -> None:
        network = self._host.network
        self._failures += 1
        if self.failed_at is None:
            self.failed_at = trio.current_time()
        if not self.seed:
            log.debug("%s cannot be reached at %s: %s", self.node_id, address, failure)
            return
        network.failures[str(address)] = failure
        # Of a name with several addresses, one may be of no use from the start: `localhost` is in IPv6, too.
        if failure not in self._said and len(self._said) < FAILURES and (self._alone or self._failures >= _SEVERAL):
            called = self.seed if self._alone else f"{self.seed} ({address})"
            level = logging.ERROR if "is in use" in failure else logging.WARNING
            log.log(level, "the seed %s cannot be used: %s; trying again for as long as it takes", called, failure)
            self._said.add(failure)
