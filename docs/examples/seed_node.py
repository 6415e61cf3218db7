"""A seed: the node by which others find the network. `python seed_node.py ADDRESS`, with the secret in SECRET."""

import os
import sys

import trio

from trio_mp import open_node


async def main(address: str) -> None:
    async with open_node("seed", binds=[address], secret=os.environ["SECRET"]) as node:
        print("listening on", *node.binds, flush=True)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
