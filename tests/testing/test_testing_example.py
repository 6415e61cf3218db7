"""A worked example: a work queue that loses a job when a worker crashes, and the simulation that finds it.

Nothing here knows that it runs in a simulation, but the scenario and the tests.
"""

from __future__ import annotations

from collections import deque

import pytest
import trio

from trio_mp import Node, Port
from trio_mp.testing import SimulatedNetwork, simulate

JOBS = 20


# The program under test ----------------------------------------------------------------------------------------------


class WorkQueue:
    """Hands one job at a time to each worker that says it is ready."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.jobs = deque(range(JOBS))
        self.done: set[int] = set()
        self.idle: list[str] = []
        self.port = node.port()
        self.port.on("ready")(self.take_worker)
        self.port.on("done")(self.take_result)

    def take_worker(self, worker: str) -> None:
        self.idle.append(worker)
        self.hand_out()

    def take_result(self, worker: str, job: int) -> None:
        self.done.add(job)
        self.take_worker(worker)

    def hand_out(self) -> None:
        while self.jobs and self.idle:
            self.start_job(self.jobs.popleft(), self.idle.pop())

    def start_job(self, job: int, worker: str) -> None:
        # The bug: if the worker crashes now, nobody remembers the job.
        self.node.send(worker, "work", job)


class CarefulWorkQueue(WorkQueue):
    """Watches over the worker for as long as it has a job."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self.busy: dict[str, int] = {}

    def start_job(self, job: int, worker: str) -> None:
        self.busy[worker] = job
        self.node.monitor(worker, lambda *_: self.give_back(worker))
        self.node.send(worker, "work", job)

    def take_result(self, worker: str, job: int) -> None:
        self.busy.pop(worker, None)
        super().take_result(worker, job)

    def give_back(self, worker: str) -> None:
        if worker in self.idle:
            self.idle.remove(worker)
        if worker in self.busy:
            self.jobs.append(self.busy.pop(worker))
            self.hand_out()


async def work(node: Node, queue: str) -> None:
    """The program of a worker."""

    async def process(port: Port) -> None:
        node.send(queue, "ready", port)
        async for _, job in port:
            await trio.sleep(1)
            node.send(queue, "done", port, job)

    await node.wait_death(node.start_port(process))


# The simulation ------------------------------------------------------------------------------------------------------


async def scenario(network: SimulatedNetwork, queue_type: type[WorkQueue]) -> None:
    """Two workers, one of which crashes at some time and is started again."""
    async with network.open_node("boss") as boss:
        queue = queue_type(boss)
        for name in ("worker-1", "worker-2"):
            network.start(name, lambda node: work(node, queue.port), seeds=["boss"])
        await trio.sleep(network.random.uniform(0, 10))
        network.crash("worker-1", silently=network.random.random() < 0.5)
        await trio.sleep(network.random.uniform(0, 5))
        network.restart("worker-1")
        # By Trio's virtual clock: it takes no time.
        await trio.sleep(300)
        assert queue.done == set(range(JOBS)), f"never done: {set(range(JOBS)) - queue.done}"


@pytest.mark.parametrize("seed", range(50))
def test_no_job_is_lost(seed: int) -> None:
    simulate(scenario, CarefulWorkQueue, seed=seed)


def try_many_seeds(queue_type: type[WorkQueue]) -> None:
    for seed in range(50):
        simulate(scenario, queue_type, seed=seed)


def test_the_forgetful_queue_is_found_out() -> None:
    with pytest.raises(AssertionError, match="never done"):
        try_many_seeds(WorkQueue)
