"""A chat client with a supervisor. `python chat_client.py SEED NICK`, with the secret in SECRET.

When the server dies, or messages to it may have been lost, the supervisor says so and looks for another one.
"""

import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import trio

from trio_mp import Node, open_node


async def find(node: Node, family: str) -> str:
    """Any port that a family of the database has; waits until there is one."""
    async with node.database.watch(family) as changes:
        async for change in changes:
            if change.table:
                # What registers itself is the key. What a supervisor lists is the value; its key is a name.
                return min(listed or registered for registered, listed in change.table.items())
    raise RuntimeError("the node is closed")


async def typed() -> AsyncIterator[str]:
    """The lines that are typed."""
    while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
        yield line.rstrip("\n")


async def supervise(node: Node, nick: str, lines: trio.MemoryReceiveChannel[str]) -> None:
    while True:
        server = await find(node, "eg_chat_server")
        port = node.port()
        port.on("said")(lambda who, text: print(f"<{who}> {text}", flush=True))
        port.on("notice")(lambda text: print(f"* {text}", flush=True))
        with node.move_on_death(server) as scope:
            node.send(server, "join", port, nick)
            async for line in lines:
                node.send(server, "say", port, line)
            # No more is typed; what was, is on its way in order.
            await node.flush(server)
            await trio.sleep(1)
            return
        print(f"* disconnected: {' '.join(map(str, scope.reason or ()))}", flush=True)
        port.kill()
        # That it is gone need not have got about yet.
        await trio.sleep(1)


async def main(supervise: Callable[..., Awaitable[None]], seed: str, nick: str) -> None:
    send, receive = trio.open_memory_channel[str](0)
    async with open_node(seeds=[seed], secret=os.environ["SECRET"]) as node, trio.open_nursery() as nursery:
        nursery.start_soon(supervise, node, nick, receive)
        async with send:
            async for line in typed():
                await send.send(line)


if __name__ == "__main__":
    trio.run(main, supervise, sys.argv[1], sys.argv[2])
