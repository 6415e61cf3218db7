"""Ray: an actor that Ray starts again. Kinds: `once` has `max_task_retries=0`, the default, and `retries` has -1.

The sender keeps the reference of each call, and asks Ray which are ready. It bounds how many are
pending, as the documentation recommends.
"""

from __future__ import annotations

import time

import ray

from benchmarks.losses.contract import TICK, Plan, Receiver, Sender, wait_for_life

PENDING = 1000


class Sink:
    """The receiver, as an actor."""

    def __init__(self, plan: Plan) -> None:
        self.receiver = Receiver(plan)
        self.receiver.ready()

    def take(self, number: int) -> None:
        """Handle one number."""
        self.receiver.take(number)


def _settle(sender: Sender, pending: dict[ray.ObjectRef, int], *, wait: float, least: int) -> None:
    """Note which calls have failed, among those that are ready."""
    ready, _ = ray.wait(list(pending), num_returns=least, timeout=wait)
    for reference in ready:
        number = pending.pop(reference)
        try:
            ray.get(reference)
        except ray.exceptions.RayError as error:
            sender.told(type(error).__name__, number)


def sender(plan: Plan) -> None:
    """Start Ray and the actor, and send the numbers."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100 * 2**20)
    retries = -1 if plan.kind == "retries" else 0
    actor = ray.remote(max_restarts=-1, max_task_retries=retries, num_cpus=1)(Sink).remote(plan)
    wait_for_life(plan)
    numbers = Sender(plan)
    pending: dict[ray.ObjectRef, int] = {}
    while numbers.more:
        for number in numbers.due():
            if len(pending) >= PENDING:
                _settle(numbers, pending, wait=1, least=1)
                break
            pending[actor.take.remote(number)] = number
            numbers.next = number + 1
        if pending:
            _settle(numbers, pending, wait=0, least=len(pending))
        time.sleep(TICK)
    while pending:
        _settle(numbers, pending, wait=1, least=len(pending))
    ray.shutdown()
    numbers.done()
