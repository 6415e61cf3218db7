"""The messages of the demo: who sends them, who receives them, and what both write into their journal."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field

import trio

import trio_mp

from .journal import EntryKind, JournalEntry, JournalWriter
from .talk import Arrived, Fired, Report

TICK = 0.025
"""How long a feed waits between two handfuls of messages, in seconds."""

PING_PAUSE = 0.05
"""How long a feed waits between a reply and its next call, in seconds."""

_SAMPLES = 200


@dataclass(eq=False)
class Books:
    """What a node counts and writes down.

    Attributes:
      number, run: which node, and which run of it.
      journal: its entries.
      report: sends a report to the command.
      streams: how many streams the node has begun. The latest stream has this number.
      sent, received, fired: how many messages were sent and received, and how many monitors have fired.
      round_trips: how long the latest round trips took, in seconds.
    """

    number: int
    run: int
    journal: JournalWriter
    report: Callable[[Report], None]
    streams: int = 0
    sent: int = 0
    received: int = 0
    fired: int = 0
    round_trips: deque[float] = field(default_factory=lambda: deque(maxlen=_SAMPLES))


books_variable: ContextVar[Books] = ContextVar("books_variable")
"""The books of the running node. Set before the node is opened, so that functions spawned by others inherit it."""


@trio_mp.spawnable
def sink(port: trio_mp.Port, sender: int, run: int, stream: int) -> None:
    """Make a port receive one stream. The sender of the stream spawns this function.

    Args:
      port: the new port.
      sender, run: the sender's number, and how often it was started before.
      stream: the sender's number for this stream.
    """
    books = books_variable.get()
    identity = [sender, run, stream]
    last_epoch = 0

    def record(kind: EntryKind, epoch: int = 0, number: int = 0, text: str = "") -> None:
        of_stream = (str(sender), run, stream)
        books.journal.write(JournalEntry(kind, time.monotonic(), *of_stream, epoch, number, number, text))

    record(EntryKind.MADE, text=str(port))

    @port.on("count")
    def count(source: list[int], epoch: int, number: int) -> None:
        nonlocal last_epoch
        if source == identity:
            record(EntryKind.GOT, epoch, number)
        else:
            record(EntryKind.WRONG, epoch, number, f"message {number} of epoch {epoch} of {source} arrived here")
        books.received += 1
        if epoch != last_epoch:
            last_epoch = epoch
            books.report(Arrived(time.monotonic(), sender, run))

    @port.on("echo")
    def echo(reply_port: str) -> None:
        port.node.send(reply_port, "echo")


class Feed:
    """Sends numbered messages to another node until it is cancelled, and always under a monitor.

    Args:
      node: this node.
      books: the books of this node.
      peer: the other node's number.
      peer_id: the other node's ID.
      rate: how many messages to send in a second.
    """

    def __init__(self, node: trio_mp.Node, books: Books, peer: int, peer_id: str, rate: float) -> None:
        self._node = node
        self._books = books
        self._peer = peer
        self._peer_id = peer_id
        self._rate = rate
        self._ended = False
        self._open_stream()

    def _open_stream(self) -> None:
        """Spawn a port on the other node, and send to that from now on."""
        self._books.streams += 1
        self._stream = self._books.streams
        self._identity = (self._books.number, self._books.run, self._stream)
        self._sink = self._node.spawn(self._peer_id, f"{__name__}:sink", *self._identity)
        self._epoch = 0
        self._number = 0
        self._record(EntryKind.OPEN, text=self._sink)
        self._begin_epoch()

    def _begin_epoch(self) -> None:
        self._epoch += 1
        self._record(EntryKind.BEGIN, self._number + 1)
        self._monitor = self._node.monitor(self._sink, self._fired)

    def _record(self, kind: EntryKind, first: int = 0, last: int = 0, text: str = "") -> None:
        of_epoch = (str(self._peer), 0, self._stream, self._epoch)
        self._books.journal.write(JournalEntry(kind, time.monotonic(), *of_epoch, first, last, text))

    def _fired(self, *reason: object) -> None:
        if self._ended:
            return
        at = time.monotonic()
        self._record(EntryKind.END, text=" ".join(map(str, reason)))
        self._books.fired += 1
        what = str(reason[0]) if reason else "normal"
        self._books.report(Fired(at, self._peer, what))
        if what == "transport_error":
            # The connection is lost, and with it perhaps messages. The port may live on: keep it.
            self._begin_epoch()
        else:
            # The port is gone, as after a restart of its node: spawn another.
            self._open_stream()

    async def run(self) -> None:
        """Send handfuls of messages until cancelled."""
        due = 0.0
        while True:
            due += self._rate * TICK
            count = int(due)
            due -= count
            if count:
                self._send(count)
            try:
                # Here the feed waits for a peer that is slow or not connected.
                await self._node.flush(self._peer_id)
            except trio.BrokenResourceError:
                # Messages were dropped. The monitor reports that too, and its report is what the journal needs.
                pass
            await trio.sleep(TICK)

    def _send(self, count: int) -> None:
        """Send some messages. No other task runs meanwhile, so no monitor fires between them."""
        first, last = self._number + 1, self._number + count
        self._record(EntryKind.SEND, first, last)
        for number in range(first, last + 1):
            self._node.send(self._sink, "count", self._identity, self._epoch, number)
        self._number = last
        self._books.sent += count

    async def ping(self) -> None:
        """Call the other node again and again, and note how long each round trip takes, until cancelled."""
        while True:
            # Only over an open connection: a call that waits for one would measure the dialling.
            if self._peer_id in self._node.peers:
                started = time.perf_counter()
                try:
                    await self._node.call(self._sink, "echo")
                except trio_mp.PortDied:
                    pass
                else:
                    self._books.round_trips.append(time.perf_counter() - started)
            await trio.sleep(PING_PAUSE)

    async def drain(self) -> None:
        """Wait until every message has been delivered or reported lost. To be called when no more are sent."""
        try:
            # Messages keep their order, so the reply comes after the delivery of all that was sent before the call.
            await self._node.call(self._sink, "echo")
        except trio_mp.PortDied:
            # The feed's own monitor was set before this call's, and so has fired before it: the loss is recorded.
            pass

    def end(self) -> None:
        """Cancel the monitor."""
        self._ended = True
        self._monitor.cancel()
