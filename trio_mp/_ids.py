"""Node IDs, port IDs and the random tokens in them.

A port ID is `nodeid#name`. The name means something to its own node alone; to all others it is opaque. It holds 96
random bits, so no name is drawn twice, and nobody can guess a port ID from others. The node port has the
empty name: `nodeid#`, or simply `nodeid`.

A node gives its ports names of two forms. No name has both:

- `<8>.<16>`: the first characters of the node's incarnation, for people who read a log, and random characters.
- `<16>.<counter>.<16>`, for ports that another node has spawned: the mark of that node and of its run, a counter that
  only rises, and random characters. The other node chooses the name; mark and counter let this one see that the name
  was never used before, without keeping all names that were.
"""

from __future__ import annotations

import hashlib
import re
from abc import abstractmethod
from base64 import urlsafe_b64encode
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeAlias

Entropy: TypeAlias = Callable[[int], bytes]
"""A source of random bytes, such as `os.urandom`. Always passed in, so that a simulation can be repeated."""

INCARNATION_LENGTH = 16

_NODE_ID = re.compile(r"[A-Za-z0-9_\-.:/]+")
_INCARNATION = re.compile(r"[A-Za-z0-9]{%d}" % INCARNATION_LENGTH)
# Not shorter than the random part of a name: a shorter name could be guessed, and `node#printer` is a mistake.
_PORT_NAME = re.compile(r"[A-Za-z0-9_.\-]{16,64}")
_SPAWNED_NAME = re.compile(r"([A-Za-z0-9_\-]{16})\.([1-9][0-9]{0,18})\.[A-Za-z0-9_\-]{16}")
_POOL = 64
"""How many random parts of names are drawn at a time. Drawn one by one they would cost five times as much."""

_RANDOM_BYTES = 12  # 16 characters of base64
_RANDOM_LENGTH = 16
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


class PortID(str):
    """A str that names a port. It travels as a plain str."""

    __slots__ = ()


class PortReference:
    """What stands for ports that follow each other, one for each life of something. It is no port ID and no `str`.

    So nobody takes it for a port whose ID never changes, and plain sends pay nothing for it. Every call and every
    monitor asks whether it is given one. Therefore this is no `ABC`: `isinstance` would take four times as long.
    """

    @property
    @abstractmethod
    def port(self) -> str:
        """The port ID of its present life; between two lives that of the last one."""

    @property
    @abstractmethod
    def running(self) -> bool:
        """Whether there is a present life."""

    @abstractmethod
    def _find_target(self) -> str | None:
        """The port that messages go to now, or None between two lives: then the message is lost, and that is logged."""

    @abstractmethod
    def _add_monitor(self, monitor: Any) -> None:
        """Keep a monitor of the present life, or of the time between two: it fires before the reference moves."""


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
    """Whether the text has the form of what `random_token` makes."""
    return _INCARNATION.fullmatch(text) is not None


def check_node_id(node_id: object) -> str:
    """Return a node ID if it is one. Else this raises `TypeError` or `ValueError`, whose text shows what was given."""
    if not isinstance(node_id, str):
        raise TypeError(f"node ID: expected a str, got {node_id!r}")
    if not is_node_id(node_id):
        raise ValueError(f"node ID: expected 1 to 255 of the characters A-Z a-z 0-9 _ - . : /, got {node_id!r}")
    return node_id


def split_port(port: object) -> tuple[str, str]:
    """Split a port ID into the node ID and the name. The name is empty for a node port.

    Raises `TypeError` or `ValueError`, whose text shows what was given, if that is no port ID.
    """
    if isinstance(port, PortReference):
        port = port.port
    if not isinstance(port, str):
        raise TypeError(f"port: expected a str, such as a Port or a port ID, got {port!r}")
    node_id, _, name = str(port).partition("#")
    if not is_node_id(node_id) or (name and not _PORT_NAME.fullmatch(name)):
        raise ValueError(
            f"port: expected a port ID, got {str(port)!r}; pass a Port or the text that it prints as, 'nodeid#name',"
            " where the name is one of 16 to 64 characters that its node gave it;"
            " a node ID alone stands for that node's own port"
        )
    return node_id, name


def join_port(node_id: str, name: str) -> str:
    """The ID of the port that has this name on that node."""
    return f"{node_id}#{name}"


def node_of(port: str) -> str:
    """The ID of the node that a port lives on.

    Args:
      port: a port ID or a node ID.

    Raises:
      TypeError, ValueError: `port` is neither a port ID nor a node ID.
    """
    return split_port(port)[0]


def is_port_name(name: str) -> bool:
    """Whether the text can be the name of a port within its node. The empty name of a node port is none."""
    return _PORT_NAME.fullmatch(name) is not None


def random_parts(entropy: Entropy) -> list[str]:
    """The random parts of the next names: texts of 16 characters of base64url, 96 random bits in each."""
    text = urlsafe_b64encode(entropy(_POOL * _RANDOM_BYTES)).decode()
    return [text[start : start + _RANDOM_LENGTH] for start in range(0, len(text), _RANDOM_LENGTH)]


@lru_cache(maxsize=256)
def spawner_mark(node_id: str, incarnation: str) -> str:
    """The mark of this run of a node, with which the names of all ports begin that it spawns on other nodes.

    It is a digest of node ID and incarnation. A part of the incarnation alone would not do: each greeting shows it, so
    another node could say the same one, and give a name again that the first node has used.
    """
    digest = hashlib.sha256(f"{node_id}#{incarnation}".encode()).digest()
    return urlsafe_b64encode(digest[:_RANDOM_BYTES]).decode()


def spawned_prefix(mark: str, counter: int) -> str:
    """The beginning of the name of a port that this node spawns on another one; a random part follows."""
    return f"{mark}.{counter}."


def spawn_counter(name: str, mark: str) -> int | None:
    """The counter in the name of a spawned port, or None if the name is not one that the node of this mark may give."""
    parts = _SPAWNED_NAME.fullmatch(name)
    if parts is None or parts[1] != mark:
        return None
    return int(parts[2])
