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

    __slots__ = ("_identifier", "_reason", "counts")

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        # The latest reason, and where it is counted: many ports that die together die of one reason.
        self._reason: Reason | None = None
        self._identifier = OTHER

    def add(self, identifier: str, count: int = 1) -> str:
        """Count so many more under this identifier; under `other`, if there are too many identifiers already.

        Returns:
          Under which.
        """
        counts = self.counts
        if identifier not in counts and len(counts) >= KINDS:
            identifier = OTHER
        counts[identifier] = counts.get(identifier, 0) + count
        return identifier

    def add_reason(self, reason: Reason) -> None:
        """Count one more under the identifier of a reason."""
        if reason is self._reason:
            self.counts[self._identifier] += 1
        else:
            self._identifier = self.add(identifier_of(reason))
            self._reason = reason

    def add_all(self, other: Tally) -> None:
        """Add all that another one has counted."""
        for identifier, count in other.counts.items():
            self.add(identifier, count)
