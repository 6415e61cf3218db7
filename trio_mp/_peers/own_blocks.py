"""The times when nothing of this node ran, and which connections that has cost.

Three notice such a time, and each says what the others cannot know. The dispatcher measures its passes, so it names the
port whose handler computed. The watchdog's thread says where the loop stands, and while it lasts; in virtual time there
is none. The beat of the network comes too late, whatever the cause was: it is what is left for tasks, and for a
process that was stopped. Each time is told once, by the dispatcher if it can, else here.

What is longer than three heartbeats may have cost connections: the other sides have heard nothing for so long. They end
when this node reads on, a moment before its beat or behind it. So whoever comes first judges by the beat before.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from .._events import fields
from .._ports.blocked import Blocked, Lately
from .._ports.boundary import LocalPorts

KEPT = 10
"""How many of these times a node remembers."""

SHOWN = 10
"""How many nodes one line of the log names."""

SHORTEST_END = 1.0
"""For how long at least ends of connections are put down to such a time, in seconds. What the others have sent before
they gave this node up is read first."""

log = logging.getLogger("trio_mp.connection")


@dataclass(slots=True)
class OwnBlock:
    """One time of more than three heartbeats when nothing of this node ran.

    Attributes:
      seconds: how long it was.
      what: the same for people, with the place if that is known: `blocked 18.2 s at app.py:40, in take`.
      ended: when it had ended, by the node's time of day, in seconds since 1970.
      peers: the nodes whose connections with this one have ended by it.
    """

    seconds: float
    what: str
    ended: float
    peers: list[str] = field(default_factory=list)


class OwnBlocks:
    """The times when nothing of one node ran.

    Args:
      dispatcher: the node's; it has logged what its `stalls` count.
      heartbeat: the node's, in seconds.
      lately: says how the loop was blocked, if the watchdog has seen it.
      wall_clock: the node's time of day.

    Attributes:
      latest: those of more than three heartbeats, the last of them last.
    """

    def __init__(
        self, dispatcher: LocalPorts, heartbeat: float, lately: Lately, wall_clock: Callable[[], float]
    ) -> None:
        self.latest: deque[OwnBlock] = deque(maxlen=KEPT)
        self._dispatcher = dispatcher
        self._heartbeat = heartbeat
        self._lately = lately
        self._wall_clock = wall_clock
        self._stalls = dispatcher.stalls
        # The beat before, by Trio's clock, and whether what has passed since is in `latest`.
        self._before = math.inf
        self._noted = False
        # The one to which ends of connections are put down, and until when.
        self._open: OwnBlock | None = None
        self._open_until = 0.0

    def begin(self, now: float) -> None:
        """From now on the beat comes."""
        self._before = now

    def beat(self, now: float) -> None:
        """Judge how long ago the beat before was: it comes twice in each heartbeat."""
        passed, stalls = now - self._before, self._dispatcher.stalls
        self._note(now)
        if passed > 1.5 * self._heartbeat and stalls == self._stalls:
            # Whoever else it was, it was no handler: the dispatcher has named that.
            self._tell(passed - self._heartbeat / 2)
        if self._open is not None and now >= self._open_until:
            self._tell_cost(self._open)
            self._open = None
        self._before, self._stalls, self._noted = now, stalls, False

    def explain(self, peer: str, now: float) -> str:
        """What to add to the reason of a connection's end that was none of this node's: empty, or why the node was
        silent before."""
        self._note(now)
        if self._open is None:
            return ""
        if peer not in self._open.peers:
            self._open.peers.append(peer)
        return f"; this node was {self._open.what}"

    def _note(self, now: float) -> None:
        """Put down what has passed since the beat before, if it was more than three heartbeats, but only once."""
        passed = now - self._before
        if passed < 3 * self._heartbeat or self._noted:
            return
        if self._open is not None:
            self._tell_cost(self._open)
        late = passed - self._heartbeat / 2
        blocked = self._lately(passed)
        seconds = blocked.seconds if blocked is not None else late
        self._open = OwnBlock(seconds, _describe(blocked, late), self._wall_clock())
        self._open_until = now + max(self._heartbeat / 2, SHORTEST_END)
        self._noted = True
        self.latest.append(self._open)

    def _tell(self, late: float) -> None:
        blocked = self._lately(late)
        if blocked is not None:
            text = "this node was %s, and nothing else of this program ran meanwhile, heartbeats included"
            log.warning(text, blocked, extra=fields("stalled", self._dispatcher.id))
            return
        log.warning(
            "nothing of this program ran for %.1f s, heartbeats included: it was stopped, or a task computed"
            " without a checkpoint",
            late,
            extra=fields("stalled", self._dispatcher.id),
        )

    def _tell_cost(self, block: OwnBlock) -> None:
        if not block.peers:
            return
        more = f" and {len(block.peers) - SHOWN} more" if len(block.peers) > SHOWN else ""
        log.warning(
            "this node was %s, so others have given it up: it has lost the connections with %s%s",
            *(block.what, ", ".join(block.peers[:SHOWN]), more),
            extra=fields("stalled", self._dispatcher.id),
        )


def _describe(blocked: Blocked | None, late: float) -> str:
    return str(blocked) if blocked is not None else f"standing still for {late:.1f} s"
