"""Keeps one chat server running on any of the hosts. `python chat_supervisor.py SEED`, with the secret in SECRET."""

import os
import sys

import trio

from trio_mp import Family, open_node


async def main(seed: str) -> None:
    async with (
        open_node("supervisor", seeds=[seed], secret=os.environ["SECRET"], heartbeat=0.5) as node,
        node.open_supervisor(name="chat") as crew,
    ):
        await crew.spawn(Family("eg_chat_hosts"), "::chat_server")
        await crew.wait()


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
