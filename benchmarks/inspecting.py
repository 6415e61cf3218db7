"""How long a question about many ports keeps a node's other tasks from running.

    python -m benchmarks.inspecting [--ports 100000]

Prints, for each order, the longest time that one task has taken between two turns of others, and the whole time of the
question, in milliseconds of processor time.
"""

from __future__ import annotations

import argparse
import gc
import time

import trio

from trio_mp import Node, open_node


class Turns(trio.abc.Instrument):
    """Measures turns of tasks, in seconds of this thread's processor time."""

    def __init__(self) -> None:
        self.longest = self.whole = 0.0
        self._before = time.thread_time()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """A turn begins."""
        self._before = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """A turn ends."""
        seconds = time.thread_time() - self._before
        self.longest = max(self.longest, seconds)
        self.whole += seconds


async def ask(node: Node, by: str) -> Turns:
    """Ask a node for its first page of ports."""
    turns = Turns()
    trio.lowlevel.add_instrument(turns)
    try:
        await node.inspect(node.id).ports(by=by, limit=500)
    finally:
        trio.lowlevel.remove_instrument(turns)
    return turns


async def measure(ports: int) -> None:
    """Open a node with so many ports, and ask it."""
    async with open_node("a", profile=False) as node:
        for _ in range(ports):
            node.port(print)
        gc.collect()
        gc.freeze()
        for by in ("queue", "age", "rate"):
            turns = await ask(node, by)
            print(f"{ports} ports by {by}: longest turn {turns.longest * 1e3:.2f} ms, all {turns.whole * 1e3:.0f} ms")


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inspecting", description=__doc__)
    parser.add_argument("--ports", type=int, default=100_000, metavar="N", help="how many ports the node has")
    trio.run(measure, parser.parse_args().ports)


if __name__ == "__main__":
    main()
