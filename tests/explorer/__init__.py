"""Every interleaving of two nodes, up to a bound, against the promise: the association, enumerated.

`process` is one process with the real `Association`, `world` the network between them and the oracle, `search` a
breadth-first walk through all of it, which therefore finds the shortest trace of a fault; `variants` are associations
with one rule taken out, in which it must find one.

    PYTHONPATH=tests python -m explorer --messages 3 --connections 3

What is real: every decision of `Association`. What stands in for the rest: `CountingQueue` for the bytes of
`OutgoingQueue`, one item of a channel for each handshake line or message, and a step of its own for whatever the runtime
does at a time of its choosing. So a writer may be slow, a reader may be slow, and a report may come late.
"""

from __future__ import annotations

from .search import Found, Result, explore
from .world import Bounds, World

__all__ = ["Bounds", "Found", "Result", "World", "explore"]
