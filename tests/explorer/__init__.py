"""The explorer: it checks the promise in every interleaving of two associations, up to a bound.

`process` is one process with the real `Association`. `world` is the network between the processes, and the oracle, made
of `parts`. `search` walks through all states breadth first, so it finds the shortest trace of a fault. `variants` are
associations with one rule taken out, in which it must find a fault. `rules` says which part of the promise a fault
breaks.

    PYTHONPATH=tests python -m explorer --lower 3 --cuts 1 --notices 1

Every decision of `Association` is real. `CountingQueue` replaces the bytes of `OutgoingQueue`, one item of a channel
replaces each handshake line or message, and whatever the runtime does at a time of its choosing is a step of its own.
So a reader may be slow, and a report may come late.

The model leaves out the following, and misses no fault by it:

- Connections are numbered as they are dialled, and greetings are not modelled: an end that knows nothing of a
  connection yet does nothing that depends on it.
- When the side that decides has dialled, the other side reads that at once and answers. Reading the answer is a step.
- The side that does not decide reads a proof at once, because it does nothing with it until `link`. An end that has
  decided nothing about a connection reads at once that the other end has closed.
- A cut loses nothing that is in flight already. A cut that loses it is the same trace with an earlier cut, or with an
  end that gives up before it has read everything.
- A message is written as soon as it may be. A message that is still queued when the connection ends looks, to the other
  side, like one that a reset has destroyed in flight. Only an overflow needs a slow writer.
- The other side ignores the `lost=` of the side that decides.
"""

from __future__ import annotations

from .parts import Bounds
from .search import Found, Result, explore
from .world import World

__all__ = ["Bounds", "Found", "Result", "World", "explore"]
