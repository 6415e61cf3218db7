"""asyncio streams on uvloop, and msgpack: `batch` messages in one write, then drain.

Each message is packed and unpacked by the functions of msgpack's documentation, with a length before it, as in a
protocol that limits their size. Of the kind `packer` the sender keeps one packer for all. Of the kind `unpacker` there
is no length either, and msgpack's own unpacker finds where each message ends.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import uvloop

from benchmarks.peers import common
from benchmarks.peers.common import HEAD, TEXT, Figure, Task, expect


def main(task: Task, *arguments: str) -> Figure | None:
    """Listen, start the second process, and measure."""
    if arguments:
        uvloop.run(send(task, arguments[0]))
        return None
    figure: Figure = uvloop.run(measure(task))
    return figure


async def measure(task: Task) -> Figure:
    """Serve one connection."""
    processes: list[subprocess.Popen[str]] = []
    done: asyncio.Future[Figure] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if task.name == "one_way":
                await receive(task, reader)
                done.set_result(common.speed(task, common.since_start(processes[0])))
            else:
                done.set_result(await ask(task, reader, writer))
        except Exception as error:  # noqa: BLE001 - it is raised where the result is awaited
            done.set_exception(error)
        writer.close()

    with common.listening(task) as (server, address):
        start = asyncio.start_server if task.transport == "tcp" else asyncio.start_unix_server
        async with await start(serve, sock=server):
            processes.append(common.start_other("asyncio_uvloop", task, address))
            return await done


class Splitter:
    """Takes messages with lengths apart."""

    def __init__(self) -> None:
        self.data = b""

    def feed(self, data: bytes) -> None:
        """More of it."""
        self.data += data

    def __iter__(self) -> Iterator[Any]:
        data, place, unpack, size_at = self.data, 0, msgpack.unpackb, HEAD.unpack_from
        end = len(data)
        while end - place >= 4:
            (size,) = size_at(data, place)
            if end - place - 4 < size:
                break
            yield unpack(data[place + 4 : place + 4 + size])
            place += 4 + size
        self.data = data[place:]


async def receive(task: Task, reader: asyncio.StreamReader) -> None:
    """Check the order."""
    unpacker, seen = msgpack.Unpacker() if task.kind == "unpacker" else Splitter(), 0
    while data := await reader.read(65536):
        unpacker.feed(data)
        for _tag, number, _text in unpacker:
            expect(number == seen)
            seen += 1
    expect(seen == task.count)


async def ask(task: Task, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Figure:
    """One question after the other."""
    times, clock = [], time.perf_counter_ns
    for number in range(task.count):
        start = clock()
        write(writer, ["ping", number, TEXT])
        answer = await read(reader)
        times.append(clock() - start)
        expect(answer[1] == number)
    return common.round_trips(times)


async def send(task: Task, address: str) -> None:
    """The second process."""
    if task.transport == "tcp":
        reader, writer = await asyncio.open_connection("127.0.0.1", int(address))
    else:
        reader, writer = await asyncio.open_unix_connection(address)
    if task.name == "one_way":
        common.say_start()
        pack = packer_of(task.kind)
        for first in range(0, task.count, task.batch):
            numbers = range(first, min(first + task.batch, task.count))
            writer.write(b"".join([pack(("ping", number, TEXT)) for number in numbers]))
            await writer.drain()
    else:
        for _ in range(task.count):
            write(writer, await read(reader))
    writer.close()
    await writer.wait_closed()


def packer_of(kind: str) -> Callable[[object], bytes]:
    """What makes bytes of a message."""
    pack: Callable[[object], bytes] = msgpack.Packer().pack if kind else msgpack.packb
    return pack if kind == "unpacker" else lambda message: with_length(pack(message))


def write(writer: asyncio.StreamWriter, message: list[object]) -> None:
    """One message, with its length before it."""
    writer.write(with_length(msgpack.packb(message)))


def with_length(data: bytes) -> bytes:
    """Bytes with their length before them."""
    return HEAD.pack(len(data)) + data


async def read(reader: asyncio.StreamReader) -> list[object]:
    """The next message."""
    (size,) = HEAD.unpack(await reader.readexactly(4))
    message: list[object] = msgpack.unpackb(await reader.readexactly(size))
    return message
