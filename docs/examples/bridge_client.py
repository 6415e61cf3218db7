"""A chat client that spawns its bridge-head. `python bridge_client.py SEED NICK`, with the secret in SECRET."""

import sys

import trio
from chat_client import find, main

from trio_mp import Node


async def supervise(node: Node, nick: str, lines: trio.MemoryReceiveChannel[str]) -> None:
    while True:
        server = await find(node, "eg_chat_server2")
        client = node.port()
        client.on("hear")(lambda text: print(text, flush=True))
        bridgehead = node.spawn(server, "::connect", client, nick)
        # The other half of the idiom.
        node.monitor(bridgehead, client.kill)
        with node.move_on_death(client) as scope:
            async for line in lines:
                node.send(bridgehead, "say", line)
            # No more is typed; what was, is on its way in order.
            await node.flush(bridgehead)
            await trio.sleep(1)
            return
        print(f"* disconnected: {' '.join(map(str, scope.reason or ()))}", flush=True)
        # That it is gone need not have got about yet.
        await trio.sleep(1)


if __name__ == "__main__":
    trio.run(main, supervise, sys.argv[1], sys.argv[2])
