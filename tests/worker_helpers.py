"""A pool whose workers are nodes of this process: for tests with a clock that jumps.

What is missing are processes. Sync functions run in a thread of this process, as they do in a worker.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import AsyncGenerator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import trio
from fake_network import FakeNetwork
from watched_nodes import open_test_node, until

from trio_mp import Node, Reason
from trio_mp._workers.computing import Computer
from trio_mp._workers.functions import Callables, Released
from trio_mp._workers.items import HasBegun, WorkerHandle
from trio_mp._workers.pool import Pool
from trio_mp._workers.server import TaskServer
from trio_mp._workers.workers import Workers

MODULES = ["worker_functions"]


@dataclass
class Rig:
    """A pool, and what tests look at.

    Attributes:
      workers: the door.
      pool: what is behind it.
      network: between the nodes.
      servers: of the workers, in their order.
      killed: the names of workers that the pool wanted to be killed.
      begun: the tickets that a worker that has ended had begun; None for all.
      examination_fails: whether finding that out raises.
    """

    workers: Workers
    pool: Pool
    network: FakeNetwork
    servers: list[TaskServer]
    killed: list[str]
    begun: set[int] | None = None
    examination_fails: bool = False
    node: Node | None = None

    async def wait_idle(self) -> None:
        await until(lambda: not self.pool._unfinished)


@asynccontextmanager
async def open_rig(count: int = 2, *, shutdown_timeout: float = 5.0, **settings: Any) -> AsyncGenerator[Rig]:
    network = FakeNetwork()
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(open_test_node(network, "pool", **settings))
        killed: list[str] = []

        def kill(worker: WorkerHandle) -> None:
            killed.append(worker.name)

        async def find_begun(_: WorkerHandle) -> tuple[HasBegun, Reason]:
            await trio.lowlevel.checkpoint()
            if rig.examination_fails:
                raise ValueError("the examination fails")
            return lambda ticket, *, asynchronous: rig.begun is None or ticket in rig.begun, ("ended",)

        pool = Pool(node._runtime, MODULES, shutdown_timeout=shutdown_timeout, kill=kill, find_begun=find_begun)
        rig = Rig(Workers(pool, Callables(MODULES), count), pool, network, [], killed, node=node)
        stack.callback(pool.close)
        node._runtime.lifecycle.start_system_task(pool.oversee)
        nursery = await stack.enter_async_context(trio.open_nursery())
        for number in range(count):
            await stack.enter_async_context(serving(rig, f"worker-{number + 1}", **settings))
            await pool.wait_ready(number + 1)
        yield rig
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def serving(rig: Rig, name: str, **settings: Any) -> AsyncGenerator[TaskServer]:
    """A worker of this process."""
    async with (
        open_test_node(rig.network, name, seeds=["pool"], **settings) as node,
        trio.open_nursery() as nursery,
    ):
        token = trio.lowlevel.current_trio_token()

        def wake() -> None:
            with contextlib.suppress(trio.RunFinishedError):
                token.run_sync_soon(server.wake)

        computer = Computer(lambda _: None, wake)
        server = TaskServer(node._runtime, str(rig.pool.port), Released(MODULES), computer, lambda _: None, nursery)
        # A daemon, so that a test that hangs ends.
        thread = threading.Thread(target=computer.run, name=name, daemon=True)
        thread.start()
        rig.servers.append(server)
        node.send(str(rig.pool.port), "ready", server.port, name, os.getpid())
        try:
            yield server
        finally:
            nursery.cancel_scope.cancel()
            computer.end()
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(thread.join)


async def outcome_of(awaitable: Awaitable[object]) -> object:
    """What it returns, or the exception that it raises."""
    try:
        return await awaitable
    except Exception as error:  # noqa: BLE001 - that is the question
        return error
