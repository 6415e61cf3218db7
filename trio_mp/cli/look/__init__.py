"""The commands that look into a network: `links`, `ports`, `ps`, `db`, `logs`, `trace`, `top`, `shell`."""

from __future__ import annotations
