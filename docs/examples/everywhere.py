"""A service that starts itself on every node that joins. `python everywhere.py SEED`, with the secret in SECRET.

On each node that has this module among its `spawn_modules`, there is one port that tells this one how busy it is.
"""

import os
import sys

import trio

from trio_mp import Node, Port, current_node, open_node, spawnable


@spawnable
async def load(port: Port, reply_to: str) -> None:
    """Runs on every node. When whoever started it dies, or is lost, it ends: so there are never two for long."""
    node = current_node()
    node.monitor(reply_to, port.kill)
    while True:
        node.send(reply_to, "load", node.id, os.getloadavg()[0])
        await trio.sleep(1)


async def keep_everywhere(node: Node, port: Port) -> None:
    """See to it that the service runs on every node, for as long as that is there."""
    async with node.watch_nodes() as changes, trio.open_nursery() as nursery:

        async def keep(node_id: str, scope: trio.CancelScope) -> None:
            with scope:
                while True:
                    service = node.spawn(node_id, "everywhere:load", port)
                    reason = await node.wait_death(service)
                    print(f"{node_id}: {' '.join(map(str, reason))}", flush=True)
                    await trio.sleep(1)

        scopes: dict[str, trio.CancelScope] = {}
        async for change in changes:
            if change.up and change.node_id != node.id:
                scopes[change.node_id] = trio.CancelScope()
                nursery.start_soon(keep, change.node_id, scopes[change.node_id])
            elif change.node_id in scopes:
                scopes.pop(change.node_id).cancel()
                print(f"{change.node_id}: gone", flush=True)


async def main(seed: str) -> None:
    async with open_node(seeds=[seed], secret=os.environ["SECRET"]) as node:
        port = node.port()
        port.on("load")(lambda node_id, load: print(f"{node_id}: {load:.2f}", flush=True))
        await keep_everywhere(node, port)


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
