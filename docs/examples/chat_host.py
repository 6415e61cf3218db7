"""A node on which the chat server may run. `python chat_host.py SEED NAME`, with the secret in SECRET.

It does nothing by itself: the supervisor of `chat_supervisor.py` starts the server on one of these.
"""

import os
import sys

import trio
from chat_server import serve

from trio_mp import Port, current_node, open_node, spawnable


@spawnable
async def chat_server(port: Port, *, task_status: trio.TaskStatus[None]) -> None:
    node = current_node()
    serve(node, port)
    print(f"the server runs on {node.id}", flush=True)
    task_status.started()
    await trio.sleep_forever()


async def main(seed: str, name: str) -> None:
    async with open_node(name, seeds=[seed], secret=os.environ["SECRET"], heartbeat=0.5, shutdown_timeout=1) as node:
        node.database.set("eg_chat_hosts", node.id, None)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
