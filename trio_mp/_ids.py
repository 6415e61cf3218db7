"""Node IDs, port IDs and the random tokens in them.

A port ID is `nodeid#name`. The name is `<incarnation>.<counter>`: the incarnation is drawn anew for every run of a node
and the counter only goes up, so a port ID never names two ports, not even after a restart under the same node ID. The
node port has the empty name: `nodeid#`, or simply `nodeid`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

Entropy: TypeAlias = Callable[[int], bytes]
"""A source of random bytes, such as `os.urandom`. Always passed in, so that a simulation can be repeated."""

INCARNATION_LENGTH = 16

_NODE_ID = re.compile(r"[A-Za-z0-9_\-.:/]+")
_INCARNATION = re.compile(r"[A-Za-z0-9]{%d}" % INCARNATION_LENGTH)
_PORT_NAME = re.compile(r"[A-Za-z0-9]{%d}\.[1-9][0-9]{0,18}" % INCARNATION_LENGTH)
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


class PortID(str):
    """A string that names a port. It travels as the plain string that it is."""

    __slots__ = ()


def random_token(entropy: Entropy) -> str:
    """A token of 16 letters and digits: 95 random bits, enough that no two runs ever share one."""
    # 62 does not divide 256; a 16-byte number reduced by 62**16 (about 2**95.3) has a bias below 2**-32.
    number = int.from_bytes(entropy(INCARNATION_LENGTH), "big")
    characters: list[str] = []
    for _ in range(INCARNATION_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        characters.append(_ALPHABET[digit])
    return "".join(characters)


def is_node_id(text: str) -> bool:
    """Whether the text can be a node ID."""
    return len(text) <= 255 and _NODE_ID.fullmatch(text) is not None


def is_incarnation(text: str) -> bool:
    """Whether the text can be an incarnation."""
    return _INCARNATION.fullmatch(text) is not None


def is_token(text: str) -> bool:
    """Whether the text can be what `random_token` makes."""
    return _INCARNATION.fullmatch(text) is not None


def check_node_id(node_id: object) -> str:
    """The node ID, if it is one. Raises `TypeError` or `ValueError`, naming what was given."""
    if not isinstance(node_id, str):
        raise TypeError(f"a node ID is a str, not {node_id!r}")
    if not is_node_id(node_id):
        raise ValueError(f"not a node ID: {node_id!r} (1 to 255 of the characters A-Z a-z 0-9 _ - . : /)")
    return node_id


def split_port(port: object) -> tuple[str, str]:
    """The node ID and the name in a port ID; the name is empty for a node port.

    Raises `TypeError` or `ValueError`, naming what was given.
    """
    if not isinstance(port, str):
        raise TypeError(f"a port is a str, such as a Port or a port ID, not {port!r}")
    node_id, _, name = str(port).partition("#")
    if not is_node_id(node_id) or (name and not _PORT_NAME.fullmatch(name)):
        raise ValueError(
            f"not a port ID: {str(port)!r} (a port ID is what a Port prints as,"
            " 'nodeid#name' with a name that its node gave it; a node ID alone is that node's own port)"
        )
    return node_id, name


def join_port(node_id: str, name: str) -> str:
    """The ID of the port of this name on that node."""
    return f"{node_id}#{name}"


def node_of(port: str) -> str:
    """The ID of the node that a port lives on.

    Args:
      port: a port ID or a node ID.

    Raises:
      TypeError, ValueError: it is neither.
    """
    return split_port(port)[0]


def is_port_name(name: str) -> bool:
    """Whether the text can be the name of a port within its node (not of a node port)."""
    return _PORT_NAME.fullmatch(name) is not None


def spawn_counter(name: str, incarnation: str) -> int | None:
    """The counter in the name of a spawned port, or None if the name is not one that this incarnation may give."""
    prefix, _, counter = name.partition(".")
    if prefix != incarnation or not _PORT_NAME.fullmatch(name):
        return None
    return int(counter)
