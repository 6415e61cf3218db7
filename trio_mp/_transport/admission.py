"""Limits before authentication: how many strangers may be in their handshake at once, in all and from one source.

Half of the slots are kept for sources that are *known*: from which a node has authenticated since this node began, and
for what has no address, such as a Unix socket, which only its user reaches. So a flood from other addresses takes
nothing from those.

A handshake takes milliseconds, so whoever is still in it when all slots are taken has most likely nothing to say: a
stranger goes, not the newcomer. Of those from sources that are not known it is one of the network (a /24, or a /48 of
IPv6) that has the most: whoever has many addresses mostly has them next to each other. Among those it is the one that
has made no step for the longest time. Not the one that has made the fewest steps: in a flood that begins TLS that would
be whoever has come last, friend or not, for as long as a packet is on its way.

When half of the slots of its kind are taken, some newcomers are refused before anything is spent on them, at random:
nobody can tell them apart. A flood gets through no more likely than a friend, but a friend tries again. The idea is
that of OpenSSH's `MaxStartups` (sshd_config(5)).
"""

from __future__ import annotations

import ipaddress
from typing import Generic, TypeVar

SLOTS = 256
"""How many connections that others have opened may be in their handshake at once."""

SOURCE_SLOTS = 64
"""How many of them from one IP address, or one IPv6 network of 64 bits, which is what one host commonly has."""

MOST_REFUSED = 0.5
"""The part of the newcomers that is refused at random when all slots are taken."""

CROWD_REFUSED = 0.85
"""The same of newcomers from sources that are not known, when there are more of them than can be looked at."""

CROWD = 8
"""How many that wait behind one another are no sign yet that there are many."""

KNOWN_SOURCES = 10_000
"""From how many sources it is remembered that a node has authenticated; the one used longest ago is forgotten."""

T = TypeVar("T")


def source_of(peer_address: str) -> str:
    """What counts as one source of connections; empty for what has no IP address, such as a Unix socket."""
    host, _, _ = peer_address.rpartition(":")
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, 64), strict=False))


def network_of(source: str) -> str:
    """What belongs to one owner, most likely: the /24 of a source, or its /48 of IPv6."""
    address, _, _ = source.partition("/")
    try:
        return str(ipaddress.ip_network((address, 48 if ":" in address else 24), strict=False))
    except ValueError:
        return source


class Admission(Generic[T]):
    """The strangers that are in their handshake.

    Args:
      slots: how many there may be; half of that from sources that are not known.
      source_slots: how many from one source; those without a source only count in all.
    """

    def __init__(self, slots: int = SLOTS, source_slots: int = SOURCE_SLOTS) -> None:
        self._slots = slots
        self._open_slots = max(1, slots // 2)
        self._source_slots = source_slots
        # Each with its source, the one without a step for the longest time first: those of known sources, the others,
        # and the same again by source.
        self._known: dict[T, str] = {}
        self._unknown: dict[T, str] = {}
        self._by_source: dict[str, dict[T, None]] = {}
        # The networks of the sources of these.
        self._networks: dict[str, str] = {}
        # Sources from which a node has authenticated; dicts for their order.
        self._trusted: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._known) + len(self._unknown)

    def is_known(self, source: str) -> bool:
        """Whether a source is one of those that half of the slots are kept for."""
        return not source or source in self._trusted

    def refuses(self, source: str, chance: float, *, crowd: bool = False) -> bool:
        """Whether a newcomer is to be refused at once.

        Args:
          source: where it comes from.
          chance: a random number, at least 0 and below 1.
          crowd: whether many more wait behind it. Refusing costs little, a handshake that comes to nothing costs much,
            and a friend from a known source waits behind all of them.
        """
        pressure, most = len(self) / self._slots, MOST_REFUSED
        if not self.is_known(source):
            most = CROWD_REFUSED if crowd else MOST_REFUSED
            pressure = max(pressure, len(self._unknown) / self._open_slots)
        if source:
            pressure = max(pressure, len(self._by_source.get(source, ())) / self._source_slots)
        return chance < most * (2 * pressure - 1)

    def enter(self, stranger: T, source: str) -> T | None:
        """A newcomer takes a slot; returns who has to leave for it, if somebody has."""
        known = self.is_known(source)
        leaving = self._to_leave(source, known=known)
        if leaving is not None:
            self.leave(leaving)
        (self._known if known else self._unknown)[stranger] = source
        if source:
            self._by_source.setdefault(source, {})[stranger] = None
            self._networks.setdefault(source, network_of(source))
        return leaving

    def _to_leave(self, source: str, *, known: bool) -> T | None:
        ours = self._by_source.get(source, {})
        if source and len(ours) >= self._source_slots:
            return next(iter(ours))
        if not known and len(self._unknown) >= self._open_slots:
            return self._of_the_largest_network()
        if len(self) >= self._slots:
            # Those of sources that are not known have their half at most, so these have more than theirs.
            return next(iter(self._known or self._unknown))
        return None

    def _of_the_largest_network(self) -> T:
        shares: dict[str, int] = {}
        first: dict[str, T] = {}
        for stranger, source in self._unknown.items():
            network = self._networks[source]
            shares[network] = shares.get(network, 0) + 1
            first.setdefault(network, stranger)
        # Of several that are as large, the one whose first has waited longest: a dict has them in that order.
        return first[max(shares, key=shares.__getitem__)]

    def progressed(self, stranger: T) -> None:
        """It has made a step of the handshake: it has greeted. No error if it has left before, or never was one."""
        for strangers in (self._known, self._unknown):
            source = strangers.pop(stranger, None)
            if source is not None:
                strangers[stranger] = source
                if source:
                    ours = self._by_source[source]
                    del ours[stranger]
                    ours[stranger] = None

    def authenticated(self, stranger: T) -> None:
        """It is no stranger any more, and others from its source are less strange than before."""
        source = self._known.get(stranger) or self._unknown.get(stranger)
        self.leave(stranger)
        if source:
            self._trusted.pop(source, None)
            self._trusted[source] = None
            if len(self._trusted) > KNOWN_SOURCES:
                del self._trusted[next(iter(self._trusted))]

    def leave(self, stranger: T) -> None:
        """It has authenticated, or is gone. No error if it has left before."""
        source = self._known.pop(stranger, "") or self._unknown.pop(stranger, "")
        ours = self._by_source.get(source)
        if ours is not None:
            del ours[stranger]
            if not ours:
                del self._by_source[source], self._networks[source]
