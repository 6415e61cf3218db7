"""A chat server in which every client has a bridge-head. `python bridge_server.py SEED`, with the secret in SECRET.

A client spawns a port on this node, which speaks for it: so there is no protocol for coming and going. Each of the two
ports monitors the other, and each monitor is set on the node that acts on it. Whatever goes wrong, a crash, a lost
connection, a request that never arrived: in the end both ports are gone.
"""

import os
import sys

import trio

from trio_mp import Node, Port, current_node, open_node, spawnable

hall: Port
"""The port that everybody's words go through."""


@spawnable
def connect(port: Port, client: str, nick: str) -> None:
    """Called in a new port of this node, the bridge-head of a client that has spawned it."""
    node = current_node()
    # One half of the idiom: if the client dies, or its node is lost, so does this port. The other half is over there.
    node.monitor(client, port.kill)
    port.on("say")(lambda text: node.send(hall, "say", f"<{nick}> {text}"))
    port.on("hear")(lambda text: node.send(client, "hear", text))
    node.send(hall, "enter", port, nick)


def open_hall(node: Node) -> Port:
    port = node.port()
    guests: dict[str, str] = {}

    @port.on("say")
    def say(text: str) -> None:
        for guest in guests:
            node.send(guest, "hear", text)

    @port.on("enter")
    def enter(guest: str, nick: str) -> None:
        def left(*_reason: object) -> None:
            del guests[guest]
            say(f"* {nick} has left")

        guests[guest] = nick
        # Here, and not in `connect`: a monitor ends with the port that has set it, so a bridge-head's own monitor would
        # say nothing when the bridge-head dies.
        node.monitor(guest, left)
        say(f"* {nick} has joined")

    return port


async def main(seed: str) -> None:
    global hall
    async with open_node(seeds=[seed], secret=os.environ["SECRET"]) as node:
        hall = open_hall(node)
        # Nobody sends to the hall from outside: what is found is the node, to spawn on.
        node.database.set("eg_chat_server2", node.id)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
