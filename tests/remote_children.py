"""Children that nodes of a simulated network spawn by `remote_children:NAME`, and the record of their lives."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf
from typing import Any

import trio

from trio_mp import ChildRef, Family, Node, Port, Supervisor, current_epoch, current_node, spawnable
from trio_mp.testing import SimulatedNetwork

HOSTS = "hosts"
"""The family of nodes on which children may run."""

HEARTBEAT = 1.0
SHUTDOWN = 2.0

BOUND = 4 * HEARTBEAT + SHUTDOWN
"""After a doubt, how long a life may go on at most, in seconds: three heartbeats of silence, half a one until the other
node looks, half a one for what is on its way; and the time to unwind."""


@dataclass
class Life:
    """One life of a child, as it was.

    Attributes:
      node_id: where.
      port: its port.
      epoch: what `current_epoch` said in it.
      begun, ended: when, by Trio's clock.
    """

    node_id: str
    port: str
    epoch: int
    begun: float
    ended: float = inf


lives: list[Life] = []
"""The lives of the test that runs; `open_three` empties it."""


@asynccontextmanager
async def recorded(port: Port) -> AsyncGenerator[Life, None]:
    epoch = current_epoch()
    assert epoch is not None
    life = Life(current_node().id, str(port), epoch, trio.current_time())
    lives.append(life)
    try:
        yield life
    finally:
        life.ended = trio.current_time()


@spawnable
async def serve(port: Port, *arguments: Any, task_status: trio.TaskStatus[Any]) -> None:
    async with recorded(port):
        task_status.started([current_node().id, *arguments])
        await trio.sleep_forever()


@spawnable
async def shield(port: Port, seconds: float, *, task_status: trio.TaskStatus[Any]) -> None:
    """It goes on for so long when it is killed."""
    async with recorded(port):
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(seconds)


@spawnable
async def supervise(port: Port, seconds: float, *, task_status: trio.TaskStatus[Any]) -> None:
    """It has a child of its own, here, which takes so long to unwind."""
    node = current_node()
    async with node.open_supervisor() as crew:
        await crew.start(shield, seconds, shutdown=2 * seconds)
        async with recorded(port):
            task_status.started()
            await trio.sleep_forever()


@spawnable
async def never_start(port: Port, *, task_status: trio.TaskStatus[Any]) -> None:
    async with recorded(port):
        await trio.sleep_forever()


@spawnable
async def fail_to_start(port: Port, *, task_status: trio.TaskStatus[Any]) -> None:
    async with recorded(port):
        raise ValueError("it cannot be started")


@spawnable
async def end_normally(port: Port, *, task_status: trio.TaskStatus[Any]) -> None:
    async with recorded(port):
        task_status.started()
        await trio.sleep(1)


@asynccontextmanager
async def open_three(network: SimulatedNetwork, **settings: Any) -> AsyncGenerator[Node, None]:
    """The node of a supervisor, `a`, and two hosts for children, `b` and `c`, all of which know each other.

    The hosts are programs of the network, so that they can be crashed.
    """
    lives.clear()
    common: dict[str, Any] = {
        "heartbeat": HEARTBEAT,
        "connect_timeout": 10.0,
        "shutdown_timeout": SHUTDOWN,
        "spawn_modules": [__name__],
        "seeds": ["a", "b", "c"],
    }
    for node_id in ("b", "c"):
        network.start(node_id, host, **{**common, **settings.get(node_id, {})})
    async with network.open_node("a", **{**common, **settings.get("a", {})}) as node:
        while len(await node.database.family(HOSTS)) < 2:  # noqa: ASYNC110 - of a simulation, where time costs nothing
            await trio.sleep(0.1)
        yield node


async def host(node: Node) -> None:
    """A program: a node on which children may run."""
    node.database.set(HOSTS, node.id, None)
    await trio.sleep_forever()


async def spawn_anywhere(crew: Supervisor, function: str = "serve", *arguments: Any, **options: Any) -> ChildRef:
    return await crew.spawn(Family(HOSTS), f"{__name__}:{function}", *arguments, **options)


async def next_life(count: int, limit: float = 1000) -> Life:
    """Wait for so many lives; returns the last one."""
    with trio.fail_after(limit):
        while len(lives) < count:  # noqa: ASYNC110 - as above
            await trio.sleep(0.01)
    assert len(lives) == count
    return lives[-1]


def overlaps() -> list[tuple[Life, Life]]:
    """The pairs of lives of which one began before an earlier one had ended."""
    return [
        (one, other) for number, one in enumerate(lives) for other in lives[number + 1 :] if other.begun < one.ended
    ]
