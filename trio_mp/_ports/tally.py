"""Counts by what is counted, bounded: a program names its reasons itself, and may name each one differently."""

from __future__ import annotations

from .._reason import OTHER, Reason, identifier_of

KINDS = 100
"""How many identifiers are told apart. What comes under further ones is counted together."""


class Tally:
    """How often something has happened, by an identifier.

    Attributes:
      counts: how often, by identifier. Whoever hands it on copies it.
    """

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def add(self, identifier: str, count: int = 1) -> None:
        """Count so many more under this identifier; under `other`, if there are too many identifiers already."""
        counts = self.counts
        if identifier not in counts and len(counts) >= KINDS:
            identifier = OTHER
        counts[identifier] = counts.get(identifier, 0) + count

    def add_reason(self, reason: Reason, count: int = 1) -> None:
        """Count so many more under the identifier of a reason."""
        self.add(identifier_of(reason), count)

    def add_all(self, other: Tally) -> None:
        """Add all that another one has counted."""
        for identifier, count in other.counts.items():
            self.add(identifier, count)
