"""The effects of an association: frozen values, each of which says what the caller must do.

The caller does them at once, in the order in which they are given. A connection is named by its ID, a str that is the
same on both sides.

**Depth first, and not by a queue.** An effect may have others call the association, which decides again: a `Probe`
sends a message, the callbacks of a `Fire` do as they like, and either may be too much for the queue. What is decided
then is done before the next effect of the first decision, by a call within a call (`Peer.execute`). A queue would do
it after them. It would be flatter, and it is not safe, for these reasons:

- When `Outbox.send` returns to a program after a loss, the connection must be closed, and the firing must be due: the
  program goes on at once. In a queue the close would wait behind the effects that are being done. Meanwhile the
  association would say that no connection is in use, and the runtime would still hold one.
- Depth first, an effect can be stale for one reason only: an effect before it, of the same list, has ended its
  connection. So `Choose`, `Accept`, `NodeUp` and `Close` look whether their connection is still there, and the others
  need not. In a queue any effect can be stale, for any reason, and each would need a check of its own.
- `Fire` and its `FireDone` belong together, or the fence is lifted before its monitors have fired. So do `Dropped` and
  its `FireDue`, or a loss is never told. Nothing that is decided elsewhere comes between the two of one list but what
  one of its own effects has caused; a queue would have to know which of its entries may not be parted.

`tests/explorer` does effects depth first as well. Whoever wants a queue has to explore it there first, with a loss
between any two effects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from ..._reason import Reason
from ..wire.framing import Framing


@dataclass(frozen=True, slots=True)
class Terms:
    """What an association knows of the other side of one connection.

    Attributes:
      incarnation: the token of the run that has connected.
      limit: the largest message it takes, in bytes.
      framing: how messages are to be written to it.
    """

    incarnation: str
    limit: int
    framing: Framing


@dataclass(frozen=True, slots=True)
class Choose:
    """Write `link`: this connection is chosen. Give it half of the handshake time-out to be answered with `ok`."""

    connection: str


@dataclass(frozen=True, slots=True)
class Accept:
    """Write `ok`: this connection is in use, here and, once it is read, there."""

    connection: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """Write `no;<why>` and close."""

    connection: str
    why: str


@dataclass(frozen=True, slots=True)
class Close:
    """Stop reading and writing at once, and close."""

    connection: str
    why: str


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask the other side of this connection for a sign of life; answer with `probe_answered` or `probe_failed`."""

    connection: str


@dataclass(frozen=True, slots=True)
class NodeUp:
    """This connection is in use."""

    connection: str


@dataclass(frozen=True, slots=True)
class Say:
    """Write this word to the node port of the other side, behind all that was written: nothing else is queued."""

    connection: str
    word: str


@dataclass(frozen=True, slots=True)
class HalfClose:
    """Nothing more is to be written: half-close behind what was, and read to the end, within a bounded time."""

    connection: str


@dataclass(frozen=True, slots=True)
class NodeDown:
    """This connection is not in use any more, and nothing was lost: the two sides have parted."""

    connection: str
    why: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """Messages to this peer may have been lost.

    Attributes:
      reason: why.
      was_up: whether a connection was in use, which now is not.
      messages, size: how many messages, of how many bytes, were dropped from the queue. What was already handed to
        the operating system and did not arrive is not counted, for nobody can know it.
    """

    reason: Reason
    was_up: bool
    messages: int
    size: int


@dataclass(frozen=True, slots=True)
class Unwatch:
    """The other side's monitors of these ports here are gone."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FireDue:
    """Messages may have been lost: call `Association.fire` soon, from where callbacks may run."""


@dataclass(frozen=True, slots=True)
class Fire:
    """Fire these monitors with this reason, now."""

    monitors: tuple[object, ...]
    reason: Reason


@dataclass(frozen=True, slots=True)
class FireDone:
    """The monitors of the `Fire` before have fired: call `Association.fired`, and do what it returns."""


Effect: TypeAlias = (
    Choose
    | Accept
    | Refuse
    | Close
    | Probe
    | NodeUp
    | Say
    | HalfClose
    | NodeDown
    | Dropped
    | Unwatch
    | FireDue
    | Fire
    | FireDone
)
