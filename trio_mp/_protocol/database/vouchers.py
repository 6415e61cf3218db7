"""Whose word counts in the shared database: vouchers, and which records are refused whoever brings them.

Where certificates name nodes, a global node that has the record of an attached node must show a *voucher* for it: an
entry in that record, which its owner signs with the key of its certificate each time that it is attached, and by which
it names the run, the attachment, and its anchor. Other global nodes take the record from that anchor only, over a
connection on which it has proven who it is. What a node says of itself, on its own connection, needs no voucher.

The voucher is an entry like any other, so nodes that do not know it hold it and pass it on. The certificates are in it,
as who merges may never have been connected with the owner. It says nothing of the entries themselves: a node's own
anchor can still withhold, invent and keep them.

A number that no honest node reaches names nothing, and helps only who wants its own copy to look newer than all
others. The limits are absolute, and not a bound of how far a number may jump: what one node refuses because of what it
has heard before, another one would take, and the two would see different databases for as long as they live.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from .records import VOUCHERS, Record, Version

ATTACHMENT_LIMIT = 2**32
"""How often one run of a node can have been attached: once a second for a hundred years."""

SEQUENCE_LIMIT = 2**53
"""How often one run can have changed its record; every peer can hold the number, JavaScript's too."""

AHEAD_LIMIT = 366 * 24 * 3600 * 10**9
"""How far ahead of this node's clock a run may have begun, in nanoseconds. Clocks of honest machines may be wrong by
months: some have none that runs while they are off."""

CLOCK_IS_SET = 1_735_689_600 * 10**9
"""The beginning of 2025, in nanoseconds: a clock that is behind that was never set, and says nothing of the future."""

Judge: TypeAlias = Callable[[str, str, Record], str]
"""Called with the ID of a node, and with the owner and the record that it brings: why that is refused, or nothing."""

Sign: TypeAlias = Callable[[bytes], list[str]]
"""Signs a text: the signature and what is needed to verify it; nothing if that cannot be."""

Check: TypeAlias = Callable[[str, bytes, Sequence[object]], str]
"""Called with a node ID, a text, and what should be that node's signature of it: why it is not, or nothing."""

_LABEL = "trio_mp 1 voucher"


def believe(from_id: str, owner: str, record: Record) -> str:
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


def make_voucher(owner: str, version: Version, anchor: str, sign: Sign) -> list[str]:
    """A voucher, as the value of an entry; empty if this node cannot sign."""
    proof = sign(_text(owner, version, anchor))
    return [anchor, *proof] if proof else []


def check_voucher(from_id: str, owner: str, record: Record, check: Check) -> str:
    """Why a record of another node may not be taken from a global node, as the rest of a sentence, or nothing."""
    match record.tables.get(VOUCHERS, {}).get(owner):
        case [str(anchor), *proof]:
            if anchor != from_id:
                return f"whose voucher names another anchor, {anchor[:300]!r}"
            why = check(owner, _text(owner, record.version, anchor), proof)
            return f"whose voucher {why}" if why else ""
        case _:
            return f"without a voucher of {owner}: it has no certificate that can sign, or runs an older version"


def _text(owner: str, version: Version, anchor: str) -> bytes:
    """What is signed: each part behind its length, so that no two vouchers have the same text."""
    parts = (_LABEL, owner, str(version.started), version.incarnation, str(version.attachment), anchor)
    return b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)
