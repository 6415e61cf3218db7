"""Limits before authentication: how many strangers may be in their handshake at once, in all and from one source.

A handshake takes milliseconds, so whoever is still in it when all slots are taken has most likely nothing to say: the
oldest goes, not the newcomer. When half of the slots are taken, some newcomers are refused before anything is spent on
them, at random, so that nobody can tell whom: that a flood gets through is as unlikely for it as for a friend, but a
friend tries again. The idea is that of OpenSSH's `MaxStartups` (sshd_config(5)).
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


class Admission(Generic[T]):
    """The strangers that are in their handshake.

    Args:
      slots: how many there may be.
      source_slots: how many from one source; those without a source only count in all.
    """

    def __init__(self, slots: int = SLOTS, source_slots: int = SOURCE_SLOTS) -> None:
        self._slots = slots
        self._source_slots = source_slots
        # Each with its source, the oldest first; and the same again by source.
        self._strangers: dict[T, str] = {}
        self._by_source: dict[str, dict[T, None]] = {}

    def __len__(self) -> int:
        return len(self._strangers)

    def refuses(self, source: str, chance: float) -> bool:
        """Whether a newcomer is to be refused at once.

        Args:
          source: where it comes from.
          chance: a random number, at least 0 and below 1.
        """
        pressure = len(self._strangers) / self._slots
        if source:
            pressure = max(pressure, len(self._by_source.get(source, ())) / self._source_slots)
        return chance < MOST_REFUSED * (2 * pressure - 1)

    def enter(self, stranger: T, source: str) -> T | None:
        """A newcomer takes a slot; returns who has to leave for it, if somebody has."""
        ours = self._by_source.setdefault(source, {}) if source else {}
        oldest: T | None = None
        if len(ours) >= self._source_slots:
            oldest = next(iter(ours))
        elif len(self._strangers) >= self._slots:
            oldest = next(iter(self._strangers))
        if oldest is not None:
            self.leave(oldest)
        self._strangers[stranger] = source
        if source:
            self._by_source.setdefault(source, {})[stranger] = None
        return oldest

    def leave(self, stranger: T) -> None:
        """It has authenticated, or is gone. No error if it has left before."""
        source = self._strangers.pop(stranger, "")
        ours = self._by_source.get(source)
        if ours is not None:
            del ours[stranger]
            if not ours:
                del self._by_source[source]
