"""The messages that a node sends, in epochs, and the ports that receive them."""

from __future__ import annotations

import random
import time
from contextvars import ContextVar

import trio

import trio_mp
from trio_mp.cli.demo.journal import EntryKind, JournalEntry, JournalWriter

PAUSE = 0.25
"""The average time between two bursts, in seconds."""

BURSTS = (1, 20, 200, 600)
SIZES = (0, 0, 0, 100, 1000)
LARGEST = 60_000
"""How many messages a burst has; how many bytes each of them carries; and how many the last one carries at most. So now
and then messages are queued when a connection is lost, and a reckless burst is too much for the queue."""

RECKLESS = 0.05
SWAP = 0.03
KILL = 0.01
RETIRE = 0.00005
"""How probable these are: a burst is up to ten times as large, and the next does not wait for it; the sender replaces
its monitor; the sender kills the port; and, for each message, the receiver kills the port."""


class Arrivals:
    """The messages that have arrived at one port and are not in the journal yet."""

    def __init__(self, sender: str, run: int, stream: int) -> None:
        self.sender, self.run, self.stream = sender, run, stream
        self.epoch = self.first = self.last = 0

    def take(self) -> list[JournalEntry]:
        """Return the journal's entry of them, and forget them."""
        if not self.last:
            return []
        entry = self.record(EntryKind.GOT, self.epoch, self.first, self.last)
        self.epoch = self.first = self.last = 0
        return [entry]

    def record(self, kind: EntryKind, epoch: int = 0, first: int = 0, last: int = 0, text: str = "") -> JournalEntry:
        """Make an entry about this stream, with the present time."""
        return JournalEntry(kind, time.monotonic(), self.sender, self.run, self.stream, epoch, first, last, text)


class Books:
    """The journal of a process, and the arrivals that it must write there.

    Args:
      node, run: the node, and its run.
      journal: the journal of the process.
      random: draws the choices of the process.

    Attributes:
      streams: how many streams the process has begun.
    """

    def __init__(self, node: str, run: int, journal: JournalWriter, random: random.Random) -> None:
        self.node, self.run, self.journal, self.random = node, run, journal, random
        self.streams = 0
        self._arrivals: dict[Arrivals, None] = {}
        self._arrived = trio.Event()

    def arrived(self, arrivals: Arrivals) -> None:
        """Note that a message has arrived."""
        self._arrivals[arrivals] = None
        self._arrived.set()

    def flush(self) -> None:
        """Write the arrivals into the journal."""
        arrivals, self._arrivals = self._arrivals, {}
        self.journal.write(*(entry for one in arrivals for entry in one.take()))

    async def keep_flushing(self) -> None:
        """Write the arrivals into the journal after every pass of the dispatcher."""
        while True:
            await self._arrived.wait()
            self._arrived = trio.Event()
            self.flush()


books_variable: ContextVar[Books] = ContextVar("books_variable")
"""The books of the process. They must be set before the node is opened, so that handlers find them."""


def cargo(number: int, size: int) -> bytes:
    """Return the bytes that a message carries."""
    return (b"%d " % number) * (size // 8)


@trio_mp.spawnable
def sink(port: trio_mp.Port, sender: str, run: int, stream: int) -> None:
    """Make a port receive one stream; the sender spawns it."""
    books = books_variable.get()
    identity = [sender, run, stream]
    arrivals = Arrivals(sender, run, stream)
    books.journal.write(arrivals.record(EntryKind.MADE, text=str(port)))

    @port.on("count")
    def count(source: list[object], epoch: int, number: int, size: int, data: bytes) -> None:
        if source != identity or data != cargo(number, size):
            books.flush()
            text = f"{number} of epoch {epoch} of {source}, with {len(data)} bytes"
            books.journal.write(arrivals.record(EntryKind.WRONG, epoch, number, number, text))
            return
        if epoch == arrivals.epoch and number == arrivals.last + 1:
            arrivals.last = number
        else:
            # Also a message that must not come: the journal shows the messages as they came.
            books.journal.write(*arrivals.take())
            arrivals.epoch, arrivals.first, arrivals.last = epoch, number, number
        books.arrived(arrivals)
        if books.random.random() < RETIRE:
            port.kill()

    @port.on("echo")
    def echo(reply: str) -> None:
        port.node.send(reply, "echo")


class Feed:
    """Sends numbered messages to ports of another node, for ever, and always under a monitor.

    Args:
      node: this node.
      books: the books of the process.
      peer: the other node's ID.
    """

    def __init__(self, node: trio_mp.Node, books: Books, peer: str) -> None:
        self._node, self._books, self._peer = node, books, peer
        self._ended = False
        self._open_stream()

    def _open_stream(self) -> None:
        self._books.streams += 1
        self._stream = self._books.streams
        self._identity = (self._books.node, self._books.run, self._stream)
        self._port = self._node.spawn(self._peer, f"{__name__}:sink", *self._identity)
        self._epoch = self._number = 0
        self._record(EntryKind.OPEN, text=self._port)
        self._begin()

    def _begin(self) -> None:
        self._epoch += 1
        self._record(EntryKind.BEGIN, self._number + 1)
        self._monitor = self._watch()

    def _watch(self) -> trio_mp.Monitor:
        stream, epoch = self._stream, self._epoch
        return self._node.monitor(self._port, lambda *reason: self._fired(stream, epoch, reason))

    def _record(self, kind: EntryKind, first: int = 0, last: int = 0, text: str = "") -> None:
        now = time.monotonic()
        self._books.journal.write(JournalEntry(kind, now, self._peer, 0, self._stream, self._epoch, first, last, text))

    def _fired(self, stream: int, epoch: int, reason: tuple[object, ...]) -> None:
        """Note that a monitor has fired. The entry names its epoch, which should be the present one."""
        text = " ".join(map(str, reason))
        self._books.journal.write(
            JournalEntry(EntryKind.END, time.monotonic(), self._peer, 0, stream, epoch, text=text)
        )
        if self._ended or (stream, epoch) != (self._stream, self._epoch):
            return
        if reason and reason[0] == "transport_error":
            # The port may well live.
            self._begin()
        else:
            self._open_stream()

    async def run(self) -> None:
        """Send bursts until cancelled."""
        random = self._books.random
        while True:
            reckless = random.random() < RECKLESS
            count = random.choice(BURSTS) * (random.randint(2, 10) if reckless else 1)
            self._send(count, random.choice(SIZES), random.randrange(LARGEST))
            if random.random() < SWAP:
                old, self._monitor = self._monitor, self._watch()
                old.cancel()
            if random.random() < KILL:
                self._node.kill(self._port)
            if not reckless:
                try:
                    # This also waits for a peer that is not connected.
                    await self._node.flush(self._peer)
                except trio.BrokenResourceError:
                    # Messages were dropped: the monitor says so too, and the journal counts that.
                    pass
            await trio.sleep(random.expovariate(1 / PAUSE))

    def _send(self, count: int, size: int, last_size: int) -> None:
        """Send a burst; no other task runs meanwhile, so no monitor fires."""
        first, last = self._number + 1, self._number + count
        self._record(EntryKind.SEND, first, last)
        epoch = self._epoch
        for number in range(first, last + 1):
            carried = last_size if number == last else size
            self._node.send(self._port, "count", self._identity, epoch, number, carried, cargo(number, carried))
        assert epoch == self._epoch, "a monitor has fired within a send"
        self._number = last

    async def drain(self) -> None:
        """Wait, after the last message, until all were delivered, or the monitor has fired."""
        try:
            # Messages keep their order, so the reply comes after the delivery of what was sent before the call.
            await self._node.call(self._port, "echo")
        except trio_mp.PortDied:
            # The feed's own monitor is older, and has fired before.
            pass

    def end(self) -> None:
        """Send no more, whatever fires."""
        self._ended = True


async def prove_alive(node: trio_mp.Node, books: Books, peer: str) -> None:
    """Wait until a message to the other node was answered by a port that was made for it."""
    while True:
        books.streams += 1
        port = node.spawn(peer, f"{__name__}:sink", books.node, books.run, books.streams)
        books.journal.write(JournalEntry(EntryKind.OPEN, time.monotonic(), peer, 0, books.streams, text=port))
        try:
            await node.call(port, "echo")
        except trio_mp.PortDied:
            await trio.sleep(0.1)
        else:
            return
