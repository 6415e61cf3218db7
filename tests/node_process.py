"""Nodes in processes of their own: their program, and the crew that starts them and tells them what to do.

As a program: argv is an `Order` in JSON. The node registers a port in the database, and says on its standard output,
one line each and with the time, by `time.monotonic()`:

up ADDRESS...      it has begun
members NAME...    who has registered a port, as often as that changes
answered NAME...   whose ports have answered when it was told to `ask`
fired NAME WHY     a monitor on a port of that node has
arrived NAME       the first message from that node of those that are under one monitor
drained            all that it has sent was delivered, or its monitor has fired

It is told `ask`, `feed` and `stop`: numbered messages go to all others, always under a monitor (the traffic, journals
and verdict are those of `trio-mp demo`). It ends with its input, so it cannot outlive the test.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict, dataclass
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

import trio
import trio.lowlevel
from chaos.crew import environment
from chaos.process import words

import trio_mp
from trio_mp.cli.demo.checker import Verdict, check
from trio_mp.cli.demo.journal import EntryKind, JournalEntry, JournalWriter, read_journal
from trio_mp.cli.demo.talk import Arrived, Fired, Report
from trio_mp.cli.demo.traffic import Books, Feed, books_variable

FAMILY = "members"
LIMIT = 60.0
"""Whatever a test does takes less, in seconds, however slow the machine is."""

RATE = 200.0
"""Messages a second, to each of the others."""


@dataclass(frozen=True)
class Order:
    """What a process is to be.

    Attributes:
      number: which of the nodes.
      names: their node IDs.
      binds, seeds, heartbeat, connect_timeout: the node's.
      journal: where it writes down what it sends, is told and receives.
    """

    number: int
    names: Sequence[str]
    binds: Sequence[str]
    seeds: Sequence[str]
    heartbeat: float
    connect_timeout: float
    journal: str

    @property
    def name(self) -> str:
        return self.names[self.number]


# The program ----------------------------------------------------------------------------------------------------------


def say(word: str, *rest: str) -> None:
    print(word, f"{time.monotonic():.6f}", *rest, flush=True)


async def run(order: Order) -> None:
    def report(what: Report) -> None:
        match what:
            case Fired(_, peer, why):
                say("fired", order.names[peer], why)
            case Arrived(_, sender, _):
                say("arrived", order.names[sender])
            case _:
                raise AssertionError(what)

    books = Books(order.number, 0, JournalWriter(Path(order.journal)), report)
    books_variable.set(books)
    async with trio_mp.open_node(
        order.name,
        binds=order.binds,
        seeds=order.seeds,
        secret="a secret of enough bytes",
        heartbeat=order.heartbeat,
        connect_timeout=order.connect_timeout,
        spawn_modules=[Feed.__module__],
    ) as node:
        port = node.port()
        port.on("ask")(lambda reply: node.send(reply, "here"))
        node.database.register(FAMILY, port, order.name)
        say("up", *node.binds)
        feeds: list[Feed] = []
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(tell_members, node)
                await obey(node, books, order, feeds, nursery)
                nursery.cancel_scope.cancel()
        finally:
            for feed in feeds:
                feed.end()


async def obey(node: trio_mp.Node, books: Books, order: Order, feeds: list[Feed], nursery: trio.Nursery) -> None:
    sending = trio.CancelScope()

    async def send() -> None:
        with sending:
            async with trio.open_nursery() as senders:
                for feed in feeds:
                    senders.start_soon(feed.run)

    async def drain() -> None:
        async with trio.open_nursery() as draining:
            for feed in feeds:
                draining.start_soon(feed.drain)
        for feed in feeds:
            feed.end()
        books.journal.write(JournalEntry(EntryKind.FINISHED, time.monotonic()))
        say("drained")

    async with aclosing(words()) as told:
        async for word in told:
            match word:
                case "ask":
                    nursery.start_soon(ask, node)
                case "feed":
                    others = [number for number in range(len(order.names)) if number != order.number]
                    feeds += [Feed(node, books, number, order.names[number], RATE) for number in others]
                    nursery.start_soon(send)
                case "stop":
                    sending.cancel()
                    nursery.start_soon(drain)
                case _:
                    return


async def tell_members(node: trio_mp.Node) -> None:
    async with node.database.watch(FAMILY) as changes:
        async for change in changes:
            say("members", *sorted(change.table.values()))


async def ask(node: trio_mp.Node) -> None:
    """Find the others' ports in the database, and wait for an answer from each."""
    answered: list[str] = []
    for port, name in (await node.database.family(FAMILY)).items():
        try:
            await node.call(port, "ask")
        except trio_mp.PortDied:
            continue
        answered.append(name)
    say("answered", *sorted(answered))


# Who runs them --------------------------------------------------------------------------------------------------------


class Said(NamedTuple):
    """A line of a process: its first word, when it was said, and the rest."""

    word: str
    at: float
    rest: list[str]


class NodeProcess:
    """One node in a process of its own.

    Attributes:
      order: what it is.
      process: of the operating system.
      said: what it has said.
    """

    def __init__(self, order: Order, process: trio.Process, log: Path) -> None:
        self.order = order
        self.process = process
        self.said: list[Said] = []
        self._log = log
        self._ended = False
        self._changed = trio.lowlevel.ParkingLot()

    async def listen(self) -> None:
        assert self.process.stdout is not None
        rest = b""
        async for data in self.process.stdout:
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                word, at, *others = line.decode().split()
                self.said.append(Said(word, float(at), others))
            self._changed.unpark_all()
        self._ended = True
        self._changed.unpark_all()

    def find(self, word: str, *rest: str, since: float = 0.0) -> list[Said]:
        """What it has said since then that begins so."""
        return [
            one for one in self.said if one.word == word and one.at >= since and one.rest[: len(rest)] == list(rest)
        ]

    async def expect(self, word: str, *rest: str, since: float = 0.0, exactly: bool = False) -> Said:
        """Wait for a line that begins so, or that is just this."""
        while True:
            for one in self.find(word, *rest, since=since):
                if not exactly or len(one.rest) == len(rest):
                    return one
            assert not self._ended, f"{self.order.name} has ended: {self._log.read_text()}"
            await self._changed.park()

    async def tell(self, word: str) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send_all(word.encode() + b"\n")

    async def end(self) -> None:
        """It goes, whatever it does now, and nothing that leads to it stays open."""
        if self.process.poll() is None:
            self.process.kill()
        await self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            await stream.aclose()


class Crew:
    """Starts the processes of one test, and takes what they say.

    The crews of the demo and of chaos run one whole scenario, on a board or with a diary. A test of this crew decides
    each step itself, and expects single lines.

    Args:
      directory: the folder for journals and logs.
      names: the node IDs.

    Attributes:
      processes: the processes that were started, by node ID.
    """

    def __init__(self, directory: Path, names: Sequence[str], nursery: trio.Nursery) -> None:
        self.processes: dict[str, NodeProcess] = {}
        self._directory = directory
        self._names = names
        self._nursery = nursery

    async def start(
        self,
        name: str,
        binds: Sequence[str],
        seeds: Sequence[str],
        *,
        heartbeat: float,
        connect_timeout: float,
        prefix: Sequence[str] = (),
    ) -> Said:
        """Start one, and wait until it is up; returns what it then says. `prefix` is what its command goes behind."""
        journal = str(self._directory / f"{name}.journal")
        order = Order(self._names.index(name), self._names, binds, seeds, heartbeat, connect_timeout, journal)
        command = [*prefix, sys.executable, "-P", "-W", "error", "-m", Path(__file__).stem, json.dumps(asdict(order))]
        path = self._directory / f"{name}.log"
        with path.open("wb") as log:
            process = await trio.lowlevel.open_process(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment()
            )
        started = self.processes[name] = NodeProcess(order, process, path)
        self._nursery.start_soon(started.listen)
        return await started.expect("up")

    async def all_say(self, names: Iterable[str], word: str, *rest: str, since: float = 0.0) -> float:
        """Wait until each of those has said just this since then; returns when the last of them did."""
        return max([(await self.processes[name].expect(word, *rest, since=since, exactly=True)).at for name in names])

    async def all_find(self, names: Sequence[str], since: float = 0.0) -> float:
        """Wait until each of those has seen just these in the database; returns when the last of them did."""
        return await self.all_say(names, "members", *sorted(names), since=since)

    async def tell(self, names: Iterable[str], word: str) -> None:
        for name in names:
            await self.processes[name].tell(word)

    async def ask(self, names: Sequence[str]) -> None:
        """Have each of those find ports in the database, and get answers from just these."""
        asked = time.monotonic()
        await self.tell(names, "ask")
        await self.all_say(names, "answered", *sorted(names), since=asked)

    async def flow(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Wait until more has arrived, from the first of each pair at the second."""
        wanted = {pair: self._arrived(*pair) for pair in pairs}
        # What other processes write is only seen by looking.
        while any(self._arrived(*pair) <= count for pair, count in wanted.items()):  # noqa: ASYNC110
            await trio.sleep(0.05)

    def _arrived(self, sender: str, receiver: str) -> int:
        number = str(self._names.index(sender))
        entries = read_journal("", 0, Path(self.processes[receiver].order.journal)).entries
        return sum(entry.kind is EntryKind.GOT and entry.peer == number for entry in entries)

    async def drain(self, names: Iterable[str]) -> Verdict:
        """Have those send no more; returns the verdict when all is known of what they have sent."""
        stopped = time.monotonic()
        names = list(names)
        await self.tell(names, "stop")
        await self.all_say(names, "drained", since=stopped)
        orders = [process.order for process in self.processes.values()]
        return check(read_journal(str(order.number), 0, Path(order.journal)) for order in orders)

    def kill(self, name: str) -> float:
        """Kill one with SIGKILL; returns when."""
        at = time.monotonic()
        self.processes[name].process.kill()
        return at

    async def leave(self, names: Iterable[str]) -> None:
        """Have those end by themselves, and well."""
        for name in names:
            process = self.processes[name].process
            assert process.stdin is not None
            await process.stdin.aclose()
            assert await process.wait() == 0, name


@asynccontextmanager
async def open_crew(directory: Path, names: Sequence[str]) -> AsyncGenerator[Crew, None]:
    """Processes that are gone when the block is left, however that is."""
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            crew = Crew(directory, names, nursery)
            try:
                yield crew
            finally:
                with trio.CancelScope(shield=True):
                    for process in crew.processes.values():
                        await process.end()
            nursery.cancel_scope.cancel()


def all_pairs(names: Iterable[str]) -> list[tuple[str, str]]:
    return list(permutations(names, 2))


def main() -> None:
    """See the top of the file."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    trio.run(run, Order(**json.loads(sys.argv[1])))


if __name__ == "__main__":
    main()
