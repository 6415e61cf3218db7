"""A linked port that ends at once, before the request to monitor it has come."""

from __future__ import annotations

import trio
import trio.testing
from reason_helpers import Died

from trio_mp import Port, spawnable
from trio_mp._ports.dispatcher import PASS_MESSAGES
from trio_mp._ports.port import lifecycle_of
from trio_mp.lowlevel import Environment, MemoryTransport, open_node_in

SECRET = "sixteen bytes or more"


@spawnable
def brief(port: Port) -> None:
    """End normally at once."""
    lifecycle_of(port).die(port, ())


@spawnable
def broken(_port: Port) -> None:
    """Fail at once."""
    raise ValueError("broken")


async def spawn_linked(function: str) -> tuple[bool, tuple[object, ...]]:
    environment = Environment(transport=MemoryTransport())
    modules = [__name__]
    async with (
        open_node_in(environment, "b", binds=["unix:b"], secret=SECRET, spawn_modules=modules),
        open_node_in(environment, "a", seeds=["unix:b"], secret=SECRET) as a,
    ):
        await a.call("b", "time")
        there = trio.Event()

        async def parent(port: Port) -> None:
            # So many that the request to monitor, right behind that to spawn, is dispatched in the next pass.
            for _ in range(PASS_MESSAGES - 1):
                a.send("b", "devnull")
            a.spawn("b", f"{__name__}:{function}", linked=True)
            await a.flush("b")
            there.set()
            await trio.sleep_forever()

        port = a.start_port(parent)
        with a.monitor(port, lambda *_: None) as monitor:
            await there.wait()
            await trio.testing.wait_all_tasks_blocked()
            return port.alive, monitor.reason or ()


async def test_a_linked_port_that_ends_normally_at_once_leaves_its_spawner_alone() -> None:
    assert await spawn_linked("brief") == (True, ())


async def test_a_linked_port_that_fails_at_once_kills_its_spawner_with_its_reason() -> None:
    alive, reason = await spawn_linked("broken")
    assert not alive
    assert reason == Died("ValueError: broken")
