"""The version of this package, which pyproject.toml takes from here: looking it up among the installed ones is slow."""

from __future__ import annotations

VERSION = "0.1.0"
