"""What has gone over the connections with one node, and how they have ended: totals, which only grow."""

from __future__ import annotations

from .._ports.tally import Tally

CLOSED = "closed"
FAULT = "fault"
ERROR = "error"
SILENT = "silent"
PARTED = "parted"
CLOSING = "closing"
GIVEN_UP = "given_up"
FAILED = "failed"

CAUSES = {
    CLOSED: "the other side has closed it, as a node that ends does",
    ERROR: "the operating system says that it is broken",
    SILENT: "nothing was heard from the other side for three heartbeats",
    PARTED: "nothing depended on it, and both sides agreed to close it",
    CLOSING: "this node was closing",
    GIVEN_UP: "this node has given it up: its queue was full, or another connection took its place",
    FAULT: "the other side did what the protocol does not allow",
    FAILED: "an error in this program, which the log has with its traceback",
}
"""Why a connection that was in use has ended, as it is counted: each word, with what it says to people."""


class Traffic:
    """What a connection has carried, or all connections with one node together that ever were in use.

    Attributes:
      messages_in: how many messages were received. Signs of life are none.
      bytes_in, bytes_out: how many bytes the operating system has handed over, and has taken: as they are on their way,
        handshakes and encryption included.
      connections: how many of them were in use.
      broken: how many have ended, by the cause, a word of `CAUSES`.
      lost: how many messages for the node were dropped.
      written: how many messages were handed on, of nodes that are forgotten; of others their queue says so.
    """

    __slots__ = ("broken", "bytes_in", "bytes_out", "connections", "lost", "messages_in", "written")

    def __init__(self) -> None:
        self.messages_in = self.bytes_in = self.bytes_out = self.connections = self.lost = self.written = 0
        self.broken = Tally()

    def add(self, other: Traffic) -> None:
        """Add what another one has counted."""
        self.messages_in += other.messages_in
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out
        self.connections += other.connections
        self.lost += other.lost
        self.written += other.written
        self.broken.add_all(other.broken)
