"""The first chat client. `python lookup_client.py SEED`, with the secret in SECRET; the line `/quit` ends it."""

import os
import sys
from collections.abc import AsyncIterator

import trio

from trio_mp import open_node


async def typed() -> AsyncIterator[str]:
    """The lines that are typed, up to `/quit`."""
    while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
        if line.startswith("/quit"):
            return
        yield line.rstrip("\n")


async def main(seed: str) -> None:
    async with open_node(seeds=[seed], secret=os.environ["SECRET"]) as node, node.open_port() as client:
        # The server's node looks the name up, and sends what it finds.
        node.send("chat", "lookup", "chatter", client, "resolved")
        _, chatter = await client.receive("resolved")
        client.on("message")(lambda text: print("chat>", text, flush=True))
        node.send(chatter, "join", client)
        async for line in typed():
            node.send(chatter, "message", line)
        await node.flush(chatter)


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
