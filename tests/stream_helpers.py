"""What the tests of byte streams share: the functions at the other end, and streams whose both ends are here."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import trio
import trio.testing
from trio.abc import HalfCloseableStream

from trio_mp import Node, Port, current_node, current_port, spawnable

MODULE = "stream_helpers"

ENDS: dict[str, trio.MemorySendChannel[HalfCloseableStream]] = {}
"""Where `shows` puts its end, by its argument."""


NOTES: list[object] = []


@spawnable
def notes(port: Port) -> None:
    """Note every message."""
    port.on("note")(NOTES.append)


@spawnable
async def shows(stream: HalfCloseableStream, where: str) -> None:
    """Let the test have this end."""
    await ENDS[where].send(stream)
    await trio.sleep_forever()


@spawnable
async def echoes(stream: HalfCloseableStream) -> None:
    """Send everything back, then end."""
    async for data in stream:
        await stream.send_all(data)


@spawnable
async def counts(stream: HalfCloseableStream, reply: str) -> None:
    """Send a message with the number of bytes when the end has come, or with what came instead."""
    count = 0
    try:
        async for data in stream:
            count += len(data)
    except trio.BrokenResourceError as error:
        current_node().send(reply, "broken", str(error))
    else:
        current_node().send(reply, "ended", count)


@spawnable
async def sends(stream: HalfCloseableStream, count: int) -> None:
    """Send so many bytes, then end."""
    await stream.send_all(b"x" * count)


@spawnable
async def sends_and_waits(stream: HalfCloseableStream, count: int) -> None:
    """Send so many bytes, and do not end."""
    await stream.send_all(b"x" * count)
    await trio.sleep_forever()


@spawnable
async def fails(stream: HalfCloseableStream, count: int) -> None:
    """Send so many bytes, then raise."""
    await stream.send_all(b"x" * count)
    raise ValueError("as asked")


@spawnable
async def ends_and_fails(stream: HalfCloseableStream) -> None:
    """End in good order, then raise."""
    await stream.send_all(b"all")
    await stream.send_eof()
    raise ValueError("afterwards")


@spawnable
async def says_where_it_is(stream: HalfCloseableStream, *arguments: Any) -> None:
    """Send its node, its arguments, and what `note` has noted; then the first message that its port gets."""
    port = current_port()
    assert port.node is current_node()
    await stream.send_all(f"{(port.node.id, arguments, NOTES)!r}\n{port}\n".encode())
    await stream.send_all(f"{await port.receive()!r}\n".encode())


@spawnable
def is_not_async(port: Port) -> None:
    """A function for `spawn`."""


async def not_spawnable(stream: HalfCloseableStream) -> None:
    """Not released."""


async def receive_all(stream: trio.abc.ReceiveStream) -> bytes:
    """Everything until the end."""
    received = b""
    async for data in stream:
        received += data
    return received


async def receive_line(stream: trio.abc.ReceiveStream) -> str:
    """A line, byte by byte."""
    line = b""
    while not line.endswith(b"\n"):
        line += await stream.receive_some(1)
    return line[:-1].decode()


async def receive_until_broken(stream: trio.abc.ReceiveStream, why: str = "") -> bytes:
    """Everything until an error, which must come, and say this; an end fails the test."""
    received = b""
    said = "it was taken for the end"
    try:
        while data := await stream.receive_some():
            received += data
    except trio.BrokenResourceError as error:
        said = str(error)
        if why in said:
            return received
    raise AssertionError(said)


# For simulations with faults ----------------------------------------------------------------------------------------

SIZE = 300_000

Outcome = tuple[bytes, str]

OUTCOMES: list[Outcome] = []
"""What the functions at the other end have received, and how it ended."""


def data_of(seed: int) -> bytes:
    return random.Random(seed).randbytes(SIZE)


async def receive_outcome(stream: HalfCloseableStream) -> Outcome:
    received = b""
    try:
        while data := await stream.receive_some():
            received += data
            await trio.sleep(0.001)
    except trio.BrokenResourceError:
        return received, "broken"
    except trio.ClosedResourceError:
        return received, "closed"
    return received, "ended"


@spawnable
async def keeps_and_answers(stream: HalfCloseableStream, seed: int) -> None:
    """Receive everything, keep how it went, and answer with the same bytes."""
    outcome: Outcome = b"", "cancelled"
    try:
        outcome = await receive_outcome(stream)
    finally:
        OUTCOMES.append(outcome)
    if outcome[1] == "ended":
        for start in range(0, SIZE, 10_000):
            await stream.send_all(data_of(seed)[start : start + 10_000])


class Ends:
    """Makes streams with both ends here.

    Args:
      node: who opens them.
      to: the node at the other end, perhaps the same.
    """

    def __init__(self, node: Node, to: str, stack: AsyncExitStack) -> None:
        self._node = node
        self._to = to
        self._stack = stack
        self._where = f"{id(self):x}"
        self._sender, self._shown = trio.open_memory_channel[HalfCloseableStream](0)
        ENDS[self._where] = self._sender

    async def make(self) -> tuple[HalfCloseableStream, HalfCloseableStream]:
        """A stream: the opener's end, and the other."""
        opening = self._node.open_stream(self._to, f"{MODULE}:shows", self._where)
        ours = await self._stack.enter_async_context(opening)
        return ours, await self._shown.receive()

    async def make_clogged(self) -> tuple[HalfCloseableStream, HalfCloseableStream]:
        """A stream through which neither end can send anything more until the other one reads."""
        ours, theirs = await self.make()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._fill, ours)
            nursery.start_soon(self._fill, theirs)
            # All are blocked, and still are when the kernel has moved what it can.
            await trio.testing.wait_all_tasks_blocked(0.01)
            nursery.cancel_scope.cancel()
        return ours, theirs

    @staticmethod
    async def _fill(stream: HalfCloseableStream) -> None:
        while True:
            await stream.send_all(b"x" * 100_000)


@asynccontextmanager
async def open_ends(node: Node, to: str) -> AsyncGenerator[Ends, None]:
    """Streams that are all closed at the end of the block."""
    async with AsyncExitStack() as stack:
        yield Ends(node, to, stack)
