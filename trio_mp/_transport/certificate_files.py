"""What a node is given for mutual TLS. What is made of it is in `certificates`, which is loaded when it is wanted."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TypeAlias

StrPath: TypeAlias = str | os.PathLike[str]


@dataclass(frozen=True, slots=True, init=False)
class Certificate:
    """A node's certificate and the authority that it trusts, as the paths of PEM files.

    The files are read when the node opens, and again when they have changed.

    Attributes:
      chain: the node's certificate, and after it the intermediate ones between it and the authority, if any.
      key: its private key, not encrypted.
      authority: the certificates of the authorities that are trusted.
      verify_node_id: whether a certificate must name the ID of its node: ours, and that of every peer.

    Raises:
      TypeError: a path is not a str or an `os.PathLike[str]`, or `verify_node_id` is not a bool.
    """

    chain: str
    key: str
    authority: str
    verify_node_id: bool = True

    def __init__(self, chain: StrPath, key: StrPath, authority: StrPath, verify_node_id: bool = True) -> None:
        if not isinstance(verify_node_id, bool):
            raise TypeError(f"verify_node_id: expected True or False, got {verify_node_id!r}")
        for name, value in (("chain", chain), ("key", key), ("authority", authority)):
            object.__setattr__(self, name, path_of(name, value))
        object.__setattr__(self, "verify_node_id", verify_node_id)


def path_of(name: str, value: object) -> str:
    """The path in an argument of that name. Raises `TypeError`."""
    path = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(path, str):
        raise TypeError(f"{name}: expected the path of a file, a str or an os.PathLike[str], got {value!r}")
    return path
