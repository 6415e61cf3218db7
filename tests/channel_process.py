"""A node in a process of its own, for chains of channels: it passes items on, or takes them when it is told.

As a program: argv are the ID of the node, where it listens, and its seeds. It ends with its input.
"""

from __future__ import annotations

import resource
import sys
from functools import partial
from typing import Any

import trio

from trio_mp import ChannelReceiver, ChannelSender, Port, current_node, open_node, spawnable

SECRET = "a secret for the tests"
MODULE = "channel_process"

allowed = trio.Semaphore(0)
broken = trio.Event()
said: list[str] = []


@spawnable
async def passes_on(receive: ChannelReceiver[Any], send: ChannelSender[Any], buffer: int, *nodes: str) -> None:
    """Pass each item on to the function on the next node; the last node takes them as it is told."""
    try:
        if not nodes:
            while True:
                await allowed.acquire()
                await receive.receive()
        following, *rest = nodes
        async with current_node().open_channel(following, f"{MODULE}:passes_on", buffer, *rest, buffer=buffer) as (
            onward,
            _,
        ):
            async for item in receive:
                await onward.send(item)
    except trio.BrokenResourceError as error:
        said.append(f"broken: {error.__cause__!r}")
        broken.set()
        raise


@spawnable
def answers(port: Port) -> None:
    """Answer questions about the process."""
    send = current_node().send

    @port.on("take")
    def take(count: int) -> None:
        for _ in range(count):
            allowed.release()

    @port.on("memory")
    def memory(reply: str) -> None:
        send(reply, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

    @port.on("said")
    async def tell(reply: str) -> None:
        await broken.wait()
        send(reply, *said)


async def main(node_id: str, bind: str, *seeds: str) -> None:
    async with open_node(node_id, binds=[bind], seeds=seeds, secret=SECRET, spawn_modules=[MODULE], heartbeat=1):
        print("up", flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)


if __name__ == "__main__":
    # The module of the functions, as other nodes name it.
    import channel_process

    trio.run(partial(channel_process.main, sys.argv[1], sys.argv[2], *sys.argv[3:]))
