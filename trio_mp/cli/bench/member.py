"""A process of a network that forms. argv: NODE-ID SEED NODE-ID …"""

from __future__ import annotations

import sys

import trio

import trio_mp

from .task import SECRET, log_faults

READY = b"ready\n"
"""What it prints when all others have answered."""


async def serve(node_id: str, seed: str, names: list[str]) -> None:
    """Run the first of the names as the seed, and each other one as a node that knows only that."""
    first = node_id == names[0]
    binds, seeds = ([seed], ()) if first else (None, [seed])
    async with trio_mp.open_node(node_id, profile=False, binds=binds, seeds=seeds, secret=SECRET) as node:
        for name in names:
            if name != node_id:
                await node.call(name, "time")
        sys.stdout.buffer.write(READY)
        sys.stdout.flush()
        await trio.to_thread.run_sync(sys.stdin.read)


if __name__ == "__main__":
    log_faults()
    trio.run(serve, sys.argv[1], sys.argv[2], sys.argv[3:])
