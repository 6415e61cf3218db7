"""The program of one process: a node, and the tasks that send. argv: an `Order` in JSON.

On its standard output it says `ready` with its addresses, and `drained`. On its standard input it reads `drain` and
`exit`. When its input ends it exits, so it cannot outlive the campaign, however that ends.
"""

from __future__ import annotations

import json
import logging
import os
import random
import sys
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import trio

import trio_mp
from trio_mp.cli.demo.journal import EntryKind, JournalEntry, JournalWriter

from .traffic import Books, Feed, books_variable, prove_alive

FEEDS = 2
"""How many streams a node has with each of its peers at a time."""

QUEUE_LIMIT = 1024 * 1024
MESSAGE_LIMIT = 256 * 1024


@dataclass(frozen=True)
class Order:
    """The order of a process.

    Attributes:
      node, run: its node ID, and how often that node was started before.
      binds, seeds, secret, encryption, heartbeat: the settings of the node.
      peers: the IDs of the nodes to which it sends.
      seed: the seed of its random choices.
      directory: the directory of the journals.
    """

    node: str
    run: int
    binds: list[str]
    seeds: list[str]
    peers: list[str]
    secret: str
    encryption: bool
    heartbeat: float
    seed: str
    directory: str


async def words() -> AsyncGenerator[str, None]:
    """Yield the words of the standard input, and `exit` at its end."""
    async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as source:
        data = b""
        while more := await source.receive_some():
            *lines, data = (data + more).split(b"\n")
            for line in lines:
                yield line.decode()
    yield "exit"


async def run(order: Order) -> None:
    """Run the node until the standard input says `exit`."""
    journal = JournalWriter(Path(order.directory) / f"{order.node}-{order.run}.journal")
    books = Books(order.node, order.run, journal, random.Random(order.seed))
    books_variable.set(books)
    orders = words()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(books.keep_flushing)
        async with trio_mp.open_node(
            order.node,
            profile=False,
            binds=order.binds,
            seeds=order.seeds,
            secret=order.secret,
            encryption=order.encryption,
            heartbeat=order.heartbeat,
            connect_timeout=12 * order.heartbeat,
            handshake_timeout=8 * order.heartbeat,
            shutdown_timeout=5 * order.heartbeat,
            queue_limit=QUEUE_LIMIT,
            message_limit=MESSAGE_LIMIT,
            spawn_modules=[Feed.__module__],
        ) as node:
            print("ready", *node.binds, flush=True)
            feeds = [Feed(node, books, peer) for peer in order.peers for _ in range(FEEDS)]
            try:
                await talk(node, books, order, feeds, orders)
            finally:
                for feed in feeds:
                    feed.end()
        books.flush()
        nursery.cancel_scope.cancel()
    await orders.aclose()


async def talk(
    node: trio_mp.Node, books: Books, order: Order, feeds: list[Feed], orders: AsyncGenerator[str, None]
) -> None:
    """Send until told to drain, then drain and wait to be told to exit; or exit at once."""
    async with trio.open_nursery() as sending:
        for feed in feeds:
            sending.start_soon(feed.run)
        word = await anext(orders)
        sending.cancel_scope.cancel()
    if word != "drain":
        return
    async with trio.open_nursery() as nursery:

        async def drain() -> None:
            async with trio.open_nursery() as draining:
                for feed in feeds:
                    draining.start_soon(feed.drain)
            async with trio.open_nursery() as proving:
                for peer in order.peers:
                    proving.start_soon(prove_alive, node, books, peer)
            books.journal.write(JournalEntry(EntryKind.FINISHED, time.monotonic()))
            print("drained", flush=True)

        nursery.start_soon(drain)
        await anext(orders)
        nursery.cancel_scope.cancel()


def main() -> None:
    """See the top of the file."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    trio.run(run, Order(**json.loads(sys.argv[1])))


if __name__ == "__main__":
    main()
