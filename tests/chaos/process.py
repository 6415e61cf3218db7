"""The program of one process: a node, and what it sends. argv: an `Order` in JSON.

On its standard output it says `ready` with its addresses, and `drained`; on its standard input it is told `drain` and
`exit`. When its input ends it exits, so it cannot outlive the supervisor, however that ends.
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
"""How many streams a node has to each of its peers at a time."""

QUEUE_LIMIT = 1024 * 1024
MESSAGE_LIMIT = 256 * 1024


@dataclass(frozen=True)
class Order:
    """What a process is to be.

    Attributes:
      node, run: its node ID, and how often that was started before.
      binds, seeds: the node's.
      peers: whom it sends to.
      secret, encryption, heartbeat: the node's.
      seed: what its random choices come from.
      directory: where the journals are.
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
    """What the standard input says; `exit` at its end."""
    async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as source:
        data = b""
        while more := await source.receive_some():
            *lines, data = (data + more).split(b"\n")
            for line in lines:
                yield line.decode()
    yield "exit"


async def run(order: Order) -> None:
    """Be that node until told to exit."""
    journal = JournalWriter(Path(order.directory) / f"{order.node}-{order.run}.journal")
    books = Books(order.node, order.run, journal, random.Random(order.seed))
    books_variable.set(books)
    orders = words()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(books.keep_flushing)
        async with trio_mp.open_node(
            order.node,
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
