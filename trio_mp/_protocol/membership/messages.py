"""The messages about membership, as values and as they travel; `rules.py` says what they are for.

Addresses are texts. Reading leaves out those that no node can have, and those beyond the first few.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ..._ids import is_node_id
from ..schema import FLAG, LIST, NODE, TABLE, TEXT, Schema, Vocabulary

ADDRESS_LIMIT = 16
"""How many addresses of one node are believed; more are left out."""

GLOBALS_LIMIT = 200
"""How many other global nodes are kept in mind; who speaks for itself has precedence over whom others speak of."""

_ADDRESS_SIZE = 300

Addresses: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Join:
    """`join`: I am new to you; whether I am global, and where I listen."""

    is_global: bool
    addresses: Addresses


@dataclass(frozen=True, slots=True)
class Welcome:
    """`welcome`: the answer to `join`; where I listen, and the other global nodes that I use, with their addresses."""

    addresses: Addresses
    others: dict[str, Addresses]


@dataclass(frozen=True, slots=True)
class Attach:
    """`attach`: be my anchor."""


@dataclass(frozen=True, slots=True)
class Meet:
    """`meet`: there is this global node, too."""

    node_id: str
    addresses: Addresses


@dataclass(frozen=True, slots=True)
class Decline:
    """`decline`: the answer to `join` where what it wants may not be, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class Dial:
    """`dial`: have the target dial the other node, which waits at these addresses."""

    target: str
    other: str
    addresses: Addresses


MembershipMessage: TypeAlias = Join | Welcome | Attach | Meet | Decline | Dial


# The table ---------------------------------------------------------------------------------------------------------


def _join(is_global: bool, addresses_untrusted: Sequence[object]) -> Join:
    return Join(is_global, _addresses(addresses_untrusted))


def _welcome(addresses_untrusted: Sequence[object], others_untrusted: Mapping[str, object]) -> Welcome:
    others: dict[str, Addresses] = {}
    for node_id, addresses in others_untrusted.items():
        if is_node_id(node_id) and isinstance(addresses, list) and len(others) < GLOBALS_LIMIT:
            others[node_id] = _addresses(addresses)
    return Welcome(_addresses(addresses_untrusted), others)


def _meet(node_id: str, addresses_untrusted: Sequence[object]) -> Meet:
    return Meet(node_id, _addresses(addresses_untrusted))


def _dial(target: str, other: str, addresses_untrusted: Sequence[object]) -> Dial:
    return Dial(target, other, _addresses(addresses_untrusted))


def _addresses(texts: Sequence[object]) -> Addresses:
    # No address that cannot be printed can be dialled, and one with a lone surrogate could not even be passed on.
    believed = [text for text in texts if isinstance(text, str) and 0 < len(text) <= _ADDRESS_SIZE]
    return tuple([text for text in believed if text.isprintable()][:ADDRESS_LIMIT])


_ADDRESSES = LIST.called("addresses")

_JOIN = Schema("join", _join, FLAG.called("global"), _ADDRESSES)
_WELCOME = Schema("welcome", _welcome, _ADDRESSES, TABLE.called("globals"))
_ATTACH = Schema("attach", Attach)
_DECLINE = Schema("decline", Decline, TEXT.called("why"))
_MEET = Schema("meet", _meet, NODE, _ADDRESSES)
_DIAL = Schema("dial", _dial, NODE, NODE, _ADDRESSES)

MEMBERSHIP: Vocabulary[MembershipMessage] = Vocabulary(_JOIN, _WELCOME, _ATTACH, _DECLINE, _MEET, _DIAL)

join = _JOIN.write
welcome = _WELCOME.write
attach = _ATTACH.write
decline = _DECLINE.write
meet = _MEET.write
dial = _DIAL.write
