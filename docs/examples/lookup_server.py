"""The first chat server, without monitors. `python lookup_server.py ADDRESS`, with the secret in SECRET.

It never learns that a client has gone, and does not say who has said what. `chat_server.py` does both.
"""

import os
import sys

import trio

from trio_mp import open_node


async def main(address: str) -> None:
    async with open_node("chat", binds=[address], secret=os.environ["SECRET"]) as node:
        chatter = node.port()
        clients: dict[str, None] = {}

        @chatter.on("join")
        def join(client: str) -> None:
            print("got a new client", flush=True)
            clients[client] = None

        @chatter.on("message")
        def message(text: str) -> None:
            print("message>", text, flush=True)
            for client in clients:
                node.send(client, "message", text)

        # A client asks this node for the port, by this name.
        node.database.register("chatter", chatter)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
