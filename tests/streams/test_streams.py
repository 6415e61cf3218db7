"""Byte streams obey Trio's rules, over every transport, encrypted or not, and within one node."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from network_helpers import SECRET, FakeNetwork, open_pair, until
from stream_helpers import MODULE, open_ends, receive_all, receive_until_broken

from trio_mp import Node, open_node
from trio_mp._protocol.wire.chunks import CHUNK_LIMIT, END, header
from trio_mp._streams.byte_stream import LEFTOVERS, SMALL, ByteStream
from trio_mp.lowlevel import MemoryTransport, memory_pipe_pair

SETTINGS: dict[str, Any] = {"secret": SECRET, "spawn_modules": [MODULE]}

TRANSPORTS = ["local", "memory", "unix", "tcp"]


@asynccontextmanager
async def two_nodes(
    transport: str, encryption: bool, directory: Path, *, the_dialled_opens: bool = False
) -> AsyncGenerator[tuple[Node, str], None]:
    """A node, and the ID of the one that its streams go to."""
    if transport == "local":
        async with open_node("a", spawn_modules=[MODULE]) as node:
            yield node, "a"
        return
    if transport == "memory":
        async with open_pair(MemoryTransport(), encryption=encryption, spawn_modules=[MODULE]) as (a, b):
            yield (a, "b") if the_dialled_opens else (b, "a")
        return
    bind = f"unix:{directory}/s" if transport == "unix" else "127.0.0.1:0"
    async with (
        open_node("a", binds=[bind], encryption=encryption, **SETTINGS) as a,
        open_node("b", seeds=a.binds, binds=(), encryption=encryption, **SETTINGS) as b,
    ):
        await until(lambda: a.peers and b.peers)
        yield (a, "b") if the_dialled_opens else (b, "a")


each_transport = pytest.mark.parametrize("transport", TRANSPORTS)
encrypted_or_not = pytest.mark.parametrize("encryption", [False, True], ids=["plain", "encrypted"])


@encrypted_or_not
@each_transport
async def test_it_is_what_trio_calls_a_half_closeable_stream(
    transport: str, encryption: bool, short_directory: Path
) -> None:
    async with two_nodes(transport, encryption, short_directory) as (node, to), open_ends(node, to) as ends:
        await trio.testing.check_half_closeable_stream(ends.make, ends.make_clogged)


async def test_also_if_the_node_that_was_dialled_opens_it(short_directory: Path) -> None:
    async with (
        two_nodes("unix", True, short_directory, the_dialled_opens=True) as (node, to),
        open_ends(node, to) as ends,
    ):
        await trio.testing.check_half_closeable_stream(ends.make, ends.make_clogged)


@encrypted_or_not
@each_transport
async def test_bulk_data_both_ways(transport: str, encryption: bool, short_directory: Path) -> None:
    data = bytes(range(256)) * 20_000
    async with (
        two_nodes(transport, encryption, short_directory) as (node, to),
        node.open_stream(to, f"{MODULE}:echoes") as stream,
        trio.open_nursery() as nursery,
    ):

        @nursery.start_soon
        async def send() -> None:
            for size in (1, SMALL, SMALL + 1, CHUNK_LIMIT, CHUNK_LIMIT + 1):
                await stream.send_all(data[:size])
            await stream.send_all(memoryview(data))
            await stream.send_eof()

        received = await receive_all(stream)
        sizes = (1, SMALL, SMALL + 1, CHUNK_LIMIT, CHUNK_LIMIT + 1)
        assert received == b"".join(data[:size] for size in sizes) + data


async def test_anything_with_a_buffer_can_be_sent() -> None:
    async with open_node("a", spawn_modules=[MODULE]) as node, open_ends(node, "a") as ends:
        ours, theirs = await ends.make()
        words = memoryview(bytes(range(8))).cast("I")
        await ours.send_all(words)
        await ours.send_all(bytearray(b"x"))
        assert await theirs.receive_some() == bytes(range(8)) + b"x"


@pytest.mark.parametrize("maximum, error", [(0, ValueError), (-1, ValueError), ("1", TypeError), (1.5, TypeError)])
async def test_how_much_to_receive_is_a_number(maximum: Any, error: type[Exception]) -> None:
    async with open_node("a", spawn_modules=[MODULE]) as node, open_ends(node, "a") as ends:
        ours, _ = await ends.make()
        with pytest.raises(error, match="max_bytes"):
            await ours.receive_some(maximum)


# One end at a time, with a pipe in the test's hands ----------------------------------------------------------------


def stream_and_pipe(capacity: int = 1000) -> tuple[ByteStream, Any]:
    ours, theirs = memory_pipe_pair(capacity=capacity)
    return ByteStream(ours, "b", 5.0), theirs


def chunk(data: bytes) -> bytes:
    return header(len(data)) + data


async def test_what_is_on_the_wire() -> None:
    stream, pipe = stream_and_pipe()
    await stream.send_all(b"abc")
    await stream.send_all(b"")
    await stream.send_eof()
    await stream.aclose()
    assert pipe.receive_nowait(100) == chunk(b"abc") + END
    assert pipe.receive_nowait(100) == b""


@pytest.mark.parametrize("said", [b"", b"\0\0", chunk(b"abc"), header(10) + b"abc"])
async def test_a_connection_that_ends_before_the_stream_does_is_no_end(said: bytes) -> None:
    stream, pipe = stream_and_pipe()
    pipe.send_nowait(said)
    pipe.close()
    assert await receive_until_broken(stream, "ended before the stream did") in (b"", b"abc")
    with pytest.raises(trio.BrokenResourceError):
        await stream.receive_some()


async def test_an_abandoned_stream_is_no_end() -> None:
    ours, theirs = memory_pipe_pair()
    one, other = ByteStream(ours, "b", 5.0), ByteStream(theirs, "a", 5.0)
    await one.send_all(b"abc")
    one.abort()
    assert await other.receive_some() == b"abc"
    with pytest.raises(trio.BrokenResourceError):
        await other.receive_some()


async def test_a_cancelled_close_is_no_end() -> None:
    stream, pipe = stream_and_pipe()
    with trio.CancelScope() as scope:
        scope.cancel()
        await stream.aclose()
    assert pipe.receive_nowait(100) == b""
    with pytest.raises(trio.ClosedResourceError):
        await stream.send_all(b"x")


async def test_who_has_seen_it_break_cannot_end_it_in_good_order() -> None:
    stream, pipe = stream_and_pipe()
    await stream.send_all(b"abc")
    pipe.send_nowait(header(10) + b"x")
    pipe.send_eof()
    assert await receive_until_broken(stream) == b"x"
    with pytest.raises(trio.BrokenResourceError, match="ended before the stream did"):
        await stream.send_eof()
    await stream.aclose()
    reader = ByteStream(pipe, "a", 5.0)
    assert await receive_until_broken(reader) == b"abc"


async def test_closing_while_another_task_sends_is_no_end() -> None:
    stream, pipe = stream_and_pipe(capacity=10)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def send() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await stream.send_all(b"x" * 100)

        await trio.testing.wait_all_tasks_blocked()
        await stream.aclose()
    reader = ByteStream(pipe, "a", 5.0)
    assert await reader.receive_some() == b"x" * 6
    with pytest.raises(trio.BrokenResourceError):
        await reader.receive_some()


@pytest.mark.parametrize("size", [50, SMALL + 50])
async def test_the_rest_of_a_chunk_goes_out_though_its_sending_was_cancelled(size: int) -> None:
    ours, theirs = memory_pipe_pair(capacity=20)
    stream, reader = ByteStream(ours, "b", 5.0), ByteStream(theirs, "a", 5.0)
    data = bytes(byte % 251 for byte in range(size))
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, data)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def send() -> None:
            await stream.send_all(b"next")
            await stream.send_eof()

        assert await receive_all(reader) == data + b"next"


async def test_the_other_end_may_close_before_it_has_read_everything() -> None:
    """What it has sent must not be lost by that: the reset of a socket that is closed with input unread."""
    ours, theirs = memory_pipe_pair(capacity=100_000)
    one, other = ByteStream(ours, "b", 5.0), ByteStream(theirs, "a", 5.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.carry)
        await other.send_all(b"unread")
        await one.send_all(b"x" * 1000)
        await one.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert await receive_all(other) == b"x" * 1000
        await other.aclose()


async def test_closing_does_not_wait_for_ever_for_the_other_end(autojump_clock: trio.testing.MockClock) -> None:
    ours, _theirs = memory_pipe_pair()
    stream = ByteStream(ours, "b", 5.0)
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.carry)
        await stream.aclose()
        assert trio.current_time() == start
    assert trio.current_time() == start + 5


async def test_closing_does_not_read_for_ever() -> None:
    ours, theirs = memory_pipe_pair()
    stream = ByteStream(ours, "b", 1000.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.carry)
        await stream.aclose()
        sent = 0
        with contextlib.suppress(OSError):
            while sent < 2 * LEFTOVERS:
                sent += theirs.send_nowait(b"x" * 100_000)
                await trio.testing.wait_all_tasks_blocked()
        assert sent < 2 * LEFTOVERS


async def test_a_receiver_that_waits_is_woken_by_closing_and_the_end_is_sent_all_the_same() -> None:
    ours, theirs = memory_pipe_pair()
    one, other = ByteStream(ours, "b", 5.0), ByteStream(theirs, "a", 5.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.carry)

        @nursery.start_soon
        async def receive() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await one.receive_some()

        await trio.testing.wait_all_tasks_blocked()
        await one.aclose()
        assert await other.receive_some() == b""
        await other.aclose()


async def test_a_lost_node_is_noticed_only_when_nothing_comes_any_more(autojump_clock: trio.testing.MockClock) -> None:
    ours, theirs = memory_pipe_pair()
    one, other = ByteStream(ours, "b", 5.0), ByteStream(theirs, "a", 5.0)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def send_slowly() -> None:
            for _ in range(10):
                await trio.sleep(4)
                await other.send_all(b"x")

        @nursery.start_soon
        async def lose() -> None:
            await trio.sleep(10)
            one.lose("as the test says")

        assert await receive_until_broken(one, "as the test says") == b"x" * 10
        assert trio.current_time() == pytest.approx(45)
        # The same for who sends.
        with pytest.raises(trio.BrokenResourceError, match="as the test says"):
            await one.send_all(b"x" * 1_000_000)
        assert trio.current_time() == pytest.approx(50)


async def test_a_bit_that_was_changed_breaks_an_encrypted_stream(autojump_clock: trio.testing.MockClock) -> None:
    network = FakeNetwork()
    async with (
        open_pair(network, encryption=True, spawn_modules=[MODULE]) as (_, b),
        open_ends(b, "a") as ends,
    ):
        ours, theirs = await ends.make()
        await ours.send_all(b"x" * 1000)
        [wire] = network.live[1:]
        wire.there._arrive()
        wire.there._arrived[500] ^= 1
        with pytest.raises(trio.BrokenResourceError, match="changed on their way"):
            await theirs.receive_some()
        # TLS takes what is to be sent from now on, and says nothing: this must not.
        with pytest.raises(trio.BrokenResourceError, match="changed on their way"):
            await theirs.send_all(b"x")
        with pytest.raises(trio.BrokenResourceError, match="changed on their way"):
            await theirs.receive_some()
