"""What can be replaced: a transport of your own is made of these three. Others test with the one in `lowlevel`."""

from __future__ import annotations

from ._transport.pipe import Listener as Listener, Pipe as Pipe, Transport as Transport

__all__ = ["Listener", "Pipe", "Transport"]
