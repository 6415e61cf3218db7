"""The other processes of a workload, and the functions that run there."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE
from typing import Any

import msgspec
import trio

import trio_mp
from trio_mp import ChannelReceiver, ChannelSender, Node, Port, spawnable

from .task import SECRET, Task, log_faults

FUNCTIONS = "trio_mp.cli.bench.pair"


@dataclass(frozen=True, slots=True)
class Other:
    """A node in another process.

    Attributes:
      id: the node ID.
      process: the process.
    """

    id: str
    process: trio.Process


@asynccontextmanager
async def folder_for(task: Task) -> AsyncGenerator[str, None]:
    """Give an address to listen on. A folder for its socket exists for the length of the block."""
    # Not the directory that the environment names: its path may be too long for a Unix socket.
    parent = "/tmp" if Path("/tmp").is_dir() else None  # noqa: S108 - mkdtemp makes it private
    with tempfile.TemporaryDirectory(prefix="trio-mp-", dir=parent) as folder:
        yield f"unix:{folder}/s" if task.transport == "unix" else "127.0.0.1:0"


@asynccontextmanager
async def open_others(task: Task, **settings: Any) -> AsyncGenerator[tuple[Node, list[Other]], None]:
    """Open a node here, and connect it with nodes in other processes. These are killed after the block.

    Args:
      task: says how many other processes there are, and how they connect.
      settings: settings of the node here alone, in addition to those that the task gives to all nodes.
    """
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(folder_for(task))
        node = await stack.enter_async_context(
            trio_mp.open_node("this", profile=False, binds=[address], secret=SECRET, **(settings_of(task) | settings))
        )
        others = []
        for number in range(task.peers):
            others.append(await start_other(f"other-{number}", node.binds[0], task))
            stack.push_async_callback(end_process, others[-1].process)
        for other in others:
            await node.call(other.id, "time")
        yield node, others


def settings_of(task: Task) -> dict[str, Any]:
    """The settings of `open_node` that a task gives to all nodes."""
    settings: dict[str, Any] = {"encryption": task.encrypted}
    if task.busy_poll:
        settings["busy_poll"] = task.busy_poll
    return settings


async def start_other(node_id: str, seed: str, task: Task) -> Other:
    """Start another process with a node. It ends when its input ends, or when it is killed."""
    settings = msgspec.json.encode(settings_of(task)).decode()
    command = [sys.executable, "-P", "-m", FUNCTIONS, node_id, seed, settings]
    # In the process group of this process: the runner kills the group as one.
    return Other(node_id, await trio.lowlevel.open_process(command, stdin=PIPE))


async def end_process(process: trio.Process) -> None:
    """Kill a process, and wait for its end."""
    with trio.CancelScope(shield=True):
        process.kill()
        if process.stdin is not None:
            await process.stdin.aclose()
        await process.wait()


async def serve(node_id: str, seed: str, settings: dict[str, Any]) -> None:
    """Run the node of the other process, until its input ends."""
    async with trio_mp.open_node(
        node_id, profile=False, seeds=[seed], binds=(), secret=SECRET, spawn_modules=[FUNCTIONS], **settings
    ):
        await trio.to_thread.run_sync(sys.stdin.read)


@spawnable
def sink(port: Port, reply: str, count: int) -> None:
    """Count numbered messages, check their order, and tell when the last came.

    The processes compare times: `time.monotonic` is one clock for the whole machine.
    """
    received = 0
    right = True

    @port.on("ping")
    def ping(number: int, _text: str) -> None:
        nonlocal received, right
        right &= number == received
        received += 1
        if received == count:
            port.node.send(reply, right, time.monotonic())


@spawnable
def bulk_sink(port: Port, reply: str, count: int, size: int) -> None:
    """Count numbered messages with much data, check their order and size, and tell when the last came."""
    received = 0
    right = True

    @port.on("bulk")
    def bulk(number: int, data: bytes) -> None:
        nonlocal received, right
        right &= number == received and len(data) == size
        received += 1
        if received == count:
            port.node.send(reply, right, time.monotonic())


@spawnable
def echo(port: Port, reply: str) -> None:
    """Answer every message."""
    node = port.node

    @port.on("ping")
    def ping(number: int, text: str) -> None:
        node.send(reply, "pong", number, text)

    @port.on("call")
    def call(number: int, reply_port: str) -> None:
        node.send(reply_port, number)


@spawnable
async def stream_sink(stream: trio.abc.HalfCloseableStream, size: int) -> None:
    """Receive a byte stream until its end, and answer with the number of bytes."""
    received = 0
    while data := await stream.receive_some(size):
        received += len(data)
    await stream.send_all(received.to_bytes(8, "big"))


@spawnable
async def channel_sink(receive: ChannelReceiver[int], send: ChannelSender[bool]) -> None:
    """Count the numbered items of a channel, and say whether they came in order; the last one is minus their number."""
    received = number = 0
    right = True
    async for number in receive:
        right &= number in (received, -received)
        received += 1
    await send.send(right and number == 1 - received)


@spawnable
def item_sink(port: Port, reply: str, count: int) -> None:
    """Count numbered messages, check their order, and tell when the last came."""
    received = 0
    right = True

    @port.on("item")
    def item(number: int) -> None:
        nonlocal received, right
        right &= number == received
        received += 1
        if received == count:
            port.node.send(reply, right)


def ignore(*_message: object) -> None:
    """Do nothing: the handler that many ports share."""


@spawnable
def crowd(port: Port, reply: str, count: int) -> None:
    """Make many ports, send their IDs, and kill all of them when told to."""
    ports = [port.node.port(ignore) for _ in range(count)]
    port.node.send(reply, ports)

    @port.on("ready")
    def ready(reply_port: str) -> None:
        port.node.send(reply_port, True)

    @port.on("kill")
    def kill() -> None:
        for one in ports:
            one.kill()


@spawnable
def log(port: Port) -> None:
    """Count numbered messages, and answer how many came, which was the last, and where numbers were missing."""
    received = 0
    last = -1
    gaps: list[list[int]] = []

    @port.on("number")
    def take(number: int, _data: bytes) -> None:
        nonlocal received, last
        if number != last + 1:
            gaps.append([last, number])
        received += 1
        last = number

    @port.on("figures")
    def figures(reply_port: str) -> None:
        port.node.send(reply_port, received, last, gaps)


if __name__ == "__main__":
    log_faults()
    trio.run(serve, sys.argv[1], sys.argv[2], msgspec.json.decode(sys.argv[3]))
