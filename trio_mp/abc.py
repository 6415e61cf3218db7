"""The three interfaces of a transport. Implement them to replace sockets; `lowlevel` has two implementations."""

from __future__ import annotations

from ._transport.pipe import Listener as Listener, Pipe as Pipe, Transport as Transport

__all__ = ["Listener", "Pipe", "Transport"]
