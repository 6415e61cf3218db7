"""Keeps one chat server running, on any of the hosts. `python chat_supervisor.py SEED`, with the secret in SECRET.

Start `chat_host.py` on each node that may run the server. Clients find it by its name in the database.
"""

import os
import sys

import trio
from chat_host import HEARTBEAT

from trio_mp import Family, node_of, open_node


async def main(seed: str) -> None:
    async with (
        open_node("supervisor", seeds=[seed], secret=os.environ["SECRET"], heartbeat=HEARTBEAT) as node,
        node.open_supervisor(name="chat") as crew,
    ):
        server = await crew.spawn(Family("eg_chat_hosts"), "chat_server:serve", listed=("eg_chat_server", "the server"))
        while True:
            port = await server.up()
            print("the server runs on", node_of(port), flush=True)
            reason = await node.wait_death(port)
            print("the server is lost:", *reason[:2], flush=True)


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
