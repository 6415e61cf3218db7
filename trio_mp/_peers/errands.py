"""Work that a node does because other nodes have asked for it, with bounds: its own program is to notice nothing.

Past a bound the work is left out, and that is logged, once for each node and kind. Nothing that this node's own program
sends or asks for is counted, or left out.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from weakref import WeakKeyDictionary

import trio

from .._events import fields
from .limited_log import LimitedLog
from .peer import Peer

SEARCHES = 16
"""For how many nodes, at the same time, connections are looked for because others want something sent there."""

ANSWERS = 100_000
"""How many answers may wait to be written to one node."""

ANSWERS_SHARE = 8
"""They may fill this part of its queue. More could cost what this node's own program has sent there."""

AGAIN = 600.0
"""After how many seconds it is said again what the same node has this one do."""

REMEMBERED = 10_000
"""How many nodes and kinds it is remembered for that it was said."""

log = logging.getLogger("trio_mp")


class _Waiting:
    """The answers in the queue of one node.

    Attributes:
      answers: of each the number of the message in that queue, and its size in bytes.
      size: of all.
    """

    def __init__(self) -> None:
        self.answers: deque[tuple[int, int]] = deque()
        self.size = 0

    def add(self, number: int, size: int) -> None:
        """One more."""
        self.answers.append((number, size))
        self.size += size

    def forget(self, written: int) -> None:
        """Those up to this number were handed on, or dropped."""
        while self.answers and self.answers[0][0] <= written:
            self.size -= self.answers.popleft()[1]


class Errands:
    """The work that one node does for others.

    Args:
      queue_limit: how many bytes may be queued for one node.
      find_peer: finds what is kept about a node, if anything is.
      make_peer: makes that, if there is nothing.
      node_id: the ID of this node.
    """

    def __init__(
        self,
        queue_limit: int,
        find_peer: Callable[[str], Peer | None],
        make_peer: Callable[[str], Peer],
        node_id: str = "",
    ) -> None:
        self._node_id = node_id
        self._find_peer = find_peer
        self._make_peer = make_peer
        self._most_bytes = queue_limit // ANSWERS_SHARE
        self._searches: set[str] = set()
        self._answers: WeakKeyDictionary[Peer, _Waiting] = WeakKeyDictionary()
        self._bucket = LimitedLog(log, trio.current_time(), node_id)
        # By node ID and kind: when it was said, and how often it has happened since. The longest ago comes first.
        self._said: dict[tuple[str, str], tuple[float, int]] = {}

    def answer(self, node_id: str, name: str, message: tuple[object, ...]) -> str:
        """Send a port of another node what was asked for by message; returns why not, or nothing.

        Raises:
          TypeError, ValueError: it cannot travel.
        """
        peer = self._find_peer(node_id)
        if peer is None or not (peer.is_up() or peer.association.wants_connection):
            if not self._may_search(node_id):
                return f"{SEARCHES} nodes are looked for at the request of other nodes, the limit"
            peer = self._make_peer(node_id)
        queue = peer.association.outbox.queue
        waiting = self._answers.setdefault(peer, _Waiting())
        waiting.forget(queue.written)
        if len(waiting.answers) >= ANSWERS or waiting.size > self._most_bytes:
            return f"{len(waiting.answers)} answers ({waiting.size} bytes) wait for that node, the limit"
        before = queue.size
        peer.send(name, message)
        waiting.add(queue.appended, max(0, queue.size - before))
        return ""

    def _may_search(self, node_id: str) -> bool:
        """Whether one more node may be looked for."""
        # Those that were found, or given up, count no more.
        for other in tuple(self._searches):
            peer = self._find_peer(other)
            if peer is None or not peer.association.wants_connection:
                self._searches.discard(other)
        if len(self._searches) >= SEARCHES:
            return False
        self._searches.add(node_id)
        return True

    def complain(
        self,
        node_id: str,
        kind: str,
        logger: logging.Logger,
        text: str,
        *arguments: object,
        level: int = logging.WARNING,
    ) -> None:
        """Log something that another node does: once, and again after ten minutes with how often it was.

        Args:
          node_id: which node; empty where it is not known which one is to blame.
          kind: what it does, in a word of this program's: what the other node says would make a bound none.
          logger, text, arguments: the line.
          level: that of the line.
        """
        if not logger.isEnabledFor(level):
            # A line that nobody sees must not use up the room of others.
            return
        now, key = trio.current_time(), (node_id, kind)
        at, omitted = self._said.pop(key, (-AGAIN, 0))
        if now - at < AGAIN or not self._bucket.allows(now):
            self._said[key] = (at, omitted + 1)
        else:
            if omitted:
                text, arguments = text + " (and %d times more since this line was logged last)", (*arguments, omitted)
            self._said[key] = (now, 0)
            logger.log(level, text, *arguments, extra=fields("complaint", self._node_id, peer=node_id, reason=kind))
        if len(self._said) > REMEMBERED:
            del self._said[next(iter(self._said))]
