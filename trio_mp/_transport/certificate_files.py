"""The files of a certificate, as a program gives them. The module `certificates`, loaded on demand, reads them."""

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
      key: the private key of the node's certificate, not encrypted.
      authority: the certificates of the authorities that are trusted.
      verify_node_id: whether a certificate must name the ID of its node. That holds for this node and for every peer.

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
    """The path in an argument, as a str. Raises `TypeError`, which names the argument, if it is no path."""
    path = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(path, str):
        raise TypeError(f"{name}: expected the path of a file, a str or an os.PathLike[str], got {value!r}")
    return path
