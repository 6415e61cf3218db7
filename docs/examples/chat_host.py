"""A node on which the chat server may run. `python chat_host.py SEED NAME`, with the secret in SECRET.

It does nothing by itself: the supervisor of `chat_supervisor.py` starts the server on one of these.
"""

import os
import sys

import trio

from trio_mp import open_node

HEARTBEAT, SHUTDOWN = 1.0, 1.0
"""In seconds, and shorter than the defaults, so that a server which is lost is back sooner."""


async def main(seed: str, name: str) -> None:
    async with open_node(
        name,
        seeds=[seed],
        secret=os.environ["SECRET"],
        spawn_modules=["chat_server"],
        heartbeat=HEARTBEAT,
        shutdown_timeout=SHUTDOWN,
    ) as node:
        node.database.set("eg_chat_hosts", node.id)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2])
