"""Whose word counts in the shared database: which records are refused, whoever brings them.

A number that no honest node reaches names nothing, and helps only who wants its own copy to look newer than all
others. The limits are absolute, and not a bound of how far a number may jump: what one node refuses because of what it
has heard before, another one would take, and the two would see different databases for as long as they live.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from .database_messages import Head
from .database_records import Version

ATTACHMENT_LIMIT = 2**32
"""How often one run of a node can have been attached: once a second for a hundred years."""

SEQUENCE_LIMIT = 2**53
"""How often one run can have changed its record; every peer can hold the number, JavaScript's too."""

AHEAD_LIMIT = 366 * 24 * 3600 * 10**9
"""How far ahead of this node's clock a run may have begun, in nanoseconds. Clocks of honest machines may be wrong by
months: some have none that runs while they are off."""

CLOCK_IS_SET = 1_735_689_600 * 10**9
"""The beginning of 2025, in nanoseconds: a clock that is behind that was never set, and says nothing of the future."""

Judge: TypeAlias = Callable[[str, Head], str]
"""Called with the ID of a node and the head of a record that it brings: why that is refused, or nothing."""


def believe(from_id: str, head: Head) -> str:
    """A judge that refuses nothing."""
    return ""


def implausible(version: Version, now: int) -> str:
    """Why no honest run has a record of this version, or nothing.

    Args:
      version: what a record claims.
      now: the time by this node's wall clock, in nanoseconds.
    """
    if version.attachment > ATTACHMENT_LIMIT:
        return f"that was attached {version.attachment} times, more often than any run can be"
    if version.sequence > SEQUENCE_LIMIT:
        return f"that has changed {version.sequence} times, more often than any record can"
    if now >= CLOCK_IS_SET and version.started > now + AHEAD_LIMIT:
        days = (version.started - now) // (24 * 3600 * 10**9)
        return f"of a run that begins {days} days from now: one of the two clocks is wrong, set it"
    return ""
