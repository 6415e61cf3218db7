"""The seeds of a node at run time: what they stand for is looked up again and again, and has a redialler each."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Protocol

import trio

from .._events import fields
from .._peers.network import Network
from .._protocol.membership.rules import Membership, MembershipEffect
from .._transport.addresses import Address, DirectorySeed, ServiceSeed
from .._transport.seed_files import SeedFile
from .own_addresses import OwnAddresses
from .redialler import LAST_RETRY, Redialler, RediallerOwner, RetryDelay, Seed
from .seed_directory import DirectoryOwner, SeedDirectory
from .seed_names import SeedName, SeedPlace

RESOLVE_AGAIN = 30.0
"""How often a seed's host name is looked up again, and a directory is read, in seconds."""

log = logging.getLogger("trio_mp.connection")


class SeedsOwner(RediallerOwner, Protocol):
    """What the seeds ask of the membership that they are part of; see `MembershipService`."""

    def has(self, key: str) -> bool:
        """Whether there is a redialler with this key."""
        ...

    def start(self, redialler: Redialler) -> None:
        """Run a redialler from now on."""
        ...

    def changed(self) -> None:
        """Wake all that waits for a change."""
        ...

    def execute(self, effects: Iterable[MembershipEffect]) -> None:
        """Execute the effects that the rules ask for."""
        ...


class Seeds:
    """What the seeds of a node stand for, and whether this node is one of them.

    Args:
      network: the network of this node.
      rules: who is global, who is attached to whom.
      own_addresses: where this node listens, and what it advertises.
      owner: runs the rediallers.
      draining: set when this node has begun to drain.
    """

    def __init__(
        self,
        network: Network,
        rules: Membership,
        own_addresses: OwnAddresses,
        owner: SeedsOwner,
        draining: trio.Event,
    ) -> None:
        self._network = network
        self._rules = rules
        self._own_addresses = own_addresses
        self._owner = owner
        self._draining = draining
        own_id = network.dispatcher.id
        self._seeds = [
            Seed(str(address), own_id, is_directory=isinstance(address, DirectorySeed))
            for address in network.settings.seeds
        ]

    def watches(self) -> Iterable[Callable[[], Awaitable[None]]]:
        """What is to run for as long as the node lives."""
        for address, seed in zip(self._network.settings.seeds, self._seeds, strict=True):
            if isinstance(address, DirectorySeed):
                yield partial(self._watch_directory, address, seed)
            else:
                yield partial(self._watch_seed, address, seed)
        if any(seed.is_directory for seed in self._seeds):
            yield self._watch_draining
        if self._network.settings.advertise:
            yield self._watch_advertised

    async def _watch_seed(self, address: Address | ServiceSeed, seed: Seed) -> None:
        """Keep a redialler for every address of a seed. Its name is looked up again and again, since it may move."""
        backoff = RetryDelay(self._network.environment.jitter)
        name = SeedName(address, self._network.environment.transport, self._network.dispatcher.id)
        while True:
            try:
                found = await name.look_up()
            except OSError as error:
                if not self.find_itself(address):
                    why = error.strerror or str(error)
                    self._network.failures[seed.name] = why
                    seed.complain(seed.name, why)
                self._looked_up(seed)
                await trio.sleep(backoff.next())
                continue
            self._network.failures.pop(seed.name, None)
            backoff.reset()
            seed.places = {str(place.address): place for place in found}
            self.find_itself(address, *(place.address for place in found))
            for place in found:
                if not self._owner.has(str(place.address)):
                    redialler = Redialler(self._owner, (place.address,), seed=seed)
                    seed.rediallers.append(redialler)
                    self._owner.start(redialler)
            # Only now: a name whose addresses are not dialled yet was not tried.
            self._looked_up(seed)
            if [place.address for place in found] == [address]:
                return
            await trio.sleep(RESOLVE_AGAIN * (0.5 + self._network.environment.jitter()))

    def _looked_up(self, seed: Seed) -> None:
        seed.looked_up = True
        self._owner.tried()

    async def _watch_advertised(self) -> None:
        """Look up again and again where this node says that it is, and whether one of its seeds is there."""
        while await self._own_addresses.look_up():
            for seed in self._seeds:
                for redialler in tuple(seed.rediallers):
                    if not redialler.written_run:
                        self.find_itself(*redialler.addresses)
            await trio.sleep(RESOLVE_AGAIN * (0.5 + self._network.environment.jitter()))

    def find_itself(self, *addresses: Address | ServiceSeed) -> bool:
        """Whether this node is at an address of a seed, as its settings say; then it is global.

        It need not reach itself there: many networks do not lead back by the address that they show to others.
        """
        if not any(map(self._own_addresses.is_advertised, addresses)):
            return False
        self._owner.execute(self._rules.became_seed())
        return True

    async def _watch_draining(self) -> None:
        """Have the directories looked at as soon as this node drains."""
        await self._draining.wait()
        self._owner.changed()

    async def _watch_directory(self, address: DirectorySeed, seed: Seed) -> None:
        """Keep a redialler for every run that is written in a directory, and write this one if it is needed."""
        owner = DirectoryOwner(
            own_addresses=self._own_addresses.to_write,
            found=partial(self._found, seed),
            judge=partial(self._judge, seed),
            became_seed=lambda: self._owner.execute(self._rules.became_seed()),
            listens=self._owner.listens,
            drains=self._draining.is_set,
        )
        directory, backoff = SeedDirectory(self._network, address, owner), RetryDelay(self._network.environment.jitter)
        try:
            while True:
                drains = self._draining.is_set()
                done = await self._look(directory, address)
                self._looked_up(seed)
                placed = self._is_placed()
                seconds = backoff.next()
                if done and placed:
                    backoff.reset()
                    seconds = RESOLVE_AGAIN * (0.5 + self._network.environment.jitter())
                with trio.move_on_after(seconds):
                    # Who has lost its place looks at once, and who has begun to drain.
                    while not (placed and not self._is_placed()) and drains == self._draining.is_set():
                        await self._owner.wait_changed()
        finally:
            await directory.leave()

    async def _look(self, directory: SeedDirectory, address: DirectorySeed) -> bool:
        """Look into a directory. An error in this program is logged, as without it this node may find no others."""
        try:
            return await directory.look()
        except Exception:
            log.exception(
                "%s: an error in this program, while it looked there",
                address,
                extra=fields("own_error", self._network.dispatcher.id),
            )
            await trio.sleep(LAST_RETRY)
            return False

    def _is_placed(self) -> bool:
        """Whether this node has its place in the network: it is global, or has an anchor."""
        return self._rules.is_global or self._rules.anchor is not None

    def _found(self, seed: Seed, files: Iterable[SeedFile]) -> None:
        """Have a redialler for each of these runs, which are written in a directory; the others are to go."""
        known = {redialler.written_run: redialler for redialler in seed.rediallers}
        # A file with this node's own ID is of an earlier run, or of another network.
        others = [file for file in files if file.node_id != self._network.dispatcher.id]
        seed.places = {f"{seed.name}/{file.run}": SeedPlace(file.addresses[0]) for file in others}
        for file in others:
            if file.run in known:
                known[file.run].addresses = file.addresses
            else:
                redialler = Redialler(
                    self._owner, file.addresses, seed=seed, node_id=file.node_id, written_run=file.run
                )
                seed.rediallers.append(redialler)
                self._owner.start(redialler)

    def _judge(self, seed: Seed, file: SeedFile) -> tuple[bool, bool]:
        """Whether the node of a file is in this network, and whether it could not be reached there."""
        rules, node_id = self._rules, file.node_id
        used = rules.mesh if rules.is_global else rules.globals if rules.anchor is not None else ()
        tried = next((one for one in seed.rediallers if one.written_run == file.run), None)
        failed = node_id == self._network.dispatcher.id or (tried is not None and tried.misses >= len(tried.addresses))
        return node_id in used, failed

    def were_tried(self) -> bool:
        """Whether this node, a global one, has tried all of its seeds: else it may be about to find a network there."""
        return all(
            seed.looked_up and all(one.was_tried or self._is_joined_or_spare(one) for one in seed.rediallers)
            for seed in self._seeds
        )

    def _is_joined_or_spare(self, redialler: Redialler) -> bool:
        spare = redialler.seed is not None and redialler.seed.is_spare(redialler)
        return spare or redialler.node_id in self._rules.mesh

    def what_is_wrong(self) -> dict[str, str]:
        """Say what is wrong at each address of a seed, by what it is called."""
        failures = self._network.failures
        wrong: dict[str, str] = {}
        for seed in self._seeds:
            if not seed.rediallers:
                nobody = "nobody is written there" if seed.is_directory else "the name has no address"
                wrong[seed.name] = failures.get(seed.name) or (nobody if seed.looked_up else "it was not looked up yet")
            for redialler in seed.rediallers:
                known = f"{redialler.node_id} has not let this node join yet" if redialler.node_id else ""
                wrong[redialler.key] = failures.get(redialler.key) or known or "no answer yet"
        return wrong
