"""In place of pdb++, which tractor 0.1.0a5 wants from a repository and uses for debugging only."""

from __future__ import annotations

import pdb  # noqa: T100 - it is what this stands for


class DefaultConfig:
    """Nothing."""


class Pdb(pdb.Pdb):
    """The ordinary one."""


def xpm() -> None:
    """Nothing."""
