"""Every interleaving of two nodes, up to a bound, against the promise: the association, enumerated.

`process` is one process with the real `Association`, `world` the network between them and the oracle, made of `parts`;
`search` is a breadth-first walk through all of it, which therefore finds the shortest trace of a fault; `variants` are
associations with one rule taken out, in which it must find one; `rules` says which part of the promise a fault breaks.

    PYTHONPATH=tests python -m explorer --lower 3 --cuts 1 --notices 1

What is real: every decision of `Association`. What stands in for the rest: `CountingQueue` for the bytes of
`OutgoingQueue`, one item of a channel for each handshake line or message, and a step of its own for whatever the
runtime does at a time of its choosing. So a reader may be slow, and a report may come late.

What is left out, and why nothing is missed by it:

- Connections are numbered as they are dialled, and greetings are not modelled: an end that knows nothing of a
  connection yet does nothing that depends on it.
- What the side that decides dials is read at once by the other one, which answers; what that one answers is a step.
- The side that does not decide reads a proof at once: until `link` it does nothing with it. An end about which nothing
  was decided reads at once that the other one has closed.
- A cut loses nothing that is in flight already. That it does is the trace with an earlier cut, or the end that gives up
  before it has read everything.
- What is sent is written at once, if it may be. That it was still queued when the connection ended looks, to the other
  side, like a reset that destroys what was in flight. Only an overflow needs a slow writer.
- The other side ignores the `lost=` of the side that decides.
"""

from __future__ import annotations

from .parts import Bounds
from .search import Found, Result, explore
from .world import World

__all__ = ["Bounds", "Found", "Result", "World", "explore"]
