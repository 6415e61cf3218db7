"""Prints the times that `time_sender.py` sends. `python time_receiver.py [PROFILE]`.

It says nothing about the network: all settings are in the profile.
"""

import sys

import trio

from trio_mp import open_node


async def main(profile: str | bool) -> None:
    async with open_node(profile=profile) as node:
        port = node.port()
        port.on("test")(lambda data: print("Received data:", data, flush=True))
        node.database.register("eg_receivers", port)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if sys.argv[1:] else True)
