"""Bulk data between two processes. argv: MEGABYTES unix|tcp plain|tls [REPEATS]

`node.open_stream` and the raw transport (Trio's socket streams, with its TLS if encrypted) carry the same bytes in
turn, in pieces of 1 MiB; the receiver answers when it has all. The program prints the medians and their ratio.
"""

from __future__ import annotations

import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial

import trio

from trio_mp import Node, open_node, spawnable
from trio_mp._streams.byte_stream import ByteStream
from trio_mp._transport.throwaway import throwaway_contexts
from trio_mp.cli.bench.task import SECRET, Figure, report

PIECE = bytes(1024 * 1024)
MEGABYTE = len(PIECE)


@spawnable
async def sink(stream: trio.abc.HalfCloseableStream) -> None:
    """Receive until the end, and answer with the number of bytes."""
    received = 0
    while data := await stream.receive_some(MEGABYTE):
        received += len(data)
    await stream.send_all(received.to_bytes(8, "big"))


async def raw_sink(encryption: bool, transport: trio.SocketStream) -> None:
    """Receive over a raw connection, and answer. The first 8 bytes are the length, because the end does not show."""
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
    """Run the other process: a node, and beside it a listener for raw connections."""
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
    """Listen for raw connections."""
    if transport == "tcp":
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        return listener
    listening = trio.socket.socket(trio.socket.AF_UNIX)
    await listening.bind(f"{folder}/raw")
    listening.listen()
    return trio.SocketListener(listening)


async def open_raw(folder: str, port: str, encryption: bool) -> trio.abc.Stream:
    """Make a raw connection."""
    if port:
        transport = await trio.open_tcp_stream("127.0.0.1", int(port))
    else:
        transport = await trio.open_unix_socket(f"{folder}/raw")
    if not encryption:
        return transport
    context: ssl.SSLContext = throwaway_contexts()[1]
    stream = trio.SSLStream(transport, context)
    await stream.do_handshake()
    return stream


async def send(stream: trio.abc.Stream, megabytes: int) -> float:
    """Send, wait for the answer, and return the megabytes a second."""
    size = megabytes * MEGABYTE
    start = time.perf_counter()
    if not isinstance(stream, ByteStream):
        await stream.send_all(size.to_bytes(8, "big"))
    for _ in range(megabytes):
        await stream.send_all(PIECE)
    if isinstance(stream, ByteStream):
        await stream.send_eof()
    answer = b""
    while len(answer) < 8:
        answer += await stream.receive_some(8)
    assert int.from_bytes(answer, "big") == size
    return megabytes / (time.perf_counter() - start)


async def compare(node: Node, folder: str, port: str, megabytes: int, repeats: int, encryption: bool) -> None:
    """Measure both in turn, and report the medians and their ratio."""
    ours: list[float] = []
    raw: list[float] = []
    for _ in range(repeats):
        async with node.open_stream("other", "benchmarks.streams:sink") as stream:
            ours.append(await send(stream, megabytes))
        async with await open_raw(folder, port, encryption) as other:
            raw.append(await send(other, megabytes))
    ratio = round(statistics.median(ours) / statistics.median(raw), 2)
    extra = {"best": max(ours), "worst": min(ours), "raw": statistics.median(raw), "ratio": ratio}
    report(Figure(statistics.median(ours), "MiB/s", extra))


async def main(arguments: list[str]) -> None:
    """Start the other process, and measure."""
    megabytes, encryption = int(arguments[0]), arguments[2] == "tls"
    repeats = int(arguments[3]) if len(arguments) > 3 else 5
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.streams", "serve", folder, *arguments[1:3]]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220
        assert process.stdout is not None
        bind, _, port = process.stdout.readline().strip().partition(" ")
        try:
            async with open_node("this", seeds=[bind], secret=SECRET, encryption=encryption) as node:
                await compare(node, folder, port, megabytes, repeats, encryption)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        trio.run(serve, sys.argv[2], sys.argv[3], sys.argv[4] == "tls")
    else:
        trio.run(main, sys.argv[1:])
