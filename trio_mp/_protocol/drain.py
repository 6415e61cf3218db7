"""What a node that drains waits for, and what it says of the rest. Decisions, without I/O.

A node drains before it ends, so that its end costs nobody a message. Others send to it until they hear of that, and
what they have sent is on its way. So the node says `draining` to each peer, and the peer answers `heard` behind all
that it had queued for the node: its *fence*. Behind the fence of a peer nothing arrives that the peer has sent before
it heard.

1. Each peer with a connection in use is told, and so is one whose connection comes up later. Its fence is awaited.
2. A peer whose connection is lost before its fence gives none: what it had sent may be lost. Its monitors say so, and
   the node notes it. If the connection has parted, each side has read all that the other one wrote: nothing is missing.
3. A peer that does not know the word gives no fence, and the node notes that.
4. When all fences have come, the node is done at the first moment in which it rests: nothing is on its way between its
   ports, no handler runs, and all calls of peers are answered. Where a task receives from a mailbox, the mailbox is
   empty, and each loop over it has come back from the message before. What handlers have sent on to ports of the node
   is handled at such a moment, too.
5. Messages and calls in a mailbox from which nobody has ever received are not waited for, because nobody would take
   them. The node names them, and ports that have died with messages or at work.
6. A drain that is awaited in the work of a port, which is a handler, a task that receives, or a task that either has
   started, does not wait for that work, nor for other work that awaits a drain: each would wait for the other. So it
   does not wait for what only that work would take up, nor for calls that may be answered by it. It names them. All
   else it waits for, in the same port, too. A drain that is awaited elsewhere waits for all.

So a message that a peer has sent before it heard has been handled when the node is done, unless the peer's monitor has
fired for it, or fires, or the node has noted its port, or the peer.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from .._reason import Reason, describe

MOST_NOTED = 1000
"""Of how many ports that have died with messages the names are noted; of the others, how many there were."""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """Something that a drain has not finished; see `Drained`.

    Attributes:
      port: the ID of the port; that of a node if it is about all that this node has sent, or about nodes.
      reason: what is unfinished there, for people.
    """

    port: str
    reason: str

    def __str__(self) -> str:
        return f"{self.port}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Drained:
    """What `Node.drain` returns.

    Attributes:
      unfinished: what was lost meanwhile, or has nobody who would finish it; empty if all was handled.
    """

    unfinished: tuple[Unfinished, ...] = ()


class MailboxReader(enum.Enum):
    """Who receives from a port."""

    NO_MAILBOX = "the port has no mailbox"
    NOBODY = "nobody has ever received from it"
    BUSY = "a loop over it has taken a message, and has not asked for the next one"
    WAITING = "a task waits for a message"
    AWAY = "a task has received from it, and does not wait now"


@dataclass(frozen=True, slots=True)
class PortWork:
    """What one port of the node has to do.

    Attributes:
      port: its ID.
      running: whether an async handler runs.
      waiting: how many messages wait for it.
      reader: who receives from it.
      calls: how many calls of peers to it are not answered, without those that wait in a mailbox that nobody reads.
      behind: how many messages are left to code that awaits the drain itself.
      claimed: how many calls of peers are not answered, and perhaps left to code that awaits the drain itself.
    """

    port: str
    running: bool = False
    waiting: int = 0
    reader: MailboxReader = MailboxReader.NO_MAILBOX
    calls: int = 0
    behind: int = 0
    claimed: int = 0

    @property
    def is_awaited(self) -> bool:
        """Whether a drain waits for it."""
        if self.running or self.calls or self.reader is MailboxReader.BUSY:
            return True
        return self.waiting > 0 and self.reader is not MailboxReader.NOBODY

    @property
    def what(self) -> str:
        """What is unfinished in it, for people; empty if nothing is."""
        parts = []
        if self.calls:
            parts.append(f"{_count(self.calls, 'call')} not answered")
        if self.running:
            parts.append("its handler runs")
        if self.reader is MailboxReader.BUSY:
            parts.append("its task has taken a message, and has not asked for the next one")
        if self.waiting:
            nobody = ", from which nobody has received" if self.reader is MailboxReader.NOBODY else ""
            where = "" if self.reader is MailboxReader.NO_MAILBOX else " in its mailbox"
            parts.append(f"{_count(self.waiting, 'message')} waiting{where}{nobody}")
        if self.behind:
            parts.append(f"{_count(self.behind, 'message')} for it, and it awaits the drain")
        if self.claimed:
            parts.append(f"{_count(self.claimed, 'call')} not answered, and it awaits the drain")
        return "; ".join(parts)


@dataclass(frozen=True, slots=True)
class NodeWork:
    """What a node has to do, as it was seen at one moment.

    Attributes:
      node_id: the node.
      queued: how many messages and jobs are on their way between its ports.
      ports: those that may have something to do.
    """

    node_id: str
    queued: int
    ports: tuple[PortWork, ...]

    @property
    def is_awaited(self) -> bool:
        """Whether a drain waits for something of it."""
        return self.queued > 0 or any(work.is_awaited for work in self.ports)

    @property
    def unfinished(self) -> list[Unfinished]:
        """What is unfinished in it, by port."""
        found = [Unfinished(work.port, work.what) for work in self.ports if work.what]
        if self.queued:
            found.append(Unfinished(self.node_id, f"{_count(self.queued, 'message')} on the way between its ports"))
        return found


class Drain:
    """The rules of one node's drain: who was told, who has heard, and what cannot be finished any more."""

    __slots__ = ("_awaited", "_more", "_noted", "begun")

    def __init__(self) -> None:
        #: Whether the node drains.
        self.begun = False
        self._awaited: dict[str, None] = {}
        self._noted: dict[str, Unfinished] = {}
        self._more = 0

    # Peers ---------------------------------------------------------------------------------------------------------

    @property
    def awaited(self) -> tuple[str, ...]:
        """The peers whose fences are awaited."""
        return tuple(self._awaited)

    def up(self, node_id: str, *, understands: bool) -> bool:
        """Take up that a connection with a peer is in use: rules 1 and 3. Returns whether it is to be told."""
        if not self.begun:
            return False
        if not understands:
            self._note(node_id, "that node does not know the word `draining`, and has given no fence")
            return False
        self._awaited[node_id] = None
        return True

    def heard(self, node_id: str) -> bool:
        """Take up the fence of a peer; returns whether it was awaited."""
        if node_id not in self._awaited:
            return False
        del self._awaited[node_id]
        return True

    def down(self, node_id: str, *, parted: bool) -> None:
        """Take up that no connection with a peer is in use any more: rule 2."""
        if self.heard(node_id) and not parted:
            self._note(node_id, "the connection was lost before its fence: what it had sent may not have arrived")

    # Ports ---------------------------------------------------------------------------------------------------------

    def port_died(self, port: str, waiting: int, reason: Reason) -> None:
        """Take up that a port has died in which so many messages waited, or that was at work: rule 5."""
        if self.begun:
            what = f"with {_count(waiting, 'message')} waiting" if waiting else "while it was at work"
            self._note(port, f"it died {what}: {describe(reason)}")

    def _note(self, port: str, reason: str) -> None:
        if port in self._noted:
            return
        if len(self._noted) < MOST_NOTED:
            self._noted[port] = Unfinished(port, reason)
        else:
            self._more += 1

    # The end -------------------------------------------------------------------------------------------------------

    def is_done(self, work: NodeWork) -> bool:
        """Whether there is nothing left to wait for: rule 4."""
        return not self._awaited and not work.is_awaited

    def unfinished(self, work: NodeWork) -> tuple[Unfinished, ...]:
        """All that is unfinished, whether it is waited for or not."""
        found = [*self._noted.values()]
        if self._more:
            found.append(Unfinished(work.node_id, f"{self._more} more ports died, or nodes were lost"))
        found += [Unfinished(node_id, "that node has not said that it has heard") for node_id in self._awaited]
        return (*found, *work.unfinished)

    def summary(self, work: NodeWork) -> str:
        """What is waited for, in a few words for people."""
        awaited = [each for each in work.ports if each.is_awaited]
        counts: Iterable[tuple[int, str]] = (
            (len(self._awaited), "node"),
            (sum(each.calls for each in awaited), "call"),
            (sum(each.running for each in awaited), "handler"),
            (sum(each.reader is not MailboxReader.NO_MAILBOX and not each.calls for each in awaited), "mailbox"),
        )
        return ", ".join(_count(number, what) for number, what in counts if number)


def _count(number: int, what: str) -> str:
    plural = f"{what}es" if what.endswith("x") else f"{what}s"
    return f"{number} {what if number == 1 else plural}"
