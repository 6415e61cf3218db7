"""Bulk data between two processes. argv: MEGABYTES unix|tcp plain|tls [REPEATS]

`node.open_stream` and the raw transport (Trio's socket streams, and its TLS where it is encrypted) carry the same bytes
in turn, in pieces of 1 MiB; the receiver answers when it has all. Printed are the medians and their ratio.
"""

from __future__ import annotations

import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import trio

from benchmarks.harness import SECRET, report
from trio_mp import Node, open_node, spawnable
from trio_mp._transport.tls import throwaway_contexts

PIECE = bytes(1024 * 1024)
MEGABYTE = len(PIECE)


@spawnable
async def sink(stream: trio.abc.HalfCloseableStream) -> None:
    """Receive until the end, and say how much it was."""
    received = 0
    while data := await stream.receive_some(MEGABYTE):
        received += len(data)
    await stream.send_all(received.to_bytes(8, "big"))


async def raw_sink(encryption: bool, transport: trio.SocketStream) -> None:
    """The same for a raw connection, whose end is not said: it answers when it has as much as it is told first."""
    stream: trio.abc.Stream = transport
    if encryption:
        stream = trio.SSLStream(transport, throwaway_contexts()[0], server_side=True)
    async with stream:
        wanted = int.from_bytes(await stream.receive_some(8), "big")
        received = 0
        while received < wanted:
            received += len(await stream.receive_some(MEGABYTE))
        await stream.send_all(received.to_bytes(8, "big"))


async def serve(folder: str, transport: str, encryption: bool) -> None:
    """The other process: a node, and beside it a listener for raw connections."""
    bind = f"unix:{folder}/node" if transport == "unix" else "127.0.0.1:0"
    modules = ["benchmarks.streams"]
    async with open_node("other", binds=[bind], secret=SECRET, encryption=encryption, spawn_modules=modules) as node:
        listener = await listen(folder, transport)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, partial(raw_sink, encryption), [listener])
            print(node.binds[0], listener.socket.getsockname()[-1] if transport == "tcp" else "", flush=True)
            await trio.to_thread.run_sync(sys.stdin.read)
            nursery.cancel_scope.cancel()


async def listen(folder: str, transport: str) -> trio.SocketListener:
    """Where raw connections are made."""
    if transport == "tcp":
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        return listener
    listening = trio.socket.socket(trio.socket.AF_UNIX)
    await listening.bind(f"{folder}/raw")
    listening.listen()
    return trio.SocketListener(listening)


async def open_raw(folder: str, port: str, encryption: bool) -> trio.abc.Stream:
    """A raw connection."""
    transport = await (trio.open_tcp_stream("127.0.0.1", int(port)) if port else trio.open_unix_socket(f"{folder}/raw"))
    if not encryption:
        return transport
    context: ssl.SSLContext = throwaway_contexts()[1]
    stream = trio.SSLStream(transport, context)
    await stream.do_handshake()
    return stream


async def send(stream: trio.abc.Stream, megabytes: int, end: Callable[[], object] | None) -> float:
    """Megabytes a second, until the receiver has answered."""
    size = megabytes * MEGABYTE
    start = time.perf_counter()
    if end is None:
        await stream.send_all(size.to_bytes(8, "big"))
    for _ in range(megabytes):
        await stream.send_all(PIECE)
    if isinstance(stream, trio.abc.HalfCloseableStream) and end is not None:
        await stream.send_eof()
    answer = b""
    while len(answer) < 8:
        answer += await stream.receive_some(8)
    assert int.from_bytes(answer, "big") == size
    return megabytes / (time.perf_counter() - start)
