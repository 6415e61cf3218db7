"""The other process of what `benchmarks.hot_path` measures. argv: KIND [SEED]. It ends with its connection.

Kinds: `sockets`, `epoll` and `trio` answer every packet with its own bytes, each with one thing more between it and the
kernel than the one before; `drain` takes and throws away; `node` is a node of this package that takes and answers.
The first three also are the programs of this side: `ask_with_…` times round trips.
"""

from __future__ import annotations

import contextlib
import select
import socket
import sys
import time
from collections.abc import Callable, Iterator

import trio

from trio_mp import Port, open_node, spawnable
from trio_mp.cli.bench.task import SECRET

SIZE = 40
"""The bytes in a packet, about as many as a frame with one small message has."""

READ = 65536

clock = time.perf_counter_ns


# Round trips with one thing more each time ----------------------------------------------------------------------------


def ask_with_sockets(connection: socket.socket, count: int) -> list[int]:
    """Use sockets that block: this is the cost of system calls, and of the switch to the other process and back."""
    packet, times = bytes(SIZE), []
    for _ in range(count):
        start = clock()
        connection.send(packet)
        connection.recv(READ)
        times.append(clock() - start)
    return times


def ask_with_epoll(connection: socket.socket, count: int) -> list[int]:
    """Wait with epoll until there is something to read."""
    packet, times = bytes(SIZE), []
    with waiting_for(connection) as wait:
        for _ in range(count):
            start = clock()
            connection.send(packet)
            wait()
            connection.recv(READ)
            times.append(clock() - start)
    return times


def ask_with_trio(connection: socket.socket, count: int) -> list[int]:
    """Have Trio wait until there is something to read, in one task."""

    async def ask() -> list[int]:
        packet, times = bytes(SIZE), []
        for _ in range(count):
            start = clock()
            connection.send(packet)
            await trio.lowlevel.wait_readable(connection)
            connection.recv(READ)
            times.append(clock() - start)
        return times

    connection.setblocking(False)
    return trio.run(ask)


@contextlib.contextmanager
def waiting_for(connection: socket.socket) -> Iterator[Callable[[], object]]:
    """Return a function that waits until there is something to read, by the means that Trio uses on this system."""
    connection.setblocking(False)
    if hasattr(select, "epoll"):
        with select.epoll() as poll:
            poll.register(connection, select.EPOLLIN)
            yield poll.poll
    else:
        yield lambda: select.select([connection], [], [])


# The other side -------------------------------------------------------------------------------------------------------


def answer_with_sockets(connection: socket.socket) -> None:
    """Send back what comes, until the connection ends."""
    while data := connection.recv(READ):
        connection.send(data)


def answer_with_epoll(connection: socket.socket) -> None:
    """Send back what comes, until the connection ends."""
    with waiting_for(connection) as wait:
        wait()
        while data := connection.recv(READ):
            connection.send(data)
            wait()


def answer_with_trio(connection: socket.socket) -> None:
    """Send back what comes, until the connection ends."""

    async def answer() -> None:
        await trio.lowlevel.wait_readable(connection)
        while data := connection.recv(READ):
            connection.send(data)
            await trio.lowlevel.wait_readable(connection)

    connection.setblocking(False)
    trio.run(answer)


def drain(connection: socket.socket) -> None:
    """Read what comes, until the connection ends."""
    while connection.recv(READ):
        pass


PROGRAMS: dict[str, Callable[[socket.socket], None]] = {
    "sockets": answer_with_sockets,
    "epoll": answer_with_epoll,
    "trio": answer_with_trio,
    "drain": drain,
}


@spawnable
def sink(port: Port, reply: str, count: int) -> None:
    """Count numbered messages, and tell how much CPU time they took from the first to the last, in seconds."""
    received, right, start = 0, True, 0.0

    @port.on("ping")
    def ping(number: int, _text: str) -> None:
        nonlocal received, right, start
        if not received:
            start = time.process_time()
        right &= number == received
        received += 1
        if received == count:
            port.node.send(reply, right, time.process_time() - start)


@spawnable
def echo(port: Port, reply: str) -> None:
    """Run a port that answers every message."""
    node = port.node

    @port.on("ping")
    def ping(number: int, text: str) -> None:
        node.send(reply, "pong", number, text)


@spawnable
def ignore(port: Port) -> None:
    """Run a port that takes every message and does nothing."""

    @port.on("ping")
    def ping(_number: int, _text: str) -> None:
        pass


async def serve_node(seed: str) -> None:
    """Run a node until the standard input ends."""
    async with open_node("other", seeds=[seed], binds=(), secret=SECRET, encryption=False):
        await trio.to_thread.run_sync(sys.stdin.read)


def serve_connection(kind: str) -> None:
    """Serve one connection until it ends."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        connection, _ = server.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection, contextlib.suppress(ConnectionError):
        PROGRAMS[kind](connection)


if __name__ == "__main__":
    if sys.argv[1] == "node":
        trio.run(serve_node, sys.argv[2])
    else:
        serve_connection(sys.argv[1])
