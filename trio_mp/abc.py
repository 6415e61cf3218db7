"""Interfaces to implement: the three of a transport, to replace sockets, and instruments, which watch a node.

`lowlevel` has two transports.
"""

from __future__ import annotations

from ._ports.instruments import Instrument as Instrument
from ._transport.pipe import Listener as Listener, Pipe as Pipe, Transport as Transport

__all__ = ["Instrument", "Listener", "Pipe", "Transport"]
