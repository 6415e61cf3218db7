"""The process of one node: `python -m trio_mp.cli.demo.worker`, with orders on its standard input.

The process ends when its input ends, so it cannot outlive the command, however the command ends.
"""

from __future__ import annotations

import logging
import os
import statistics
import sys
import time
from pathlib import Path

import trio

import trio_mp

from .journal import EntryKind, JournalEntry, JournalWriter
from .talk import AllArrived, Assignment, Figures, LineDecoder, Order, Ready, Report, SendNoMore, encode_line
from .traffic import Books, Feed, books_variable

REPORT_PAUSE = 0.25
"""How long the worker waits between two reports of figures, in seconds."""

_READ_SIZE = 64 * 1024


class Worker:
    """Runs one node of the demo, from its `Assignment` to the end of its input."""

    def __init__(self) -> None:
        self._input = trio.lowlevel.FdStream(os.dup(sys.stdin.fileno()))
        self._output = trio.lowlevel.FdStream(os.dup(sys.stdout.fileno()))
        self._orders: dict[type, object] = {}
        self._ordered = trio.lowlevel.ParkingLot()
        self._reports, self._to_write = trio.open_memory_channel[Report](1_000_000)

    async def run(self) -> None:
        """Read the assignment, and run the node until the input ends."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read_orders, nursery.cancel_scope)
            nursery.start_soon(self._write_reports, nursery.cancel_scope)
            assignment = await self._wait_order(Assignment)
            assert isinstance(assignment, Assignment)
            await self._be_node(assignment)
            nursery.cancel_scope.cancel()

    async def _read_orders(self, scope: trio.CancelScope) -> None:
        decoder = LineDecoder(Order)
        while data := await self._input.receive_some(_READ_SIZE):
            for order in decoder.feed(data):
                self._orders[type(order)] = order
            self._ordered.unpark_all()
        scope.cancel()

    async def _wait_order(self, kind: type[Order]) -> object:
        while kind not in self._orders:
            await self._ordered.park()
        return self._orders[kind]

    async def _write_reports(self, scope: trio.CancelScope) -> None:
        try:
            async for report in self._to_write:
                await self._output.send_all(encode_line(report))
        except trio.BrokenResourceError:
            # The command is gone, and nobody reads the reports any more.
            scope.cancel()

    async def _be_node(self, assignment: Assignment) -> None:
        journal = JournalWriter(Path(assignment.journal))
        books = Books(assignment.number, assignment.run, journal, self._reports.send_nowait)
        books_variable.set(books)
        async with trio_mp.open_node(
            assignment.names[assignment.number],
            profile=False,
            binds=[assignment.bind],
            seeds=assignment.seeds,
            secret=assignment.secret,
            spawn_modules=[Feed.__module__],
        ) as node:
            books.report(Ready())
            feeds = [
                Feed(node, books, peer, name, assignment.rate)
                for peer, name in enumerate(assignment.names)
                if peer != assignment.number
            ]
            try:
                await self._exchange(node, books, feeds)
            finally:
                for feed in feeds:
                    feed.end()

    async def _exchange(self, node: trio_mp.Node, books: Books, feeds: list[Feed]) -> None:
        async with trio.open_nursery() as reporting:
            reporting.start_soon(_report_figures, node, books)
            async with trio.open_nursery() as sending:
                for feed in feeds:
                    sending.start_soon(feed.run)
                    sending.start_soon(feed.ping)
                await self._wait_order(SendNoMore)
                sending.cancel_scope.cancel()
            async with trio.open_nursery() as draining:
                for feed in feeds:
                    draining.start_soon(feed.drain)
            for feed in feeds:
                feed.end()
            books.journal.write(JournalEntry(EntryKind.FINISHED, time.monotonic()))
            books.report(AllArrived())
            # Other nodes may still call this one. The end of the input cancels this.
            await trio.sleep_forever()


async def _report_figures(node: trio_mp.Node, books: Books) -> None:
    while True:
        await trio.sleep(REPORT_PAUSE)
        latest = sorted(books.round_trips)
        median = statistics.median(latest) * 1e6 if latest else 0.0
        slow = latest[min(len(latest) - 1, len(latest) * 99 // 100)] * 1e6 if latest else 0.0
        books.report(Figures(time.monotonic(), len(node.peers), books.sent, books.received, books.fired, median, slow))


def main() -> None:
    """Run one node in this process."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    trio.run(Worker().run)


if __name__ == "__main__":
    main()
