"""Receives what senders send. `python receiver.py SEED`, with the secret in SECRET; as many of them as you like."""

import os
import sys

import trio

from trio_mp import open_node


async def main(seed: str) -> None:
    async with open_node(seeds=[seed], secret=os.environ["SECRET"]) as node:
        port = node.port()

        @port.on("test")
        def received(data: str, sender: str) -> None:
            print(f"{data} from {sender}", flush=True)

        # Whoever looks for receivers finds it here, until it dies.
        node.database.register("eg_receivers", port)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
