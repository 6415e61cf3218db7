"""What a seed stands for, looked up again and again: the addresses of a host name, or those that SRV records name."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import trio

from .._events import fields
from .._transport.addresses import Address, ServiceSeed
from .._transport.pipe import Transport
from .._transport.service_records import ServiceRecords

LONGEST_LIFE = 3600.0
"""For how long SRV records are believed at most, in seconds, whatever they say."""

MOST_PLACES = 64
"""How many addresses of a seed are dialled at most, however many DNS says."""

log = logging.getLogger("trio_mp.connection")


@dataclass(frozen=True, slots=True)
class SeedPlace:
    """One of the addresses that a seed stands for.

    Attributes:
      address: without a host name.
      priority, weight: as in SRV records. Those of other seeds are all equal.
    """

    address: Address
    priority: int = 0
    weight: int = 0


class SeedName:
    """A seed that may stand for several addresses.

    Args:
      seed: as the settings have it.
      transport: looks names up.
      own_id: the node ID of this node, for the log.
    """

    def __init__(self, seed: Address | ServiceSeed, transport: Transport, own_id: str) -> None:
        self._seed = seed
        self._own_id = own_id
        self._transport = transport
        self._records = ServiceRecords((), 0.0)
        # Until when, by Trio's clock, nobody is asked for them again.
        self._believed_until = -1.0
        self._has_warned = False

    async def look_up(self) -> list[SeedPlace]:
        """What the seed stands for now: `MOST_PLACES` at most, the best first. A checkpoint. Raises `OSError`.

        Places that are left out are warned of, once.
        """
        found = await self._look_up()
        if len(found) > MOST_PLACES and not self._has_warned:
            self._has_warned = True
            log.warning(
                "the seed %s has %d addresses; only %d are dialled",
                self._seed,
                len(found),
                MOST_PLACES,
                extra=fields("seed", self._own_id),
            )
        return found[:MOST_PLACES]

    async def _look_up(self) -> list[SeedPlace]:
        if not isinstance(self._seed, ServiceSeed):
            return [SeedPlace(address) for address in await self._transport.resolve(self._seed)]
        if trio.current_time() >= self._believed_until:
            self._records = await self._transport.find_service(self._seed.name)
            self._believed_until = trio.current_time() + min(self._records.seconds, LONGEST_LIFE)
        found: dict[Address, SeedPlace] = {}
        failures: list[OSError] = []
        for target in self._records.targets:
            try:
                addresses = await self._transport.resolve(target.address)
            except OSError as error:
                failures.append(error)
                continue
            for address in addresses:
                # The best comes first.
                found.setdefault(address, SeedPlace(address, target.priority, target.weight))
        if failures and not found:
            raise failures[0]
        return list(found.values())
