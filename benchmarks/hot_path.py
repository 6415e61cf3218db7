"""Measure the parts of the hot path apart, in one process, in nanoseconds a message.

The functions and messages are the real ones. No other benchmark names what is inside the package, and this one does
only in the part "The inside". Each figure is the least of many runs, because a disturbance only makes a run longer.
"""

from __future__ import annotations

import gc
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import trio

from benchmarks.profile_programs import READ
from benchmarks.wholes import BATCH, Effort
from trio_mp import Node, open_node
from trio_mp._protocol.association.queue import OutgoingQueue
from trio_mp._protocol.wire.codec import decode_frame
from trio_mp._protocol.wire.framing import MSGPACK
from trio_mp.cli.bench.task import TEXT, expect

LIMIT = 2**40

# The inside ----------------------------------------------------------------------------------------------------------


def frames_of(name: str, count: int) -> list[bytes]:
    """Make small messages for the port of this name, in frames of `BATCH`."""
    frames = []
    for first in range(0, count, BATCH):
        frame, numbers = MSGPACK.open_frame(), range(first, min(first + BATCH, count))
        for number in numbers:
            MSGPACK.append(frame, name, ("ping", number, TEXT))
        MSGPACK.close_frame(frame, len(numbers))
        frames.append(bytes(frame))
    return frames


def append_all(name: str, count: int) -> None:
    """Check and encode messages."""
    frame, append = MSGPACK.open_frame(), MSGPACK.append
    for number in range(count):
        append(frame, name, ("ping", number, TEXT))


def queue_all(name: str, count: int) -> None:
    """Check and encode messages into an outgoing queue."""
    append = OutgoingQueue(LIMIT).append
    for number in range(count):
        append(name, ("ping", number, TEXT), LIMIT)


def read_all(pieces: list[bytes]) -> None:
    """Split received bytes into frames, decode and check them."""
    feed = MSGPACK.make_decoder(LIMIT).feed
    for piece in pieces:
        feed(piece)


def decode_all(frames: list[bytes]) -> None:
    """Decode and check frames, without their lengths."""
    for frame in frames:
        decode_frame(frame)


def dispatch_all(node: Node, batches: list[list[tuple[Any, ...]]]) -> None:
    """Hand messages to their handlers."""
    dispatcher = node._runtime.dispatcher
    running = dispatcher.enter()
    for batch in batches:
        done = 0
        while done < len(batch):
            done = dispatcher.dispatch_batch(running, batch, done, lambda _: None)
    dispatcher.run_pass(running)


def flush(node: Node, other: str) -> None:
    """Write the messages that are queued for another node."""
    network = node._runtime.network
    assert network is not None
    network.peer(other).flush()


# Measuring -----------------------------------------------------------------------------------------------------------


@contextmanager
def no_garbage() -> Iterator[None]:
    """Stop the collection of garbage for the length of a block."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def least(effort: Effort, function: Callable[[], object]) -> float:
    """The least nanoseconds a message takes in a function that handles all messages."""
    shortest = float("inf")
    with no_garbage():
        for _ in range(effort.runs):
            start = time.perf_counter()
            function()
            shortest = min(shortest, time.perf_counter() - start)
    return shortest / effort.messages * 1e9


def loop(effort: Effort) -> float:
    """How many nanoseconds one round of an empty loop takes."""

    def run() -> None:
        for _ in range(effort.messages):
            pass

    return least(effort, run)


# The receiver --------------------------------------------------------------------------------------------------------


async def receiver(effort: Effort) -> dict[str, float]:
    """How many nanoseconds a message takes in each part of the receiver."""
    async with open_node() as node:
        port = node.port()
        received, right = 0, True

        @port.on("ping")
        def ping(number: int, _text: str) -> None:
            nonlocal received, right
            right &= number == received
            received += 1

        frames = frames_of(str(port).partition("#")[2], effort.messages)
        stream = b"".join(frames)
        pieces = [stream[place : place + READ] for place in range(0, len(stream), READ)]
        payloads = [frame[4:] for frame in frames]
        batches = [decode_frame(payload) for payload in payloads]
        arguments: list[tuple[Any, ...]] = [message[2:] for batch in batches for message in batch]
        decode = msgspec.msgpack.Decoder(list[tuple]).decode  # type: ignore[type-arg]

        def call() -> None:
            for one in arguments:
                ping(*one)

        def decode_alone() -> None:
            for payload in payloads:
                decode(payload)

        empty = loop(effort)
        decoding = least(effort, decode_alone)
        checked = least(effort, lambda: decode_all(payloads))
        split = least(effort, lambda: read_all(pieces))
        handler = least(effort, call) - empty
        received = 0
        dispatched = least(effort, lambda: dispatch_all(node, batches))
        expect(received == effort.messages * effort.runs, "expected every message to be dispatched, got fewer")
    return {
        "recv": reading(effort, pieces),
        "splitting into frames": split - checked,
        "decoding": decoding,
        "checking what was received": checked - decoding,
        "dispatching": dispatched - handler,
        "the handler": handler,
    }


def reading(effort: Effort, pieces: list[bytes]) -> float:
    """How many nanoseconds `recv` takes for a message that waits in a TCP connection."""
    shortest = float("inf")
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as near:
        far, _ = server.accept()
        with far:
            for _ in range(effort.runs):
                took = 0.0
                for piece in pieces:
                    near.sendall(piece)
                    left = len(piece)
                    while left:
                        start = time.perf_counter()
                        left -= len(far.recv(READ))
                        took += time.perf_counter() - start
                shortest = min(shortest, took)
    return shortest / effort.messages * 1e9


async def single(effort: Effort) -> tuple[float, float]:
    """How many nanoseconds it takes to split, decode and check, and to dispatch, a frame with one message."""
    async with open_node() as node:
        port = node.port()

        @port.on("ping")
        def ping(_number: int, _text: str) -> None:
            pass

        (frame,) = frames_of(str(port).partition("#")[2], 1)
        pieces, batches = [frame] * effort.messages, [decode_frame(frame[4:])] * effort.messages
        decoding = least(effort, lambda: read_all(pieces))
        dispatching = least(effort, lambda: dispatch_all(node, batches))
    return decoding, dispatching


# The sender ----------------------------------------------------------------------------------------------------------


async def sender(effort: Effort, node: Node, there: str) -> dict[str, float]:
    """How many nanoseconds each part of `Node.send` takes for a port of another node."""
    name = there.partition("#")[2]
    encode = msgspec.msgpack.Encoder().encode_into

    def encode_all() -> None:
        buffer = bytearray()
        for number in range(effort.messages):
            encode((name, "ping", number, TEXT), buffer, -1)

    empty = loop(effort)
    encoding = least(effort, encode_all) - empty
    checked = least(effort, lambda: append_all(name, effort.messages)) - empty
    queued = least(effort, lambda: queue_all(name, effort.messages)) - empty
    sent = await sending(effort, node, there) - empty
    return {
        "node.send: finding the route and the peer": sent - queued,
        "checking the values": checked - encoding,
        "encoding": encoding,
        "bookkeeping of the queue": queued - checked,
    }


async def flushing(effort: Effort, node: Node, there: str) -> float:
    """How many nanoseconds it takes to flush one message, with the system call."""
    other, clock, shortest = there.partition("#")[0], time.perf_counter, float("inf")
    with no_garbage():
        for _ in range(effort.runs):
            took = 0.0
            for number in range(BATCH):
                node.send(there, "ping", number, TEXT)
                start = clock()
                flush(node, other)
                took += clock() - start
            await trio.lowlevel.checkpoint()
            shortest = min(shortest, took)
    return shortest / BATCH * 1e9


async def sending(effort: Effort, node: Node, there: str) -> float:
    """How many nanoseconds `Node.send` takes, at `BATCH` messages a pass, without the flush."""
    send, clock, shortest = node.send, time.perf_counter, float("inf")
    with no_garbage():
        for _ in range(effort.runs):
            took = 0.0
            for _ in range(0, effort.messages, BATCH):
                start = clock()
                for number in range(BATCH):
                    send(there, "ping", number, TEXT)
                took += clock() - start
                await node.flush(there)
            shortest = min(shortest, took)
    return shortest / effort.messages * 1e9
