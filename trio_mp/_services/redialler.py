"""Rediallers: each dials one seed, or one global node, again and again while a connection with it is wanted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Protocol

import trio

from .._errors import ConfigurationError
from .._events import fields
from .._peers.dialled import Dialled
from .._peers.network import Network
from .._peers.peer import Peer
from .._protocol.membership.messages import ADDRESS_LIMIT
from .._protocol.membership.services import is_spare, turn_of
from .._transport.addresses import Address, can_be_dialled, parse_address
from .seed_names import SeedPlace

FIRST_RETRY = 0.1
LAST_RETRY = 5.0
"""The first and the longest wait after a failure before an address is dialled again, in seconds. Each wait is twice
the one before."""

LAST_RETRY_OF_ITSELF = 40.0
"""The longest wait where this node has reached itself, in seconds: with the jitter, a minute at most."""

LAST_RETRY_OF_WRITTEN = 20.0
"""The longest wait for a run that is written in a directory, in seconds: it may be of another network, which would be
bothered by every node of this one."""

ITSELF = "this node itself answers there, though it does not listen there"

FAILURES = 10
"""How many different failures of a seed are logged, until the seed can be used."""

log = logging.getLogger("trio_mp.connection")


class RetryDelay:
    """How long to wait before something that has failed is tried again.

    Args:
      jitter: returns a random number from 0 to 1, so that nodes that failed together do not try again together.
      last: the longest wait, in seconds, without the jitter.
      first: the shortest wait, in the same way.
    """

    def __init__(self, jitter: Callable[[], float], last: float = LAST_RETRY, first: float = FIRST_RETRY) -> None:
        self._jitter = jitter
        self._first = first
        self._last = last
        self._retry = first

    def reset(self) -> None:
        """Begin again with the shortest wait, because an attempt has succeeded."""
        self._retry = self._first

    def lengthen(self) -> None:
        """Begin with the longest wait: nothing is expected to change soon."""
        self._retry = self._last

    def next(self) -> float:
        """The next wait, in seconds. The one after it is longer."""
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
        """Wait until something has changed that `is_wanted` and `is_gone` look at. A checkpoint."""
        ...

    def is_wanted(self, redialler: Redialler) -> bool:
        """Whether this node should have a connection with the node of this redialler."""
        ...

    def is_gone(self, redialler: Redialler) -> bool:
        """Whether this redialler is not needed any more and may be forgotten."""
        ...

    def failed(self) -> None:
        """Take up that the redialler of a seed fails, which did not before: a spare one may have its turn now."""
        ...

    def reached(self, peer: Peer) -> None:
        """Take up that there is a connection with this peer, which a redialler has reached."""
        ...

    def tried(self) -> None:
        """Take up that an address of a seed was tried, whatever came of it."""
        ...

    def is_own(self, address: Address) -> bool:
        """Whether this node itself listens at an address that answered as this node; then it becomes global."""
        ...

    def is_advertised(self, address: Address) -> bool:
        """Whether others are told by the settings that they reach this node at an address."""
        ...

    def listens(self) -> None:
        """Take up that this node may listen somewhere now."""
        ...


class Seed:
    """A seed as it was given: one address, or the name of several.

    Args:
      name: the seed as the settings have it, for the log.
      own_id: the ID of this node.
      is_directory: whether nodes write themselves there. Killed ones leave files, which is nothing to warn of.

    Attributes:
      name, is_directory: the same.
      places: what the seed stood for when it was last looked up, by the keys of the rediallers.
      rediallers: one redialler for each address; of a directory one for each run that is written there.
      looked_up: whether its name was looked up, with whatever result.
      said: the failures that were logged since the seed could be used for the last time.
    """

    def __init__(self, name: str, own_id: str = "", *, is_directory: bool = False) -> None:
        self.name = name
        self.is_directory = is_directory
        self._own_id = own_id
        self.places: dict[str, SeedPlace] = {}
        self.looked_up = False
        self.rediallers: list[Redialler] = []
        self.said: set[str] = set()

    def turn_of(self, redialler: Redialler, drawn: float) -> float:
        """When one of the rediallers has its turn among the others, by what was drawn for it, from 0 to 1."""
        place = self.places.get(redialler.key)
        if place is None:
            return drawn
        weights = [other.weight for other in self.places.values() if other.priority == place.priority]
        return turn_of(place.weight, max(weights), drawn)

    def is_spare(self, redialler: Redialler) -> bool:
        """Whether one of the rediallers has nothing to do, because those of a better priority may reach somebody."""
        place = self.places.get(redialler.key)
        if place is None:
            return False
        found = [(self.places.get(other.key), other.failed_at is not None) for other in self.rediallers]
        return is_spare(place.priority, [(theirs.priority, failed) for theirs, failed in found if theirs is not None])

    def complain(self, address: str, failure: str, *, id_in_use: bool = False) -> None:
        """Log that an address of this seed cannot be used: once for each failure, and a warning only if none can.

        Of a name with several addresses one may be of no use from the start: `localhost` has one in IPv6, too.

        Args:
          address: the address, or the name if that has none.
          failure: why it cannot be used.
          id_in_use: whether it is because another node has the ID of this one: an error, and not of the network's.
        """
        hopeless = not self.is_directory and all(one.failed_at is not None for one in self.rediallers)
        if not (id_in_use or hopeless):
            log.info(
                "the seed %s cannot be used at %s: %s", self.name, address, failure, extra=fields("seed", self._own_id)
            )
        elif failure not in self.said and len(self.said) < FAILURES:
            level = logging.ERROR if id_in_use else logging.WARNING
            called = self.name if self.name == address else f"{self.name} ({address})"
            log.log(
                level,
                "the seed %s cannot be used: %s; trying again for as long as it takes",
                called,
                failure,
                extra=fields("seed", self._own_id),
            )
            self.said.add(failure)


class Redialler:
    """Keeps a connection with what is at one address of a seed, or with one global node at one of its addresses.

    Args:
      owner: the membership that this redialler is part of.
      addresses: where to dial; replaced when other addresses become known.
      seed: the seed whose address this is; None for a node that others have named.
      node_id: the ID of the node there; empty as long as it is not known.
      written_run: of a run that is written in a directory, its incarnation; then no other node there will do.

    Attributes:
      key: what it is called: by its seed, its membership, and where it says why it fails.
      texts: the addresses of the node as others named them last.
      turn: rediallers that wait for the same thing are dialled in the order of this number.
      proven_id: the ID that the node there has proven when it was reached last.
      refusal: why the node that is there is no global one for this one; empty as long as that is not known.
      failed_at: since when no attempt has succeeded, by Trio's clock; None if the last one did.
      misses: how many attempts have failed since the last one that did not.
      is_itself: whether this node itself answered there the last time, at an address of its own.
      was_tried: whether an attempt has come to its end, whatever that was.
    """

    def __init__(
        self,
        owner: RediallerOwner,
        addresses: tuple[Address, ...],
        *,
        seed: Seed | None = None,
        node_id: str = "",
        written_run: str = "",
    ) -> None:
        self.addresses = addresses
        self.seed = seed
        self.node_id = node_id
        self.written_run = written_run
        self.key = f"{seed.name}/{written_run}" if seed and written_run else node_id or str(addresses[0])
        self.texts: tuple[str, ...] = ()
        self.turn = 0.0
        self.proven_id = ""
        self.failed_at: float | None = None
        self.refusal = ""
        self.misses = 0
        self.is_itself = False
        self._last_retry = LAST_RETRY_OF_WRITTEN if written_run else LAST_RETRY
        self.was_tried = False
        # Whether the cause of the last failure is only guessed.
        self._doubtful = False
        self._owner = owner

    async def run(self) -> bool:
        """Dial, and keep the connection for as long as it is wanted; returns whether this may be forgotten then."""
        network = self._owner.network
        backoff, index = RetryDelay(network.environment.jitter, self._last_retry), 0
        own_backoff = RetryDelay(network.environment.jitter, LAST_RETRY_OF_ITSELF)
        while True:
            await self._owner.wait_turn(self)
            if self._owner.is_gone(self):
                return True
            begun = trio.current_time()
            peer, failure = network.peers.get(self.node_id), ""
            if peer is None or not peer.is_up() or self._is_unproven():
                address = self.addresses[index % len(self.addresses)]
                outcome = await network.dial(address)
                if self._is_itself(address, outcome):
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
                    self._failed(address, failure, quiet=self._is_quiet(outcome), id_in_use=outcome.id_in_use)
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
                    # The connection was good for a while, so the first attempt to get it back need not wait.
                    continue
            await trio.sleep(backoff.next())

    def claims(self, node_id: str) -> bool:
        """Whether that node needs no other redialler, because this one dials it, as a seed.

        The file of an earlier run of the node may be all that a directory has, so it has to lead there.
        """
        there = self.seed is not None and self.node_id == node_id
        return there and not (self.written_run and self.failed_at is not None)

    def _is_itself(self, address: Address, outcome: Dialled) -> bool:
        """Whether this node itself is at the address of a seed, as far as it can tell."""
        if not self.seed or self.written_run:
            return False
        # Many networks do not lead back by the address that they show to others: then nobody answers.
        unanswered = outcome.connection is None and self._owner.is_advertised(address)
        return unanswered or outcome.node_id == self._owner.network.dispatcher.id

    def _met_itself(self, address: Address, backoff: RetryDelay) -> None:
        """Take up that this node itself answered at an address.

        A stranger at that address can make it look so, by passing on what this node says, even its proof. So nothing
        lasting follows from it, and the node that is there later is judged anew.
        """
        if self._owner.is_own(address):
            if not self.is_itself:
                log.info(
                    "the seed %s is this node itself", address, extra=fields("seed", self._owner.network.dispatcher.id)
                )
                self._succeeded(address)
            self.is_itself = True
            backoff.lengthen()
            self._ended_attempt()
        else:
            self.is_itself = False
            self._failed(address, ITSELF)

    def _ended_attempt(self) -> None:
        """Note that this address was tried: nobody who is needed was there, or this node itself, or the end has come.

        A connection that is in use does not count yet: the node there may be about to welcome this one.
        """
        self.was_tried = True
        self._owner.tried()

    def _is_unproven(self) -> bool:
        """Whether it matters who is there, and nobody has proven it: the greeting alone says what a stranger likes."""
        notary = self._owner.network.notary
        return bool(self.seed) and notary is not None and notary.names_nodes and self.proven_id != self.node_id

    def _judge(self, outcome: Dialled) -> str:
        """Say why the attempt did not reach the node that was meant; empty if it did."""
        if not self._owner.network.is_there(outcome):
            return outcome.failure
        if self.seed and not self.written_run:
            self.node_id = outcome.node_id
        # Another node may have the address by now. That connection is fine, but it is not the one that is wanted.
        return "" if self.node_id == outcome.node_id else f"{outcome.node_id} is there now"

    def _is_quiet(self, outcome: Dialled) -> bool:
        """Whether a failure is not worth a warning yet, because the next attempt says more."""
        first_doubt = outcome.doubtful and not self._doubtful
        self._doubtful = outcome.doubtful
        # A node that has just made another connection with this one closes the one dialled here, at whatever stage.
        return first_doubt or self._owner.network.is_connected(outcome.node_id)

    async def _use(self, peer: Peer) -> None:
        """Keep the connection with a peer for as long as it is there and wanted, and it is not refused."""
        current = peer.current
        if current is None:
            return
        peer.keep("redialler")
        try:
            self._owner.reached(peer)
            # Another connection may take the place of this one before this task runs again. Then `run` comes back here
            # and says `reached` again, because the node there may be another run, which knows nothing of this one.
            while not self.refusal and peer.current is current and self._owner.is_wanted(self):
                await self._owner.wait_changed()
        finally:
            peer.release("redialler")
        self._ended_attempt()
        if peer.current is current:
            peer.ask_to_part()

    def _succeeded(self, address: Address) -> None:
        self._owner.network.failures.pop(self._called(address), None)
        self.failed_at = None
        self.misses = 0
        self._doubtful = False
        if self.seed and not self.refusal:
            self.seed.said.clear()

    def _failed(self, address: Address, failure: str, *, quiet: bool = False, id_in_use: bool = False) -> None:
        if self.failed_at is None:
            self.failed_at = trio.current_time()
            if self.seed:
                self._owner.failed()
        self.misses += 1
        if self.seed:
            self._owner.network.failures[self._called(address)] = failure
            if not quiet:
                self.seed.complain(str(address), failure, id_in_use=id_in_use)
            self._ended_attempt()
        else:
            log.debug(
                "%s cannot be reached at %s: %s",
                self.node_id,
                address,
                failure,
                extra=fields("seed", self._owner.network.dispatcher.id, peer=self.node_id),
            )

    def _called(self, address: Address) -> str:
        """What a failure is told of. A run that is written in a directory may have several addresses."""
        return self.key if self.written_run else str(address)


def parse_addresses(texts: Iterable[str]) -> tuple[Address, ...]:
    """Parse addresses that others have named, as many as are believed of one node; leave out what is no address."""
    addresses: list[Address] = []
    for text in islice(texts, ADDRESS_LIMIT):
        try:
            address = parse_address(text)
        except ConfigurationError:
            continue
        if can_be_dialled(address):
            addresses.append(address)
    return tuple(addresses)
