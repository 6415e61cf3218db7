"""Sends to all receivers, once in a while. `python sender.py SEED SECONDS`, with the secret in SECRET."""

import itertools
import os
import sys

import trio

from trio_mp import open_node


async def main(seed: str, seconds: float) -> None:
    async with open_node(seeds=[seed], secret=os.environ["SECRET"]) as node:
        for number in itertools.count(1):
            for receiver in await node.database.keys("eg_receivers"):
                node.send(receiver, "test", f"message {number}", node.id)
            await trio.sleep(seconds)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], float(sys.argv[2]))
