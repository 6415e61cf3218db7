"""A chat server. `python chat_server.py SEED`, with the secret in SECRET.

One port does it all: clients join it by message, and it monitors them, so nobody has to say goodbye. With
`chat_supervisor.py` the server is not started by hand, but by a supervisor, on one of several nodes.
"""

import os
import sys

import trio

from trio_mp import Port, open_node, spawnable


@spawnable
def serve(port: Port) -> None:
    """Make a chat server of a port. When this returns, the port is ready for clients."""
    node = port.node
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


async def main(seed: str) -> None:
    async with open_node(seeds=[seed], secret=os.environ["SECRET"]) as node:
        port = node.port()
        serve(port)
        node.database.register("eg_chat_server", port)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
