"""A chat server. `python chat_server.py SEED`, with the secret in SECRET.

One port does it all: clients join it by message, and it monitors them, so nobody has to say goodbye.
"""

import os
import sys

import trio

from trio_mp import Node, Port, open_node


def serve(node: Node, port: Port) -> None:
    clients: dict[str, str] = {}

    def tell_all(*message: str) -> None:
        for client in clients:
            node.send(client, *message)

    @port.on("join")
    def join(client: str, nick: str) -> None:
        def left(*_reason: object) -> None:
            del clients[client]
            tell_all("notice", f"{nick} has left")

        # First the monitor: what is sent to the client from now on arrives, or `left` is called.
        node.monitor(client, left)
        clients[client] = nick
        tell_all("notice", f"{nick} has joined")

    @port.on("say")
    def say(client: str, text: str) -> None:
        if client in clients:
            tell_all("said", clients[client], text)

    node.database.register("eg_chat_server", port)


async def main(seed: str) -> None:
    async with open_node(seeds=[seed], secret=os.environ["SECRET"]) as node:
        serve(node, node.port())
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
