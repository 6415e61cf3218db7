"""The `trio-mp` command."""

from __future__ import annotations

from .parser import main as main

__all__ = ["main"]
