"""What a node costs in simulated networks of several sizes."""

from __future__ import annotations

import time

import trio

from trio_mp import Node
from trio_mp.testing import SimulatedNetwork, simulate

from .task import Figure, Task, expect

MINUTE = 60.0


def simulated(task: Task) -> Figure:
    """The CPU milliseconds of a node in one simulated minute, in an idle network with one seed.

    The figure includes the cost of the simulation, which runs the whole of a node but the sockets.
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
    text = f"expected {count} nodes that know others, got {len(network.nodes)}, of which {alone} know nobody"
    expect(len(network.nodes) == count and not alone, text)
    return ended - formed, formed - start
