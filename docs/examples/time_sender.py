"""Sends the time to all receivers, once a second. `python time_sender.py [PROFILE]`.

It says nothing about the network: all settings are in the profile.
"""

import sys
import time

import trio

from trio_mp import open_node


async def main(profile: str | bool) -> None:
    async with open_node(profile=profile) as node:
        while True:
            for receiver in await node.database.keys("eg_receivers"):
                node.send(receiver, "test", time.time())
            await trio.sleep(1)


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if sys.argv[1:] else True)
