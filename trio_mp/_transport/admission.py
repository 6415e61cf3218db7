"""Limits before authentication: how many strangers may be in their handshake at once, in all and from one source.

Half of the slots are kept for sources that are *known*. A source is known if a node has authenticated from it since
this node began, or if it has no address, as a Unix socket, which only its user reaches. So a flood from other addresses
takes nothing from known sources.

A handshake takes milliseconds, so a stranger that is still in it when all slots are taken has most likely nothing to
say. It has to leave for the newcomer. Among strangers from sources that are not known, the one that leaves is of the
network (a /24, or a /48 of IPv6) that has the most of them, because an attacker with many addresses mostly has them
next to each other. In that network it is the stranger that has made no step for the longest time. The one with the
fewest steps would be wrong: in a flood that begins TLS this is always the latest one, friend or not, until its next
packet has come.

When half of the slots of a kind are taken, the node refuses some newcomers at random, before it spends anything on
them, because it cannot tell them apart. An attacker gets through no more likely than a friend, but a friend tries
again. The idea is that of OpenSSH's `MaxStartups` (sshd_config(5)).
"""

from __future__ import annotations

import ipaddress
from typing import Generic, TypeVar

SLOTS = 256
"""How many connections that others have opened may be in their handshake at once."""

SOURCE_SLOTS = 64
"""How many of them may come from one IP address, or one /64 of IPv6, which is what one host commonly has."""

MOST_REFUSED = 0.5
"""The part of the newcomers that is refused at random when all slots are taken."""

CROWD_REFUSED = 0.85
"""The part of the newcomers from unknown sources that is refused when all slots are taken and a crowd waits."""

CROWD = 8
"""From how many newcomers on, accepted one after the other, the next ones count as a crowd."""

KNOWN_SOURCES = 10_000
"""How many sources are remembered as known; of more, the one that was used longest ago is forgotten."""

T = TypeVar("T")


def source_of(peer_address: str) -> str:
    """The source to which an address belongs: connections of one source share a limit.

    Empty for a connection that has no IP address, such as that of a Unix socket.
    """
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
    """The network of a source, which most likely has one owner: its /24, or its /48 of IPv6."""
    address, _, _ = source.partition("/")
    try:
        return str(ipaddress.ip_network((address, 48 if ":" in address else 24), strict=False))
    except ValueError:
        return source


class Admission(Generic[T]):
    """The strangers that are in their handshake.

    Args:
      slots: how many strangers there may be; half of them from sources that are not known.
      source_slots: how many strangers one source may have; a stranger without a source counts in all only.
    """

    def __init__(self, slots: int = SLOTS, source_slots: int = SOURCE_SLOTS) -> None:
        self._slots = slots
        self._open_slots = max(1, slots // 2)
        self._source_slots = source_slots
        # Three tables of strangers: of known sources, of unknown ones, and all by their source. In each of them,
        # the stranger that has made no step for the longest time comes first.
        self._known: dict[T, str] = {}
        self._unknown: dict[T, str] = {}
        self._by_source: dict[str, dict[T, None]] = {}
        # The network of each source that has strangers.
        self._networks: dict[str, str] = {}
        # The sources from which a node has authenticated, the latest last; a dict for its order.
        self._trusted: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._known) + len(self._unknown)

    def is_known(self, source: str) -> bool:
        """Whether a source is known: half of the slots are kept for those."""
        return not source or source in self._trusted

    def refuses(self, source: str, chance: float, *, crowd: bool = False) -> bool:
        """Whether a newcomer is to be refused at once.

        Args:
          source: the source of the newcomer.
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
        """Give a newcomer a slot; returns the stranger that has to leave for it, or None."""
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
            # Strangers of unknown sources have half of the slots at most, so those of known sources have more.
            return next(iter(self._known or self._unknown))
        return None

    def _of_the_largest_network(self) -> T:
        shares: dict[str, int] = {}
        first: dict[str, T] = {}
        for stranger, source in self._unknown.items():
            network = self._networks[source]
            shares[network] = shares.get(network, 0) + 1
            first.setdefault(network, stranger)
        # `max` takes the first of equal networks: that whose first stranger has waited longest, as the dict has them.
        return first[max(shares, key=shares.__getitem__)]

    def progressed(self, stranger: T) -> None:
        """Note that a stranger has made a step of the handshake. No error if it has left before, or never was one."""
        for strangers in (self._known, self._unknown):
            source = strangers.pop(stranger, None)
            if source is not None:
                strangers[stranger] = source
                if source:
                    ours = self._by_source[source]
                    del ours[stranger]
                    ours[stranger] = None

    def authenticated(self, stranger: T) -> None:
        """Free the slot of a stranger that has authenticated, and remember its source as known."""
        source = self._known.get(stranger) or self._unknown.get(stranger)
        self.leave(stranger)
        if source:
            self._trusted.pop(source, None)
            self._trusted[source] = None
            if len(self._trusted) > KNOWN_SOURCES:
                del self._trusted[next(iter(self._trusted))]

    def leave(self, stranger: T) -> None:
        """Free the slot of a stranger. No error if it has left before."""
        source = self._known.pop(stranger, "") or self._unknown.pop(stranger, "")
        ours = self._by_source.get(source)
        if ours is not None:
            del ours[stranger]
            if not ours:
                del self._by_source[source], self._networks[source]
