"""Seeds, and global nodes that this one has heard of: dialled, again and again, when a connection is wanted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Protocol

import trio

from .._errors import ConfigurationError
from .._peers.dialled import Dialled
from .._peers.network import Network
from .._peers.peer import Peer
from .._protocol.membership.messages import ADDRESS_LIMIT
from .._transport.addresses import Address, can_be_dialled, parse_address

FIRST_RETRY = 0.1
LAST_RETRY = 5.0
"""How long after a failure an address is dialled again, in seconds: doubled every time, from the first to the last."""

LAST_RETRY_OF_ITSELF = 40.0
"""The same where this node has reached itself: with the jitter, a minute at most."""

ITSELF = "this node itself answers there, though it does not listen there"

FAILURES = 10
"""How many ways in which a seed cannot be used are logged, until it can."""

log = logging.getLogger("trio_mp.connection")


class Backoff:
    """How long to wait before something that has failed is tried again.

    Args:
      jitter: answers a number from 0 to 1: those that have failed together are not to come again together.
      last: the longest wait, in seconds, without the jitter.
    """

    def __init__(self, jitter: Callable[[], float], last: float = LAST_RETRY) -> None:
        self._jitter = jitter
        self._last = last
        self._retry = FIRST_RETRY

    def reset(self) -> None:
        """It has not failed this time."""
        self._retry = FIRST_RETRY

    def lengthen(self) -> None:
        """Begin with the longest wait: nothing is expected to change soon."""
        self._retry = self._last

    def next(self) -> float:
        """How long this time, in seconds."""
        seconds = self._retry * (0.5 + self._jitter())
        self._retry = min(self._retry * 2, self._last)
        return seconds


class RediallerOwner(Protocol):
    """What a redialler asks of the membership that it is part of; see `MembershipService`."""

    network: Network

    async def wait_turn(self, redialler: Redialler) -> None:
        """Wait until a redialler is to be dialled, or is gone. A checkpoint."""
        ...

    async def wait_changed(self) -> None:
        """Wait until something may be different."""
        ...

    def is_wanted(self, redialler: Redialler) -> bool:
        """Whether there should be a connection with it."""
        ...

    def is_gone(self, redialler: Redialler) -> bool:
        """Whether it need not be kept in mind any more."""
        ...

    def reached(self, peer: Peer) -> None:
        """There is a connection with it."""
        ...

    def is_own(self, address: Address) -> bool:
        """Whether this node itself listens at an address that answered as this node; then it becomes global."""
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
      rediallers: one for each.
      said: in which ways it could not be used, as far as that was logged since it could.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.addresses: frozenset[str] = frozenset()
        self.rediallers: list[Redialler] = []
        self.said: set[str] = set()

    def complain(self, address: str, failure: str) -> None:
        """Log that one of its addresses cannot be used, if that means that the seed cannot, and was not said before.

        Of a name with several addresses one may be of no use from the start: `localhost` is in IPv6, too.
        """
        in_use = "is in use" in failure
        hopeless = all(redialler.failed_at is not None for redialler in self.rediallers)
        if not (in_use or hopeless):
            log.info("the seed %s cannot be used at %s: %s", self.name, address, failure)
        elif failure not in self.said and len(self.said) < FAILURES:
            level = logging.ERROR if in_use else logging.WARNING
            called = self.name if self.name == address else f"{self.name} ({address})"
            log.log(level, "the seed %s cannot be used: %s; trying again for as long as it takes", called, failure)
            self.said.add(failure)


class Redialler:
    """One address, or the addresses of one node.

    Args:
      owner: what it is part of.
      addresses: where it is; changed when others are known.
      seed: the seed whose address it is; None for a node that was heard of.
      node_id: who is there, as far as it is known.

    Attributes:
      texts: the addresses as they were last heard.
      turn: rediallers that wait for the same thing are dialled in the order of this number.
      proven_id: the node that was there when it was reached last, and has proven that it is that one.
      refusal: why the node that is there is no global one for this one; empty as long as that is not known.
      failed_at: since when it has not been reached, by Trio's clock; None if it was the last time.
      is_itself: whether this node itself answered there the last time, at an address of its own.
    """

    def __init__(
        self,
        owner: RediallerOwner,
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
        self.is_itself = False
        # Whether the last failure was one of which the cause is guessed.
        self._doubtful = False
        self._owner = owner

    async def run(self) -> bool:
        """Keep a connection with it for as long as one is wanted; returns whether it may be forgotten then."""
        network = self._owner.network
        backoff, index = Backoff(network.environment.jitter), 0
        own_backoff = Backoff(network.environment.jitter, LAST_RETRY_OF_ITSELF)
        while True:
            await self._owner.wait_turn(self)
            if self._owner.is_gone(self):
                return True
            begun = trio.current_time()
            peer, failure = network.peers.get(self.node_id), ""
            if peer is None or not peer.is_up() or self._is_unproven():
                address = self.addresses[index % len(self.addresses)]
                outcome = await network.dial(address)
                if self.seed and outcome.node_id == network.dispatcher.id:
                    self._met_itself(address, own_backoff)
                    await trio.sleep(own_backoff.next())
                    continue
                own_backoff.reset()
                self.is_itself = False
                failure = self._judge(outcome)
                if outcome.proven:
                    self.proven_id = outcome.node_id
                peer = network.peers.get(self.node_id)
                if failure:
                    index += 1
                    self._failed(address, failure, quiet=self._is_quiet(outcome))
                else:
                    self._succeeded(address)
                    connection = outcome.connection
                    if connection is not None and connection.was_up:
                        await network.listen_beside(address, connection.pipe)
                        self._owner.listens()
            if peer is not None and not failure and not self._is_unproven():
                self.refusal = ""
                await self._use(peer)
                if failure := self.refusal:
                    failure = f"{peer.id} is not a global node: {failure}"
                    self._failed(self.addresses[index % len(self.addresses)], failure)
                    index += 1
            if network.closes_at is not None and not failure:
                return False
            if not failure:
                backoff.reset()
                if trio.current_time() - begun >= LAST_RETRY:
                    # It was good for a while: the first attempt to get it back need not wait.
                    continue
            await trio.sleep(backoff.next())

    def _met_itself(self, address: Address, backoff: Backoff) -> None:
        """What answers there is this node.

        A stranger who sits at the address for a moment can have it look so, by passing on what this node says, even a
        proof: so nothing follows from it that lasts, and whoever is there later is judged anew.
        """
        if self._owner.is_own(address):
            if not self.is_itself:
                log.info("the seed %s is this node itself", address)
                self._succeeded(address)
            self.is_itself = True
            backoff.lengthen()
        else:
            self.is_itself = False
            self._failed(address, ITSELF)

    def _is_unproven(self) -> bool:
        """Whether it matters who is there, and nobody has proven it: the greeting alone says what a stranger likes."""
        notary = self._owner.network.notary
        return bool(self.seed) and notary is not None and notary.names_nodes and self.proven_id != self.node_id

    def _judge(self, outcome: Dialled) -> str:
        """Why what was dialled is not what was meant; empty if it is."""
        # Whatever became of this connection: another one with that node may be in use, or chosen. Of that node, if it
        # has proven who it is: else any stranger at a seed's address could send this one away to another node.
        if outcome.failure and not (outcome.proven and self._is_in_use(outcome.node_id)):
            return outcome.failure
        if self.seed:
            self.node_id = outcome.node_id
        # An address may be another node's by now, which has nothing to do with what is wanted of this one.
        return "" if self.node_id == outcome.node_id else f"{outcome.node_id} is there now"

    def _is_in_use(self, node_id: str) -> bool:
        peer = self._owner.network.peers.get(node_id)
        return peer is not None and bool(peer.association.incarnation)

    def _is_quiet(self, outcome: Dialled) -> bool:
        """Whether a failure is nothing to complain of yet: the next attempt says more."""
        first_doubt = outcome.doubtful and not self._doubtful
        self._doubtful = outcome.doubtful
        # Who has just made another connection with this node closes this one, at whatever stage.
        return first_doubt or self._is_in_use(outcome.node_id)

    async def _use(self, peer: Peer) -> None:
        """Keep the connection with a peer for as long as it is there and wanted, and it is not refused."""
        current = peer.current
        if current is None:
            return
        peer.keep("redialler")
        try:
            self._owner.reached(peer)
            # Another one may have taken its place before this task runs again: who is there then has to be told anew.
            while not self.refusal and peer.current is current and self._owner.is_wanted(self):
                await self._owner.wait_changed()
        finally:
            peer.release("redialler")
        if peer.current is current:
            peer.ask_to_part()

    def _succeeded(self, address: Address) -> None:
        self._owner.network.failures.pop(str(address), None)
        self.failed_at = None
        self._doubtful = False
        if self.seed and not self.refusal:
            self.seed.said.clear()

    def _failed(self, address: Address, failure: str, *, quiet: bool = False) -> None:
        if self.failed_at is None:
            self.failed_at = trio.current_time()
        if self.seed:
            self._owner.network.failures[str(address)] = failure
            if not quiet:
                self.seed.complain(str(address), failure)
        else:
            log.debug("%s cannot be reached at %s: %s", self.node_id, address, failure)


def parse_addresses(texts: Iterable[str]) -> tuple[Address, ...]:
    """Those of the texts that are addresses to dial, among the first few: as many as are believed of one node."""
    addresses: list[Address] = []
    for text in islice(texts, ADDRESS_LIMIT):
        try:
            address = parse_address(text)
        except ConfigurationError:
            continue
        if can_be_dialled(address):
            addresses.append(address)
    return tuple(addresses)
