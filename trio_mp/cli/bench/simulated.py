"""What the number of nodes costs, in a simulated network."""

from __future__ import annotations

import time

import trio

from trio_mp import Node
from trio_mp.testing import SimulatedNetwork, simulate

from .task import Figure, Task, expect

MINUTE = 60.0


def simulated(task: Task) -> Figure:
    """CPU milliseconds for a node in one simulated minute, in a network of so many, with one seed, that only idles.

    What the simulation costs is in it: it goes through the whole of a node but the sockets.
    """
    seconds, forming = simulate(_idle_network, task.count)
    extra = {"nodes": float(task.count), "forming, s": forming}
    return Figure(seconds / task.count * 1e3, "ms", extra)


async def _idle_network(network: SimulatedNetwork, count: int) -> tuple[float, float]:
    async def program(_node: Node) -> None:
        await trio.sleep_forever()

    start = time.process_time()
    network.start("node-0", program)
    for number in range(1, count):
        network.start(f"node-{number}", program, seeds=["node-0"])
    await trio.sleep(MINUTE)
    formed = time.process_time()
    await trio.sleep(MINUTE)
    ended = time.process_time()
    alone = [name for name, node in network.nodes.items() if not node.peers]
    expect(len(network.nodes) == count and not alone, f"{alone} know nobody")
    return ended - formed, formed - start
